"""Follows the per-CPU free lists, and the zones' trylock lists."""

import struct
from collections.abc import Iterable, Iterator

import numpy as np
from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu_ptr

from ..model.arch import MAX_ORDER, PAGE_SIZE
from ..model.layout import PageLayout
from ..model.memory_map import TRYLOCK, PcpLists

# A list of a zone and CPU holds less.
_LONGEST_LIST = 1 << 20
_MOST_PAGES = 256
"""Pages of struct pages that are kept while lists are followed: 1 MiB."""
_POINTER = struct.Struct("<Q")


class PcpReader:
    """Follows the per-CPU free lists, and the trylock lists, of all zones."""

    def __init__(self, prog: Program, layout: PageLayout) -> None:
        self._prog = prog
        self._layout = layout
        self._found = [(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint16))]
        self._counted = 0
        self._whole = True

    def read(self, zones: list[Object]) -> PcpLists:
        """Return the lists of all possible CPUs in these zones, which are `struct zone *`."""
        link = self._layout.compound
        # Where a struct page without that word has its links, nothing tells.
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
        # A list that leads round is followed round more than once.
        again = np.ones(len(rows) - 1 if len(rows) else 0, np.bool_)
        for column in (pfns, orders, of_cpus):
            again &= np.diff(column[rows]) == 0
        rows = np.delete(rows, np.flatnonzero(again))
        return PcpLists(pfns[rows], orders[rows], of_cpus[rows], self._counted, self._whole)

    def _add(self, pfns: Iterable[int], orders: int | list[int], cpu: int) -> None:
        found = np.fromiter(pfns, np.int64)
        n = len(found)
        if n:
            self._found.append((found, np.full(n, orders, np.uint8), np.full(n, cpu, np.uint16)))

    def _read_cpu(self, zone: Object, cpu: int, link: int) -> None:
        try:
            # Since Linux kernel commit 28f836b6777b ("mm/page_alloc: split per cpu page lists and
            # zone stats") (in v5.14); before, inside a struct per_cpu_pageset.
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
        """Yield the pfn and the struct page of what is on one list, up to `end` (None: the head).

        `link` is where a struct page has the next one. Each step needs what the one before it read,
        but neighbours in memory are often neighbours on a list: pages are read whole, and kept. A
        list that leads round ends after a few times round.
        """
        layout, next_ = self._layout, head
        read: dict[int, bytes] = {}
        passed = head
        for step in range(1, _LONGEST_LIST + 1):
            page = next_ & -PAGE_SIZE
            try:
                if page not in read:
                    if len(read) >= _MOST_PAGES:
                        read.clear()
                    read[page] = self._prog.read(page, PAGE_SIZE)
                (next_,) = _POINTER.unpack_from(read[page], next_ - page)
            except (FaultError, struct.error):
                break
            if next_ == (head if end is None else end):
                return
            pfn, rest = divmod(next_ - link - layout.vmemmap, layout.struct_size)
            if rest or pfn < 0 or next_ == passed:
                break
            yield pfn, next_ - link
            # By Brent: one that was passed is waited for twice as long each time.
            if step & (step - 1) == 0:
                passed = next_
        self._whole = False


def _list_order(index: int, lists: int) -> int:
    """Return the order of the blocks on list number `index`.

    Since Linux kernel commit 44042b449872 ("mm/page_alloc: allow high-order pages to be stored on
    the per-cpu lists") (in v5.14) there are three lists for each order up to 3, then those of
    pageblocks; before, three lists of single pages.
    """
    if lists <= 3:
        return 0
    return index // 3 if index < 12 else 9
