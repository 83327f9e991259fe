# SPDX-License-Identifier: GPL-2.0-only
"""What is loaded is given back, whatever goes wrong, over a kernel that loads nothing."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from synthetic import MODERN

from pageinspect.errors import PageInspectError
from pageinspect.host import capabilities
from pageinspect.trace import bpf_calls, hooks, loaded
from pageinspect.trace.abilities import Abilities
from pageinspect.trace.bpf_calls import MapShape
from pageinspect.trace.compiled import CompiledProgram
from pageinspect.trace.hooks import Hook, HookKind
from pageinspect.trace.loaded import LoadedProgram
from pageinspect.trace.nested import NestedRuns
from pageinspect.trace.options import Filters, TraceOptions
from pageinspect.trace.program import PageFreeProgram

if TYPE_CHECKING:
    from pageinspect.trace.compile import Compiler

ALWAYS = Hook("count_page_free", HookKind.TRACEPOINT, "mm_page_free")
PROBE = Hook("count_bad_page", HookKind.KPROBE, "bad_page", optional=True)


class Kernel:
    """Gives descriptors, unless it is asked for what it refuses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: dict[int, str] = {}
        self.refuses: dict[str, int] = {}
        self.calls: list[str] = []
        monkeypatch.setattr(bpf_calls, "create_map", lambda _shape, name: self.open(name))
        monkeypatch.setattr(bpf_calls, "load", lambda _kind, _code, name, **_: self.open(name))
        monkeypatch.setattr(
            bpf_calls,
            "open_raw_tracepoint",
            lambda _fd, name: self.open(f"plain {name}" if name else "tracepoint"),
        )
        self.able = Abilities()
        monkeypatch.setattr(loaded, "abilities", lambda: self.able)
        self.preempts = False
        monkeypatch.setattr(loaded, "preempts_programs", lambda: self.preempts)
        monkeypatch.setattr(hooks, "attach_to_kprobe", lambda _fd, _place: self.open("kprobe"))
        monkeypatch.setattr(bpf_calls, "update", lambda *_: self.open("update"))
        monkeypatch.setattr(bpf_calls, "lift_memory_limit", lambda: None)
        monkeypatch.setattr(Hook, "type_id", lambda *_: 7)

    def open(self, name: str) -> int:
        self.calls.append(name)
        if name in self.refuses:
            raise OSError(self.refuses[name], os.strerror(self.refuses[name]))
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.opened[descriptor] = name
        return descriptor

    def left(self) -> list[str]:
        """Return the names of what is still open."""
        return [name for fd, name in self.opened.items() if Path(f"/proc/self/fd/{fd}").exists()]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


class Given:
    """Stands for the compiler, with a program that is kept or none."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.library = None
        self.has: CompiledProgram | None = None

    def kept(self, *_: object) -> CompiledProgram | None:
        return self.has

    def keep(self, _source: str, _defines: object, program: CompiledProgram) -> None:
        self.calls.append("keep")
        self.has = program

    def compiled(
        self, _source: str, defines: Mapping[str, str], functions: list[str]
    ) -> CompiledProgram:
        self.calls.append("compile")
        self.defines = defines
        names = ("frees", "ranges")
        return CompiledProgram(
            dict.fromkeys(functions, bytes(16)),
            {function: {0: "frees"} for function in functions},
            dict.fromkeys(names, MapShape(2, 4, 24, 4)),
        )


def load(*hooked: Hook, compiler: Given | None = None) -> LoadedProgram:
    return LoadedProgram(cast("Compiler", compiler or Given()), "page_free.bpf.c", {}, hooked)


@pytest.mark.parametrize("refused", ["ranges", "count_page_free"])
def test_what_is_loaded_is_given_back_when_the_rest_fails(kernel: Kernel, refused: str) -> None:
    kernel.refuses[refused] = errno.EPERM
    with pytest.raises(PageInspectError, match="Operation not permitted"):
        load(ALWAYS)
    assert len(kernel.opened) >= 1
    assert not kernel.left()


def test_it_is_given_back_when_a_map_cannot_be_filled(kernel: Kernel) -> None:
    kernel.refuses["update"] = errno.ENOMEM
    options = TraceOptions(Filters(pfns=((0, 8),)))
    with pytest.raises(PageInspectError, match="to write the map ranges"):
        PageFreeProgram(cast("Compiler", Given()), MODERN, options)
    assert len(kernel.opened) == 3
    assert not kernel.left()


def test_functions_are_attached_in_order_and_detached(kernel: Kernel) -> None:
    with load(PROBE, ALWAYS) as program:
        program.attach()
        assert kernel.calls[-2:] == ["kprobe", "tracepoint"]
        program.detach()
        assert "kprobe" not in kernel.left()
        assert "tracepoint" not in kernel.left()
        assert "count_page_free" in kernel.left()
        program.detach()
    assert not kernel.left()


def test_a_function_that_may_be_preempted_has_two_copies(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.preempts = True
    monkeypatch.setattr(NestedRuns, "runs", lambda _: 3)
    with load(PROBE, ALWAYS) as program:
        program.attach()
        names = ["count_bad_page", "nested", "count_page_free", "count_page_free"]
        assert kernel.calls[-7:] == [*names, "kprobe", "tracepoint", "tracepoint"]
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_text", lambda *_, **__: "recursion_misses:\t12\n")
            missed = {name: function.missed() for name, function in program.functions.items()}
        assert missed == {"count_bad_page": 12, "count_page_free": 9}
        program.detach()
        assert not program.functions["count_page_free"].attached
    assert not kernel.left()


def test_no_copy_is_left_when_the_second_is_refused(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.preempts = True
    attach = bpf_calls.open_raw_tracepoint

    def second_refused(fd: int, name: str | None) -> int:
        if "tracepoint" in kernel.left():
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return attach(fd, name)

    monkeypatch.setattr(bpf_calls, "open_raw_tracepoint", second_refused)
    with load(ALWAYS) as program:
        with pytest.raises(PageInspectError, match="to attach to the raw tracepoint mm_page_free"):
            program.attach()
        assert "tracepoint" not in kernel.left()
    assert not kernel.left()


@pytest.mark.parametrize("refused", ["count_bad_page", "kprobe"])
def test_optional_functions_may_be_refused(kernel: Kernel, refused: str) -> None:
    kernel.refuses[refused] = errno.EPERM
    with load(PROBE, ALWAYS) as program:
        program.attach()
        attached = {name for name, each in program.functions.items() if each.attached}
        assert attached == {"count_page_free"}
    assert not kernel.left()


def test_an_absent_tracepoint_is_named(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any) -> int:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(Hook, "type_id", absent)
    with pytest.raises(PageInspectError) as caught:
        load(ALWAYS)
    assert "tracepoint mm_page_free" in caught.value.hint
    assert not kernel.left()


def test_a_kernel_without_types_has_plain_tracepoints(kernel: Kernel) -> None:
    kernel.able = Abilities(typed=False, ring_buffer=False, probe_read_kernel=False)
    compiler = Given()
    with load(PROBE, ALWAYS, compiler=compiler) as program:
        program.attach()
        assert kernel.calls[-2:] == ["kprobe", "plain mm_page_free"]
    assert compiler.defines == {"PLAIN_TRACEPOINT": "1", "PERF_BUFFER": "1", "PROBE_READ": "1"}
    assert not kernel.left()
    end = Hook("count", HookKind.FEXIT, "free_pages")
    with pytest.raises(PageInspectError, match="no types for the end of the function free_pages"):
        load(ALWAYS, end)


def test_a_new_kernel_has_no_other_forms(kernel: Kernel) -> None:
    compiler = Given()
    with load(ALWAYS, compiler=compiler) as program:
        program.attach()
        assert kernel.calls[-1] == "tracepoint"
    assert compiler.defines == {}


def test_what_is_kept_is_loaded_without_compiling(kernel: Kernel) -> None:
    compiler = Given()
    load(ALWAYS, compiler=compiler).close()
    assert compiler.calls == ["compile", "keep"]
    assert compiler.has is not None
    assert compiler.has.type_ids == {"btf_trace_mm_page_free": 7}
    load(ALWAYS, compiler=compiler).close()
    assert compiler.calls == ["compile", "keep"]
    assert not kernel.left()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.E2BIG, errno.ESRCH])
def test_what_is_kept_and_refused_is_compiled_anew(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(capabilities, "lacking", lambda *_: ())
    compiler = Given()
    compiler.has = CompiledProgram(
        {"count_page_free": b""}, {"count_page_free": {}}, {"strange": MapShape(99, 4, 4, 4)}
    )
    kernel.refuses["strange"] = number
    with load(ALWAYS, compiler=compiler) as program:
        assert compiler.calls == ["compile", "keep"]
        assert set(program.maps) == {"frees", "ranges"}
    assert not kernel.left()


def test_without_capabilities_nothing_is_compiled_anew(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "lacking", lambda *_: ("BPF",))
    compiler = Given()
    load(ALWAYS, compiler=compiler).close()
    kernel.refuses["frees"] = errno.EPERM
    with pytest.raises(PageInspectError, match="Operation not permitted"):
        load(ALWAYS, compiler=compiler)
    assert compiler.calls == ["compile", "keep"]
