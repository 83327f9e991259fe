# SPDX-License-Identifier: GPL-2.0-only
"""The report of `contiguity --for`: the pages in the way of what is asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..analysis.mobility import MOBILITY_NAMES, Mobility
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..units import counted, number, size, wrapped
from .base import SCHEMA, Coverage, Report, View, kernel_json

DEFAULT_TOP = 10
"""The number of ranges in tables for people."""
_WIDTH = 80
_NONE = Absent.NOT_APPLICABLE
_COLUMNS = (
    Column("block", "int64", "pfn", absent=(_NONE,), machines=True),
    Column("start", "int64", "pfn"),
    Column("end", "int64", "pfn"),
    Column("pages", "int64", "pages"),
    Column("use"),
    Column("kind"),
    Column("name", absent=(_NONE,)),
    Column("order", "int64", "order", machines=True),
    Column("references", "int64", "count", "refcount"),
    Column("pins", "int64", "count"),
    Column("unexplained", "int64", "count", "unexplained_references", spare=2),
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
    remedy: str


@dataclass(frozen=True, slots=True)
class ObstaclesReport(Report):
    """The pages in the way of a huge page, of CMA or of taking memory offline."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    wanted_for: str
    pages: tuple[int, ...]
    """Pages of the memory that is asked for, by Mobility."""
    absent: int
    """pfns of the ranges that are asked for without a struct page in use."""
    obstacles: tuple[ObstacleRow, ...]
    order: int | None = None
    """The order of the huge page that is asked for; None if a range is."""
    blocks: BlockCounts | None = None
    top: int | None = None
    """The maximum number of ranges, 0 for all. None is 10 for people, and all in others."""

    @property
    def possible(self) -> bool:
        """Whether nothing but pages that can be moved is in the way."""
        if self.blocks is not None:
            return bool(self.blocks.free or self.blocks.movable)
        return not self.obstacles and not self.absent

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "for": self.wanted_for,
            "possible": self.possible,
            "pages": dict(zip(MOBILITY_NAMES, self.pages, strict=True)),
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
                *(MOBILITY_NAMES[row.mobility], row.remedy or _NONE),
            )
            for row in rows
        ]
        return Table("rows", _COLUMNS, cells)

    def view(self) -> View:
        """Return the answer as a sentence, then the pages in the way."""
        most = DEFAULT_TOP if self.top is None else self.top
        first = self._first(most)
        before = (self.provenance.describe(), "", *wrapped(self._answer(), _WIDTH), "")
        after = list(self.coverage.remarks())
        left = len(self.obstacles) - len(first)
        if left:
            after = ["", f"{counted(left, 'more range')} of pages: --top 0 shows all.", *after]
        return View(self._table(first), before=before, after=tuple(after))

    def _answer(self) -> str:
        if self.blocks is not None:
            return self._answer_of_blocks(self.blocks)
        in_the_way = sum(self.pages[Mobility.RECLAIMABLE :])
        movable, free = self.pages[Mobility.MOVABLE], self.pages[Mobility.FREE]
        rest = f"{number(free)} are free, and {number(movable)} can be moved."
        absent = (
            f" Without a struct page in use: {number(self.absent)} pfns of memory that is offline, "
            "or of a hole."
        )
        if not sum(self.pages):
            text = "None of these pfns has memory in use."
        elif in_the_way:
            text = (
                f"Of {number(sum(self.pages))} pages, {number(in_the_way)} are in the way, {rest}"
            )
        else:
            text = f"Nothing is in the way: of {number(sum(self.pages))} pages, {rest}"
        return text + (absent if self.absent else "")

    def _answer_of_blocks(self, blocks: BlockCounts) -> str:
        what = size(self.layout.page_size << (self.order or 0))
        return (
            f"Of {number(sum(blocks))} blocks of {what}, {number(blocks.free)} are free, "
            f"{number(blocks.movable)} have only pages that can be moved, and "
            f"{number(blocks.reclaimable)} also slabs that can be reclaimed. "
            f"{number(blocks.unmovable)} have unmovable pages, and {number(blocks.reserved)} "
            "reserved ones."
        )
