# SPDX-License-Identifier: GPL-2.0-only
"""Reads the per-CPU free lists, and the trylock lists of zones."""

import struct
from collections.abc import Iterable, Iterator

import numpy as np
from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu_ptr

from ..model.arch import MAX_ORDER, PAGE_SIZE
from ..model.layout import PageLayout
from ..model.memory_map import TRYLOCK, PcpLists

# Real lists are shorter.
_LONGEST_LIST = 1 << 20
_MAX_PAGES = 256
"""Number of vmemmap pages that are cached while a list is followed: 1 MiB."""
_POINTER = struct.Struct("<Q")


class PcpReader:
    """Reads the per-CPU free lists and trylock lists of zones."""

    def __init__(self, prog: Program, layout: PageLayout) -> None:
        self._prog = prog
        self._layout = layout
        self._found = [(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint16))]
        self._counted = 0
        self._whole = True

    def read(self, zones: list[Object]) -> PcpLists:
        """Return the lists of all possible CPUs in these zones (struct zone objects)."""
        link = self._layout.compound
        # Without the compound word (memdesc), the location of the list links is not known.
        self._whole = link is not None
        cpus = list(for_each_possible_cpu(self._prog))
        for zone in zones:
            if link is not None:
                for cpu in cpus:
                    self._read_cpu(zone, cpu, link)
            if self._layout.trylock is not None:
                self._read_trylock(zone, *self._layout.trylock)
        pfns, orders, of_cpus = map(np.concatenate, zip(*self._found, strict=True))
        rows = np.lexsort((of_cpus, orders, pfns))
        # Remove duplicates: a circular damaged list is followed more than once around.
        duplicate = np.ones(len(rows) - 1 if len(rows) else 0, np.bool_)
        for column in (pfns, orders, of_cpus):
            duplicate &= np.diff(column[rows]) == 0
        rows = np.delete(rows, np.flatnonzero(duplicate))
        return PcpLists(pfns[rows], orders[rows], of_cpus[rows], self._counted, self._whole)

    def _add(self, pfns: Iterable[int], orders: int | list[int], cpu: int) -> None:
        found = np.fromiter(pfns, np.int64)
        n = len(found)
        if n:
            self._found.append((found, np.full(n, orders, np.uint8), np.full(n, cpu, np.uint16)))

    def _read_cpu(self, zone: Object, cpu: int, link: int) -> None:
        try:
            # Since Linux kernel commit 28f836b6777b ("mm/page_alloc: split per cpu page lists and
            # zone stats") (in v5.14), the member is per_cpu_pageset. Before, the lists are in a
            # struct per_cpu_pageset.
            pcp = per_cpu_ptr(zone.per_cpu_pageset, cpu)
        except AttributeError:
            pcp = per_cpu_ptr(zone.pageset, cpu).pcp.address_of_()
        self._counted += pcp.count.value_()
        lists = pcp.lists
        base = lists.address_
        length = len(lists)
        for index in range(length):
            order = _list_order(index, length)
            linked = self._linked(base + 16 * index, link)
            self._add((pfn for pfn, _ in linked), order, cpu)

    def _read_trylock(self, zone: Object, link: int, order_at: int) -> None:
        pfns: list[int] = []
        orders: list[int] = []
        for pfn, page in self._linked(zone.trylock_free_pages.first.address_, link, end=0):
            try:
                order = self._prog.read_u32(page + order_at)
            except FaultError:
                order = MAX_ORDER + 1
            if order > MAX_ORDER:
                self._whole = False
                break
            pfns.append(pfn)
            orders.append(order)
        self._add(pfns, orders, TRYLOCK)

    def _linked(self, head: int, link: int, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Yield (pfn, address of struct page) of a list, up to the link `end` (default: `head`).

        `link` is the offset of the list link in struct page. Adjacent struct pages are often
        neighbours on a list, so whole pages of the vmemmap are read and cached. A damaged list that
        is circular is followed a few times around.
        """
        layout, next_ = self._layout, head
        read: dict[int, bytes] = {}
        checkpoint = head
        for step in range(1, _LONGEST_LIST + 1):
            page = next_ & -PAGE_SIZE
            try:
                if page not in read:
                    if len(read) >= _MAX_PAGES:
                        read.clear()
                    read[page] = self._prog.read(page, PAGE_SIZE)
                (next_,) = _POINTER.unpack_from(read[page], next_ - page)
            except (FaultError, struct.error):
                break
            if next_ == (head if end is None else end):
                return
            pfn, rest = divmod(next_ - link - layout.vmemmap, layout.struct_size)
            if rest or pfn < 0 or next_ == checkpoint:
                break
            yield pfn, next_ - link
            # Brent's cycle detection: the interval between checkpoints doubles.
            if step & (step - 1) == 0:
                checkpoint = next_
        self._whole = False


def _list_order(index: int, lists: int) -> int:
    """Return the order of the blocks on list number `index` of `lists`.

    Since Linux kernel commit 44042b449872 ("mm/page_alloc: allow high-order pages to be stored on
    the per-cpu lists") (in v5.14), there are three lists for each order up to 3, then those of
    pageblock order. Before, there are three lists of single pages.
    """
    if lists <= 3:
        return 0
    return index // 3 if index < 12 else 9
