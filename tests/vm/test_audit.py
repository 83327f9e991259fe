# SPDX-License-Identifier: GPL-2.0-only
"""What a filtered dump of a guest has lost, against the dump of level 0 of the same moment.

Which pages a dump has is read here from its bitmaps, and which of them a level excludes from
/proc/kpageflags, that the guest's own kernel wrote.
"""

import itertools
import json
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from owned_guest import Owned, pageinspect

from pageinspect.errors import Exit
from pageinspect.model.kpageflags import Kpf

# Which pages a dump has is the same question for every kernel, but where a test says more.
pytestmark = pytest.mark.kernels("newest")

LEVELS = (0, 1, 2, 4, 8, 16, 31)
CACHE, USER, FREE = 2 | 4, 8, 16
BLOCK = 4096
KNOWN_TAILS = "OFFSET(page.compound_head)"
"""A line of VMCOREINFO of kernels whose tails makedumpfile 1.7.6 knows."""

Mask = npt.NDArray[np.bool_]


def bitmaps(core: Path) -> tuple[Mask, Mask]:
    """Return the pages that there were to dump, and those that are in the file, by pfn."""
    with core.open("rb") as file:
        header = file.read(2 * BLOCK)
        _, sub_blocks, blocks = struct.unpack_from("<iiI", header, 428)
        (pfns,) = struct.unpack_from("<Q", header, BLOCK + 96)
        file.seek((1 + sub_blocks) * BLOCK)
        both = np.frombuffer(file.read(blocks * BLOCK), np.uint8).reshape(2, -1)
    first, second = np.unpackbits(both, axis=1, bitorder="little")[:, :pfns].astype(np.bool_)
    return first, second


def pages_beyond_the_end(core: Path) -> list[int]:
    """Return the pages whose contents end behind the end of the file, by their descriptors."""
    _, kept = bitmaps(core)
    with core.open("rb") as file:
        _, sub_blocks, blocks = struct.unpack_from("<iiI", file.read(BLOCK), 428)
        file.seek((1 + sub_blocks + blocks) * BLOCK)
        fields = np.dtype([("offset", "<u8"), ("size", "<u4"), ("rest", "V12")])
        table = np.frombuffer(file.read(int(kept.sum()) * fields.itemsize), fields)
    ends = table["offset"] + table["size"]
    found: list[int] = np.flatnonzero(kept)[ends > core.stat().st_size].tolist()
    return found


def audited(core: Path, *options: object) -> tuple[int, dict[str, Any]]:
    done = pageinspect("audit", "-c", core, *options, "--format", "json")
    assert done.returncode in {0, 3, 4}, done.stderr
    return done.returncode, json.loads(done.stdout)


def lost_of(answer: dict[str, Any], pfns: int) -> Mask:
    lost = np.zeros(pfns, np.bool_)
    for row in answer["ranges"]:
        lost[row["start"] : row["end"]] = True
        assert row["end"] - row["start"] == row["pages"]
    return lost


def excluded(owned: Owned, level: int, pfns: int) -> Mask:
    """Return which pages a level excludes, by the flags of the guest's own kernel."""
    words = owned.pages_of("kpageflags")[:pfns]

    def has(*flags: Kpf) -> Mask:
        found: Mask = (words & np.uint64(sum(1 << flag for flag in flags))) != 0
        return found

    anon = has(Kpf.ANON) & ~has(Kpf.SLAB)
    found = has(Kpf.HWPOISON, Kpf.OFFLINE)
    if level & CACHE:
        found |= has(Kpf.LRU, Kpf.SWAPCACHE) & ~anon
    if level & USER:
        found |= anon | has(Kpf.HUGE)
    if level & FREE:
        found |= has(Kpf.BUDDY)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_lost_pages_are_those_that_no_rule_excludes(owned: Owned, level: int) -> None:
    core = owned.refiltered(level)
    status, answer = audited(core)
    dumpable, present = bitmaps(core)
    _, there_at_0 = bitmaps(owned.core)
    absent, lost = dumpable & ~present, lost_of(answer, len(present))
    stayed = owned.stayed[: len(present)]
    assert not (lost & ~absent).any()
    assert not (lost & ~there_at_0).any()
    differ = stayed & (absent & ~excluded(owned, level, len(present)) ^ lost)
    assert np.flatnonzero(differ).tolist() == []
    assert status == (Exit.FINDING if lost.any() else Exit.COMPLETE)
    assert answer["level"] == level
    total = answer["total"]
    assert (total["absent"], total["lost"]) == (int(absent.sum()), int(lost.sum()))
    assert total["present"] == int(present.sum())


def test_rows_add_up_to_the_pages_of_owners(owned: Owned) -> None:
    # At this level no page of the kernel is missing from any dump.
    _, answer = audited(owned.refiltered(2))
    kinds: Counter[str] = Counter()
    for row in answer["rows"]:
        fates = [n for key, n in row.items() if key not in {"use", "kind", "pages", "absent"}]
        assert sum(fates) == row["pages"]
        kinds[row["kind"]] += row["pages"]
    assert kinds == owned.kinds


@pytest.mark.kernels("newest", "6.1")
def test_a_makedumpfile_that_does_not_know_tails_loses_kernel_pages(owned: Owned) -> None:
    status, answer = audited(owned.refiltered(31))
    lost = Counter[str]()
    for row in answer["lost"]:
        lost[row["use"]] += row["pages"]
        edges = [pfn for run in row["pfns"] for pfn in (run["start"], run["end"])]
        assert edges == sorted(set(edges))
        assert sum(run["end"] - run["start"] for run in row["pfns"]) == min(row["pages"], 10)
    if f"{KNOWN_TAILS}=" in vmcoreinfo(owned.core):
        assert (status, lost) == (Exit.COMPLETE, Counter())
        return
    assert status == Exit.FINDING
    assert lost["slab"] > 100
    assert lost["large_kmalloc"] > 0
    assert any("f50c015" in remedy and "-d 23" in remedy for remedy in answer["remedies"])
    # Without level 8 the same makedumpfile keeps them.
    assert audited(owned.refiltered(23))[0] == Exit.COMPLETE


def vmcoreinfo(core: Path) -> str:
    with core.open("rb") as file:
        header = file.read(2 * BLOCK)
        offset, size = struct.unpack_from("<QQ", header, BLOCK + 32)
        file.seek(offset)
        return file.read(size).decode()


def test_other_commands_point_to_audit(owned: Owned) -> None:
    core = owned.refiltered(31)
    has_lost = audited(core)[0] == Exit.FINDING
    others = ["owners"], ["processes"], ["check"], ["contiguity"], ["summary", "--by", "owner"]
    for command in (*others, ["contiguity", "--for", "hugepage"]):
        done = pageinspect(*command, "-c", core, "--format", "json")
        missing = json.loads(done.stdout)["coverage"].get("missing", [])
        points = [text for text in missing if "pageinspect audit" in text]
        assert len(points) == int(bool(missing) and has_lost), command
    assert has_lost or "pageinspect audit" not in json.dumps(owned.said_by("owners"))


def test_a_flattened_dump_says_the_same(owned: Owned, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.write_bytes(owned.makedumpfile("-F", "-l", "-d", 31, owned.core))
    status, answer = audited(flat)
    expected_status, expected = audited(owned.refiltered(31))
    answer["kernel"].pop("notes", None)
    expected["kernel"].pop("notes", None)
    assert (status, answer) == (expected_status, expected)
    flat.unlink()


def test_a_truncated_dump_has_lost_pages(owned: Owned, tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(owned.refiltered(31).read_bytes()[:-4_000_000])
    done = pageinspect("audit", "-c", core, "--format", "json")
    assert done.returncode == Exit.FINDING
    assert "is cut off" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["state"] == "cut off"
    _, kept = bitmaps(core)
    lost = lost_of(answer, len(kept))
    assert np.flatnonzero(lost & kept).tolist() == pages_beyond_the_end(core)
    assert answer["causes"]["cut_off"] == int((lost & kept).sum()) > 0
    assert answer["causes"]["excluded"] == int((lost & ~kept).sum())
    # The memory map may be in the last pages of memory: then it is said.
    missing = " ".join(answer["coverage"].get("missing", []))
    assert answer["coverage"]["read"] or "cannot be found" in missing or "is missing" in missing
    core.unlink()


def test_an_elf_core_with_a_segment_that_has_no_bytes(owned: Owned, tmp_path: Path) -> None:
    core = elf_without(owned, tmp_path / "elf", slab_run(owned))
    start, end = slab_run(owned)
    for level, fate, status in ((0, "lost", Exit.FINDING), (31, "undecided", Exit.INCOMPLETE)):
        found, answer = audited(core, "--dump-level", level)
        assert found == status
        (row,) = [row for row in answer["rows"] if row["use"] == "slab"]
        assert row[fate] == row["absent"] == end - start
    core.unlink()


def slab_run(owned: Owned) -> tuple[int, int]:
    """Return the longest range of slab pages, by the guest's own kernel."""
    slab = owned.stayed & ((owned.pages_of("kpageflags") & np.uint64(1 << Kpf.SLAB)) != 0)
    edges = np.flatnonzero(np.diff(slab.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    start, end = edges[np.argmax(edges[:, 1] - edges[:, 0])].tolist()
    return start, end


def elf_without(owned: Owned, path: Path, hole: tuple[int, int]) -> Path:
    """Write an ELF core of the same memory, in which these pages have no bytes in the file.

    The memory is read through drgn from the dump of level 0.
    """
    from drgn import Program

    from pageinspect.model.elf import HEADER, LOAD, NOTE, PROGRAM_HEADER
    from pageinspect.model.presence import PfnSet

    prog = Program()
    prog.set_core_dump(owned.core)
    text = vmcoreinfo(owned.core).encode()
    note = struct.pack("<III12s", 11, len(text), 0, b"VMCOREINFO") + text
    note += bytes(-len(note) % 4)
    dumpable, _ = bitmaps(owned.core)
    edges = np.flatnonzero(np.diff(dumpable.astype(np.int8), prepend=0, append=0))
    at, parts, rows = 16 * BLOCK, [], []
    for start, end in PfnSet(edges).ranges():
        cuts = sorted({start, end, *(pfn for pfn in hole if start < pfn < end)})
        for low, high in itertools.pairwise(cuts):
            size, held = (high - low) * BLOCK, 0 if (low, high) == hole else (high - low) * BLOCK
            rows.append((LOAD, 7, at, 0, low * BLOCK, held, size, 0))
            parts.append((at, low, high if held else low))
            at += held
    headers = [(NOTE, 0, 8 * BLOCK, 0, 0, len(note), len(note), 0), *rows]
    ident = b"\x7fELF\2\1\1"
    sizes = (HEADER.size, PROGRAM_HEADER.size, len(headers), 0, 0, 0)
    with path.open("wb") as file:
        file.write(HEADER.pack(ident, 4, 62, 1, 0, HEADER.size, 0, 0, *sizes))
        file.write(b"".join(PROGRAM_HEADER.pack(*row) for row in headers))
        file.seek(8 * BLOCK)
        file.write(note)
        for place, low, high in parts:
            for pfn in range(low, high, 256):
                n = min(256, high - pfn)
                data = prog.read(pfn * BLOCK, n * BLOCK, physical=True)
                if data.count(0) < len(data):
                    os.pwrite(file.fileno(), data, place + (pfn - low) * BLOCK)
        file.truncate(at)
    return path
