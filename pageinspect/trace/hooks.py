# SPDX-License-Identifier: GPL-2.0-only
"""Where functions of BPF programs are attached: tracepoints, functions, kprobes.

On a raw tracepoint with BTF-typed arguments the verifier knows that the first argument is a struct
page, so the program reads it with a plain load instead of a helper call, which would be most of the
cost of a free. Every kernel that meets the other requirements of tracing supports this.
"""

import contextlib
import errno
import functools
import os
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from ..target.symbols.btf import Btf, BtfKind
from ..target.symbols.find import LIVE_BTF, read_btf
from . import bpf_calls
from .kprobe import attach_to_kprobe
from .nested import NestedRuns

PAGE_FREE = "mm_page_free"
"""The tracepoint of a free."""


class HookKind(Enum):
    """What a function is attached to; the value names it in messages."""

    TRACEPOINT = "raw tracepoint"
    """With the arguments of the tracepoint, typed by BTF."""
    PLAIN = "tracepoint"
    """The same as numbers, with which the program may calculate; where there is no BTF, too."""
    FENTRY = "entry of the function"
    """With the arguments of a kernel function, typed by BTF."""
    FEXIT = "end of the function"
    """With the arguments of a kernel function and its result, typed by BTF."""
    KPROBE = "start of the function"
    """With the registers."""


_ATTACH_TYPES = {
    HookKind.TRACEPOINT: bpf_calls.TRACE_RAW_TP,
    HookKind.FENTRY: bpf_calls.TRACE_FENTRY,
    HookKind.FEXIT: bpf_calls.TRACE_FEXIT,
}


class Hook(NamedTuple):
    """A function of a BPF program, and what it is attached to."""

    function: str
    kind: HookKind
    place: str
    """Name of the tracepoint or of the kernel function."""
    optional: bool = False
    """The program is used without this function if the kernel refuses to load or attach it."""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.place}"

    @property
    def absent(self) -> str:
        """What the kernel lacks if it does not know the place."""
        if self.kind in {HookKind.TRACEPOINT, HookKind.PLAIN}:
            return f"tracepoint {self.place} (CONFIG_TRACEPOINTS)"
        return f"function {self.place}, or it was inlined"

    @property
    def type_name(self) -> str:
        """Name of the BTF type that the kernel checks the function against; empty for none."""
        prefixes = {HookKind.TRACEPOINT: "btf_trace_", HookKind.FENTRY: "", HookKind.FEXIT: ""}
        return f"{prefixes[self.kind]}{self.place}" if self.kind in prefixes else ""

    def type_id(self, library: Any = None) -> int:
        """Return the BTF id of that type. Raises OSError, and PageInspectError without BTF.

        `library` is bcc's, if it is loaded: its libbpf is faster than a parser in Python.
        """
        find = getattr(library, "libbpf_find_vmlinux_btf_id", None)
        found = find and find(self.place.encode(), _ATTACH_TYPES[self.kind])
        if found and found > 0:
            return int(found)
        # An old libbpf may not know all BTF kinds of a new kernel.
        btf = _kernel_btf()
        if self.kind is HookKind.TRACEPOINT:
            found = btf.find(BtfKind.TYPEDEF, self.type_name)
        else:
            found = btf.find_function(self.type_name)
        if not found:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found


@functools.lru_cache(maxsize=1)
def _kernel_btf() -> Btf:
    """Return the kernel's BTF: its index takes long, and a program may have many hooks."""
    return read_btf(LIVE_BTF)


class HookedFunction:
    """A function that is loaded, and attached or not. Methods raise OSError."""

    def __init__(
        self,
        hook: Hook,
        instructions: bytes,
        type_id: int = 0,
        nested: NestedRuns | None = None,
    ) -> None:
        """Load these instructions; with `nested`, which is closed with it, two copies of them.

        `type_id` is the hook's. Raises VerifierError, too.
        """
        self.hook = hook
        self._nested = nested
        self._fds: list[int] = []
        self._links: list[int] = []
        with contextlib.ExitStack() as given_back:
            given_back.callback(self.close)
            for copy in [instructions] if nested is None else nested.copies(instructions):
                self._fds.append(self._load(copy, type_id))
            given_back.pop_all()

    def _load(self, instructions: bytes, type_id: int) -> int:
        untyped = {HookKind.KPROBE: bpf_calls.KPROBE, HookKind.PLAIN: bpf_calls.RAW_TRACEPOINT}
        if self.hook.kind in untyped:
            return bpf_calls.load(untyped[self.hook.kind], instructions, self.hook.function)
        return bpf_calls.load(
            bpf_calls.TRACING,
            instructions,
            self.hook.function,
            expected_attach_type=_ATTACH_TYPES[self.hook.kind],
            attach_btf_id=type_id,
        )

    @property
    def attached(self) -> bool:
        """Whether the function runs."""
        return bool(self._links)

    def attach(self) -> None:
        """Attach the function."""
        with contextlib.ExitStack() as given_back:
            given_back.callback(self.detach)
            for fd in self._fds:
                self._links.append(self._attach(fd))
            given_back.pop_all()

    def _attach(self, fd: int) -> int:
        if self.hook.kind is HookKind.KPROBE:
            return attach_to_kprobe(fd, self.hook.place)
        name = self.hook.place if self.hook.kind is HookKind.PLAIN else None
        return bpf_calls.open_raw_tracepoint(fd, name)

    def detach(self) -> None:
        """Detach the function; does nothing when it is not attached."""
        # The second copy does nothing without the first.
        while self._links:
            os.close(self._links.pop(0))

    def missed(self) -> int:
        """Return how often the kernel skipped the function, and the second copy did not run."""
        # Each skip is counted before a run of the second copy, so they are read in this order.
        runs = 0 if self._nested is None else self._nested.runs()
        # Since Linux kernel commit 9ed9e9ba2337 ("bpf: Count the number of times recursion was
        # prevented") (in v5.12).
        fdinfo = Path(f"/proc/self/fdinfo/{self._fds[0]}").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
        return max(int(fields.get("recursion_misses", "0")) - runs, 0)

    def close(self) -> None:
        """Detach and unload the function."""
        self.detach()
        while self._fds:
            os.close(self._fds.pop())
        if self._nested is not None:
            self._nested.close()
            self._nested = None
