"""What classification needs to know beside struct pages, read once into plain values."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu_ptr

from .errors import LACKS_HINT, PageInspectError
from .layout import MAX_ORDER, SECTION_PFNS, PageLayout
from .memmap import check_sections, read_memmap
from .ranges import Range, count, merge
from .vmcoreinfo import Info, sections

TRYLOCK = 0xFFFF
"""Stands for a CPU: the pages that free_pages_nolock() could not free at once, on no CPU's list."""

# A list of a zone and CPU holds less.
_LONGEST_LIST = 1 << 20
_MOST_PAGES = 256
"""Pages of struct pages that are kept while lists are followed: 1 MiB."""
_PAGE = 4096
_POINTER = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone that has pages: the pfns it spans, end exclusive, and its number in page flags."""

    node: int
    name: str
    start: int
    end: int
    number: int = 0


@dataclass(frozen=True)
class PcpLists:
    """The blocks on per-CPU free lists, sorted by pfn.

    `pfns` (k,) int64 are their first pages, `orders` and `cpus` (k,) uint8 and uint16; what is on
    a zone's trylock list instead has TRYLOCK for a CPU. `counted` is the sum of pcp->count, in
    pages; `whole` is False when a list could not be followed to its end.
    """

    pfns: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    orders: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    cpus: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    counted: int = 0
    whole: bool = True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PcpLists):
            return NotImplemented
        same = (self.counted, self.whole) == (other.counted, other.whole)
        return same and all(
            np.array_equal(getattr(self, c), getattr(other, c)) for c in ("pfns", "orders", "cpus")
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Census:
    """What a kernel says about its memory as a whole."""

    spanned: tuple[Range, ...]
    """pfns that have a struct page in use, as sorted disjoint ranges: memory that is offline is
    left out."""
    zones: tuple[Zone, ...]
    zone_names: tuple[str, ...] = ()
    """Names of all zones that there can be, by their number in page flags."""
    pcp: PcpLists = field(default_factory=PcpLists)
    zero_pfn: int | None = None
    huge_zero_pfn: int | None = None
    max_pfn: int = 0
    """One beyond the last pfn of memory."""
    devices: tuple[Range, ...] = ()
    """pfns of ZONE_DEVICE: its zone spans what lies between them too."""
    changing: bool = False
    """The kernel ran on after this was read, so that pages need not agree with it."""

    def zone_name(self, number: int) -> str:
        """Return the name of the zone that page flags give by its number."""
        return self.zone_names[number] if number < len(self.zone_names) else f"zone {number}"

    def no_zone(self, number: int) -> str:
        """Return what a zone number means that is no zone's, as a sentence; "" of a zone's.

        init_reserved_page() of the kernel, now __init_page_from_nid(), looks for the zone that
        spans a pfn, and where there is none ends at the number behind the last.
        """
        if not self.zone_names or number < len(self.zone_names):
            return ""
        if number > len(self.zone_names):
            return f"This kernel gives no page the zone number {number}."
        return "No zone spans these pages: firmware or the boot loader reserved them."

    @property
    def spanned_pages(self) -> int:
        """Number of pfns that have a struct page."""
        return count(self.spanned)


def _zones(prog: Program) -> tuple[tuple[Zone, ...], tuple[str, ...], list[Object]]:
    """Return the zones that have pages, the names of all, and the objects they were read from."""
    zones: list[Zone] = []
    names: list[str] = []
    objects = []
    for pgdat in for_each_online_pgdat(prog):
        node = pgdat.node_id.value_()
        names = [zone.name.string_().decode("ascii", "replace") for zone in pgdat.node_zones]
        for number, zone in enumerate(pgdat.node_zones):
            start, spanned = zone.zone_start_pfn.value_(), zone.spanned_pages.value_()
            if spanned:
                zones.append(Zone(node, names[number], start, start + spanned, number))
                objects.append(zone)
    return tuple(zones), tuple(names), objects


class _PcpReader:
    """Follows the per-CPU free lists, and the trylock lists, of all zones."""

    def __init__(self, prog: Program, layout: PageLayout) -> None:
        self._prog = prog
        self._layout = layout
        self._found = [(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint16))]
        self._counted = 0
        self._whole = True

    def read(self, zones: list[Object]) -> PcpLists:
        cpus = list(for_each_possible_cpu(self._prog))
        for zone in zones:
            for cpu in cpus:
                self._read_cpu(zone, cpu)
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

    def _read_cpu(self, zone: Object, cpu: int) -> None:
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
            linked = self._linked(base + 16 * index, self._layout.compound)
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
            page = next_ & -_PAGE
            try:
                if page not in read:
                    if len(read) >= _MOST_PAGES:
                        read.clear()
                    read[page] = self._prog.read(page, _PAGE)
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


def _variable(prog: Program, *names: str) -> int | None:
    """Return the value of the first of these unsigned longs that the kernel has, or None."""
    for name in names:
        try:
            return prog.read_u64(prog.symbol(name).address)
        except (LookupError, FaultError):
            continue
    return None


def _huge_zero_pfn(prog: Program) -> int | None:
    # ~0 while there is none.
    pfn = _variable(prog, "huge_zero_pfn")
    return None if pfn is None or pfn >= 1 << 52 else pfn


def take_census(
    prog: Program,
    layout: PageLayout,
    vmcoreinfo: Info,
    *,
    changing: bool = False,
    most_sections: int | None = None,
) -> Census:
    """Read the census of the kernel that `prog` looks at, which is `changing` where it runs.

    Of a kernel whose types are not known, the sections are all there is. Raises PageInspectError
    when zones and sections cannot be read, or there are more than `most_sections`.
    """
    if layout.untold:
        numbers, _ = sections(prog, vmcoreinfo)
        check_sections(len(numbers), most_sections)
        sound = merge((n * SECTION_PFNS, (n + 1) * SECTION_PFNS) for n in numbers)
        return Census(tuple(sound), (), changing=changing)
    try:
        memmap = read_memmap(prog, most_sections)
        zones, names, objects = _zones(prog)
        pcp = _PcpReader(prog, layout).read(objects)
    except (LookupError, FaultError) as error:
        raise PageInspectError(
            f"cannot read the zones and memory sections of this kernel: {error}",
            LACKS_HINT,
        ) from None
    return Census(
        memmap.used,
        zones,
        names,
        pcp,
        zero_pfn=_variable(prog, "zero_page_pfn", "zero_pfn"),
        huge_zero_pfn=_huge_zero_pfn(prog),
        max_pfn=_variable(prog, "max_pfn") or 0,
        devices=memmap.devices,
        changing=changing,
    )
