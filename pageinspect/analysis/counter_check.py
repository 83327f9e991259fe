# SPDX-License-Identifier: GPL-2.0-only
"""Compares page totals with the kernel's own counters.

A total is verified if it lies between the kernel's counter before the walk and the one after it; in
a core the two are equal. It is explained if its difference is within a tolerance of this file. A
tolerance needs a cause that was read from the kernel: a lock that is held, or a task in the code
that marks pages. Any other total differs: struct pages and counters contradict each other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..model.arch import MAX_ORDER, PAGEBLOCK_PFNS
from ..model.counters import Counters
from ..units import counted as counted_as
from ..units import number
from .totals import Totals

Verdict = Literal["verified", "explained", "differs"]


@dataclass(frozen=True, slots=True)
class CounterCheck:
    """One total, in pages: `counted` is from the walk, in these `uses`; `kernel` is the counter."""

    name: str
    uses: tuple[str, ...]
    counter: str
    """The name of the kernel's counter, or how it is computed."""
    counted: int
    before: int
    """The kernel's counter before the walk; in a core equal to `kernel`."""
    kernel: int
    """The kernel's counter after the walk."""
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A permitted difference of total minus counter: `fewest` to `most` pages, and the reason."""

    fewest: int
    most: int
    why: str


Marking = Callable[[], Mapping[str, Sequence[str]]]
"""Returns, by the name of the check, one function per task that is marking or counting such pages:
the function on its stack that does so."""


def _no_tolerances(_totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Comparison:
    """The description of one counter check: a total, the kernel's counter, and the tolerances."""

    name: str
    uses: tuple[str, ...]
    counter: str
    kernel: Callable[[Counters], int]
    in_transit: int = 0
    """Pages that one task may have marked but not yet counted, or counted but not yet marked."""
    tolerances: Callable[[Totals, Counters], Iterable[Tolerance]] = _no_tolerances
    counted: int | None = None
    """The total, if it is not the sum of the uses."""
    flaw: str = ""
    """Why the kernel's counter is invalid; empty if it is valid."""


def _of(*names: str) -> Callable[[Counters], int]:
    return lambda counters: sum(counters.items.get(name, 0) for name in names)


def _buddy_tolerances(_totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if counters.isolated_blocks:
        yield Tolerance(
            0,
            counters.isolated_blocks * PAGEBLOCK_PFNS,
            f"free pages in {counted_as(counters.isolated_blocks, 'isolated pageblock')} are not "
            "counted by the kernel",
        )
    yield from _list_tolerances(_totals, counters)


def _list_tolerances(_totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if counters.locked:
        most = counters.locked << MAX_ORDER
        yield Tolerance(
            -most,
            most,
            f"{counted_as(counters.locked, 'lock', 'are')} held, of zones or CPU lists: pages are "
            "between lists and counters",
        )


def _pcp_tolerances(totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if totals.on_trylock:
        yield Tolerance(
            totals.on_trylock,
            totals.on_trylock,
            f"{counted_as(totals.on_trylock, 'page', 'are')} on trylock lists, not in pcp->count",
        )
    yield from _list_tolerances(totals, counters)


def _slab_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    # If large kmalloc is a page type, its pages are added to those of slab.
    if "large_kmalloc" not in totals.known and totals.compound_kernel:
        yield Tolerance(
            -totals.compound_kernel,
            0,
            "the kernel counts large kmalloc as slab, but here its pages have the use kernel: at "
            f"most the {counted_as(totals.compound_kernel, 'page')} of that use in compound pages",
        )


def _anon_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    if totals.unmapped_anon:
        yield Tolerance(
            0,
            totals.unmapped_anon,
            f"{counted_as(totals.unmapped_anon, 'page', 'are')} not mapped (in the swap cache, or "
            "about to be freed), and the kernel counts only mapped pages",
        )


def _file_tolerances(totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if "NR_SWAPCACHE" not in counters.items and totals.swapcache:
        yield Tolerance(
            -totals.swapcache,
            totals.file_off_lru,
            f"{counted_as(totals.swapcache, 'page', 'are')} in the swap cache: NR_FILE_PAGES "
            "includes them, and this kernel has no counter for them alone",
        )
    if totals.file_off_lru:
        yield Tolerance(
            0,
            totals.file_off_lru,
            f"{counted_as(totals.file_off_lru, 'page', 'are')} not on an LRU list: the kernel does "
            "not count pages of drivers that have the mapping of the driver's file",
        )


def _offline_tolerances(totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if counters.offliners:
        drivers = " and ".join(counters.offliners)
        yield Tolerance(
            0,
            totals.uses.get("offline", 0),
            f"{drivers} may have marked pages offline, which no counter includes",
        )


def _movable_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    movable = totals.uses.get("movable_ops", 0)
    if movable:
        yield Tolerance(0, movable, "pages of other drivers, such as z3fold, may be among them")


def _comparisons(totals: Totals, counters: Counters) -> Iterator[Comparison]:
    """Yield the comparisons that this kernel has counters for."""
    items = counters.items
    yield Comparison(
        "buddy", ("buddy",), "NR_FREE_PAGES", _of("NR_FREE_PAGES"), 0, _buddy_tolerances
    )
    yield Comparison("pcp", ("pcp",), "sum of pcp->count", lambda c: c.pcp, 0, _pcp_tolerances)
    # Since Linux kernel commit d42f3245c7e2 ("mm: memcg: convert vmstat slab counters to bytes")
    # (in v5.9) the names end in _B.
    slab = [f"NR_SLAB_{kind}_B" for kind in ("RECLAIMABLE", "UNRECLAIMABLE")]
    if slab[0] not in items:
        slab = [name.removesuffix("_B") for name in slab]
    slab_uses = ("slab", "large_kmalloc") if "large_kmalloc" in totals.known else ("slab",)
    yield Comparison("slab", slab_uses, " + ".join(slab), _of(*slab), 8, _slab_tolerances)
    yield Comparison("table", ("table",), "NR_PAGETABLE", _of("NR_PAGETABLE"), 2)
    if "NR_ZSPAGES" in items:
        typed = "zsmalloc" in totals.known
        name = "zsmalloc" if typed else "movable_ops"
        tolerances = _no_tolerances if typed else _movable_tolerances
        yield Comparison(name, (name,), "NR_ZSPAGES", _of("NR_ZSPAGES"), 1, tolerances)
    yield Comparison(
        "anon", ("anon", "ksm"), "NR_ANON_MAPPED", _of("NR_ANON_MAPPED"), 32, _anon_tolerances
    )
    yield Comparison("shmem", ("shmem",), "NR_SHMEM", _of("NR_SHMEM"), 32)
    yield from _file_comparison(items.keys())
    # Since Linux kernel commit b6038942480e ("mm: memcg: add swapcache stat for memcg v2")
    # (in v5.12).
    if "NR_SWAPCACHE" in items and totals.swapcache is not None:
        yield Comparison(
            "swapcache",
            (),
            "NR_SWAPCACHE",
            _of("NR_SWAPCACHE"),
            32,
            counted=totals.swapcache,
        )
    if counters.hugetlb is not None:
        flaw = counters.hugetlb_flaw
        yield Comparison("hugetlb", ("hugetlb",), "hstates", lambda c: c.hugetlb or 0, flaw=flaw)
    yield from _balloon_comparison(counters)


def _file_comparison(items: Iterable[str]) -> Iterator[Comparison]:
    others = [name for name in ("NR_SHMEM", "NR_SWAPCACHE") if name in items]
    yield Comparison(
        "file",
        ("file",),
        " - ".join(["NR_FILE_PAGES", *others]),
        lambda c: c.items.get("NR_FILE_PAGES", 0) - sum(c.items[name] for name in others),
        32,
        _file_tolerances,
    )


def _balloon_comparison(counters: Counters) -> Iterator[Comparison]:
    if "NR_BALLOON_PAGES" in counters.items:
        name = "NR_BALLOON_PAGES"
        yield Comparison("offline", ("offline",), name, _of(name), 1, _offline_tolerances)
    elif counters.inflated is not None:
        name = "BALLOON_INFLATE - BALLOON_DEFLATE"
        yield Comparison(
            "offline", ("offline",), name, lambda c: c.inflated or 0, 1, _offline_tolerances
        )


def _turnover_tolerance(
    comparison: Comparison, before: Counters, after: Counters
) -> Iterator[Tolerance]:
    """Yield the tolerance for pages that a running kernel allocated or freed during the walk."""
    turnover = after.turnover - before.turnover
    if turnover <= 0:
        return
    # Pages move between the buddy allocator and per-CPU lists without an event.
    most = turnover + (before.pcp + after.pcp if comparison.name in ("buddy", "pcp") else 0)
    why = f"{counted_as(turnover, 'page', 'were')} allocated or freed during the walk"
    yield Tolerance(-most, most, why)


def _transit_tolerance(
    comparison: Comparison, counters: Counters, marking: Marking | None
) -> Iterator[Tolerance]:
    """Yield the tolerance for pages that are marked but not yet counted, or the other way round.

    On a running kernel every CPU may have such pages. On a stopped one the stacks show which tasks
    do.
    """
    if not comparison.in_transit:
        return
    if marking is None:
        most = comparison.in_transit * counters.cpus
        why = f"{counted_as(counters.cpus, 'CPU')} may be marking or counting pages"
    else:
        functions = marking().get(comparison.name, ())
        most = comparison.in_transit * len(functions)
        tasks = "a task is" if len(functions) == 1 else f"{len(functions)} tasks are"
        why = f"{tasks} in {', '.join(sorted(set(functions)))}, which marks and counts pages"
    if most:
        yield Tolerance(-most, most, f"{why}: {counted_as(most, 'page')} at most")


def compared(
    comparison: Comparison,
    totals: Totals,
    before: Counters,
    after: Counters,
    marking: Marking | None,
) -> CounterCheck:
    """Return the result of one comparison; the arguments are those of compare_counters()."""
    counted = comparison.counted
    if counted is None:
        # In a bit scheme a page may have several types: its use is "table+kmemcg", for example.
        counted = sum(
            n for use, n in totals.uses.items() if set(use.split("+")) & set(comparison.uses)
        )
    first, last = comparison.kernel(before), comparison.kernel(after)
    low, high = sorted((first, last))
    verdict: Verdict
    if comparison.flaw:
        verdict, why = "differs", comparison.flaw
    elif low <= counted <= high:
        verdict = "verified"
        *others, last_use = comparison.uses or ("",)
        why = f"{', '.join(others)} and {last_use} together" if others else ""
    else:
        nearest = high if counted > high else low
        off = counted - nearest
        tolerances = _tolerances(comparison, totals, before, after, marking)
        tolerance = next((e for e in tolerances if e.fewest <= off <= e.most), None)
        verdict = "explained" if tolerance else "differs"
        from_which = "" if low == high else f" from {number(nearest)}"
        reason = tolerance.why if tolerance else _no_reason(totals)
        why = f"{off:+,}{from_which}: {reason}"
    return CounterCheck(
        comparison.name, comparison.uses, comparison.counter, counted, first, last, verdict, why
    )


def _no_reason(totals: Totals) -> str:
    damaged = totals.uses.get("conflict", 0)
    if not damaged:
        return "no known cause"
    pages = counted_as(damaged, "page")
    return f"no known cause, but {pages} of use conflict may be missing from the total"


def _tolerances(
    comparison: Comparison,
    totals: Totals,
    before: Counters,
    after: Counters,
    marking: Marking | None,
) -> Iterator[Tolerance]:
    """Yield the tolerances. Those that need the stacks of all tasks, which are slow, come last."""
    yield from comparison.tolerances(totals, after)
    yield from _turnover_tolerance(comparison, before, after)
    yield from _transit_tolerance(comparison, after, marking)


def compare_counters(
    totals: Totals, before: Counters, after: Counters, marking: Marking | None = None
) -> tuple[CounterCheck, ...]:
    """Return the counter checks of a whole machine.

    `before` and `after` are the counters read before and after the walk. `marking` is None for a
    running machine; it is called only if a total is not verified.
    """
    return tuple(
        compared(comparison, totals, before, after, marking)
        for comparison in _comparisons(totals, before)
        if totals.counted_uses is None or totals.counted_uses.issuperset(comparison.uses)
    )


def remarks(checks: Iterable[CounterCheck]) -> tuple[str, ...]:
    """Return a line per counter check, such as: buddy 343,661 = NR_FREE_PAGES (verified)."""
    return tuple(map(_remark, checks))


def _remark(check: CounterCheck) -> str:
    counted = f"{' + '.join(check.uses) or f'PG_{check.name}'} {number(check.counted)}"
    if check.counted == check.before == check.kernel and check.verdict != "differs":
        return f"{counted} = {check.counter} ({check.verdict})"
    kernel = number(check.kernel)
    if check.before != check.kernel:
        kernel = f"{number(check.before)} before and {kernel} after"
    why = f": {check.why}" if check.why else ""
    return f"{counted}, {check.counter} {kernel} ({check.verdict}{why})"
