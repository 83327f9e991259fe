# SPDX-License-Identifier: GPL-2.0-only
"""The report of `contiguity --for`: the pages in the way of what is asked for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..analysis.mobility import OUTCOMES, Mobility
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..units import counted, number, size
from .base import DEFAULT_TOP, SCHEMA, Coverage, Report, View, kernel_json

VERDICTS = ("free", "movable", "reclaimable", "undecided", "blocked")
"""What can be said in one word: it can be had at once; if pages are moved; if slabs are freed; if a
driver agrees; not at all."""
_RANGES = {
    "cma": ("CMA", "be allocated as a whole"),
    "offline": ("Memory block {}", "be taken offline"),
    "pfn": ("This memory", "be allocated as a whole"),
}
"""What a range is asked for, and for what."""
_NONE = Absent.NOT_APPLICABLE
_COLUMNS = (
    Column("block", "int64", "pfn", absent=(_NONE,), machines=True),
    Column("start", "int64", "pfn"),
    Column("end", "int64", "pfn", spare=3),
    Column("pages", "int64", "pages"),
    Column("use"),
    Column("kind", spare=2),
    Column("name", absent=(_NONE,)),
    Column("order", "int64", "order", machines=True),
    Column("refs", "int64", "count", "refcount", spare=1),
    Column("pins", "int64", "count"),
    Column("extra", "int64", "count", "unexplained_references"),
    Column("mobility", machines=True),
    Column("remedy", absent=(_NONE,)),
)


class BlockCounts(NamedTuple):
    """Blocks of the size of a huge page by state."""

    free: int
    movable: int
    reclaimable: int
    unmovable: int
    reserved: int
    shared: int = 0
    """Of the reserved ones, those that two or more zones share."""


class ObstacleRow(NamedTuple):
    """Adjacent pages in the way, of one use and owner."""

    block: int | None
    """The first pfn of the block that they are in the way of; None if a range is asked for."""
    start: int
    end: int
    """The end is exclusive."""
    use: str
    kind: str
    name: str
    """Untrusted text."""
    order: int
    refcount: int
    """References, pins and unexplained references of each folio."""
    pins: int
    references: int
    mobility: int
    """An index into OUTCOMES."""
    remedy: str


@dataclass(frozen=True, slots=True)
class ObstaclesReport(Report):
    """The pages in the way of a huge page, of CMA or of taking memory offline."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    wanted_for: str
    pages: tuple[int, ...]
    """Pages of the memory that is asked for, by OUTCOMES."""
    absent: int
    """pfns of the ranges that are asked for without a struct page in use."""
    obstacles: tuple[ObstacleRow, ...]
    zones: int = 1
    """The number of zones of this memory."""
    order: int | None = None
    """The order of the huge page that is asked for; None if a range is."""
    blocks: BlockCounts | None = None
    top: int | None = None
    """The maximum number of ranges, 0 for all. None is 10 for people, and all in others."""
    further: int = 0
    """The number of ranges of pages in the way after those in `obstacles`."""
    left_out: str = ""
    """A sentence on zones that cannot give what is asked for; empty if all can."""

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        if self.blocks is not None:
            best = self.blocks[: Mobility.UNMOVABLE]
            return next((VERDICTS[i] for i, n in enumerate(best) if n), "blocked")
        pages = self.pages
        stays = pages[Mobility.UNMOVABLE] or pages[Mobility.RESERVED]
        if self.absent or stays or self._divided:
            return "blocked"
        for word in ("undecided", "reclaimable", "movable"):
            if pages[OUTCOMES.index(word)]:
                return word
        return "free" if sum(pages) else "blocked"

    @property
    def _divided(self) -> bool:
        """Whether the memory is asked for as one range, but lies in several zones."""
        return self.zones > 1 and self.wanted_for != "cma"

    @property
    def possible(self) -> bool:
        """Whether nothing but pages that can be moved is in the way."""
        return self.verdict in ("free", "movable")

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "for": self.wanted_for,
            "verdict": self.verdict,
            "possible": self.possible,
            "pages": dict(zip(OUTCOMES, self.pages, strict=True)),
            "absent": self.absent,
        }
        if self.blocks is not None:
            found["order"] = self.order
            found["blocks"] = self.blocks._asdict()
        found["rows"] = self._table(self._first(self.top or 0))
        return found

    def tables(self) -> tuple[Table, ...]:
        """Return the table of pages in the way."""
        return (self._table(self._first(self.top or 0)),)

    def _first(self, most: int) -> Sequence[ObstacleRow]:
        return self.obstacles[: most or None]

    def _table(self, rows: Iterable[ObstacleRow]) -> Table:
        cells: list[Row] = [
            (
                _NONE if row.block is None else row.block,
                *(row.start, row.end, row.end - row.start, row.use, row.kind, row.name or _NONE),
                *(row.order, row.refcount, row.pins, row.references),
                *(OUTCOMES[row.mobility], row.remedy or _NONE),
            )
            for row in rows
        ]
        block, *others = _COLUMNS
        return Table("rows", (replace(block, machines=self.blocks is None), *others), cells)

    def view(self) -> View:
        """Return the verdict as a sentence, then numbers, then the pages in the way."""
        most = DEFAULT_TOP if self.top is None else self.top
        first = self._first(most)
        verdict, numbers = self._of_range() if self.blocks is None else self._of_blocks(self.blocks)
        after = list(self.coverage.remarks())
        left = len(self.obstacles) + self.further - len(first)
        if left:
            after = ["", f"{counted(left, 'more range')} of pages: --top 0 shows all.", *after]
        numbers = " ".join(filter(None, (numbers, self.left_out)))
        before = [self.provenance.describe(), "", verdict, "", numbers]
        if first and self.blocks is not None:
            other = "other blocks" if self.verdict == "free" else "each block"
            before += ["", f"What is in the way in {other}:"]
        if first:
            before.append("")
        return View(self._table(first), before=tuple(before), after=tuple(after))

    def _of_range(self) -> tuple[str, str]:
        pages = dict(zip(OUTCOMES, self.pages, strict=True))
        name, _, value = self.wanted_for.partition(":")
        what, done = _RANGES[name]
        what = what.format(value)
        verdict = {
            "free": f"{what} can {done} at once: nothing is in the way.",
            "movable": f"{what} can {done}: {counted(pages['movable'], 'page')} must be moved, "
            "and nothing else is in the way.",
            "reclaimable": f"{what} cannot {done} as it is: only slabs that shrinkers may free are "
            f"in the way, {counted(pages['reclaimable'], 'page')}.",
            "undecided": f"{what} can {done} only if the driver agrees that has "
            f"{counted(pages['undecided'], 'page')} of it: virtio-mem or a balloon.",
            "blocked": f"{what} cannot {done}: {self._reason()}.",
        }[self.verdict]
        return verdict, " ".join(self._numbers(pages))

    def _reason(self) -> str:
        if not sum(self.pages):
            return "it is offline already" if "offline" in self.wanted_for else "it is offline"
        stays = self.pages[Mobility.UNMOVABLE] + self.pages[Mobility.RESERVED]
        if stays:
            return f"{counted(stays, 'page')} of it cannot be moved"
        if self._divided:
            return f"it lies in {self.zones} zones"
        return f"it lacks {counted(self.absent, 'page')}"

    def _numbers(self, pages: dict[str, int]) -> Iterator[str]:
        total = sum(self.pages)
        if total:
            in_the_way = pages["reclaimable"] + pages["unmovable"] + pages["reserved"]
            reclaimed = ", "
            if 0 < pages["reclaimable"] < in_the_way:
                reclaimed = f", of which {number(pages['reclaimable'])} can be reclaimed; "
            yield (
                f"Of {counted(total, 'page')}, {_are(in_the_way)} in the way{reclaimed}"
                f"{_are(pages['free'])} free, and {number(pages['movable'])} can be moved."
            )
        if pages["undecided"]:
            yield (
                f"{counted(pages['undecided'], 'page')} may be in the way: the driver decides that "
                "took this memory for a hypervisor (virtio-mem or a balloon)."
            )
        if pages["skipped"]:
            yield (
                f"The kernel passes over {counted(pages['skipped'], 'page')} with a hardware "
                "error, or that a driver gave up."
            )
        if self.absent:
            yield (
                f"Without a struct page in use: {counted(self.absent, 'pfn')} of memory that is "
                "offline, or of a hole."
            )

    def _of_blocks(self, blocks: BlockCounts) -> tuple[str, str]:
        what = {"hugepage": "A huge page", "gigantic": "A gigantic page"}[self.wanted_for]
        of = size(self.layout.page_size << (self.order or 0))
        total = sum(blocks[: Mobility.RESERVED + 1])
        every = f"{counted(total, 'block')} of {of}"
        verdict = {
            "free": f"{what} can be had at once: {counted(blocks.free, 'free block')} of {of}.",
            "movable": f"{what} can be had after compaction: none of {every} is free, but "
            f"{_have(blocks.movable)} only pages that can be moved.",
            "reclaimable": f"{what} can be had only if slabs are freed: of {every}, "
            f"{_have(blocks.reclaimable)} nothing else in the way.",
            "blocked": f"{what} cannot be had: "
            + (f"each of {every}" if total != 1 else f"the only block of {of}")
            + " has unmovable or reserved pages.",
        }[self.verdict]
        numbers = (
            f"Of {every}, {_are(blocks.free)} free, {_have(blocks.movable)} only pages that can "
            f"be moved, and {number(blocks.reclaimable)} also slabs that can be reclaimed; "
            f"{_have(blocks.unmovable)} unmovable pages, and {number(blocks.reserved)} reserved "
            "ones."
        )
        if blocks.shared:
            numbers += (
                f" {counted(blocks.shared, 'block', 'are')} in more than one zone: the kernel "
                "never takes such memory as one page."
            )
        return verdict, numbers


def _are(n: int) -> str:
    return f"{number(n)} {'is' if n == 1 else 'are'}"


def _have(n: int) -> str:
    return f"{number(n)} {'has' if n == 1 else 'have'}"
