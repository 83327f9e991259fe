# SPDX-License-Identifier: GPL-2.0-only
"""Compares the pages of kinds of owners with the kernel's own counters."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from ..analysis.counter_check import (
    Comparison,
    CounterCheck,
    Marking,
    Tolerance,
    compare_counters,
    compared,
)
from ..analysis.totals import Totals
from ..model.arch import PAGE_SIZE
from ..model.counters import Counters
from ..units import counted as counted_as
from .structures import Structures
from .vmap_parts import NO_TASK, pieces_of

Pages = Mapping[str, int]
"""The number of pages by kind of owner."""

_MANY = 1 << 52
"""More pages than a machine can have."""
_STACK_ITEM = "NR_KERNEL_STACK_KB"
_VM_KINDS = ("vmalloc", "stack", "module", "bpf")


class MaybeDamaged(Protocol):
    """A structure of a kernel, of which parts may not have been read."""

    @property
    def whole(self) -> bool:
        """Whether all lists were followed to their ends."""

    @property
    def unreadable(self) -> int:
        """Number of items that could not be read."""


def compare_owners(
    totals: Totals,
    by_kind: Pages,
    structures: Structures,
    before: Counters,
    after: Counters,
    marking: Marking | None = None,
) -> tuple[CounterCheck, ...]:
    """Return the counter checks of uses, and those of kinds that structures assign pages to.

    `totals` and `by_kind` are of the whole machine. Kinds whose structures could not be read, and
    those without a counter in this kernel, have no check. The other arguments are those of
    compare_counters().
    """
    of_kinds = (
        compared(comparison, totals, before, after, marking)
        for comparison in _comparisons(by_kind, structures, before)
    )
    return (*compare_counters(totals, before, after, marking), *of_kinds)


def _comparisons(pages: Pages, structures: Structures, counters: Counters) -> Iterator[Comparison]:
    if counters.page_pool is not None:
        yield _page_pools(pages)
    if structures.vmap is not None:
        yield from _vmalloc(pages, structures, counters)
    if structures.tasks is not None and _STACK_ITEM in counters.items:
        yield _stack(pages, structures)
    if structures.percpu is not None and counters.percpu is not None:
        yield _percpu(pages, structures, counters.percpu)
    if structures.memmap is not None and counters.memmap is not None:
        yield Comparison(
            "memmap",
            ("memmap",),
            "nr_memmap_boot_pages + nr_memmap_pages",
            lambda c: c.memmap or 0,
            tolerances=lambda *_: _unread(structures.memmap, "page tables of struct pages"),
            counted=_owned(pages, "memmap"),
        )


def _unread(structure: MaybeDamaged | None, what: str) -> Iterator[Tolerance]:
    """Yield the tolerance for pages of a structure that could not be read as a whole."""
    if structure is not None and (structure.unreadable or not structure.whole):
        yield Tolerance(-_MANY, 0, f"some {what} could not be read")


def _page_pools(pages: Pages) -> Comparison:
    return Comparison(
        "page_pool",
        ("page_pool",),
        "pages in flight of page pools",
        lambda c: c.page_pool or 0,
        counted=_owned(pages, "page_pool"),
    )


def _owned(pages: Pages, *kinds: str) -> int:
    return sum(pages.get(kind, 0) for kind in kinds)


def _vmalloc(pages: Pages, structures: Structures, counters: Counters) -> Iterator[Comparison]:
    """Yield the comparison of vmalloc pages.

    The counter is nr_vmalloc_pages in older kernels, and an item of nodes in newer ones.
    """
    is_item = "NR_VMALLOC" in counters.items
    if not is_item and counters.vmalloc is None:
        return
    areas = structures.vmap.areas if structures.vmap else ()
    uncounted = sum(len(area.pages) for area in areas if not area.is_counted)
    unfinished = sum(len(area.pages) for area in areas if area.is_unfinished)

    def kernel(counters: Counters) -> int:
        return counters.items["NR_VMALLOC"] if is_item else counters.vmalloc or 0

    def tolerances(_totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
        yield from _unread(structures.vmap, "vmalloc areas")
        if uncounted or unfinished:
            which = counted_as(uncounted, "page", "are")
            making = counted_as(unfinished, "page", "are")
            yield Tolerance(
                uncounted,
                uncounted + unfinished,
                f"{which} in areas that vmalloc() did not allocate, which the kernel does not "
                f"count, and {making} in areas that are being made",
            )

    yield Comparison(
        "vmalloc",
        _VM_KINDS,
        "NR_VMALLOC" if is_item else "nr_vmalloc_pages",
        kernel,
        tolerances=tolerances,
        counted=_owned(pages, *_VM_KINDS),
    )


def _stack(pages: Pages, structures: Structures) -> Comparison:
    """Return the comparison of stacks, without cached ones, which the kernel does not count."""
    cached = structures.tasks.cached_stacks if structures.tasks else ()
    without = sum(len(p) for label, p in pieces_of(structures, "stack") if label.name == NO_TASK)

    def tolerances(_totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
        yield from _unread(structures.tasks, "tasks")
        if without:
            yield Tolerance(
                0,
                without,
                f"{counted_as(without, 'page', 'are')} stacks without a task: the kernel stops "
                "counting the stack of a task that exits before it frees it",
            )

    return Comparison(
        "stack",
        ("stack",),
        _STACK_ITEM,
        lambda c: c.items[_STACK_ITEM] * 1024 // PAGE_SIZE,
        tolerances=tolerances,
        counted=_owned(pages, "stack") - sum(len(stack.pfns) for stack in cached),
    )


def _percpu(pages: Pages, structures: Structures, counter: int) -> Comparison:
    percpu = structures.percpu
    absent = counter - percpu.counted if percpu else 0

    def tolerances(_totals: Totals, _counters: Counters) -> Iterator[Tolerance]:
        yield from _unread(percpu, "percpu chunks")
        if absent:
            why = "of units that belong to no CPU, and which have no pages"
            yield Tolerance(-absent, -absent, f"{counted_as(absent, 'page', 'are')} {why}")

    return Comparison(
        "percpu",
        ("percpu",),
        "pcpu_nr_populated x pcpu_nr_units",
        lambda c: c.percpu or 0,
        tolerances=tolerances,
        counted=_owned(pages, "percpu"),
    )
