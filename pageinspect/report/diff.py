# SPDX-License-Identifier: GPL-2.0-only
"""The report of `diff`: what changed between two snapshots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..analysis.changed_pages import PageChanges, changed_pages
from ..analysis.comparable import check_comparable, gaps, of_one_boot
from ..analysis.differences import BY, Change, changed, differences
from ..analysis.limits import Exceeded, Limit, exceeded
from ..errors import Exit, UsageError
from ..model.ranges import Range
from ..model.snapshot import Snapshot
from ..model.table import Absent, Cell, Column, Row, Table, Unit
from ..units import counted, number, signed, signed_size, size, wrapped
from .base import DEFAULT_TOP, SCHEMA, WIDTH, Report, View, range_objects

_NONE = Absent.NOT_APPLICABLE
_PAGES = ("runs", "owners")
"""The tables that say which page is whose."""
_FOR_LIMITS = {"owner": "name"}
"""What limits are compared by, if not by --by: names of owners are part of their kinds."""
_KEYS = {
    "pid": Column("pid", "int64", absent=(_NONE,), show=str),
    "filesystem": Column("file system", key="filesystem", absent=(_NONE,), spare=9),
}
_STATE = Column("state", absent=(_NONE,))
_RUN = (
    Column("start", "int64", "pfn"),
    Column("end", "int64", "pfn"),
    Column("pages", "int64", "pages"),
    Column("use before", key="use_before", spare=1),
    Column("use after", key="use_after", spare=1),
    Column("before", key="owner_before"),
    Column("after", key="owner_after"),
)
_LIMITS = (
    Column("limit"),
    Column("before", "int64", "bytes", "bytes_before"),
    Column("after", "int64", "bytes", "bytes_after"),
    Column("change", "int64", "bytes", "bytes_change"),
)


@dataclass(frozen=True, slots=True)
class DiffSide:
    """What one of the two snapshots is of."""

    host: str
    """Untrusted text, as `release`."""
    time: str
    release: str
    source: str
    symbols: str
    pages: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> "DiffSide":
        """Return that of a snapshot."""
        names = ("release", "source", "symbols", "spanned")
        return cls(snapshot.host, snapshot.time, *(snapshot.header(name) for name in names))

    def describe(self) -> str:
        """Return it in one line."""
        return f"Linux {self.release}, {self.host} at {self.time}, {self.source}"

    def to_json(self) -> dict[str, Any]:
        """Return its JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class DiffReport(Report):
    """Names whose amounts differ between two snapshots, those that changed most first."""

    before: DiffSide
    after: DiffSide
    page_size: int
    by: str
    one_boot: bool
    """Whether both snapshots are of one boot; otherwise names alone are compared."""
    changes: tuple[Change, ...]
    totals: tuple[tuple[int, ...], tuple[int, ...]]
    """The sums of all amounts before and after, also of those that did not change."""
    pages: PageChanges | None
    """Of one boot: the pages that changed. None of snapshots without pages or owners as well."""
    with_runs: bool = False
    """Whether the runs of pages that changed are part of the report."""
    exceeded: tuple[Exceeded, ...] = ()
    gaps: tuple[str, ...] = ()
    """Sentences on what the comparison lacks."""
    top: int | None = None
    """The maximum number of rows, 0 for all. None is 10 for people, and all in other formats."""

    @property
    def _changed(self) -> int:
        return 0 if self.pages is None else self.pages.changed

    @property
    def status(self) -> Exit:
        """The exit status: FINDING if a limit is exceeded, INCOMPLETE if something is missing."""
        if self.exceeded:
            return Exit.FINDING
        return Exit.INCOMPLETE if self.gaps else Exit.COMPLETE

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        measures = BY[self.by].measures
        before, after = (dict(zip(measures, total, strict=True)) for total in self.totals)
        return {
            "schema": SCHEMA,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "one_boot": self.one_boot,
            "by": self.by,
            "rows": self._rows(self.top or 0),
            "total": {"before": before, "after": after},
            "pages": None if self.pages is None else _pages_json(self.pages),
            **({"changed": self._runs()} if self.with_runs else {}),
            "exceeded": Table("exceeded", _LIMITS, [_limit_cells(each) for each in self.exceeded]),
            "gaps": list(self.gaps),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table of rows, and with `with_runs` that of the pages that changed."""
        rows = self._rows(self.top or 0)
        return (rows, self._runs()) if self.with_runs else (rows,)

    def view(self) -> View:
        """Return the rows with the total, the pages that changed, and what follows from it."""
        most = DEFAULT_TOP if self.top is None else self.top
        return View(
            self._rows(most),
            total=self._total() if self.changes else None,
            before=(f"before: {self.before.describe()}", f"after:  {self.after.describe()}", ""),
            more=(("Pages that changed:", self._runs()),)
            if self.with_runs and self._changed
            else (),
            after=tuple(self._remarks(most)),
        )

    def _rows(self, most: int) -> Table:
        shown = self.changes[: most or None]
        state = replace(_STATE, machines=not any(change.state for change in shown))
        rows = [self._cells(change) for change in shown]
        return Table("rows", (*self._keys(), *self._amounts(), state), rows)

    def _keys(self) -> tuple[Column, ...]:
        return tuple(_KEYS.get(name, Column(name, absent=(_NONE,))) for name in BY[self.by].keys)

    def _amounts(self) -> Iterator[Column]:
        measures = BY[self.by].measures
        for i, measure in enumerate(measures):
            unit: Unit = "pages" if measure == "pages" else "bytes"
            show = signed if unit == "pages" else signed_size
            title = f"{measure} " if i or measures != ("pages",) else ""
            yield Column(f"{title}before", "int64", unit, f"{measure}_before", spare=3 * i)
            yield Column(f"{title}after", "int64", unit, f"{measure}_after", spare=3 * i)
            yield Column(
                f"{measure} change" if i else "change",
                "int64",
                unit,
                f"{measure}_change",
                show=show,
                spare=2 * i,
            )
        if measures == ("pages",):
            yield Column("size", "int64", "bytes", "bytes_change", show=signed_size, spare=1)

    def _cells(self, change: Change) -> Row:
        amounts = zip(change.before, change.after, change.change, strict=True)
        cells = [n for amount in amounts for n in amount]
        if len(cells) == 3:
            cells.append(change.change[0] * self.page_size)
        return (*map(_key, self._keys(), change.key), *cells, change.state or _NONE)

    def _total(self) -> Row:
        texts = [i for i, column in enumerate(self._keys()) if not column.is_number]
        key = ("total" if i == texts[0] else "" for i in range(len(self._keys())))
        return self._cells(Change(tuple(key), *self.totals))

    def _runs(self) -> Table:
        runs = () if self.pages is None else self.pages.runs()
        rows = ((r.start, r.end, r.end - r.start, *r.uses, *r.owners) for r in runs)
        return Table("changed", _RUN, rows)

    def _remarks(self, most: int) -> Iterator[str]:
        hidden = len(self.changes) - most if most else 0
        if not self.changes:
            yield "No row changed." if self._changed else "Nothing changed."
        if hidden > 0:
            yield ""
            yield f"{counted(hidden, 'more row')} with smaller changes: --top 0 shows all."
        if not self.one_boot:
            yield ""
            text = (
                "The two are of different boots, or it is not known that they are of one: names "
                "alone are compared, without pids, and no single pages."
            )
            yield from wrapped(text, WIDTH)
        if self.pages is not None:
            yield ""
            yield from wrapped(_pages_text(self.pages), WIDTH)
        for sentence in self.gaps:
            yield ""
            yield from wrapped(sentence, WIDTH)

    def exceeded_lines(self) -> Iterator[str]:
        """Yield a sentence for each limit that was exceeded."""
        for each in self.exceeded:
            change = signed_size(each.after - each.before)
            amounts = f"{size(each.before)} before, {size(each.after)} after"
            yield f"limit {each.limit.text} exceeded: {amounts}, {change}"


def _key(column: Column, text: str) -> Cell:
    if not text:
        return _NONE
    return int(text) if column.is_number else text


def _pages_json(pages: PageChanges) -> dict[str, Any]:
    return {
        "both": pages.both,
        "same_owner": pages.same_owner,
        "same_use": pages.same_use,
        "changed": pages.changed,
        "only_before": range_objects(pages.only_before),
        "only_after": range_objects(pages.only_after),
    }


def _pages_text(pages: PageChanges) -> str:
    return (
        f"Of {counted(pages.both, 'page')}, {number(pages.same_owner)} have the same owner and "
        f"{number(pages.same_use)} the same use as before; {number(pages.changed)} changed."
    )


def _limit_cells(each: Exceeded) -> Row:
    return (each.limit.text, each.before, each.after, each.after - each.before)


def tables_for(by: str) -> tuple[str, ...]:
    """Return the tables that a comparison by one of differences.BY reads."""
    return tuple(dict.fromkeys((*_PAGES, BY[by].table)))


def compare(
    before: Snapshot,
    after: Snapshot,
    by: str,
    *,
    top: int | None = None,
    runs: bool = False,
    wanted: Sequence[Range] | None = None,
    limits: Sequence[Limit] = (),
) -> DiffReport:
    """Return what changed, by one of differences.BY.

    With `runs` the report has the runs of pages that changed, all or those of the `wanted` pfns.
    Raises PageInspectError if a snapshot lacks a table, and UsageError if sizes of pages differ, if
    a limit names what neither side has, or if pages of different boots are asked for.
    """
    check_comparable(before, after)
    one_boot = of_one_boot(before, after)
    if runs and not one_boot:
        raise UsageError(
            "pages of different boots cannot be compared",
            "omit --pfn: names are compared; of one boot, snapshots have the same boot id",
        )
    changes = differences(before, after, by)
    page_size = before.header("page_size")
    beyond: tuple[Exceeded, ...] = ()
    if limits:
        finer = _FOR_LIMITS.get(by, by)
        rows = changes if finer == by else differences(before, after, finer)
        scale = page_size if BY[finer].measures[0] == "pages" else 1
        beyond = exceeded(limits, finer, rows, scale, page_size)
    has_pages = all(name in side.tables for name in _PAGES for side in (before, after))
    pages = None
    if runs or (one_boot and has_pages):
        pages = changed_pages(before, after, wanted)
    sums = [
        tuple(map(sum, zip(*amounts, strict=True))) or (0,) * len(BY[by].measures)
        for amounts in ([c.before for c in changes], [c.after for c in changes])
    ]
    return DiffReport(
        DiffSide.of(before),
        DiffSide.of(after),
        page_size,
        by,
        one_boot,
        changed(changes),
        (sums[0], sums[1]),
        pages,
        runs,
        beyond,
        gaps(before, after, processes=by == "process"),
        top,
    )
