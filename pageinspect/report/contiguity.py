# SPDX-License-Identifier: GPL-2.0-only
"""The report of `contiguity`: blocks by what is in them, and what keeps them from being free."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from ..analysis.contiguity import FreeIndexes, TypeBlocks, ZoneBlocks
from ..analysis.mobility import MOBILITY_NAMES
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.ranges import Range
from ..model.table import Absent, Column, Row, Table, Unit
from ..units import counted, size
from .base import DEFAULT_TOP, SCHEMA, Coverage, Report, View, kernel_json, range_objects
from .metrics import Metrics, walk_metrics

HUGE_ORDER = 9
"""The order of a huge page of 2 MiB."""
GIGANTIC_ORDER = 18
"""The order of a huge page of 1 GiB."""

_NONE = Absent.NOT_APPLICABLE
_ZONE = (Column("node", "int64", show=str), Column("zone"))
_ORDER = Column("order", "int64", "order")
_SIZE = Column("size", "int64", "bytes", "bytes")
_HEADINGS = {"reclaimable": ("reclaim", 1), "reserved": ("reserved", 2)}
"""Headings and `spare` of columns, where tables would be too wide."""

_FITS = "fits"
_HEADING = "Blocks by their worst page (reclaim: slabs that shrinkers may free):"


def _by_mobility(unit: Unit, of: str) -> tuple[Column, ...]:
    """Return a column for each Mobility."""
    named = [(name, *_HEADINGS.get(name, (name, 0))) for name in MOBILITY_NAMES]
    return tuple(
        Column(heading, "int64", unit, f"{name}_{of}", spare=spare)
        for name, heading, spare in named
    )


_COUNTED = (
    _ORDER,
    _SIZE,
    Column("blocks", "int64", "count"),
    *_by_mobility("count", "blocks"),
)
_UNMOVABLE = (
    Column("blocks with any", "int64", "count", "blocks_with_unmovable"),
    Column("%", "float64", "percent", "unmovable_percent"),
    *(Column(part, "int64", "pages", f"unmovable_pages_{part}") for part in ("p50", "p99", "max")),
)


def _fragmentation_shown(index: float) -> str:
    """Return the index of an order whose allocation fails; one that succeeds has no cause."""
    return _FITS if index == -1 else f"{index:.3f}"


_BLOCKS = (
    *_ZONE,
    *_COUNTED,
    *_UNMOVABLE,
    *(
        Column(f"{name} {part}", "int64", "pages", f"{name}_pages_{part}")
        for name in ("free", "movable")
        for part in ("p50", "p99", "max")
    ),
)
_INDEXES = (
    *_ZONE,
    _ORDER,
    Column("free blocks", "int64", "count", "free_blocks"),
    Column("fragmentation", "float64", key="fragmentation_index", show=_fragmentation_shown),
    Column("unusable", "float64", key="unusable_index", show="{:.3f}".format),
)
_TYPES = (
    *_ZONE,
    Column("type", key="migratetype"),
    Column("blocks", "int64", "count"),
    *_by_mobility("pages", "pages"),
)


class BlockerRow(NamedTuple):
    """Pages of one owner or use that cannot simply be moved."""

    kind: str
    """The kind of owner, or the use."""
    name: str
    """Untrusted text; empty for uses, and kinds without names."""
    remedy: str
    """What could be done, empty if nothing is known."""
    pages: int
    blocks: int
    """Blocks with at least one of the pages."""
    alone: int
    """Blocks that would be free or movable without them."""
    misplaced: int
    """Pages of these in pageblocks for movable pages."""
    ranges: tuple[Range, ...] = ()
    """The pfns of the pages."""


def joined(rows: Sequence[BlockerRow]) -> BlockerRow:
    """Return the sum of owners with the same name; a block of two of them counts twice."""
    first, *others = rows
    if not others:
        return first
    return first._replace(
        pages=sum(row.pages for row in rows),
        blocks=sum(row.blocks for row in rows),
        alone=sum(row.alone for row in rows),
        misplaced=sum(row.misplaced for row in rows),
        ranges=tuple(sorted(chain.from_iterable(row.ranges for row in rows))),
    )


@dataclass(frozen=True, slots=True)
class ContiguityReport(Report):
    """Blocks of each zone by what is in them, free memory by order, and blockers."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    order: int
    """The order of the blocks that blockers are in the way of."""
    pageblock_order: int
    blocks: tuple[ZoneBlocks, ...]
    indexes: tuple[FreeIndexes, ...]
    types: tuple[TypeBlocks, ...]
    blockers: tuple[BlockerRow, ...]
    """Owners, those that alone block most first."""
    uses: tuple[BlockerRow, ...]
    """The same by use."""
    top: int | None = None
    """The maximum number of blockers, 0 for all. None is 10 for people, and all in others."""

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "order": self.order,
            "pageblock_order": self.pageblock_order,
            "blocks": self._blocks(self.blocks),
            "indexes": self._indexes(),
            "migratetypes": self._types(self.types),
            "blockers": self._blockers("blockers", self._first(self.top or 0), ranges=True),
            "uses": self._blockers("uses", self.uses),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the tables of blocks, free memory, migratetypes, blockers and uses."""
        return (
            self._blocks(self.blocks),
            self._indexes(),
            self._types(self.types),
            self._blockers("blockers", self._first(self.top or 0), ranges=True),
            self._blockers("uses", self.uses),
        )

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the blocks, free memory by order, migratetypes and the first blockers."""
        about, prefix = "contiguity", "contiguity"
        most = DEFAULT_TOP if self.top is None else self.top
        zone = ("node", "zone")
        kept = (*zone, "order", "blocks", *(f"{name}_blocks" for name in MOBILITY_NAMES))
        spread = (column.key for column in _UNMOVABLE if column.unit != "percent")
        index = ("free_blocks", "fragmentation_index", "unusable_index")
        of_type = (*zone, "migratetype", "blocks", *(f"{name}_pages" for name in MOBILITY_NAMES))
        way = ("kind", "name", "remedy", "blocks_alone", "blocks", "pages", "misplaced_pages")
        return (
            *(
                Metrics(part, about, part, table)
                for part, table in (
                    (prefix, self._blocks(self.blocks).only(*kept, *spread)),
                    (f"{prefix}_order", self._indexes().only(*zone, "order", *index)),
                    (f"{prefix}_migratetype", self._types(self.types).only(*of_type)),
                    (f"{prefix}_owner", self._blockers("blockers", self._first(most)).only(*way)),
                )
            ),
            *walk_metrics(prefix, about, self.provenance, self.coverage),
        )

    def _first(self, most: int) -> Sequence[BlockerRow]:
        return self.blockers[: most or None]

    def _blocks(self, blocks: Iterable[ZoneBlocks]) -> Table:
        return Table("blocks", _BLOCKS, [self._block_cells(zone) for zone in blocks])

    def _block_cells(self, zone: ZoneBlocks) -> Row:
        spreads = (zone.unmovable_pages, zone.free_pages, zone.movable_pages)
        return (
            *(zone.node, zone.zone, zone.order, self.layout.page_size << zone.order, zone.blocks),
            *(zone.free, zone.movable, zone.reclaimable, zone.unmovable, zone.reserved),
            zone.with_unmovable,
            round(zone.unmovable_share, 4),
            *(n for spread in spreads for n in (spread.p50, spread.p99, spread.most)),
        )

    def _indexes(self) -> Table:
        rows: list[Row] = [
            (*(row.node, row.zone, row.order, row.free_blocks), *_thousandths(row))
            for row in self.indexes
        ]
        return Table("indexes", _INDEXES, rows)

    def _types(self, types: Iterable[TypeBlocks]) -> Table:
        rows: list[Row] = [(row.node, row.zone, row.type, row.blocks, *row.pages) for row in types]
        return Table("migratetypes", _TYPES, rows)

    def _blockers(self, name: str, rows: Iterable[BlockerRow], *, ranges: bool = False) -> Table:
        named = name == "blockers"
        columns = (
            Column("kind" if named else "use"),
            *((Column("name", absent=(_NONE,)),) if named else ()),
            Column("alone", "int64", "count", "blocks_alone"),
            Column("blocks", "int64", "count"),
            Column("pages", "int64", "pages"),
            Column("misplaced", "int64", "pages", "misplaced_pages", spare=1),
            Column("remedy", absent=(_NONE,)),
            *((Column("ranges", "json", machines=True),) if ranges else ()),
        )
        cells: list[Row] = [
            (
                row.kind,
                *((row.name or _NONE,) if named else ()),
                *(row.alone, row.blocks, row.pages, row.misplaced, row.remedy or _NONE),
                *((range_objects(row.ranges),) if ranges else ()),
            )
            for row in rows
        ]
        return Table(name, columns, cells)

    def view(self) -> View:
        """Return the tables for people, with the command that lists the pages of the first."""
        most = DEFAULT_TOP if self.top is None else self.top
        first = self._first(most)
        shown = {self.pageblock_order, self.order, GIGANTIC_ORDER}
        blocks = [row for row in self.blocks if row.order in shown]
        what = size(self.layout.page_size << self.order)
        pageblock = size(self.layout.page_size << self.pageblock_order)
        more = (
            ("Unmovable pages per block:", _of_zones(self._blocks(blocks), _SIZE, *_UNMOVABLE)),
            (
                f"Free memory by order ({_FITS}: an allocation of this order succeeds):",
                _of_zones(self._indexes(), *_INDEXES[2:]),
            ),
            (
                f"Pageblocks of {pageblock} by migratetype, and their pages:",
                _of_zones(self._populated(), *_TYPES[2:]),
            ),
            (f"Owners in the way of blocks of {what}:", self._blockers("blockers", first)),
            ("Uses of these pages:", self._blockers("uses", self.uses)),
        )
        return View(
            _of_zones(self._blocks(blocks), *_COUNTED[1:]),
            before=(self.provenance.describe(), "", _HEADING, ""),
            more=tuple((title, table) for title, table in more if table.rows),
            after=tuple(self._remarks(first)),
        )

    def _populated(self) -> Table:
        populated = [row for row in self.types if row.blocks]
        return self._types(populated)

    def _remarks(self, first: Sequence[BlockerRow]) -> Iterable[str]:
        left = len(self.blockers) - len(first)
        if left:
            yield ""
            yield f"{counted(left, 'more owner')} with fewer blocks: --top 0 shows all."
        if first:
            yield ""
            yield "Pages of the first:"
            words = "list", self.provenance.option, "--owner", _owner(first[0])
            yield f"    pageinspect {' '.join(filter(None, words))}"
        yield from self.coverage.remarks()


def _of_zones(table: Table, *columns: Column) -> Table:
    """Return columns of a table for people; nodes are named before zones if there are several."""
    rows = [*table.only("node", "zone", *(column.key for column in columns)).rows]
    several = len({row[0] for row in rows}) > 1
    cells = [(f"{node}/{zone}" if several else zone, *rest) for node, zone, *rest in rows]
    return Table(table.name, (Column("zone"), *columns), cells)


def _thousandths(row: FreeIndexes) -> tuple[float, float]:
    return row.fragmentation / 1000, row.unusable / 1000


def _owner(row: BlockerRow) -> str:
    return shlex.quote(f"{row.kind}:{row.name}" if row.name else row.kind)
