# SPDX-License-Identifier: GPL-2.0-only
"""Which pages a core was to have and has: kdumps, ELF cores and flattened ones made by hand."""

import itertools
import os
import shlex
from pathlib import Path

import pytest
from dump_builder import BLOCK, DESCRIPTOR, INCOMPLETE, Kdump
from elf_builder import elf, note, segment
from kdump_builder import flat

from pageinspect.errors import Exit, PageInspectError
from pageinspect.model.elf import LOAD, NOTE
from pageinspect.model.presence import PfnSet, Presence
from pageinspect.target.core_formats import kdump as kdump_format
from pageinspect.target.core_formats.presence import UnknownPresenceError, read_presence

PAGES = {pfn: os.urandom(BLOCK) for pfn in (3, 4, 5, 64, 100, 101, 900)}
LEFT_OUT = (6, 7, 65, 1023)


def read(folder: Path, content: bytes) -> Presence:
    path = folder / "core"
    path.write_bytes(content)
    return read_presence(path)


def pfns(found: PfnSet) -> list[int]:
    return [pfn for start, end in found.ranges() for pfn in range(start, end)]


def kdump(**fields: object) -> Kdump:
    return Kdump(PAGES, dumpable=LEFT_OUT, level=31, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_flat", [False, True])
def test_both_bitmaps_and_the_level_of_a_kdump(tmp_path: Path, is_flat: bool) -> None:
    content = kdump().make()
    if is_flat:
        # In pieces of all sizes, and with a piece that is overwritten.
        cuts = [0, 100, BLOCK + 10, 3 * BLOCK, 3 * BLOCK + 1, 4 * BLOCK + 7, len(content)]
        pieces = [(a, content[a:b]) for a, b in itertools.pairwise(cuts)]
        content = flat((3 * BLOCK, b"\xff" * 2 * BLOCK), *reversed(pieces))
    found = read(tmp_path, content)
    assert (found.form, found.level, found.state) == ("kdump", 31, "whole")
    assert pfns(found.dumpable) == sorted((*PAGES, *LEFT_OUT))
    assert pfns(found.kept) == pfns(found.present) == sorted(PAGES)


def test_a_kdump_from_the_first_pfn_to_the_last(tmp_path: Path) -> None:
    last = 8 * BLOCK - 1
    found = read(tmp_path, Kdump({0: PAGES[3], last: PAGES[4]}, pfns=last + 1).make())
    assert pfns(found.kept) == pfns(found.dumpable) == [0, last]


@pytest.mark.parametrize("is_flat", [False, True])
def test_a_kdump_that_is_cut_off(tmp_path: Path, is_flat: bool) -> None:
    dump = kdump()
    content = dump.make()
    end = dump.places[100][0] + 10
    if is_flat:
        whole = flat((0, content[: 5 * BLOCK]), (5 * BLOCK, content[5 * BLOCK :]))
        content, end = whole, end + BLOCK + 32
    found = read(tmp_path, content[:end])
    assert found.state == "cut off"
    assert pfns(found.kept) == sorted(PAGES)
    assert pfns(found.present) == [3, 4, 5, 64]


def test_a_kdump_that_makedumpfile_calls_incomplete(tmp_path: Path) -> None:
    content = bytearray(kdump(status=INCOMPLETE).make())
    end = 5 * BLOCK + DESCRIPTOR.size * len(PAGES)
    content[end - 3 * DESCRIPTOR.size : end] = bytes(3 * DESCRIPTOR.size)
    found = read(tmp_path, bytes(content))
    assert found.state == "incomplete"
    assert pfns(found.present) == [3, 4, 5, 64]


def test_contents_without_a_size_are_not_there(tmp_path: Path) -> None:
    content = bytearray(kdump().make())
    at = 5 * BLOCK + DESCRIPTOR.size
    content[at : at + DESCRIPTOR.size] = bytes(DESCRIPTOR.size)
    found = read(tmp_path, bytes(content))
    assert found.state == "whole"
    assert 4 in pfns(found.kept)
    assert pfns(found.present) == [3, 5, 64, 100, 101, 900]


def test_a_kdump_with_one_bitmap(tmp_path: Path) -> None:
    # As many pfns as need both blocks.
    with pytest.raises(UnknownPresenceError) as error:
        read(tmp_path, Kdump(PAGES, pfns=8 * BLOCK + 1).make())
    assert error.value.exit_code == Exit.INCOMPLETE


def load(first: int, held: int, size: int, at: int = BLOCK) -> bytes:
    return segment(LOAD, at, first, held, size)


def test_segments_of_an_elf_core_and_their_gaps(tmp_path: Path) -> None:
    segments = (
        load(0x10000, 2 * BLOCK, 6 * BLOCK),
        # Overlaps it, and has bytes of what that omits.
        load(0x14000, BLOCK, BLOCK),
        # Bytes of parts of two pages, neither of which is memory as a whole.
        load(0x20800, BLOCK, BLOCK),
        # Of no physical memory.
        load((1 << 64) - 1, BLOCK, BLOCK),
        load(0x30000, 0, 2 * BLOCK, at=1 << 62),
    )
    found = read(tmp_path, elf(*segments).ljust(4 * BLOCK, b"\0"))
    assert (found.form, found.level, found.state) == ("elf", None, "whole")
    assert pfns(found.dumpable) == [*range(0x10, 0x16), 0x30, 0x31]
    assert pfns(found.kept) == pfns(found.present) == [0x10, 0x11, 0x14]


def test_segments_that_meet_within_a_page(tmp_path: Path) -> None:
    # /proc/iomem has a resource more where the boot loader passes data.
    segments = (
        load(0x10000, BLOCK + 0x18, BLOCK + 0x18),
        load(0x11018, BLOCK - 0x18, BLOCK - 0x18, at=2 * BLOCK + 0x18),
    )
    found = read(tmp_path, elf(*segments).ljust(4 * BLOCK, b"\0"))
    assert pfns(found.dumpable) == pfns(found.present) == [0x10, 0x11]


def test_an_elf_core_that_is_cut_off(tmp_path: Path) -> None:
    content = elf(load(0x10000, 4 * BLOCK, 4 * BLOCK), load(0x20000, BLOCK, BLOCK, at=9 * BLOCK))
    found = read(tmp_path, content.ljust(3 * BLOCK + 5, b"\0"))
    assert found.state == "cut off"
    assert pfns(found.kept) == [0x10, 0x11, 0x12, 0x13, 0x20]
    assert pfns(found.present) == [0x10, 0x11]


def test_an_elf_core_that_makedumpfile_calls_incomplete(tmp_path: Path) -> None:
    content = elf(load(0x10000, BLOCK, BLOCK), flags=1)
    assert read(tmp_path, content.ljust(2 * BLOCK, b"\0")).state == "incomplete"


def test_what_shows_that_makedumpfile_wrote_a_core(tmp_path: Path) -> None:
    def written_by_it(content: bytes) -> bool:
        return read(tmp_path, content).by_makedumpfile

    # One that lacks pages of a segment is no proof.
    part = load(0x10000, BLOCK, 2 * BLOCK)
    plain = elf(part).ljust(2 * BLOCK, b"\0")
    assert not written_by_it(plain)
    assert written_by_it(flat((0, plain)))
    assert written_by_it(elf(part, flags=1).ljust(2 * BLOCK, b"\0"))
    for name, has in ((b"ERASEINFO", True), (b"QEMU", False)):
        text = note(name, b"text")
        content = elf(segment(NOTE, BLOCK, 0, len(text)), load(0x10000, BLOCK, BLOCK, 2 * BLOCK))
        assert written_by_it(content.ljust(BLOCK, b"\0") + text.ljust(2 * BLOCK, b"\0")) == has
    content = bytearray(kdump().make())
    assert written_by_it(content)
    # QEMU.
    content[12 : 12 + 4 * 65] = bytes(4 * 65)
    assert not written_by_it(content)


def test_a_flattened_elf_core(tmp_path: Path) -> None:
    # makedumpfile writes the headers last.
    content = elf(load(0x10000, 2 * BLOCK, 4 * BLOCK))
    pieces = ((BLOCK, bytes(2 * BLOCK)), (0, content))
    found = read(tmp_path, flat(*pieces))
    assert found.state == "whole"
    assert pfns(found.dumpable) == [0x10, 0x11, 0x12, 0x13]
    assert pfns(found.present) == [0x10, 0x11]
    assert read(tmp_path, flat(*pieces, end=False)).state == "cut off"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text" * 4096,
        # A core of a process.
        elf(segment(LOAD, BLOCK, 0, BLOCK, virtual=0x400000)).ljust(2 * BLOCK, b"\0"),
        kdump().make()[: 4 * BLOCK],
        b"makedumpfile",
    ],
)
def test_what_does_not_show_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnknownPresenceError, match="cannot be found") as error:
        read(tmp_path, content)
    assert error.value.exit_code == Exit.INCOMPLETE


@pytest.mark.parametrize("offset", [-5, 1 << 62, (1 << 63) - 1])
def test_pieces_at_invalid_places(tmp_path: Path, offset: int) -> None:
    with pytest.raises(UnknownPresenceError, match="a piece with an invalid offset or size"):
        read(tmp_path, flat((offset, b"x")))


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    # To open the pipe would wait for ever.
    for name in ("core", "pipe"):
        with pytest.raises(UnknownPresenceError, match="is not a regular file"):
            read_presence(tmp_path / name)


def test_many_runs_of_pages_without_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages between them whose contents are there, as those of zero pages are, are not lost.
    monkeypatch.setattr(kdump_format, "_MAX_RUNS", 2)
    monkeypatch.setattr(kdump_format, "_BITMAP_PIECE", 8)
    made = Kdump({pfn: os.urandom(BLOCK) for pfn in (*range(0, 200, 2), *range(1, 9, 2))})
    content = made.make()
    found = read(tmp_path, content[: made.places[1][0]])
    assert pfns(found.present) == [*range(0, 200, 2)]
    # Runs that meet at the end of a piece of the bitmap are one.
    adjacent = Kdump({pfn: bytes(BLOCK) for pfn in range(200)})
    end = len(adjacent.make()) - sum(size for _, size in adjacent.places.values())
    (tmp_path / "core").write_bytes(adjacent.make()[:end])
    with (tmp_path / "core").open("rb") as file:
        header = kdump_format.parse(file.read(kdump_format.HEADER_BYTES))
        assert header is not None
        there = kdump_format.present_bytes([(0, end)])
        assert kdump_format.unreadable(file, header, there).edges.tolist() == [0, 200]


EDGES = (0, 100, 600, 1024)


def split(folder: Path) -> list[Path]:
    """Write the parts of two dumps."""
    parts = [folder / name for name in ("z", "a b", "m")]
    for path, part in zip(parts, itertools.pairwise(EDGES), strict=True):
        path.write_bytes(kdump(part=part).make())
    content = kdump(part=(300, 400)).make()
    other = bytearray(content)
    other[12:17] = b"Linux"[::-1]
    (folder / "of another kernel").write_bytes(other)
    # The same kernel, another boot.
    changed = content.replace(b"KERNELOFFSET=", b"KERNELOFFSET=1")[: len(content)]
    assert changed != content
    (folder / "of another boot").write_bytes(changed)
    (folder / "whole").write_bytes(kdump().make())
    (folder / "text").write_bytes(b"text")
    (folder / "cut off").write_bytes(parts[0].read_bytes()[:100])
    (folder / "folder").mkdir()
    return parts


def hint_of(path: Path) -> str:
    with pytest.raises(PageInspectError, match="one part of a split dump") as error:
        read_presence(path)
    return error.value.hint


def test_the_command_that_joins_the_parts(tmp_path: Path) -> None:
    first, second, last = split(tmp_path)
    # To open it would wait for ever.
    os.mkfifo(tmp_path / "pipe")
    copy = tmp_path / "zz"
    copy.write_bytes(last.read_bytes())
    for part in (first, second, last):
        assert hint_of(part) == (
            f"join all of them first: makedumpfile --reassemble {first} '{second}' {last} CORE"
        )
    assert f"'{second}' {copy} CORE" in hint_of(copy)


def test_a_last_part_without_pages(tmp_path: Path) -> None:
    first, second, last = split(tmp_path)
    empty = tmp_path / "zzz"
    empty.write_bytes(kdump(part=(1024, 1024)).make())
    assert hint_of(first).endswith(f"{first} '{second}' {last} {empty} CORE")


@pytest.mark.parametrize(
    ("missing", "pfns"),
    [
        ((0,), "0x0-0x64"),
        ((1,), "0x64-0x258"),
        # makedumpfile would join these, and the dump would end early.
        ((2,), "0x258-0x400"),
        ((1, 2), "0x64-0x400"),
        ((0, 2), "0x0-0x64, 0x258-0x400"),
    ],
)
def test_parts_that_are_missing(tmp_path: Path, missing: tuple[int, ...], pfns: str) -> None:
    parts = split(tmp_path)
    for i in missing:
        parts[i].unlink()
    left = [part for i, part in enumerate(parts) if i not in missing]
    assert hint_of(left[-1]) == (
        f"no part in this folder has the pfns {pfns}; find it, and join all of them: "
        f"makedumpfile --reassemble {shlex.join(map(str, left))} … CORE"
    )


def test_many_parts_that_are_missing(tmp_path: Path) -> None:
    for start in range(100, 700, 100):
        path = tmp_path / str(start)
        path.write_bytes(kdump(part=(start, start + 50)).make())
    assert ", 0x15e-0x190 and 3 more; find" in hint_of(path)
