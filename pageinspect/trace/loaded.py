# SPDX-License-Identifier: GPL-2.0-only
"""A program of bpf/ in this kernel: its maps are open, and its functions are loaded."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from ..errors import PageInspectError
from ..host import capabilities
from . import bpf_calls
from .abilities import abilities, preempts_programs
from .bpf_calls import MapShape
from .compile import Compiler
from .compiled import CompiledProgram
from .hooks import Hook, HookedFunction, HookKind
from .kernel_errors import kernel_errors
from .maps import BpfMap, possible_cpus
from .nested import NestedRuns
from .perf_buffer import PerfBuffer
from .ring_buffer import RingBuffer

_MOST_RECORDS = 1 << 16
"""Records that are taken at once from a buffer: a flood of them does not end by itself."""


class LoadedProgram:
    """One source file of bpf/, loaded; its functions run while they are attached.

    The kernel frees functions and maps with their last descriptor, so they are gone when the
    process ends, however it ends. All methods raise PageInspectError when the kernel refuses.
    """

    maps: dict[str, BpfMap]
    """The maps that the functions use, by their names in the source."""
    functions: dict[str, HookedFunction]
    """What is loaded, by the name of the function: all but optional ones that were refused."""

    def __init__(
        self, compiler: Compiler, source: str, defines: Mapping[str, str], hooks: Sequence[Hook]
    ) -> None:
        """Load the file `source` of bpf/, compiled with these -D, without attaching it.

        `hooks` are the functions to load, in the order in which they are attached. On a kernel
        without types, tracepoints have plain arguments; one without a ring buffer has buffers of
        perf: the -D of Abilities say so to the source.
        """
        able = abilities()
        if not able.typed:
            hooks = [_without_types(hook) for hook in hooks]
        defines = {**defines, **able.defines()}
        self.maps, self.functions = {}, {}
        self._buffers: dict[str, RingBuffer | PerfBuffer] = {}
        functions = [hook.function for hook in hooks]
        kept = compiler.kept(source, defines, functions)
        if kept is not None and self._loads(kept, hooks):
            return
        compiled = compiler.compiled(source, defines, functions)
        compiled = replace(compiled, preempted=preempts_programs())
        self._load(compiled, hooks, compiler.library)
        compiler.keep(source, defines, compiled)

    def _loads(self, kept: CompiledProgram, hooks: Sequence[Hook]) -> bool:
        """Load a program that is kept; return False if the kernel refuses it."""
        try:
            self._load(kept, hooks)
        except (PageInspectError, LookupError):
            # Without the capabilities the kernel would refuse what is compiled anew as well.
            if capabilities.lacking(capabilities.BPF):
                raise
            return False
        return True

    def _load(self, compiled: CompiledProgram, hooks: Sequence[Hook], library: Any = None) -> None:
        with contextlib.ExitStack() as given_back:
            given_back.callback(self.close)
            self._open(compiled, hooks, library)
            given_back.pop_all()

    def _open(self, compiled: CompiledProgram, hooks: Sequence[Hook], library: Any) -> None:
        bpf_calls.lift_memory_limit()
        for name, shape in compiled.maps.items():
            self.maps[name] = BpfMap(name, _of_this_machine(shape))
        descriptors = {name: each.fd for name, each in self.maps.items()}
        for hook in hooks:
            with _refusals(hook, "the BPF program"):
                if hook.type_name and hook.type_name not in compiled.type_ids:
                    compiled.type_ids[hook.type_name] = hook.type_id(library)
                # A kprobe is not preempted.
                twice = compiled.preempted and hook.kind is not HookKind.KPROBE
                self.functions[hook.function] = HookedFunction(
                    hook,
                    compiled.relocated(hook.function, descriptors),
                    compiled.type_ids.get(hook.type_name, 0),
                    NestedRuns() if twice else None,
                )

    def attach(self) -> None:
        """Attach all functions. Optional ones that the kernel refuses stay detached."""
        for function in self.functions.values():
            with _refusals(function.hook, f"to attach to the {function.hook}"):
                function.attach()

    def detach(self) -> None:
        """Detach all functions; maps stay readable. Does nothing when they are not attached."""
        for function in reversed(self.functions.values()):
            function.detach()

    def missed(self) -> int:
        """Return how often one of the functions was not run."""
        return sum(function.missed() for function in self.functions.values())

    def open_records(self, name: str, record_bytes: int) -> int:
        """Open a buffer of records; return a descriptor that is readable while there are some.

        Call it before attach(). Each record begins with its time in 64 bits.
        """
        table = self.maps[name]
        with kernel_errors(f"to read the map {name}"):
            if table.shape.map_type == bpf_calls.PERF_EVENT_ARRAY:
                self._buffers[name] = perf = PerfBuffer(table.fd, record_bytes)
                return perf.fd
            self._buffers[name] = RingBuffer(table.fd, table.shape.max_entries)
        return table.fd

    def take_records(self, name: str) -> list[bytes]:
        """Return the records of the buffer `name` since the last call, oldest first."""
        return self._buffers[name].take(_MOST_RECORDS)

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        for function in reversed(self.functions.values()):
            function.close()
        for buffer in self._buffers.values():
            buffer.close()
        for table in self.maps.values():
            table.close()
        self.functions, self._buffers, self.maps = {}, {}, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@contextlib.contextmanager
def _refusals(hook: Hook, what: str) -> Iterator[None]:
    """Turn what the kernel refuses into PageInspectError; optional hooks are left out."""
    try:
        with kernel_errors(what, hook.absent):
            yield
    except PageInspectError:
        if not hook.optional:
            raise


def _of_this_machine(shape: MapShape) -> MapShape:
    """Return the shape of a map: the machine may have had fewer CPUs when it was compiled."""
    if shape.map_type != bpf_calls.PERF_EVENT_ARRAY:
        return shape
    return shape._replace(max_entries=max(possible_cpus()) + 1)


def _without_types(hook: Hook) -> Hook:
    """Return a hook for a kernel without BTF. Raises PageInspectError if there is none."""
    if hook.kind is HookKind.FEXIT and not hook.optional:
        raise PageInspectError(
            f"this kernel has no types for the {hook}",
            "it takes a kernel with CONFIG_DEBUG_INFO_BTF",
        )
    return hook._replace(kind=HookKind.PLAIN) if hook.kind is HookKind.TRACEPOINT else hook
