# SPDX-License-Identifier: GPL-2.0-only
"""The counter checks: what is verified, what a rule explains and how far, and what differs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from counted import COUNTERS, ITEMS
from synthetic import MODERN, OLD, SCHEMES, Memory

from pageinspect.analysis.counter_check import (
    Comparison,
    CounterCheck,
    Marking,
    compare_counters,
    compared,
    remarks,
)
from pageinspect.analysis.totals import Totals, TypeTally, UseTally
from pageinspect.kernel.counters import read_hugetlb
from pageinspect.model.counters import Counters

KNOWN = frozenset({"slab", "zsmalloc"})
USES = {
    "buddy": 1000,
    "pcp": 60,
    "slab": 100,
    "table": 20,
    "zsmalloc": 8,
    "anon": 500,
    "shmem": 40,
    "file": 350,
    "hugetlb": 1024,
    "offline": 16,
}
BALLOON = {"NR_BALLOON_PAGES": 16}


def check(
    name: str,
    before: Counters = COUNTERS,
    after: Counters | None = None,
    marking: Marking | None = None,
    **changes: Any,
) -> CounterCheck:
    finer = {k: changes.pop(k) for k in list(changes) if k in Totals.__dataclass_fields__}
    finer = {"known": KNOWN, "swapcache": 10} | finer
    totals = Totals(USES | changes, **finer)
    return next(
        b for b in compare_counters(totals, before, after or before, marking) if b.name == name
    )


def item(name: str, value: int, counters: Counters = COUNTERS) -> Counters:
    return replace(counters, items={**counters.items, name: value})


def test_equal_checks_are_verified() -> None:
    checks = compare_counters(Totals(USES, KNOWN, swapcache=10), COUNTERS, COUNTERS)
    assert {b.name: b.counted for b in checks} == USES | {"swapcache": 10}
    assert {b.verdict for b in checks} == {"verified"}
    assert all(b.counted == b.kernel for b in checks)


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("by", [-1, 1])
def test_what_should_be_equal_and_is_not_differs(name: str, by: int) -> None:
    assert check(name, **{name: USES[name] + by}).verdict == "differs"


def test_pages_of_drivers_that_count_nothing_are_explained_where_there_is_such_a_driver() -> None:
    there = replace(COUNTERS, offliners=("virtio_mem",))
    found = check("offline", there, offline=100)
    assert found.verdict == "explained"
    assert "virtio_mem" in found.why
    assert check("offline", there, offline=15).verdict == "differs"
    assert check("offline", offline=100).verdict == "differs"


@pytest.mark.parametrize(
    ("name", "finer", "fewest", "most"),
    [
        ("slab", {"compound_kernel": 16}, -16, 0),
        ("anon", {"unmapped_anon": 7}, 0, 7),
        ("file", {"file_off_lru": 3}, 0, 3),
    ],
)
def test_explanations_have_limits(name: str, finer: dict[str, int], fewest: int, most: int) -> None:
    for by in range(fewest - 1, most + 2):
        found = check(name, **finer, **{name: USES[name] + by})
        inside = "explained" if by else "verified"
        assert found.verdict == (inside if fewest <= by <= most else "differs"), by
        assert found.why or not by


def test_large_kmalloc_with_a_type_is_counted_with_slab() -> None:
    known = KNOWN | {"large_kmalloc"}
    found = check("slab", slab=90, large_kmalloc=10, compound_kernel=16, known=known)
    assert (found.counted, found.verdict) == (100, "verified")
    found = check("slab", slab=89, large_kmalloc=10, compound_kernel=16, known=known)
    assert found.verdict == "differs"
    # Also where no page has that type just then.
    assert check("slab", slab=99, compound_kernel=16, known=known).verdict == "differs"
    assert check("slab", slab=99, compound_kernel=16).verdict == "explained"


def test_zsmalloc_with_a_type_is_not_looked_for_elsewhere() -> None:
    uses = {name: n for name, n in USES.items() if name != "zsmalloc"} | {"movable_ops": 8}
    names = {b.name: b for b in compare_counters(Totals(uses, KNOWN), COUNTERS, COUNTERS)}
    assert "movable_ops" not in names
    assert (names["zsmalloc"].counted, names["zsmalloc"].verdict) == (0, "differs")


def test_the_swap_cache_is_counted_by_its_flag_over_all_uses() -> None:
    found = check("swapcache", swapcache=11)
    assert (found.counted, found.kernel, found.verdict) == (11, 10, "differs")
    assert check("swapcache", anon=0, ksm=500).verdict == "verified"
    without = compare_counters(Totals(USES, KNOWN), COUNTERS, COUNTERS)
    assert "swapcache" not in {b.name for b in without}


def test_without_a_counter_the_swap_cache_is_among_the_files() -> None:
    old = replace(COUNTERS, items={k: v for k, v in ITEMS.items() if k != "NR_SWAPCACHE"})
    # NR_FILE_PAGES has 400, of them 40 of shmem and 10 of the swap cache.
    for file, verdict in (
        (349, "differs"),
        (350, "explained"),
        (360, "verified"),
        (361, "differs"),
    ):
        assert check("file", old, file=file).verdict == verdict


def test_ksm_is_mapped_anonymous_memory() -> None:
    assert check("anon", anon=450, ksm=50).verdict == "verified"


def test_movable_pages_before_zsmalloc_had_a_type() -> None:
    totals = Totals(
        {k: v for k, v in USES.items() if k != "zsmalloc"} | {"movable_ops": 8},
        KNOWN - {"zsmalloc"},
    )
    checks = {b.name: b for b in compare_counters(totals, COUNTERS, COUNTERS)}
    assert "zsmalloc" not in checks
    assert checks["movable_ops"].verdict == "verified"


def test_isolated_blocks_and_held_locks() -> None:
    isolated = replace(COUNTERS, isolated_blocks=1)
    assert check("buddy", isolated, buddy=1512).verdict == "explained"
    assert check("buddy", isolated, buddy=1513).verdict == "differs"
    assert check("buddy", isolated, buddy=999).verdict == "differs"
    held = replace(COUNTERS, locked=1)
    assert check("pcp", held, pcp=60 + 1024).verdict == "explained"
    assert check("pcp", held, pcp=60 + 1025).verdict == "differs"


def test_pages_on_trylock_lists_have_no_counter() -> None:
    for pcp, verdict in ((63, "differs"), (64, "explained"), (65, "differs"), (60, "verified")):
        assert check("pcp", on_trylock=4, pcp=pcp).verdict == verdict


def test_each_cpu_of_a_running_kernel_may_have_a_few_in_hand() -> None:
    two = replace(COUNTERS, cpus=2)
    assert check("table", two, table=24).verdict == "explained"
    assert check("table", two, table=25).verdict == "differs"
    assert check("buddy", two, buddy=1001).verdict == "differs"


def test_where_nothing_runs_a_task_is_seen_that_has_some_in_hand() -> None:
    two = replace(COUNTERS, cpus=2)

    def marking(*functions: str) -> Marking:
        return lambda: {"slab": functions}

    assert check("table", two, marking=marking(), table=21).verdict == "differs"
    assert check("slab", two, marking=marking(), slab=101).verdict == "differs"
    one = marking("allocate_slab")
    for by, verdict in ((-9, "differs"), (-8, "explained"), (8, "explained"), (9, "differs")):
        assert check("slab", two, marking=one, slab=100 + by).verdict == verdict
    assert check("table", two, marking=one, table=21).verdict == "differs"
    why = check("slab", two, marking=marking("free_slab", "allocate_slab"), slab=116).why
    assert why == (
        "+16: 2 tasks are in allocate_slab, free_slab, which marks and counts pages: 16 pages "
        "at most"
    )


def test_stacks_are_read_only_when_a_total_is_off() -> None:
    def marking() -> dict[str, tuple[str, ...]]:
        raise AssertionError

    totals = Totals(USES, KNOWN, swapcache=10)
    assert {b.verdict for b in compare_counters(totals, COUNTERS, COUNTERS, marking)} == {
        "verified"
    }


def test_between_two_readings_is_verified_at_both_ends() -> None:
    after = item("NR_FREE_PAGES", 1010)
    for buddy, verdict in ((999, "differs"), (1000, "verified"), (1010, "verified")):
        assert check("buddy", COUNTERS, after, buddy=buddy).verdict == verdict
        assert check("buddy", after, COUNTERS, buddy=buddy).verdict == verdict
    assert check("buddy", COUNTERS, after, buddy=1011).verdict == "differs"
    found = check("buddy", COUNTERS, after, buddy=1005)
    isolated = replace(after, isolated_blocks=1)
    assert check("buddy", COUNTERS, isolated, buddy=1010 + 512).verdict == "explained"
    assert check("buddy", COUNTERS, isolated, buddy=1010 + 513).verdict == "differs"
    assert (found.before, found.kernel, found.why) == (1000, 1010, "")
    # What it is off by is said of the nearer of the two.
    assert check("buddy", COUNTERS, after, buddy=1011).why.startswith("+1 from 1,010: ")
    assert check("buddy", COUNTERS, after, buddy=990).why.startswith("-10 from 1,000: ")


def test_a_running_kernel_is_off_by_no_more_than_what_it_turned_over() -> None:
    after = replace(COUNTERS, turnover=5)
    assert check("slab", COUNTERS, after, slab=105).verdict == "explained"
    assert check("slab", COUNTERS, after, slab=106).verdict == "differs"
    # CPU lists hold 60 before and after.
    assert check("buddy", COUNTERS, after, buddy=1125).verdict == "explained"
    assert check("buddy", COUNTERS, after, buddy=1126).verdict == "differs"


def test_a_kernel_that_lacks_a_counter_has_no_such_check() -> None:
    counters = Counters({k: v for k, v in ITEMS.items() if k != "NR_ZSPAGES"}, pcp=60)
    names = {b.name for b in compare_counters(Totals(USES, KNOWN), counters, counters)}
    assert names == set(USES) - {"zsmalloc", "hugetlb", "offline"}


def test_balloon_counter_comes_before_its_events() -> None:
    counters = replace(COUNTERS, items=ITEMS | BALLOON, inflated=99)
    assert check("offline", counters).counter == "NR_BALLOON_PAGES"
    assert check("offline", counters).verdict == "verified"


def test_remarks() -> None:
    moving = check("buddy", COUNTERS, item("NR_FREE_PAGES", 1010), buddy=1005)
    lines = remarks(
        [check("buddy"), check("anon", anon=450, ksm=50), check("table", table=21), moving]
    )
    assert lines == (
        "buddy 1,000 = NR_FREE_PAGES (verified)",
        "anon + ksm 500 = NR_ANON_MAPPED (verified)",
        "table 21, NR_PAGETABLE 20 (differs: +1: no known cause)",
        "buddy 1,005, NR_FREE_PAGES 1,000 before and 1,010 after (verified)",
    )


def test_totals_are_those_of_the_uses_with_the_finer_ones() -> None:
    memory = Memory(64)
    anon = 0xFFFF888012345601
    memory.free_block(0, 3)
    memory.word(8, 0, 1).set(8, MODERN.mapping, anon)
    memory.word(9, 0xFFFFFFFF, 1).set(9, MODERN.mapping, anon)
    memory.word(10, 0xFFFFFFFF, 1).set(10, MODERN.mapping, anon - 1)
    memory.word(11, 0xFFFFFFFF, 1).set(11, MODERN.mapping, anon - 1).set(11, 0, 1 << 5)
    memory.compound(16, 2).word(16, 0xFFFFFFFF, 1).word(50, 0xFFFFFFFF, 1)
    # A huge page that is mapped as a whole: its own words say nothing.
    memory.compound(32, 4).word(32, 0xFFFFFFFF, 1).set(32, MODERN.mapping, anon)
    memory.set(33, 24, 0)
    tally = UseTally(MODERN)
    tally.add(memory.pages())
    tally.add(Memory(2).pages())
    totals = tally.totals()
    assert totals.uses["buddy"] == 8
    assert totals.uses["anon"] == 18
    assert totals.uses["file"] == 2
    assert totals.uses["idle"] == 64 - 8 - 18 - 2 - 5 + 2
    assert (totals.unmapped_anon, totals.file_off_lru, totals.compound_kernel) == (1, 1, 4)


def test_types_alone_tell_some_of_the_checks() -> None:
    memory = Memory(64).free_block(0, 3).word(9, 0xF2000000, 1).word(10, 0xFFFFFFFF, 1)
    memory.compound(16, 2).word(16, 0xF8000000).word(20, 0xF5000000)
    tally, all_uses = TypeTally(MODERN), UseTally(MODERN)
    for each in (tally, all_uses):
        each.add(memory.pages())
        each.add(memory.pages())
    checks = compare_counters(tally.totals(), COUNTERS, COUNTERS)
    assert {b.name: b.counted for b in checks} == {
        "buddy": 16,
        "slab": 10,
        "table": 2,
        "zsmalloc": 0,
        "hugetlb": 0,
        "offline": 0,
    }
    whole = {b.name: b for b in compare_counters(all_uses.totals(), COUNTERS, COUNTERS)}
    assert all(whole[b.name] == b for b in checks)


def test_types_alone_do_not_tell_large_kmalloc_of_older_kernels() -> None:
    memory = Memory(4, OLD).word(0, 64, 1).set(0, OLD.mapping, 0xFFFFFFFF81000000 | 2)
    tally = TypeTally(OLD)
    tally.add(memory.pages())
    checks = {b.name: b.counted for b in compare_counters(tally.totals(), COUNTERS, COUNTERS)}
    assert checks == {"buddy": 0, "table": 0, "movable_ops": 1, "hugetlb": 0, "offline": 0}


def test_a_page_with_two_types_is_counted_with_either() -> None:
    layout = replace(OLD, scheme=SCHEMES["5.0"])
    memory = Memory(2, layout).word(0, 0xFFFFF9FF, 1).word(1, 0xFFFFFBFF, 1)
    for tally in (UseTally(layout), TypeTally(layout)):
        tally.add(memory.pages())
        checks = {b.name: b.counted for b in compare_counters(tally.totals(), COUNTERS, COUNTERS)}
        assert checks["table"] == 2


def hstates(n: int, *pools: tuple[int, int]) -> Any:
    def value(number: int) -> SimpleNamespace:
        return SimpleNamespace(value_=lambda: number)

    rest = dict.fromkeys(("free_huge_pages", "resv_huge_pages", "surplus_huge_pages"), value(0))
    made = [
        SimpleNamespace(order=value(o), nr_huge_pages=value(pages), **rest) for o, pages in pools
    ]
    return cast("Any", {"hstates": made, "hugetlb_max_hstate": value(n)})


@pytest.mark.parametrize(
    ("n", "pools", "pages", "flaw"),
    [
        (0, [(0, 0), (0, 0)], 0, ""),
        (1, [(9, 2), (20000, 7)], 1024, ""),
        (2, [(9, 2), (18, 1)], 1024 + (1 << 18), ""),
        (2, [(20000, 7), (9, 2)], 1024, "a pool of huge pages of order 20000 is left out"),
        (2, [(19, 1), (9, 2)], 1024, "a pool of huge pages of order 19 is left out"),
        (
            2_000_000_000,
            [(9, 2), (9, 0)],
            1024,
            "hugetlb_max_hstate is 2000000000, outside of 0 to 2",
        ),
        (-1, [(9, 2), (9, 0)], 0, "hugetlb_max_hstate is -1, outside of 0 to 2"),
    ],
)
def test_pools_of_huge_pages_that_cannot_be(
    n: int, pools: list[tuple[int, int]], pages: int, flaw: str
) -> None:
    found, said = read_hugetlb(hstates(n, *pools))
    assert found == pages
    assert said.startswith(flaw)
    assert bool(said) == bool(flaw)


def test_a_pool_that_cannot_be_differs_and_the_rest_is_compared() -> None:
    flawed = replace(COUNTERS, hugetlb_flaw="a pool of huge pages of order 20000 is left out")
    one = check("hugetlb", flawed)
    assert (one.verdict, one.why) == ("differs", flawed.hugetlb_flaw)
    checks = compare_counters(Totals(USES, KNOWN, swapcache=10), flawed, flawed)
    assert [b.name for b in checks if b.verdict != "verified"] == ["hugetlb"]
    assert f"hugetlb 1,024, hstates 1,024 (differs: {one.why})" in remarks(checks)


@pytest.mark.parametrize(
    ("uses", "why"),
    [
        ((), ""),
        (("stack",), ""),
        (("slab", "large_kmalloc"), "slab and large_kmalloc together"),
        (("vmalloc", "stack", "bpf"), "vmalloc, stack and bpf together"),
    ],
)
def test_what_is_counted_together(uses: tuple[str, ...], why: str) -> None:
    comparison = Comparison("name", uses, "COUNTER", lambda _: 7, counted=7)
    found = compared(comparison, UseTally(MODERN).totals(), COUNTERS, COUNTERS, None)
    assert (found.verdict, found.why) == ("verified", why)
