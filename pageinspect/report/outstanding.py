# SPDX-License-Identifier: GPL-2.0-only
"""The report of trace --outstanding: pages that were allocated while tracing and not freed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..trace.held_blocks import HeldOptions
from ..units import counted, number, printable, seconds
from .allocation_keys import KeyNames, key_column, keys_of, label_cells, stacks_of
from .base import SCHEMA, Report, View, kernel_json
from .frees import NOT_APPLICABLE
from .metrics import Metrics, kernel_metrics
from .outstanding_rows import (
    OutstandingRow,
    PageOwners,
    found_free,
    more_rows,
    rows_of,
)
from .trace_words import MEANWHILE

if TYPE_CHECKING:
    from ..trace.held_blocks import HeldReading


@dataclass(frozen=True, slots=True)
class OutstandingSubject:
    """The kernel, options and names of one run, for all of its reports."""

    provenance: Provenance
    layout: PageLayout
    options: HeldOptions = field(default_factory=HeldOptions)
    names: KeyNames = field(default_factory=KeyNames)
    """What the values of keys are called."""
    top: int | None = None
    older: float = 0.0
    """The least age of an allocation that is reported, in seconds."""
    tracer: int = 0
    """The process id of the tracer, whose own pages are left out."""
    interval: bool = False
    """Whether there are several reports, each about its moment."""
    redrawn: bool = False
    """Whether each report replaces the last one on the terminal."""


@dataclass(frozen=True, slots=True)
class LostAllocations:
    """Counts of what is missing from the report or listed wrongly, by cause."""

    missed_allocations: int = 0
    """Allocations while the tracer's own program ran on the same CPU: it was not run for them."""
    missed_frees: int = 0
    """The same of frees."""
    full: int = 0
    """Allocations that did not fit into the map."""
    busy: int = 0
    """Allocations and frees that the map refused."""
    bulk: int = 0
    """Calls of the bulk allocator, and pages of long ones, that are not recorded."""
    stacks: int = 0
    """Stacks that did not fit."""

    @property
    def total(self) -> int:
        """Sum over all causes."""
        return sum(self.to_json().values())

    @property
    def frees(self) -> int:
        """Losses by which pages may be listed that were freed."""
        return self.missed_frees + self.busy

    @property
    def allocations(self) -> int:
        """Losses by which pages may be missing."""
        return self.missed_allocations + self.full + self.busy + self.bulk

    def remarks(self) -> list[str]:
        """Return a sentence on allocations that are missing, and one on all other losses."""
        missing = [
            (self.full, counted(self.full, "allocation"), "not kept (--most)"),
            (
                self.missed_allocations,
                f"{counted(self.missed_allocations, 'allocation')} {MEANWHILE}",
                "not seen",
            ),
            (self.bulk, f"{counted(self.bulk, 'event')} of the bulk allocator", "not recorded"),
        ]
        others = [
            (self.missed_frees, f"{counted(self.missed_frees, 'free')} {MEANWHILE}"),
            (self.busy, f"{counted(self.busy, 'event')} while the map was locked"),
            (self.stacks, f"{counted(self.stacks, 'stack')}, as the map of stacks was full"),
        ]
        said = {
            "Incomplete": [
                f"{what} {'was' if n == 1 else 'were'} {how}" for n, what, how in missing if n
            ],
            "Lost": [what for n, what in others if n],
        }
        return [f"{word}: {', '.join(parts)}." for word, parts in said.items() if parts]

    def to_json(self) -> dict[str, int]:
        """Return the JSON form: by cause."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class OutstandingReport(Report):
    """Pages that were allocated while tracing and not freed; times are in nanoseconds."""

    subject: OutstandingSubject
    reading: "HeldReading"
    start_ns: int
    """Since tracing began, as `end_ns`."""
    end_ns: int
    rows: tuple[OutstandingRow, ...]
    lost: LostAllocations
    found_free: int
    """Pages that were not seen freed, and are free: they are in no row.

    Most of them were freed between the end of tracing and the walk. Those of the tracer are not
    counted."""
    overtaken: int
    """Pages that were not seen freed, but allocated again: they are in the row of the last one."""
    own: int
    """Pages of the tracer, which are in no row."""
    command_status: int | None = None
    problems: tuple[str, ...] = ()
    """Sentences about what is missing of the owners."""

    @classmethod
    def of(
        cls,
        subject: OutstandingSubject,
        reading: "HeldReading",
        owners: PageOwners,
        times: tuple[int, int, int],
        overtaken: int = 0,
    ) -> Self:
        """Return the report of a reading whose blocks are not overtaken by later ones.

        `times` are the start and the end of the interval, since tracing began, and the
        CLOCK_MONOTONIC time of its end. `overtaken` are the pages of blocks that were left out.
        """
        start_ns, end_ns, now_ns = times
        blocks, counts, missed = reading.blocks, reading.counts, reading.missed
        free = found_free(blocks, owners)
        pids, born = blocks.records["pid"], blocks.records["time_ns"].astype(np.int64)
        of_tracer = pids == subject.tracer if subject.tracer else np.zeros(len(blocks), np.bool_)
        # While tracing goes on, some are allocated between the end and the reading of the map.
        chosen = ~of_tracer & (np.maximum(now_ns - born, 0) >= int(subject.older * 1e9))
        kept = np.cumsum(chosen) - 1
        of_chosen = chosen[owners.blocks]
        part = PageOwners(
            kept[owners.blocks[of_chosen]],
            owners.kinds[of_chosen],
            owners.keys[of_chosen],
            owners.names,
        )
        some = blocks.where(chosen)
        keys = keys_of(some.orders, some.records, some.callers, subject.options.by, subject.names)
        return cls(
            subject,
            reading,
            start_ns,
            end_ns,
            tuple(rows_of(some, part, keys, now_ns)),
            LostAllocations(
                missed.allocations,
                missed.frees,
                counts.full,
                counts.busy,
                counts.bulk_lists + counts.bulk_long,
                counts.stacks,
            ),
            int(free[~of_tracer].sum()),
            overtaken,
            int((blocks.pages - free)[of_tracer].sum()),
        )

    @property
    def pages(self) -> int:
        """The outstanding pages of all rows."""
        return sum(row.pages for row in self.rows)

    @property
    def allocations(self) -> int:
        """The outstanding allocations of all rows."""
        return sum(row.allocations for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether nothing was lost, and all ways to allocate single pages were watched."""
        return not self.lost.total and self.reading.sees_bulk

    @property
    def lacks_allocations(self) -> bool:
        """Whether outstanding pages may be in no row."""
        return bool(self.lost.allocations) or not self.reading.sees_bulk

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        subject, counts = self.subject, self.reading.counts
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(subject.provenance, subject.layout),
            "duration_ns": self.end_ns - (0 if subject.interval else self.start_ns),
        }
        if subject.interval:
            found |= {"start_ns": self.start_ns, "end_ns": self.end_ns}
        if filters := subject.options.filters.to_json():
            found["filters"] = filters
        if subject.older:
            found["older_ns"] = int(subject.older * 1e9)
        found |= {
            "by": list(subject.options.by),
            "outstanding": {"allocations": self.allocations, "pages": self.pages},
            "at_most": bool(self.lost.frees),
            "incomplete": self.lacks_allocations,
            "lost": self.lost.total,
            "lost_by": self.lost.to_json(),
            "found_free": self.found_free,
            "overtaken": self.overtaken,
            "own": self.own,
            "command_status": self.command_status,
            "rows": self._rows_table(document=True),
        }
        if subject.top is not None:
            allocations, pages, _ = more_rows(self.rows, subject.top)
            count = max(len(self.rows) - subject.top, 0)
            found["more_rows"] = {"count": count, "allocations": allocations, "pages": pages}
        found |= {
            "allocated": {
                "allocations": counts.allocations,
                "pages": counts.allocated_pages,
                "bulk_pages": counts.bulk_pages if self.reading.sees_bulk else None,
                "failed": counts.failed,
                "full_pages": counts.full_pages,
            },
            "contiguous": {"calls": counts.contiguous, "pages": counts.contiguous_pages}
            if self.reading.sees_contiguous
            else None,
            "freed": {
                "frees": counts.frees,
                "pages": counts.freed_pages,
                "known_pages": counts.known_pages,
                "part_pages": counts.part_pages,
                "other_pages": self.other_pages,
            },
            "replaced": counts.replaced,
            "vmstat": self.reading.compared.to_json(),
            "problems": list(map(printable, self.problems)),
        }
        return found

    @property
    def other_pages(self) -> int:
        """Pages that were freed and had not been recorded: most were allocated before."""
        counts = self.reading.counts
        return counts.freed_pages - counts.known_pages - counts.part_pages

    def tables(self) -> tuple[Table, ...]:
        """Return one table: the rows, and a last one with what was lost."""
        table = self._rows_table()
        none = Absent.NOT_APPLICABLE
        times = (self.start_ns, self.end_ns) if self.subject.interval else ()
        keys = label_cells("lost", self.subject.options.by)
        lost = (*times, *keys, self.lost.total, none, none, none, none, none)
        rows = [*table.rows, lost] if self.lost.total else table.rows
        return (Table(table.name, table.columns, rows),)

    def view(self) -> View:
        """Return the rows with most pages first."""
        page_size = self.subject.layout.page_size
        none = Absent.NOT_APPLICABLE
        keys = label_cells("total", self.subject.options.by, people=True)
        sums = (self.allocations, self.pages, self.pages * page_size)
        return View(
            self._rows_table(people=True),
            total=(*keys, *sums, none, none, none),
            before=self._before(),
            after=self._after(),
        )

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the outstanding pages by key, and what was lost."""
        by = self.subject.options.by
        prefix, about = "_".join(("trace_outstanding_by", *by)), "trace --outstanding"
        keys = [key for key in by if key != "stack"]
        table = self._rows_table().only(*keys, "allocations", "pages", "bytes")
        times = (self.end_ns, self.lost.total)
        return (
            Metrics(prefix, about, "outstanding", table),
            Metrics(prefix, about, "outstanding", Table("outstanding", _METRICS, [times])),
            kernel_metrics(prefix, about, self.subject.provenance),
        )

    def _rows_table(self, *, document: bool = False, people: bool = False) -> Table:
        subject = self.subject
        page_size = subject.layout.page_size
        stacks = self._stacks()
        columns = [key_column(what, stacks, document=document) for what in subject.options.by]
        shown = self.rows[: subject.top]
        times: Row = (self.start_ns, self.end_ns) if self._has_times(document, people) else ()
        rows: list[Row] = [
            (
                *times,
                *(printable(key) if isinstance(key, str) else key for key in row.key),
                *(row.allocations, row.pages, row.pages * page_size, row.oldest_ns, row.orders),
                {printable(name): n for name, n in row.now.items()},
            )
            for row in shown
        ]
        left = len(self.rows) - len(shown)
        if left and not document:
            none = Absent.NOT_APPLICABLE
            allocations, pages, name = more_rows(self.rows, subject.top)
            keys = label_cells(name, subject.options.by, people=people)
            sums = (allocations, pages, pages * page_size)
            rows.append((*times, *keys, *sums, none, none, none))
        of_time = _TIMES if self._has_times(document, people) else ()
        return Table("rows" if document else "outstanding", (*of_time, *columns, *_COLUMNS), rows)

    def _has_times(self, document: bool, people: bool) -> bool:  # noqa: FBT001
        return self.subject.interval and not (document or people)

    def _stacks(self) -> list[tuple[str, ...]]:
        """Return the stacks of the shown rows, each once."""
        return stacks_of(
            self.subject.options.by, (row.key for row in self.rows[: self.subject.top])
        )

    def _before(self) -> tuple[str, ...]:
        subject = self.subject
        if self.start_ns and not subject.redrawn:
            return ("",)
        text = f"Pages that were allocated in {seconds(self.end_ns)} and not freed"
        if self.lost.frees and self.rows:
            text = f"At most these pages were allocated in {seconds(self.end_ns)} and not freed"
            if self.lacks_allocations:
                text = (
                    f"Of the allocations that were recorded in {seconds(self.end_ns)}, at most "
                    "these pages were not freed"
                )
        lines = [
            subject.provenance.describe(),
            f"{text}, by who allocated them; `now` is what they are at the end.",
        ]
        if only := subject.options.filters.describe():
            lines.append(f"Only allocations of {only}.")
        if subject.older:
            lines.append(f"Only allocations that are {subject.older:g} seconds old or older.")
        return (*lines, "")

    def _after(self) -> tuple[str, ...]:
        counts, reading = self.reading.counts, self.reading
        lines = self.lost.remarks()
        if not reading.sees_bulk:
            lines.append("Pages of the bulk allocator were not seen: it cannot be probed here.")
        if not (self.rows or self.lacks_allocations):
            lines.append("No page is outstanding.")
        bulk = f" and {counted(counts.bulk_pages, 'page')} in bulk" if reading.sees_bulk else ""
        lines.append(
            f"Seen: {counted(counts.allocations, 'allocation')} of "
            f"{counted(counts.allocated_pages, 'page')}{bulk}, and "
            f"{counted(counts.frees, 'free')} of {counted(counts.freed_pages, 'page')}, "
            f"{number(self.other_pages)} of them not allocated in this time."
        )
        if counts.contiguous:
            lines.append(
                "Not in any row: contiguous ranges with "
                f"{counted(counts.contiguous_pages, 'page')}."
            )
        if self.own:
            lines.append(f"Not in any row: {counted(self.own, 'page')} of the tracer itself.")
        if self.overtaken:
            lines.append(f"Not in any row: {counted(self.overtaken, 'page')} allocated again.")
        if self.found_free:
            lines.append(
                f"Free now: {counted(self.found_free, 'page')}, freed after the trace ended or "
                "without being seen."
            )
        lines += self.problems
        if self.command_status:
            lines.append(f"The command ended with status {self.command_status}.")
        for i, frames in enumerate(self._stacks(), 1):
            lines += ["", f"Stack {i}:", *(f"    {frame}" for frame in frames)]
        return ("", *lines)


def _owners(pages: Mapping[str, int]) -> str:
    """Return the owners and their pages, for people."""
    return ", ".join(f"{name} ({number(n)})" for name, n in pages.items())


_ABSENT: Any = partial(Column, absent=NOT_APPLICABLE)
_COLUMNS = (
    Column("allocations", "int64", "count", spare=1),
    _ABSENT("pages", "int64", "pages"),
    _ABSENT("size", "int64", "bytes", "bytes"),
    _ABSENT("oldest", "int64", "ns", "oldest_ns", spare=2),
    _ABSENT("order:allocations", "map[string,int64]", "count", "orders", spare=3),
    _ABSENT("now", "map[string,int64]", "pages", show=_owners, least=24),
)
_METRICS = (
    Column("duration", "int64", "ns", "duration_ns"),
    Column("lost", "int64", "count", "lost_events"),
)
_TIMES = (
    Column("from", "int64", "ns", "start_ns", machines=True),
    Column("at", "int64", "ns", "end_ns"),
)
