# SPDX-License-Identifier: GPL-2.0-only
"""Each page has one owner: by its use, by the first kind that claims it, or by a page before it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from sections import columns
from synthetic import KERNEL_POINTER, MEMDESC, MEMDESC_TYPES, MODERN, Memory, flag

from pageinspect.classify.uses import USE
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.batch import PageBatch
from pageinspect.owners.anon import KSM, SWAP_CACHE
from pageinspect.owners.assign import NO_LABEL, Assigned, Assigner, OwnerTally, first_pages
from pageinspect.owners.kind import Claims, Label, claims_of_pfns
from pageinspect.owners.table import KINDS, NUMBER

FIRST = 0x1000
NO_TYPE = 0xFFFFFFFF
SLAB, TABLE, OFFLINE = 0xF5000000, 0xF2000000, 0xF1000000

Claimed = Mapping[str, Sequence[int]]
"""Indices of pages by kind."""


def claims_of(claimed: Claimed) -> dict[str, Claims]:
    return {
        kind: claims_of_pfns([(Label(kind), np.array(indices, np.int64) + FIRST)])
        for kind, indices in claimed.items()
    }


def assigned(memory: Memory, **claimed: Sequence[int]) -> tuple[Assigned, Assigner]:
    assigner = Assigner(memory.layout, claims_of(claimed))
    return assigner(memory.pages()), assigner


def kinds(memory: Memory, **claimed: Sequence[int]) -> list[str]:
    found, _ = assigned(memory, **claimed)
    assert found.starts.tolist() == [FIRST + i for i in range(len(memory.words))]
    assert found.rows.tolist() == list(range(len(memory.words)))
    return [KINDS[kind].name for kind in found.kinds.tolist()]


def overlaps(memory: Memory, **claimed: Sequence[int]) -> dict[tuple[str, str], int]:
    _, assigner = assigned(memory, **claimed)
    pairs = np.argwhere(assigner.tally.overlaps).tolist()
    return {(KINDS[a].name, KINDS[b].name): int(assigner.tally.overlaps[a, b]) for a, b in pairs}


def used(n: int, *indices: int, first: int = FIRST) -> Memory:
    """Return n pages without types; those at the indices have references."""
    memory = Memory(n, first=first)
    for i in indices:
        memory.word(i, NO_TYPE, 1)
    return memory


def reserved(n: int) -> Memory:
    return used(n, *range(n)).set(slice(None), MODERN.flags, flag("reserved"))


def test_the_use_of_a_page_is_its_kind() -> None:
    memory = used(6, 0, 1, 2).word(3, SLAB).free_block(4, 1)
    memory.set(0, MODERN.mapping, KERNEL_POINTER)
    memory.set(1, MODERN.mapping, KERNEL_POINTER | 1)
    memory.set(2, MODERN.mapping, KERNEL_POINTER).set(2, MODERN.flags, flag("swapbacked"))
    assert kinds(memory) == ["file", "anon", "shmem", "slab", "free", "free"]
    found, _ = assigned(memory)
    assert found.keys.tolist() == [
        *(KERNEL_POINTER, KERNEL_POINTER | 1, KERNEL_POINTER),
        *(0, USE["buddy"], USE["buddy"]),
    ]


def test_pages_that_nothing_leads_to_are_unknown() -> None:
    assert kinds(used(3, 1)) == ["unknown"] * 3


def test_the_first_of_two_kinds_has_the_page() -> None:
    memory = used(3, 0, 1, 2)
    claimed = {"percpu": [0, 1], "vmalloc": [1, 2]}
    assert kinds(memory, **claimed) == ["percpu", "vmalloc", "vmalloc"]
    assert overlaps(memory, **claimed) == {("vmalloc", "percpu"): 1}
    # The order is that of the table, not that in which claims are given.
    assert kinds(memory, **dict(reversed(claimed.items()))) == ["percpu", "vmalloc", "vmalloc"]
    assert NUMBER["vmalloc"] < NUMBER["percpu"]


def test_a_page_of_three_kinds_overlaps_with_its_owner_only() -> None:
    memory = used(1, 0)
    assert overlaps(memory, vmalloc=[0], percpu=[0], memmap=[0]) == {
        ("vmalloc", "percpu"): 1,
        ("vmalloc", "memmap"): 1,
    }


def test_the_use_comes_before_claims() -> None:
    memory = used(2, 0, 1).word(0, SLAB)
    assert kinds(memory, vmalloc=[0, 1]) == ["slab", "vmalloc"]
    assert overlaps(memory, vmalloc=[0, 1]) == {("slab", "vmalloc"): 1}


def test_only_exact_kinds_contradict_uses_that_they_may_not_claim() -> None:
    memory = used(2, 0, 1).word(0, SLAB)
    assert kinds(memory, crashkernel=[0, 1]) == ["slab", "crashkernel"]
    assert overlaps(memory, crashkernel=[0, 1]) == {}
    # Of a use that it may claim, an earlier kind has the page.
    assert overlaps(memory, crashkernel=[0, 1], memmap=[1]) == {("memmap", "crashkernel"): 1}


def test_a_kind_that_has_the_rest_does_not_overlap() -> None:
    memory = reserved(3)
    claimed = {"kernel": [0], "boot": [0, 1]}
    assert kinds(memory, **claimed) == ["kernel", "boot", "unknown"]
    assert overlaps(memory, **claimed) == {}


def test_a_page_that_no_kind_may_claim_is_unknown_and_a_contradiction() -> None:
    memory = reserved(1)
    assert kinds(memory, stack=[0]) == ["unknown"]
    assert overlaps(memory, stack=[0]) == {("unknown", "stack"): 1}


def test_labels_of_claims_are_keys() -> None:
    memory = used(5, *range(5)).word(0, TABLE).word(1, TABLE)
    claims = claims_of_pfns(
        (Label(name), np.array(pfns, np.int64) + FIRST)
        for name, pfns in (("a", [3]), ("b", [0, 4]))
    )
    found = Assigner(MODERN, {"table": claims})(memory.pages())
    assert [KINDS[k].name for k in found.kinds.tolist()] == [
        *("table", "table", "unknown", "table", "table")
    ]
    # A table that nobody's structures lead to has no label.
    assert found.keys[[0, 1, 3, 4]].tolist() == [1, NO_LABEL, 0, 1]


def test_only_overlaps_of_wanted_pages_are_counted() -> None:
    memory = used(4, *range(4))
    wanted = np.array([False, True, True, False])
    batch = PageBatch(FIRST, memory.words, None, wanted)
    some = columns(memory, memory.pages().memory_map, batch)
    assigner = Assigner(MODERN, claims_of({"vmalloc": range(4), "percpu": range(4)}))
    found = assigner(some)
    assert len(found.starts) == 4
    assert assigner.tally.overlaps.sum() == 2
    assert assigner.tally.pages.sum() == 0
    assert list(assigner.watch([some])) == [some]
    assert assigner.tally.overlaps.sum() == 4
    assert {kind: n for kind, n in assigner.tally.by_kind.items() if n} == {"vmalloc": 2}


def test_batches_that_are_watched_are_counted_once_each() -> None:
    assigner = Assigner(MODERN, claims_of({"vmalloc": [0], "percpu": [0, 1]}))
    batches = [used(2, 0, 1).pages(), used(2, 0, 1).pages()]
    assert list(assigner.watch(batches)) == batches
    assert assigner.tally.overlaps.sum() == 2
    assert assigner.tally.by_kind["vmalloc"] == assigner.tally.by_kind["percpu"] == 2
    both = OwnerTally()
    for _ in range(2):
        both.merge(assigner.tally)
    assert (both.overlaps.sum(), both.pages.sum()) == (4, 8)
    assert OwnerTally().overlaps.sum() == 0
    assert assigner.kinds(batches[0]).tolist() == [NUMBER["vmalloc"], NUMBER["percpu"]]


def test_edges_are_where_claims_begin_and_end() -> None:
    _, assigner = assigned(used(1), vmalloc=[3, 4, 8], percpu=[5, 8])
    assert assigner.edges.tolist() == [FIRST + i for i in (3, 5, 6, 8, 9)]
    assert Assigner(MODERN, {}).edges.tolist() == []


@pytest.mark.parametrize(
    ("head", "idle", "given"),
    [
        (8, range(9, 12), True),
        (8, range(9, 16), True),
        # Up to the end of the aligned block that begins at the head, and not beyond.
        (8, range(9, 17), False),
        (9, range(10, 11), False),
        (10, range(11, 12), True),
        (10, range(11, 13), False),
        (0, range(1, 20), True),
    ],
)
def test_idle_pages_behind_a_first_page(head: int, idle: range, given: bool) -> None:
    memory = used(20, *set(range(20)) - set(idle))
    found = kinds(memory, vmalloc=[head])
    assert {found[i] for i in idle} == {"vmalloc" if given else "unknown"}
    assert found.count("vmalloc") == 1 + (len(idle) if given else 0)


def test_idle_pages_that_are_claimed_are_not_part_of_the_allocation_before() -> None:
    memory = used(16, 8)
    assert kinds(memory, vmalloc=[8], memmap=[10])[8:12] == [
        *("vmalloc", "vmalloc", "memmap", "unknown")
    ]
    assert kinds(memory, memmap=range(9, 16))[8:] == ["unknown", *["memmap"] * 7]


def test_idle_pages_do_not_follow_an_owner_by_use() -> None:
    memory = used(4, 0)
    memory.set(0, MODERN.mapping, KERNEL_POINTER)
    assert kinds(memory) == ["file", "unknown", "unknown", "unknown"]


def test_idle_pages_do_not_follow_a_compound_page() -> None:
    memory = used(8, 0).compound(0, 1).word(0, NO_TYPE, 1)
    assert kinds(memory, vmalloc=[0, 1])[:4] == ["vmalloc", "vmalloc", "unknown", "unknown"]


def test_idle_pages_do_not_follow_a_compound_page_without_its_last_pages() -> None:
    memory = used(8, 0).compound(0, 3).word(0, NO_TYPE, 1)
    memory.set(slice(5, 8), MODERN.compound, 0)
    found = kinds(memory, vmalloc=range(5))
    assert "vmalloc" not in found[5:]


def test_an_idle_compound_page_is_no_part_of_an_allocation() -> None:
    memory = used(8, 0, 6, 7).compound(4, 1)
    assert kinds(memory, vmalloc=[0])[:6] == [*["vmalloc"] * 4, "unknown", "unknown"]


@pytest.mark.parametrize(("mapcount", "flags"), [(3, 0), (NO_TYPE, flag("reserved"))])
def test_mapped_and_reserved_pages_begin_allocations(mapcount: int, flags: int) -> None:
    memory = used(4).word(0, mapcount, 1).set(0, MODERN.flags, flags)
    assert kinds(memory, percpu=[0]) == ["percpu"] * 4


def test_a_page_that_another_kind_claimed_and_that_follows_it_is_no_overlap() -> None:
    # Stacks are claimed in pages of use kernel only.
    memory = used(4, 0)
    assert kinds(memory, stack=[0, 1]) == ["stack"] * 4
    assert overlaps(memory, stack=[0, 1]) == {}


def ranges(*lengths: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    ends = start + np.cumsum(lengths)
    return ends - np.array(lengths), ends


def test_where_idle_ranges_are_cut_does_not_matter() -> None:
    first = np.array([True, *[False] * 6])
    idle = ~first
    for start in (8, 0x1000, 0):
        for lengths in ([1, *[1] * 6], [1, 3, 3, 0], [1, 2, 1, 3]):
            starts, ends = ranges(*lengths, start=start)
            n = len(starts)
            assert first_pages(starts, ends, idle[:n], first[:n]).tolist() == [-1, *[0] * (n - 1)]
    # One page too many, in whatever range it is.
    for lengths in ([1] * 10, [1, 8], [1, 7, 1]):
        starts, ends = ranges(*lengths, start=8)
        first = np.arange(len(starts)) == 0
        assert first_pages(starts, ends, ~first, first).tolist() == [-1] * len(starts)


def test_a_block_has_at_most_the_largest_order() -> None:
    for n, given in ((1023, True), (1024, False)):
        starts, ends = ranges(1, n, start=4096)
        found = first_pages(starts, ends, np.array([False, True]), np.array([True, False]))
        assert found.tolist() == [-1, 0 if given else -1]


def test_a_block_ends_where_pages_are_missing_and_where_a_section_ends() -> None:
    first, idle = np.array([True, False]), np.array([False, True])
    gap = np.array([8, 11]), np.array([9, 12])
    assert first_pages(*gap, idle, first).tolist() == [-1, -1]
    last = SECTION_PFNS - 1
    across = np.array([last, last + 1]), np.array([last + 1, last + 2])
    assert first_pages(*across, idle, first).tolist() == [-1, -1]
    # The idle pages of the next section do not matter.
    three = np.array([last - 1, last, last + 1]), np.array([last, last + 1, last + 9])
    found = first_pages(*three, np.array([False, True, True]), np.array([True, False, False]))
    assert found.tolist() == [-1, 0, -1]
    none = np.empty(0, np.int64)
    assert first_pages(none, none, none.astype(bool), none.astype(bool)).tolist() == []


def test_keys_of_anonymous_memory() -> None:
    memory = used(3, 0, 1, 2)
    memory.set(0, MODERN.mapping, KERNEL_POINTER | 1)
    memory.word(1, 0, 1).set(1, MODERN.mapping, KERNEL_POINTER | 3)
    memory.set(2, MODERN.flags, flag("swapbacked") | flag("owner_priv_1"))
    found, _ = assigned(memory)
    assert {KINDS[k].name for k in found.kinds.tolist()} == {"anon"}
    assert found.keys.tolist() == [KERNEL_POINTER | 1, KSM, SWAP_CACHE]


def test_anonymous_memdescs_are_not_in_the_swap_cache() -> None:
    memory = Memory(1, MEMDESC)
    memory.words[0, MEMDESC.page_type // 8] = 0xFFFF888000000000 | MEMDESC_TYPES["anon"]
    found, _ = assigned(memory)
    assert KINDS[found.kinds[0]].name == "anon"
    assert found.keys.tolist() == [0]
    assert 0 not in (KSM, SWAP_CACHE)
