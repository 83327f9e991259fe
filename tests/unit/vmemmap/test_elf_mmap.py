# SPDX-License-Identifier: GPL-2.0-only
"""Struct pages out of a mapped ELF file, on page tables made by hand."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drgn import Architecture, FaultError, Platform, Program
from elf_machine import HIGH, LAYOUT, LEAF, LOW, PAGE, PFNS, PMD, PTE, PUD, ROOT, VMEMMAP, Machine
from smaps import resident

from pageinspect.target.core_formats.elf import held_segments
from pageinspect.target.page_tables import PageTables
from pageinspect.vmemmap.elf_mmap import map_vmemmap


@pytest.mark.parametrize("gap", [0, 0x4D8, 0x4DC, 3])
def test_words_are_those_the_page_tables_say(tmp_path: Path, gap: int) -> None:
    machine = Machine(tmp_path, gap)
    mapped = machine.mapped()
    expected = b"".join(machine.leaf(i) for i in range(3))
    for first, n in (
        (0, PFNS),
        (PFNS, PFNS),
        (2 * PFNS, PFNS),
        (0, 3 * PFNS),
        (5, 7),
        (PFNS - 3, 70),
    ):
        words = mapped.read(first, n)
        assert words is not None
        assert words.shape == (n, 8)
        assert words.flags.aligned
        assert words.tobytes() == expected[64 * first : 64 * (first + n)]


def test_a_leaf_is_a_view_of_the_file(tmp_path: Path) -> None:
    words = Machine(tmp_path).mapped().read(0, PFNS)
    assert words is not None
    assert not words.flags.owndata
    assert not words.flags.writeable


def test_what_is_given_back_takes_no_memory_and_is_there_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    mapped = machine.mapped()
    words = mapped.read(0, PFNS)
    assert words is not None
    expected = words.tobytes()
    assert resident(machine.path)["r--s"] >= LEAF
    mapped.drop_cached_pages()
    assert resident(machine.path) == {"r--s": 0}
    assert words.tobytes() == expected


def test_huge_leaves_and_five_levels(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.entry(PUD, VMEMMAP >> 30 & 511, 0x81)
    words = machine.mapped().read(PFNS, PFNS)
    assert words is not None
    assert words.tobytes() == machine.low[LEAF : 2 * LEAF].tobytes()
    machine.entry(ROOT, VMEMMAP >> 39 & 511, 0)
    machine.entry(ROOT, VMEMMAP >> 48 & 511, 0x5001)
    machine.low[0x5000:0x6000] = 0
    machine.entry(0x5000, VMEMMAP >> 39 & 511, PUD | 1)
    info = {
        "SYMBOL(swapper_pg_dir)": f"{0xFFFFFFFF80000000 + ROOT:x}",
        "NUMBER(pgtable_l5_enabled)": "1",
    }
    prog: Any = machine
    mapped = map_vmemmap(prog, LAYOUT, info, machine.write())
    assert mapped is not None
    words = mapped.read(0, 100)
    assert words is not None
    assert words.tobytes() == machine.low[: 100 * 64].tobytes()


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("bit", [47, 51])
def test_memory_is_read_through_encrypted_page_tables(
    tmp_path: Path, levels: int, bit: int
) -> None:
    machine = Machine(tmp_path)
    expected = b"".join(machine.leaf(i) for i in range(3))
    info = {
        "SYMBOL(swapper_pg_dir)": f"{0xFFFFFFFF80000000 + 0x100000 + ROOT:x}",
        "NUMBER(phys_base)": f"{-0x100000}",
        "NUMBER(sme_mask)": f"{1 << bit}",
    }
    if levels == 5:
        machine.entry(ROOT, VMEMMAP >> 39 & 511, 0)
        machine.entry(ROOT, VMEMMAP >> 48 & 511, 0x5001)
        machine.low[0x5000:0x6000] = 0
        machine.entry(0x5000, VMEMMAP >> 39 & 511, PUD | 1)
        info["NUMBER(pgtable_l5_enabled)"] = "1"
    for table in (ROOT, PUD, PMD, PTE, *([0x5000] if levels == 5 else [])):
        entries = machine.low[table : table + PAGE].view(np.uint64)
        entries[entries & np.uint64(1) != 0] |= np.uint64(1 << bit)
    prog = Program(Platform(Architecture.X86_64))
    prog.add_memory_segment(0, LOW, lambda a, n, *_: machine.read(a, n, physical=True), True)
    prog.add_memory_segment(
        HIGH, 2 * LEAF, lambda a, n, *_: machine.high[a - HIGH : a - HIGH + n].tobytes(), True
    )
    tables = PageTables(prog, info)
    for start, size in ((0, 3 * LEAF), (5, 8), (LEAF - 3, 6), (2 * LEAF + 63 * PAGE, PAGE + 1)):
        found = tables.read(VMEMMAP + start, size, 0, False)
        assert found == expected[start : start + size]
    assert tables.physical(VMEMMAP + LEAF + 0x1234) == HIGH + LEAF + 0x1234
    for address in (VMEMMAP - 1, VMEMMAP + 3 * LEAF, VMEMMAP - (1 << 39)):
        with pytest.raises(FaultError, match="not mapped"):
            tables.read(address, 1, 0, False)
    with pytest.raises(FaultError, match="not mapped") as error:
        tables.read(VMEMMAP + 3 * LEAF - 8, 16, 0, False)
    assert error.value.address == VMEMMAP + 3 * LEAF


def test_what_is_not_there_is_asked_the_plain_way(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    mapped = machine.mapped()
    assert mapped.read(3 * PFNS, 1) is None
    assert mapped.read(3 * PFNS - 1, 2) is None
    machine.entry(PTE, 100, 0)
    assert machine.mapped().read(2 * PFNS, PFNS) is None
    assert machine.mapped().read(2 * PFNS, 64) is not None
    machine.entry(PMD, 0, (HIGH + 2 * LEAF) | 0x81)
    assert machine.mapped().read(0, 1) is None
    machine.entry(PMD, 2, (LOW + PAGE) | 1)
    assert machine.mapped().read(2 * PFNS, 1) is None


def test_a_file_cut_off_has_less(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    path = machine.write()
    os.truncate(path, path.stat().st_size - LEAF - 1)
    with path.open("rb") as file:
        low, high = held_segments(file)
    assert (low.start, low.size, high.start, high.size) == (0, LOW, HIGH, LEAF - 1)
    info = {"SYMBOL(swapper_pg_dir)": f"{0xFFFFFFFF80000000 + ROOT:x}"}
    prog: Any = machine
    mapped = map_vmemmap(prog, LAYOUT, info, path)
    assert mapped is not None
    assert mapped.read(PFNS, 1) is None
    assert mapped.read(0, PFNS) is not None


def test_a_file_that_is_not_an_elf_core_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    prog: Any = None
    assert map_vmemmap(prog, LAYOUT, {}, path) is None
    info = {"SYMBOL(swapper_pg_dir)": "0"}
    assert map_vmemmap(prog, LAYOUT, info, path) is None
    for content in (b"", b"KDUMP   " * 100, b"\x7fELF\x02\x01" + bytes(100)):
        path.write_bytes(content)
        assert map_vmemmap(prog, LAYOUT, info, path) is None
