# SPDX-License-Identifier: GPL-2.0-only
"""/proc/kpageflags and /proc/kpagecount of struct pages made by hand, by each kernel's rules."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from kpageflags_rules import DOUBLE_MAP, IDLE, LARGE_RMAPPABLE, NEWEST, SWAPCACHE
from synthetic import MODERN, OLD, SCHEMES, SIZE, Memory

from pageinspect.analysis.kpageflags import KpageColumns, Piece, entries, length, pieces
from pageinspect.classify import Pages
from pageinspect.errors import PageInspectError
from pageinspect.kernel.ksm_flag import ksm_by_code
from pageinspect.model.kpageflags import Kpf, Online, Rules
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap

LOCKED, ACTIVE, RESERVED = 1 << 0, 1 << 8, 1 << 13
SWAPBACKED, HWPOISON, LRU = 1 << 17, 1 << 20, 1 << 5
MINUS_ONE = 0xFFFFFFFF
NOTHING = 0xFFFFFFFFFFFFFFFF
# Every first tail of a folio that nobody maps.
UNMAPPED = 0xFFFFFFFF_FFFFFFFF
V6_12 = replace(NEWEST, types_by_head=False, ksm="any-anon", hole=1 << Kpf.NOPAGE)
V6_1 = replace(
    V6_12,
    by_folio=False,
    ksm="exact",
    large_rmappable=None,
    double_map=DOUBLE_MAP,
    idle=None,
    typed_below=-128,
)
# As 6.1 has it: nothing counts the mappings of a large folio's pages.
COUNTLESS = replace(OLD, large_mapcount=None, nr_pages_mapped=None)
V6_12_LAYOUT = replace(MODERN, scheme=SCHEMES["6.12"], resets=False, movable_tag=True)


def bits(*names: Kpf) -> int:
    return sum(1 << name for name in names)


def flags(memory: Memory, rules: Rules = NEWEST, **memory_map: int) -> list[int]:
    return KpageColumns(rules, _pages(memory, **memory_map)).flags().tolist()


def counts(memory: Memory, rules: Rules = NEWEST) -> list[int]:
    return KpageColumns(rules, memory.pages()).count().tolist()


def _pages(memory: Memory, **memory_map: int) -> Pages:
    pages = memory.pages()
    pages.memory_map = replace(pages.memory_map, **memory_map)
    return pages


def folio(order: int, layout: PageLayout = MODERN, n: int | None = None) -> Memory:
    """Return a compound page that is referenced and not mapped, heads' and tails' flags bare."""
    memory = Memory(n or 1 << order, layout).word(0, MINUS_ONE, 1)
    memory.set(1, 16, UNMAPPED).set(1, 24, UNMAPPED)
    if layout.order.offset == SIZE + 17:
        memory.set(1, 16, 0xFFFFFFFF_00000000)
    return memory.compound(0, order)


def test_nothing_set_is_nothing() -> None:
    assert flags(Memory(2)) == [0, 0]
    assert counts(Memory(2)) == [0, 0]


def test_flags_are_copied_from_the_folio_or_from_the_page_itself() -> None:
    memory = folio(1)
    memory.words[0, 0] |= np.uint64(LOCKED | RESERVED)
    memory.words[1, 0] |= np.uint64(ACTIVE)
    head, tail = bits(Kpf.COMPOUND_HEAD), bits(Kpf.COMPOUND_TAIL)
    copied = bits(Kpf.LOCKED, Kpf.RESERVED)
    assert flags(memory) == [head | copied, tail | copied]

    memory = folio(1, COUNTLESS)
    memory.words[0, 0] |= np.uint64(LOCKED | RESERVED)
    memory.words[1, 0] |= np.uint64(ACTIVE)
    assert flags(memory, V6_1) == [head | copied, tail | bits(Kpf.ACTIVE)]


# What gcc 12 to 14 made of it in Debian's kernels, around the constant with both bits.
ANY_6_12 = "4084f674134889c2480d0010200080ce1083e103480f44c24989c44981cc00000100"
ANY_6_18 = "4084ff74134889c1480d0010200080cd1083e603480f44c14889c14881c900000100"
BOTH_7_3 = "741a4889c648f7d1480d001020004881ce0010000083e103480f45c64889c14881c900000100"
BOTH_CMP = "4889ca4883e2034883fa0375064881c800102000c3"


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        (ANY_6_12, "any-anon"),
        (ANY_6_18, "any-anon"),
        (BOTH_7_3, "exact"),
        (BOTH_CMP, "exact"),
        ("", None),
        ("48c7c000102000c3", None),
        ("83e103480f45c64889c1", None),
    ],
)
def test_the_kernels_code_shows_what_is_merged(code: str, rule: str | None) -> None:
    far = b"\xf7\xd1\x83\xf8\x03" + b"\x90" * 64
    assert ksm_by_code(far + bytes.fromhex(code) + b"\x90" * 64) == rule


def test_ksm_is_exact_or_any_anon() -> None:
    memory = Memory(3)
    for i, tag in enumerate((1, 2, 3)):
        memory.set(i, MODERN.mapping, 0xFFFF888012345600 | tag)
    anon, both = bits(Kpf.ANON), bits(Kpf.ANON, Kpf.KSM)
    assert flags(memory) == [anon, 0, both]
    assert flags(memory, V6_12) == [both, 0, both]


def test_types_of_tails_are_those_of_the_head_or_their_own() -> None:
    memory = folio(1).word(0, 0xF2000000, 1)
    head, tail = bits(Kpf.COMPOUND_HEAD, Kpf.PGTABLE), bits(Kpf.COMPOUND_TAIL)
    assert flags(memory) == [head, tail | bits(Kpf.PGTABLE)]
    assert flags(memory, V6_12) == [head, tail]
    assert flags(Memory(1).word(0, 0xF1000000, 1)) == [bits(Kpf.OFFLINE)]


def test_types_of_one_word_that_has_several() -> None:
    layout = replace(COUNTLESS, scheme=SCHEMES["5.0"])
    memory = Memory(1, layout).word(0, 0xFFFFF9FF, 1)
    assert flags(memory, V6_1) == [bits(Kpf.PGTABLE)]


def test_free_blocks_and_what_lies_in_them() -> None:
    memory = Memory(5).free_block(0, 2).word(2, MINUS_ONE, 1)
    assert flags(memory) == [bits(Kpf.BUDDY)] * 2 + [0] + [bits(Kpf.BUDDY), 0]
    # In a block and without references is enough, whatever its word says.
    assert flags(Memory(2).free_block(0, 1).word(1, 5))[1] == bits(Kpf.BUDDY, Kpf.MMAP)


def test_slab_and_hugetlb_cover_their_tails() -> None:
    for word, bit in ((0xF5000000, Kpf.SLAB), (0xF4000000, Kpf.HUGE)):
        memory = folio(1).word(0, word, 1)
        assert flags(memory) == [bits(Kpf.COMPOUND_HEAD, bit), bits(Kpf.COMPOUND_TAIL, bit)]


def test_a_slab_flag_hides_what_overlays_the_mapcount() -> None:
    memory = Memory(1, COUNTLESS).word(0, 7, 1).set(0, 0, 1 << 9)
    assert flags(memory, V6_1) == [bits(Kpf.SLAB)]
    assert counts(memory, V6_1) == [0]


def test_transparent_huge_pages_by_flag_or_by_guess() -> None:
    memory = folio(2)
    memory.words[1, 0] |= np.uint64(1 << LARGE_RMAPPABLE)
    assert [f >> Kpf.THP & 1 for f in flags(memory)] == [1] * 4
    memory = folio(2, COUNTLESS)
    assert not any(f >> Kpf.THP & 1 for f in flags(memory, V6_1))
    memory.words[0, 0] |= np.uint64(LRU)
    assert [f >> Kpf.THP & 1 for f in flags(memory, V6_1)] == [1] * 4


def test_zero_pages() -> None:
    memory = Memory(1024, first=0x1000)
    zero, huge = bits(Kpf.ZERO_PAGE), bits(Kpf.ZERO_PAGE, Kpf.THP)
    entries = flags(memory, zero_pfn=0x1003, huge_zero_pfn=0x1200)
    assert entries == [0] * 3 + [zero] + [0] * 508 + [huge] * 512


def test_mapped_by_the_folios_own_count() -> None:
    memory = folio(1).set(1, 16, 0)
    assert [f >> Kpf.MMAP & 1 for f in flags(memory)] == [1, 1]
    assert [f >> Kpf.MMAP & 1 for f in flags(folio(1))] == [0, 0]
    small = Memory(3).word(0, 0, 1).word(1, 0xF6000000, 1).word(2, 0xFFFFFFFE, 1)
    assert [f >> Kpf.MMAP & 1 for f in flags(small)] == [1, 0, 0]


def test_mapped_by_any_page_before_folios_counted() -> None:
    memory = folio(1, COUNTLESS, n=3).word(1, 0)
    assert [f >> Kpf.MMAP & 1 for f in flags(memory, V6_1)] == [1, 1, 0]
    assert [f >> Kpf.MMAP & 1 for f in flags(folio(1, COUNTLESS), V6_1)] == [0, 0]


def test_poison_of_the_page_but_for_hugetlb() -> None:
    memory = folio(1)
    memory.words[0, 0] |= np.uint64(HWPOISON)
    assert [f >> Kpf.HWPOISON & 1 for f in flags(memory)] == [1, 0]
    memory.word(0, 0xF4000000, 1)
    assert [f >> Kpf.HWPOISON & 1 for f in flags(memory)] == [1, 1]


def test_swapcache_takes_two_flags() -> None:
    memory = Memory(2).set(0, 0, 1 << SWAPCACHE).set(1, 0, 1 << SWAPCACHE | SWAPBACKED)
    assert flags(memory) == [0, bits(Kpf.SWAPCACHE)]


def test_idle() -> None:
    assert flags(Memory(1).set(0, 0, 1 << IDLE)) == [bits(Kpf.IDLE)]


def test_counts_of_small_pages() -> None:
    memory = Memory(4).word(0, 0, 1).word(1, 41, 1).word(2, 0xF6000000, 1).word(3, 0xFFFFFFFE, 1)
    # The count is an int that is sign-extended, so an underflow fills the word.
    assert counts(memory) == [1, 42, 0, NOTHING]


def test_the_first_byte_scheme_counts_by_the_word_itself() -> None:
    memory = Memory(2, V6_12_LAYOUT).word(0, 0xFF000000, 1).word(1, 0x80000000, 1)
    assert counts(memory, V6_12) == [(1 << 64) - (1 << 24) + 1, 0]


def test_counts_of_large_folios_add_mappings_of_the_whole() -> None:
    memory = folio(1).set(1, 24, 0xFFFFFFFF_00000002).word(1, 0)
    assert counts(memory) == [3, 4]


def test_old_counts_of_the_whole_only_for_anon_or_hugetlb() -> None:
    layout = replace(COUNTLESS, entire_mapcount=SIZE + 20)
    memory = folio(1, layout).set(1, 16, 0x00000002_00000000).compound(0, 1)
    assert counts(memory, V6_1) == [0, 0]
    memory.set(0, layout.mapping, 0xFFFF888012345601)
    assert counts(memory, V6_1) == [3, 3]
    memory.words[1, 0] |= np.uint64(1 << DOUBLE_MAP)
    assert counts(memory, V6_1) == [2, 2]


def made(rules: Rules, online: Online, end: int, pages: Pages) -> Iterator[Piece]:
    return pieces(rules, end, [entries(rules, online, end, pages)])


def test_pieces_fill_holes_and_end_where_the_file_does() -> None:
    memory = Memory(8, first=4).word(0, 0, 1).word(4, 0, 1)
    pages = memory.pages()
    pages.batch = replace(pages.batch, wanted=np.array([True] * 3 + [False] * 5))
    for rules in (NEWEST, V6_12):
        got = list(made(rules, Online(((4, 7),), frozenset()), 10, pages))
        longer = list(made(rules, Online(((4, 7),), frozenset()), 14, pages))
        assert longer[-1].flags.tolist() == [rules.hole] * 2
        assert longer[-1].counts.tolist() == [0] * 2
        flags = np.concatenate([piece.flags for piece in got]).tolist()
        assert flags == [rules.hole] * 4 + [bits(Kpf.MMAP), 0, 0] + [rules.hole] * 3
        assert np.concatenate([piece.counts for piece in got]).tolist() == [0] * 4 + [1] + [0] * 5


def test_device_pages_of_a_mixed_section_are_holes() -> None:
    memory = Memory(2).set(1, 0, 4 << MODERN.zone_field.shift)
    for mixed, entry in ((frozenset({0}), V6_12.hole), (frozenset[int](), 0)):
        online = Online(((0x1000, 0x1002),), mixed)
        got = list(made(V6_12, online, 0x1002, memory.pages()))
        assert got[-1].flags.tolist() == [0, entry]


def test_what_cannot_be_read_is_no_page_and_counted() -> None:
    memory = Memory(3).word(1, 4)
    memory.readable = np.array([True, False, False])
    pages = memory.pages()
    pages.batch = replace(pages.batch, wanted=np.array([True, True, False]))
    online = Online(((0x1000, 0x1002),), frozenset())
    (*_, piece) = made(NEWEST, online, 0x1003, pages)
    assert piece.unreadable == 1
    assert piece.flags.tolist() == [0, bits(Kpf.NOPAGE), 0]
    assert piece.counts.tolist() == [0, 0, 0]


def test_length_is_whole_sections() -> None:
    assert length(MemoryMap((), (), max_pfn=32769)) == 65536
    assert length(MemoryMap((), (), max_pfn=65536)) == 65536
    with pytest.raises(PageInspectError, match="max_pfn"):
        length(MemoryMap((), ()))
