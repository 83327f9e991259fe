# SPDX-License-Identifier: GPL-2.0-only
"""The walk of many mms' page tables, against tables made by hand and a slow reader."""

import contextlib
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from drgn import Program, TypeMember
from hypothesis import given
from hypothesis import strategies as st
from page_table_builder import (
    HUGE,
    PRESENT,
    SPECIAL,
    TABLE,
    PhysicalMemory,
    prot_none,
    swap,
)
from synthetic import MODERN, SIZE, VMEMMAP

from pageinspect.kernel import mm_tables
from pageinspect.kernel.mm_tables import MmTables
from pageinspect.model.mappings import EntryKind

ENCRYPTED = 1 << 51
GIB, MIB2 = 1 << 30, 2 << 20

SWAP_TYPES = np.full(32, EntryKind.SWAP, np.uint8)
SWAP_TYPES[24] = EntryKind.HWPOISON
SWAP_TYPES[25:28] = EntryKind.MIGRATION
SWAP_TYPES[28:30] = EntryKind.DEVICE_PRIVATE
SWAP_TYPES[30:] = EntryKind.DEVICE_EXCLUSIVE, EntryKind.MARKER
HWPOISON, MIGRATION, PRIVATE, EXCLUSIVE, MARKER = 24, 26, 28, 30, 31


class Leaf(NamedTuple):
    mm: int
    address: int
    pfn: int
    order: int
    kind: int
    swap_type: int


def walk(memory: PhysicalMemory, *roots: int, most: int = 1 << 20) -> MmTables:
    return MmTables(memory.program(), memory.vmcoreinfo, roots, SWAP_TYPES, most_tables=most)


def leaves(tables: MmTables) -> list[Leaf]:
    found = []
    for part in tables:
        columns = (part.mm, part.vpn << 12, part.pfn, part.order, part.kind, part.swap_type)
        found += [Leaf(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    return found


@pytest.mark.parametrize("encrypted", [0, ENCRYPTED])
@pytest.mark.parametrize(
    ("levels", "address"),
    [(4, 0), (4, 0x7FFF_FFFF_F000), (5, 0x7FFF_FFFF_F000), (5, 0x00FF_FFFF_FFFF_F000)],
)
def test_a_page_is_found_at_its_address(levels: int, address: int, encrypted: int) -> None:
    memory = PhysicalMemory(levels, encrypted)
    root = memory.table()
    way = memory.put(root, address, 0x12345 << 12 | PRESENT | encrypted | 1 << 63)
    tables = walk(memory, root)
    assert leaves(tables) == [Leaf(0, address, 0x12345, 0, EntryKind.MAPPED, 0)]
    assert [level.pfn.tolist() for level in tables.levels.values()] == [[pfn] for pfn in way]
    assert tables.accounted_bytes.tolist() == [3 * 4096]
    assert tables.whole.tolist() == [True]


@pytest.mark.parametrize(("shift", "order"), [(21, 9), (30, 18)])
@pytest.mark.parametrize("levels", [4, 5])
def test_huge_pages(levels: int, shift: int, order: int) -> None:
    memory = PhysicalMemory(levels)
    root = memory.table()
    # Bit 12 is a caching attribute there, and no part of the address.
    memory.put(root, 5 << shift, 3 << shift | 1 << 12 | HUGE | PRESENT, shift)
    memory.put(root, 6 << shift, 7 << shift | HUGE | PRESENT | SPECIAL, shift)
    pages = 1 << order
    assert leaves(walk(memory, root)) == [
        Leaf(0, 5 << shift, 3 * pages, order, EntryKind.MAPPED, 0),
        Leaf(0, 6 << shift, 7 * pages, order, EntryKind.SPECIAL, 0),
    ]


@pytest.mark.parametrize("encrypted", [0, ENCRYPTED])
def test_pages_that_nobody_may_access_are_mapped_and_inverted(encrypted: int) -> None:
    memory = PhysicalMemory(encrypted=encrypted)
    root = memory.table()
    memory.put(root, 0x1000, prot_none(0x4321, encrypted))
    memory.put(root, MIB2, prot_none(0x4400, encrypted) | HUGE, 21)
    # Of a huge page that is not present for a moment, this bit alone is left.
    memory.put(root, 2 * MIB2, prot_none(0x4600, encrypted) & ~(1 << 8) | HUGE, 21)
    memory.put(root, GIB, prot_none(0x80000, encrypted) | HUGE, 30)
    memory.put(root, 0x3000, prot_none(0x4322, encrypted) | SPECIAL)
    assert sorted(leaves(walk(memory, root))) == [
        Leaf(0, 0x1000, 0x4321, 0, EntryKind.MAPPED, 0),
        Leaf(0, 0x3000, 0x4322, 0, EntryKind.SPECIAL, 0),
        Leaf(0, MIB2, 0x4400, 9, EntryKind.MAPPED, 0),
        Leaf(0, 2 * MIB2, 0x4600, 9, EntryKind.MAPPED, 0),
        Leaf(0, GIB, 0x80000, 18, EntryKind.MAPPED, 0),
    ]


@pytest.mark.parametrize(
    ("swap_type", "kind"),
    [
        (0, EntryKind.SWAP),
        (23, EntryKind.SWAP),
        (HWPOISON, EntryKind.HWPOISON),
        (MIGRATION - 1, EntryKind.MIGRATION),
        (MIGRATION, EntryKind.MIGRATION),
        (PRIVATE, EntryKind.DEVICE_PRIVATE),
        (EXCLUSIVE, EntryKind.DEVICE_EXCLUSIVE),
        (MARKER, EntryKind.MARKER),
    ],
)
@pytest.mark.parametrize(("shift", "order"), [(12, 0), (21, 9), (30, 18)])
def test_swap_entries(swap_type: int, kind: int, shift: int, order: int) -> None:
    memory = PhysicalMemory()
    root = memory.table()
    # Soft-dirty, exclusive and userfaultfd bits are no part of an entry.
    memory.put(root, 1 << shift, swap(swap_type, 0x2345600) | 0xE, shift)
    assert leaves(walk(memory, root)) == [Leaf(0, 1 << shift, 0x2345600, order, kind, swap_type)]


def test_a_pfn_in_a_swap_entry_has_no_young_and_dirty_bits() -> None:
    for levels, bits in ((4, 34), (5, 40)):
        memory = PhysicalMemory(levels)
        root = memory.table()
        young_dirty = 3 << bits
        memory.put(root, 0x1000, swap(MIGRATION, young_dirty | 0x777))
        memory.put(root, 0x2000, swap(1, young_dirty | 0x777))
        assert [leaf.pfn for leaf in leaves(walk(memory, root))] == [0x777, young_dirty | 0x777]


def test_what_is_left_of_an_empty_entry_and_the_kernel_half_are_not_mapped() -> None:
    memory = PhysicalMemory()
    root = memory.table()
    memory.put(root, 0x1000, 1 << 5 | 1 << 6)
    memory.put(root, 0xFFFF_8000_0000_0000, 0x55 << 12 | PRESENT)
    tables = walk(memory, root)
    assert leaves(tables) == []
    assert tables.accounted_bytes.tolist() == [3 * 4096]


def test_a_table_that_two_mms_share_is_read_once_and_maps_for_both() -> None:
    memory = PhysicalMemory()
    roots = memory.table(), memory.table()
    way = memory.put(roots[0], GIB, 0x40000 << 12 | HUGE | PRESENT, 21)
    pmd = way[2]
    memory.put(roots[1], GIB, pmd << 12 | 0x67, 30)
    tables = walk(memory, *roots)
    memory.reads.clear()
    assert [leaf.mm for leaf in leaves(tables)] == [0, 1]
    assert sum(first <= pmd < first + n for first, n in memory.reads) == 1
    assert tables.accounted_bytes.tolist() == [2 * 4096] * 2
    pfns, owners = tables.table_pfns()
    assert pfns.tolist() == sorted({*roots, *way, *tables.levels["pud"].pfn.tolist()})
    assert dict(zip(pfns.tolist(), owners.tolist(), strict=True))[pmd] == 0


def test_what_cannot_be_read_is_missing_of_its_mm_alone() -> None:
    memory = PhysicalMemory()
    roots = [memory.table() for _ in range(3)]
    ways = [memory.put(root, 0x5000, (100 + i) << 12 | 1) for i, root in enumerate(roots)]
    memory.put(roots[1], MIB2 + 0x5000, 500 << 12 | 1)
    memory.lost = {ways[1][3], ways[2][1]}
    tables = walk(memory, *roots, -1)
    assert [(leaf.mm, leaf.pfn) for leaf in leaves(tables)] == [(0, 100), (1, 500)]
    assert tables.whole.tolist() == [True, False, False, False]
    assert -1 not in tables.table_pfns()[0].tolist()


@pytest.mark.parametrize("levels", [4, 5])
def test_a_table_that_refers_to_itself_does_not_multiply(levels: int) -> None:
    memory = PhysicalMemory(levels)
    sound, damaged = memory.table(), memory.table()
    memory.put(sound, 0x1000, 0x55 << 12 | PRESENT)
    memory.tables[damaged] = [damaged << 12 | TABLE] * 512
    found = walk(memory, damaged, sound)
    assert all(len(level) < 100 for level in found.levels.values())
    assert sum(len(part) for part in found) < 100 * 512
    assert found.whole.tolist() == [False, True]


def test_there_is_a_limit_of_tables_in_a_level() -> None:
    memory = PhysicalMemory()
    root = memory.table()
    for i in range(30):
        memory.put(root, i * MIB2, (1000 + i) << 12 | PRESENT)
    found = walk(memory, root, most=20)
    assert [len(level) for level in found.levels.values()] == [1, 1, 1, 20]
    assert len(leaves(found)) == 20
    assert found.whole.tolist() == [False]


def test_a_table_that_an_mm_uses_twice() -> None:
    memory = PhysicalMemory()
    root = memory.table()
    way = memory.put(root, 0x1000, 0x55 << 12 | PRESENT)
    memory.tables[way[1]][3] = memory.tables[way[1]][0]
    found = walk(memory, root)
    assert [leaf.address for leaf in leaves(found)] == [0x1000, 3 * GIB + 0x1000]
    assert found.whole.tolist() == [True]


def test_a_table_that_many_mms_share() -> None:
    memory = PhysicalMemory()
    roots = [memory.table() for _ in range(100)]
    way = memory.put(roots[0], 0x1000, 0x55 << 12 | PRESENT)
    for root in roots:
        memory.tables[root][0] = memory.tables[roots[0]][0]
    found = walk(memory, *roots)
    assert Counter(leaf.mm for leaf in leaves(found)) == Counter(range(100))
    assert found.whole.all()
    assert set(found.levels["pte"].pfn.tolist()) == {way[-1]}


def test_neighbours_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = PhysicalMemory()
    root = memory.table()
    for i in range(300):
        memory.put(root, i * MIB2, (1000 + i) << 12 | 1)
    tables = walk(memory, root)
    memory.reads.clear()
    whole = leaves(tables)
    assert len(whole) == 300
    assert max(n for _, n in memory.reads) >= 299
    assert len(memory.reads) <= 4
    monkeypatch.setattr(mm_tables, "_AT_ONCE", 7)
    assert leaves(walk(memory, root)) == whole


def deposits(
    memory: PhysicalMemory, first: dict[int, int], links: dict[int, int], name: str
) -> Program:
    """Return a Program in which tables of the PMD level have lists of tables, by their pfns."""
    prog = memory.program()
    words = np.zeros((0x800, SIZE // 8), np.uint64)
    for pmd, table in first.items():
        words[pmd, 2] = (VMEMMAP + table * SIZE) % (1 << 64)
    for table, following in links.items():
        words[table, 1] = VMEMMAP + following * SIZE + 8
    data = words.tobytes()
    prog.add_memory_segment(VMEMMAP, len(data), lambda _a, n, at, _p: data[at : at + n])
    pointer = prog.pointer_type(prog.void_type())
    list_head = prog.struct_type("list_head", 16, [TypeMember(pointer, "next")])
    link = "pt_list" if name == "ptdesc" else "lru"
    members = [TypeMember(list_head, link, 64), TypeMember(pointer, "pmd_huge_pte", 128)]
    made = prog.struct_type(name, SIZE, members)
    prog.register_type_finder(
        "test", lambda _p, _k, wanted, _f: made if wanted == name else None, enable_index=0
    )
    return prog


@pytest.mark.parametrize("name", ["ptdesc", "page"])
def test_tables_that_are_kept_back_for_huge_pages_count(name: str) -> None:
    memory = PhysicalMemory()
    roots = memory.table(), memory.table()
    ways = [memory.put(root, GIB, 0x40000 << 12 | HUGE | PRESENT, 21) for root in roots]
    links = {0x300: 0x301, 0x301: 0x302, 0x302: 0x300, 0x310: 0x310}
    first = {ways[0][2]: 0x301, ways[1][2]: 0x310}
    prog = deposits(memory, first, links, name)
    tables = MmTables(prog, memory.vmcoreinfo, roots, SWAP_TYPES, MODERN)
    assert tables.accounted_bytes.tolist() == [5 * 4096, 3 * 4096]
    pfns, owners = tables.table_pfns()
    mine = owners[np.searchsorted(pfns, [0x300, 0x301, 0x302, 0x310])]
    assert mine.tolist() == [0, 0, 0, 1]
    assert set(pfns.tolist()) == {*ways[0], *ways[1], *links}
    assert tables.whole.tolist() == [True, True]


@pytest.mark.parametrize(
    ("first", "links", "found"),
    [
        (0x300, {0x300: 0x301, 0x301: 0x301}, 2),
        (0x300, {pfn: pfn + 1 for pfn in range(0x300, 0x300 + 600)}, 512),
        (0x300, {0x300: 0x9999999}, 1),
        (0x9999999, {}, 0),
        (1 << 50, {}, 0),
    ],
)
def test_a_list_of_tables_that_is_damaged_ends(
    first: int, links: dict[int, int], found: int
) -> None:
    memory = PhysicalMemory()
    root = memory.table()
    way = memory.put(root, GIB, 0x40000 << 12 | HUGE | PRESENT, 21)
    prog = deposits(memory, {way[2]: first}, links, "ptdesc")
    tables = MmTables(prog, memory.vmcoreinfo, [root], SWAP_TYPES, MODERN)
    assert len(tables.levels["deposited"]) == found
    assert tables.whole.tolist() == [False]


def test_a_pfn_that_no_table_can_have() -> None:
    memory = PhysicalMemory()
    root = memory.table()
    way = memory.put(root, 0x1000, 0x55 << 12 | PRESENT)
    memory.tables[way[1]][5] = (1 << 51) | TABLE
    prog = deposits(memory, {}, {}, "ptdesc")
    found = MmTables(prog, memory.vmcoreinfo, [root], SWAP_TYPES, MODERN)
    assert [leaf.pfn for leaf in leaves(found)] == [0x55]
    assert found.whole.tolist() == [False]


def test_no_mms_and_an_mm_without_memory() -> None:
    memory = PhysicalMemory()
    assert leaves(walk(memory)) == []
    assert walk(memory).table_pfns()[0].tolist() == []
    tables = walk(memory, memory.table())
    assert leaves(tables) == []
    assert tables.accounted_bytes.tolist() == [0]


def expected(memory: PhysicalMemory, mm: int, root: int, encrypted: int, bits: int) -> list[Leaf]:
    """Decode leaf entries one by one, after arch/x86/include/asm/pgtable.h."""
    found = []
    for address, shift, word in memory.leaves(root):
        order = shift - 12
        present, flags = word & 1, word & 0xFFF
        if present or flags & (1 << 8) or (order and flags & HUGE):
            value = word if present else ~word
            frame = value & 0x000FFFFFFFFFF000 & ~encrypted & -(1 << shift)
            kind = EntryKind.SPECIAL if flags & SPECIAL else EntryKind.MAPPED
            found.append(Leaf(mm, address, frame >> 12, order, kind, 0))
        elif word & ~0x60:
            swap_type, offset = word >> 59, (~word & (1 << 59) - 1) >> 9
            kind = int(SWAP_TYPES[swap_type])
            if kind <= EntryKind.HWPOISON:
                offset &= (1 << bits) - 1
            found.append(Leaf(mm, address, offset, order, kind, swap_type))
    return found


ENTRY = st.one_of(
    st.builds(
        lambda pfn, low: pfn << 12 | low | PRESENT, st.integers(0, 1 << 30), st.integers(0, 4095)
    ),
    st.builds(prot_none, st.integers(1, 1 << 30)),
    st.builds(swap, st.integers(0, 31), st.integers(1, (1 << 42) - 1)),
    st.integers(0, (1 << 64) - 1),
)


@given(
    levels=st.sampled_from([4, 5]),
    encrypted=st.sampled_from([0, ENCRYPTED]),
    puts=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 3 << 19).map(lambda page: page << 12),
            ENTRY,
            st.sampled_from([12, 12, 12, 21, 30]),
        ),
        max_size=40,
    ),
)
def test_the_walk_finds_what_a_slow_reader_finds(
    levels: int, encrypted: int, puts: list[tuple[int, int, int, int]]
) -> None:
    memory = PhysicalMemory(levels, encrypted, first=1 << 33)
    roots = [memory.table() for _ in range(3)]
    for mm, address, entry, shift in puts:
        with contextlib.suppress(ValueError):
            memory.put(roots[mm], address, entry, shift)
    bits = int(memory.vmcoreinfo["NUMBER(MAX_PHYSMEM_BITS)"]) - 12
    slow = Counter(
        leaf
        for mm, root in enumerate(roots)
        for leaf in expected(memory, mm, root, encrypted, bits)
    )
    assert Counter(leaves(walk(memory, *roots))) == slow
