# SPDX-License-Identifier: GPL-2.0-only
"""Kernel stacks as names."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pageinspect.trace import symbolizer as symbolizer_module
from pageinspect.trace.held_blocks import STACK_BITS
from pageinspect.trace.stacks import LOST, Stacks, caller, without_tracing_frames
from pageinspect.trace.symbolizer import Symbolizer

BALLOON = (
    "__free_frozen_pages",
    "__folio_put",
    "release_pages_balloon [virtio_balloon]",
    "leak_balloon [virtio_balloon]",
)


@pytest.mark.parametrize(
    "machinery",
    [
        ("bpf_prog_50f810f714fe40ac_count_page_free [bpf]", "bpf_trace_run2"),
        (
            "bpf_prog_0123456789abcdef_count_page_free [bpf]",
            "bpf_trace_run2",
            "__bpf_trace_mm_page_free",
            "__traceiter_mm_page_free",
        ),
        ("0xffffffffc0001234", "bpf_trace_run2"),
        ("bpf_prog_0123456789abcdef_hold_bulk [bpf]", "0xffffffffc045c0c8"),
        ("0xffffffffc045c0c8",),
        (),
    ],
)
def test_the_tracing_machinery_is_left_out(machinery: tuple[str, ...]) -> None:
    assert without_tracing_frames((*machinery, *BALLOON)) == BALLOON


def test_what_has_no_name_may_have_freed() -> None:
    frames = ("0xffffffffc0801234", "kthread")
    assert without_tracing_frames(("bpf_trace_run2", *frames)) == frames


def test_bpf_further_out_is_who_freed() -> None:
    outer = ("kfree",) * 9 + ("bpf_prog_0123456789abcde0_other [bpf]",)
    assert without_tracing_frames(("bpf_trace_run2", *outer)) == outer


def test_the_kernel_loading_a_program_is_who_freed() -> None:
    loading = ("free_frozen_pages", "vfree", "bpf_prog_realloc", "bpf_prog_load", "__sys_bpf")
    assert without_tracing_frames(("bpf_trace_run2", *loading)) == loading


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (BALLOON, "release_pages_balloon [virtio_balloon]"),
        (("free_unref_page.isra.0", "zs_free", "x"), "zs_free"),
        (("__free_pages_ok", "compaction_free"), "compaction_free"),
        (("free_pages",), "free_pages"),
        (LOST, "[stack lost]"),
        ((), ""),
    ],
)
def test_the_caller_is_the_first_outside_of_the_freeing_path(
    frames: tuple[str, ...], expected: str
) -> None:
    assert caller(frames) == expected


def test_a_stack_is_read_and_named_once() -> None:
    asked: list[int] = []

    def addresses(number: int) -> list[int]:
        asked.append(number)
        return [10, 20]

    stacks = Stacks(addresses, str)
    assert stacks.frames(3) == stacks.frames(3) == ("10", "20")
    assert asked == [3]
    assert stacks.frames(-1) == LOST


@pytest.mark.parametrize("name", ["0xffffffffc0801234", "bpf_trampoline_6442513671"])
def test_a_caller_that_was_found_by_itself_is_not_a_frame_of_tracing(name: str) -> None:
    assert Stacks(lambda _: [10], lambda _: name).caller(5 << STACK_BITS) == name


class Kernel:
    """A drgn Program of three functions."""

    FUNCTIONS = (("_stext", 0x1000), ("zs_free", 0x1100), ("_etext", 0x2000))

    def symbol(self, which: str | int) -> Any:
        if isinstance(which, str):
            return SimpleNamespace(address=dict(self.FUNCTIONS)[which])
        if which < 0x1100:
            raise LookupError
        return SimpleNamespace(name="zs_free")


@pytest.fixture
def kallsyms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Functions of the kernel, of a BPF program and of one module; that is in `modules` beside."""
    kallsyms, modules = tmp_path / "kallsyms", tmp_path / "modules"
    modules.write_text("zram 40960 0 - Live 0x00000000c0000000\n")
    monkeypatch.setattr(symbolizer_module, "_MODULES", modules)
    kallsyms.write_text(
        "0000000000001100 T zs_free\n00000000b0000000 t bpf_prog_1\t[bpf]\n"
        "00000000c0000100 t slot_free\t[zram]\n"
    )
    monkeypatch.setattr(symbolizer_module, "_KALLSYMS", kallsyms)
    return kallsyms


def test_functions_of_modules_are_named_even_when_loaded_later(kallsyms: Path) -> None:
    modules = kallsyms.with_name("modules")
    symbolizer = Symbolizer(cast("Any", Kernel()))
    assert symbolizer.name(0x1180) == "zs_free"
    assert symbolizer.name(0x1050) == "0x104f"
    assert symbolizer.name(0xC0000200) == "slot_free [zram]"
    # A call at the very end of a function returns to the first byte of the next one.
    assert symbolizer.name(0xC0000100) == "0xc00000ff"
    with kallsyms.open("a") as file:
        file.write("00000000c0001000 t late\t[other]\n")
    with modules.open("a") as file:
        file.write("other 40960 0 - Live 0x00000000c0001000\n")
    assert symbolizer.name(0xC0001090) == "late [other]"


def test_functions_of_a_module_that_was_unloaded_keep_their_names(kallsyms: Path) -> None:
    symbolizer = Symbolizer(cast("Any", Kernel()))
    kallsyms.write_text("00000000b8000000 t balloon_exit\t[virtio_balloon]\n")
    kallsyms.with_name("modules").write_text("virtio_balloon 20480 0 - Live 0x00000000b8000000\n")
    assert symbolizer.name(0xC0000200) == "slot_free [zram]"
    assert symbolizer.name(0xB8000090) == "balloon_exit [virtio_balloon]"


def test_what_no_known_module_has_is_no_function_of_the_one_before(kallsyms: Path) -> None:
    symbolizer = Symbolizer(cast("Any", Kernel()))
    assert symbolizer.name(0xC0009FFF) == "slot_free [zram]"
    assert symbolizer.name(0xC000A001) == "0xc000a000"
    assert symbolizer.name(0xB0000100) == "bpf_prog_1 [bpf]"
    assert symbolizer.name(0xB0100000) == "0xb00fffff"


def test_a_kernel_without_modules_has_bpf_programs(kallsyms: Path) -> None:
    kallsyms.with_name("modules").unlink()
    symbolizer = Symbolizer(cast("Any", Kernel()))
    assert symbolizer.name(0xB0000100) == "bpf_prog_1 [bpf]"
