# SPDX-License-Identifier: GPL-2.0-only
"""Cores that are cut off or incomplete: what they lack is known, and never read as anything."""

import struct
from pathlib import Path

import elf_builder
import numpy as np
import pytest
from drgn import FaultError, Program
from dump_builder import BLOCK, DESCRIPTOR, INCOMPLETE, VMCOREINFO, Kdump

from pageinspect.errors import PageInspectError
from pageinspect.model.elf import LOAD
from pageinspect.target import core_formats
from pageinspect.target.core_formats import kdump
from pageinspect.target.core_formats.elf import held_segments
from pageinspect.target.core_memory import attach

PAGES = {pfn: np.random.default_rng(pfn).bytes(BLOCK) for pfn in (3, 4, 5, 64, 100, 101, 900)}
CONTENTS = 5 * BLOCK + DESCRIPTOR.size * len(PAGES)


def prepare(folder: Path, content: bytes) -> core_formats.PreparedCore:
    path = folder / "core"
    path.write_bytes(content)
    return core_formats.prepare(path)


def test_a_kdump_with_all_its_pages_is_opened_as_it_is(tmp_path: Path) -> None:
    assert prepare(tmp_path, Kdump(PAGES).make()) == core_formats.PreparedCore(tmp_path / "core")


@pytest.mark.parametrize("kept", [0, 1, 3, 6])
@pytest.mark.parametrize("of_next", [0, 1, 4000])
def test_pages_behind_the_end_are_absent(tmp_path: Path, kept: int, of_next: int) -> None:
    dump = Kdump(PAGES)
    content = dump.make()
    start, _ = dump.places[sorted(PAGES)[kept]]
    opened = prepare(tmp_path, content[: start + of_next])
    assert not opened.is_whole
    absent = [pfn for first, end in opened.absent for pfn in range(first, end)]
    assert absent == sorted(PAGES)[kept:]
    (note,) = opened.notes
    pages = f"{len(absent)} page{'' if len(absent) == 1 else 's'}"
    assert f"is cut off: the contents of {pages} of memory are missing" in note


def test_pages_lie_in_the_file_in_any_order(tmp_path: Path) -> None:
    dump = Kdump(dict(reversed(PAGES.items())))
    content = dump.make()
    opened = prepare(tmp_path, content[: dump.places[4][0] + 10])
    assert opened.absent == ((3, 5),)


def test_the_smallest_gaps_are_closed_where_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kdump, "_MAX_RUNS", 2)
    opened = prepare(tmp_path, Kdump(PAGES).make()[:CONTENTS])
    assert opened.absent == ((3, 102), (900, 901))


def test_descriptors_that_are_cut_off(tmp_path: Path) -> None:
    content = Kdump(PAGES).make()
    opened = prepare(tmp_path, content[: 5 * BLOCK + DESCRIPTOR.size * 2 + 7])
    assert opened.absent == ((3, 6), (64, 65), (100, 102), (900, 901))


@pytest.mark.parametrize("length", [10, 500, BLOCK, 2 * BLOCK, 3 * BLOCK, 5 * BLOCK - 1])
def test_headers_that_are_cut_off(tmp_path: Path, length: int) -> None:
    with pytest.raises(PageInspectError, match="is cut off in its") as error:
        prepare(tmp_path, Kdump(PAGES).make()[:length])
    assert "copy it again" in error.value.hint


def test_a_dump_that_makedumpfile_calls_incomplete(tmp_path: Path) -> None:
    content = bytearray(Kdump(PAGES, INCOMPLETE).make())
    # It had no room for the last three.
    content[CONTENTS - 3 * DESCRIPTOR.size : CONTENTS] = bytes(3 * DESCRIPTOR.size)
    opened = prepare(tmp_path, bytes(content))
    assert opened.absent == ((100, 102), (900, 901))
    (note,) = opened.notes
    assert "is incomplete (makedumpfile ran out of room" in note
    assert "3 pages" in note


def test_what_a_kdump_lacks_cannot_be_read(tmp_path: Path) -> None:
    dump = Kdump(PAGES)
    content = dump.make()
    # Behind a page of the file: what is mapped there of a file that ends before ends the process.
    start, size = dump.places[101]
    opened = prepare(tmp_path, content[: start + size - 1])
    prog = Program()
    attach(prog, opened, tmp_path / "core")
    for pfn, page in PAGES.items():
        if pfn < 101:
            assert prog.read(pfn * BLOCK, BLOCK, physical=True) == page
        else:
            with pytest.raises(FaultError, match="lacks this page"):
                prog.read(pfn * BLOCK + 8, 1, physical=True)
    assert prog.read(100 * BLOCK + 5, 7, physical=True) == PAGES[100][5:12]
    with pytest.raises(FaultError):
        prog.read(100 * BLOCK, 2 * BLOCK, physical=True)


def elf(*segments: tuple[int, int, int, int], size: int = 4 * BLOCK) -> bytes:
    """Return an ELF core of x86_64: (offset, physical, bytes in the file, bytes in memory)."""
    headers = elf_builder.elf(*(elf_builder.segment(LOAD, *part) for part in segments))
    body = b"".join(bytes([i]) * BLOCK for i in range(1, 5))
    return (headers.ljust(BLOCK, b"\0") + body)[: BLOCK + size]


def test_an_elf_core_that_is_cut_off_says_so(tmp_path: Path) -> None:
    whole = elf((BLOCK, 0, 4 * BLOCK, 4 * BLOCK))
    assert prepare(tmp_path, whole).notes == ()
    opened = prepare(tmp_path, whole[:-1])
    assert not opened.is_whole
    (note,) = opened.notes
    assert "is cut off: it has 20,479 of 20,480 bytes" in note


def test_an_elf_core_that_makedumpfile_marked_as_incomplete(tmp_path: Path) -> None:
    content = bytearray(elf((BLOCK, 0, 4 * BLOCK, 4 * BLOCK)))
    struct.pack_into("<I", content, 48, 1)  # DUMP_ELF_INCOMPLETE in e_flags
    opened = prepare(tmp_path, bytes(content))
    assert not opened.is_whole
    (note,) = opened.notes
    assert "is incomplete (makedumpfile ran out of room" in note


def test_more_segments_than_the_header_can_count(tmp_path: Path) -> None:
    content = bytearray(elf((BLOCK, 0, BLOCK, BLOCK)))
    struct.pack_into("<H", content, 56, 0xFFFF)
    struct.pack_into("<Q", content, 40, 2048)
    struct.pack_into("<I", content, 2048 + 44, 1)
    path = tmp_path / "core"
    path.write_bytes(content)
    with path.open("rb") as file:
        (segment,) = held_segments(file)
    assert (segment.start, segment.size, segment.offset) == (0, BLOCK, BLOCK)


@pytest.mark.parametrize("last", [True, False])
def test_a_segment_without_bytes_hides_none(tmp_path: Path, last: bool) -> None:
    held = [(BLOCK, BLOCK, BLOCK, BLOCK), (2 * BLOCK, 2 * BLOCK, BLOCK, BLOCK)]
    empty = [(0, 0, 0, 8 * BLOCK)]
    opened = prepare(tmp_path, elf(*(held + empty if last else empty + held)))
    prog = Program(vmcoreinfo=VMCOREINFO)
    attach(prog, opened, tmp_path / "core")
    assert prog.read(BLOCK, 2 * BLOCK, physical=True) == b"\1" * BLOCK + b"\2" * BLOCK
