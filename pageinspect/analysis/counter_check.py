"""Compares page totals with the kernel's own counters.

A total is verified when it lies between what the kernel counted before the walk and after it; in a
core the two are one number. It is explained when it is off in a way, and by no more, than a
tolerance allows; the tolerances are in this file. A tolerance needs a reason that was read: a lock
that is held, a task that is in the code that marks pages. Any other total differs: struct pages and
counters contradict each other.
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
    """One total, in pages: as `counted` in the uses named, and as the kernel has it."""

    name: str
    uses: tuple[str, ...]
    counter: str
    """Where the kernel's number comes from."""
    counted: int
    before: int
    """What the kernel said before the walk; of a core the same as `kernel`."""
    kernel: int
    """What it said after the walk."""
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Why a count may be off, and how far: by `fewest` to `most` pages more than the kernel's."""

    fewest: int
    most: int
    why: str


Marking = Callable[[], Mapping[str, Sequence[str]]]
"""Returns, by the name of the check, the functions in which tasks mark or count such pages: one for
each task that is in such code."""


def _no_tolerances(_totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    return iter(())


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What one counter check is made from."""

    name: str
    uses: tuple[str, ...]
    counter: str
    kernel: Callable[[Counters], int]
    in_transit: int = 0
    """Pages that one task may have marked and not yet counted, or the other way round."""
    tolerances: Callable[[Totals, Counters], Iterable[Tolerance]] = _no_tolerances
    counted: int | None = None
    """The count, where it is not that of the uses."""
    flaw: str = ""
    """Why the kernel's number cannot be right."""


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
            f"no count has {counted_as(totals.on_trylock, 'page')} on trylock lists",
        )
    yield from _list_tolerances(totals, counters)


def _slab_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    # Where they have a type, that is counted with slab.
    if "large_kmalloc" not in totals.known and totals.compound_kernel:
        yield Tolerance(
            -totals.compound_kernel,
            0,
            "the kernel counts large kmalloc as slab; its pages have no type here: at most the "
            f"{number(totals.compound_kernel)} in compound pages of use kernel",
        )


def _anon_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    if totals.unmapped_anon:
        yield Tolerance(
            0,
            totals.unmapped_anon,
            f"{counted_as(totals.unmapped_anon, 'page', 'are')} not mapped (in the swap cache, or "
            "about to be freed), and the kernel counts mapped ones",
        )


def _file_tolerances(totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if "NR_SWAPCACHE" not in counters.items and totals.swapcache:
        yield Tolerance(
            -totals.swapcache,
            totals.file_off_lru,
            f"{counted_as(totals.swapcache, 'page')} are in the swap cache, which NR_FILE_PAGES "
            "has and this kernel counts nowhere else",
        )
    if totals.file_off_lru:
        yield Tolerance(
            0,
            totals.file_off_lru,
            f"{counted_as(totals.file_off_lru, 'page', 'are')} on no LRU list: a driver's, with "
            "the mapping of its file, are not counted by the kernel",
        )


def _offline_tolerances(totals: Totals, counters: Counters) -> Iterator[Tolerance]:
    if counters.offliners:
        drivers = " and ".join(counters.offliners)
        yield Tolerance(
            0,
            totals.uses.get("offline", 0),
            f"{drivers} may have marked them, and no counter has those",
        )


def _movable_tolerances(totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
    movable = totals.uses.get("movable_ops", 0)
    if movable:
        yield Tolerance(0, movable, "other movable pages, such as z3fold's, are among them")


def _comparisons(totals: Totals, counters: Counters) -> Iterator[_Comparison]:
    """Yield the lines that this kernel has counters for."""
    items = counters.items
    yield _Comparison(
        "buddy", ("buddy",), "NR_FREE_PAGES", _of("NR_FREE_PAGES"), 0, _buddy_tolerances
    )
    yield _Comparison("pcp", ("pcp",), "sum of pcp->count", lambda c: c.pcp, 0, _pcp_tolerances)
    # Since Linux kernel commit d42f3245c7e2 ("mm: memcg: convert vmstat slab counters to bytes")
    # (in v5.9) the names end in _B.
    slab = [f"NR_SLAB_{kind}_B" for kind in ("RECLAIMABLE", "UNRECLAIMABLE")]
    if slab[0] not in items:
        slab = [name.removesuffix("_B") for name in slab]
    slab_uses = ("slab", "large_kmalloc") if "large_kmalloc" in totals.known else ("slab",)
    yield _Comparison("slab", slab_uses, " + ".join(slab), _of(*slab), 8, _slab_tolerances)
    yield _Comparison("table", ("table",), "NR_PAGETABLE", _of("NR_PAGETABLE"), 2)
    if "NR_ZSPAGES" in items:
        typed = "zsmalloc" in totals.known
        name = "zsmalloc" if typed else "movable_ops"
        tolerances = _no_tolerances if typed else _movable_tolerances
        yield _Comparison(name, (name,), "NR_ZSPAGES", _of("NR_ZSPAGES"), 1, tolerances)
    yield _Comparison(
        "anon", ("anon", "ksm"), "NR_ANON_MAPPED", _of("NR_ANON_MAPPED"), 32, _anon_tolerances
    )
    yield _Comparison("shmem", ("shmem",), "NR_SHMEM", _of("NR_SHMEM"), 32)
    yield from _file_comparison(items.keys())
    # Since Linux kernel commit b6038942480e ("mm: memcg: add swapcache stat for memcg v2")
    # (in v5.12).
    if "NR_SWAPCACHE" in items and totals.swapcache is not None:
        yield _Comparison(
            "swapcache",
            (),
            "NR_SWAPCACHE",
            _of("NR_SWAPCACHE"),
            32,
            counted=totals.swapcache,
        )
    if counters.hugetlb is not None:
        flaw = counters.hugetlb_flaw
        yield _Comparison("hugetlb", ("hugetlb",), "hstates", lambda c: c.hugetlb or 0, flaw=flaw)
    yield from _balloon_comparison(counters)


def _file_comparison(items: Iterable[str]) -> Iterator[_Comparison]:
    others = [name for name in ("NR_SHMEM", "NR_SWAPCACHE") if name in items]
    yield _Comparison(
        "file",
        ("file",),
        " - ".join(["NR_FILE_PAGES", *others]),
        lambda c: c.items.get("NR_FILE_PAGES", 0) - sum(c.items[name] for name in others),
        32,
        _file_tolerances,
    )


def _balloon_comparison(counters: Counters) -> Iterator[_Comparison]:
    if "NR_BALLOON_PAGES" in counters.items:
        name = "NR_BALLOON_PAGES"
        yield _Comparison("offline", ("offline",), name, _of(name), 1, _offline_tolerances)
    elif counters.inflated is not None:
        name = "BALLOON_INFLATE - BALLOON_DEFLATE"
        yield _Comparison(
            "offline", ("offline",), name, lambda c: c.inflated or 0, 1, _offline_tolerances
        )


def _turnover_tolerance(
    comparison: _Comparison, before: Counters, after: Counters
) -> Iterator[Tolerance]:
    """Yield what a running kernel may have changed while it was walked."""
    turnover = after.turnover - before.turnover
    if turnover <= 0:
        return
    # CPU lists take pages from the buddy and give them back without an event.
    most = turnover + (before.pcp + after.pcp if comparison.name in ("buddy", "pcp") else 0)
    why = f"{counted_as(turnover, 'page', 'were')} allocated or freed during the walk"
    yield Tolerance(-most, most, why)


def _transit_tolerance(
    comparison: _Comparison, counters: Counters, marking: Marking | None
) -> Iterator[Tolerance]:
    """Yield what is marked and not yet counted, or the other way round.

    Of a running kernel that may be so on any CPU; of one that stands still it shows.
    """
    if not comparison.in_transit:
        return
    if marking is None:
        most = comparison.in_transit * counters.cpus
        why = f"{counted_as(counters.cpus, 'CPU')} may be marking or counting them"
    else:
        functions = marking().get(comparison.name, ())
        most = comparison.in_transit * len(functions)
        tasks = "a task is" if len(functions) == 1 else f"{len(functions)} tasks are"
        why = f"{tasks} in {', '.join(sorted(set(functions)))}, where they are marked and counted"
    if most:
        yield Tolerance(-most, most, f"{why}: {counted_as(most, 'page')} at most")


def _compared(
    comparison: _Comparison,
    totals: Totals,
    before: Counters,
    after: Counters,
    marking: Marking | None,
) -> CounterCheck:
    counted = comparison.counted
    if counted is None:
        # Where a page can have several types, its use names them all.
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
        why = f"{' and '.join(comparison.uses)} together" if len(comparison.uses) > 1 else ""
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
        return "nothing known allows that"
    pages = counted_as(damaged, "page")
    return f"nothing known allows that, but {pages} of use conflict may be missing in the count"


def _tolerances(
    comparison: _Comparison,
    totals: Totals,
    before: Counters,
    after: Counters,
    marking: Marking | None,
) -> Iterator[Tolerance]:
    """Yield one by one what may be: whose tasks are in which code is looked for last."""
    yield from comparison.tolerances(totals, after)
    yield from _turnover_tolerance(comparison, before, after)
    yield from _transit_tolerance(comparison, after, marking)


def compare_counters(
    totals: Totals, before: Counters, after: Counters, marking: Marking | None = None
) -> tuple[CounterCheck, ...]:
    """Return the counter checks of a whole machine: its totals beside its counters, read twice.

    `marking` tells of a machine that stands still; it is called when a total is off.
    """
    return tuple(
        _compared(comparison, totals, before, after, marking)
        for comparison in _comparisons(totals, before)
        if totals.counted_uses is None or totals.counted_uses.issuperset(comparison.uses)
    )


def remarks(checks: Iterable[CounterCheck]) -> tuple[str, ...]:
    """Return a line for each counter check: buddy 343,661 = NR_FREE_PAGES (verified)."""
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
