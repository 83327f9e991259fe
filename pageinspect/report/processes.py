# SPDX-License-Identifier: GPL-2.0-only
"""The report of `processes`: the memory use of every process that has an address space."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, did_you_mean
from ..model.arch import PAGE_SIZE
from ..model.layout import PageLayout
from ..model.processes import MmCounters
from ..model.provenance import Provenance
from ..model.table import Absent, Cell, Column, Row, Table
from ..units import number, size
from .base import SCHEMA, Coverage, Report, View, kernel_json

NUMBERS = ("rss", "pss", "uss", "anon", "file", "shmem", "swap", "huge", "tables", "hugetlb")
"""Columns with bytes."""
COUNTERS = ("anon", "file", "shmem", "swap", "tables", "hugetlb")
"""Columns that the kernel counts as well."""
_NAMES = ("pid", "comm", "cgroup")
SORT_KEYS = (*NUMBERS, *_NAMES[:2])
_UNKNOWN = (Absent.NOT_APPLICABLE, Absent.UNAVAILABLE)
_SHOWN = 10
"""Rows of a table for people, unless it is said how many."""
_DROPPED_FIRST = ("rss", "pss", "uss", "anon", "file", "shmem", "swap", "huge", "tables", "cgroup")
"""Columns for people; of a table that is too wide, the last is dropped first."""


@dataclass(frozen=True, slots=True)
class MmUse:
    """The memory use of one address space: what its page tables map, in bytes."""

    rss: int
    pss: int
    uss: int
    anon: int
    file: int
    shmem: int
    swap: int
    huge: int
    tables: int
    hugetlb: int
    readable: bool = True
    """False if none of its page tables can be read."""
    whole: bool = True
    """False if some of its page tables cannot be read, so that numbers are too small."""
    counters: MmCounters | None = None
    """The kernel's own counters; None if they cannot be read."""

    def cells(self) -> list[Cell]:
        """Return the cells of NUMBERS."""
        if not self.readable:
            return [Absent.UNREADABLE] * len(NUMBERS)
        return [getattr(self, name) for name in NUMBERS]

    def counted(self) -> dict[str, int | None]:
        """Return the kernel's own counters in bytes, by COUNTERS; None for those not known."""
        counters = self.counters
        if counters is None:
            return dict.fromkeys(COUNTERS)
        hugetlb = counters.hugetlb_pages
        return {
            "anon": counters.anon * PAGE_SIZE,
            "file": counters.file * PAGE_SIZE,
            "shmem": counters.shmem * PAGE_SIZE,
            "swap": counters.swap * PAGE_SIZE,
            "tables": counters.table_bytes,
            "hugetlb": None if hugetlb is None else hugetlb * PAGE_SIZE,
        }


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process. Those with the same number `mm` share their address space."""

    pid: int
    comm: str
    cgroup: str | None
    """Untrusted text, as `comm`; empty on a kernel without cgroups, None if it is unreadable."""
    mm: int
    use: MmUse
    exe: str = ""
    """The path of the program: untrusted text, empty if it is not known."""


@dataclass(frozen=True, slots=True)
class ProcessesReport(Report):
    """The memory use of processes."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    sort: str
    processes: tuple[ProcessRow, ...]
    """All of them, in order of pid."""
    without_memory: int = 0
    """Kernel threads, and processes that have exited, which have no address space."""
    ended: int = 0
    """Processes of a running kernel that ended while they were read, and are left out."""
    top: int | None = None
    """The maximum number of rows, 0 for all. None is 10 for people, and all in other formats."""

    @property
    def rows(self) -> tuple[ProcessRow, ...]:
        """All processes, sorted: numbers and unreadable rows last, names in ascending order."""
        return tuple(sorted(self.processes, key=self._place))

    def _place(self, row: ProcessRow) -> tuple[Any, ...]:
        if self.sort in _NAMES:
            return (getattr(row, self.sort), row.pid)
        return (not row.use.readable, -getattr(row.use, self.sort), row.pid)

    @property
    def total(self) -> dict[str, int]:
        """The sums of all processes in bytes, with each address space once."""
        return _sums(self.processes)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "sort": self.sort,
            "rows": self._table(self.top or 0, in_document=True),
            "total": self.total,
            "processes": len(self.processes),
            "without_memory": self.without_memory,
            "ended": self.ended,
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table of processes."""
        return (self._table(self.top or 0),)

    def view(self) -> View:
        """Return the processes that use most, and the total."""
        table = self._table(_SHOWN if self.top is None else self.top)
        total = _cells_of_sums("total", self.total)
        return View(
            table,
            total=total if self.processes else None,
            before=(self.provenance.describe(), ""),
            after=(*self._remarks(), *self.coverage.remarks()),
        )

    def _table(self, most: int, *, in_document: bool = False) -> Table:
        """Return the first rows, 0 for all, and one row with the sums of those left out.

        The kernel's counters are one column in a document, and several in rows.
        """
        rows = self.rows
        shown = rows[:most] if most else rows
        cells: list[Row] = [self._cells(row) for row in shown]
        left = rows[len(shown) :]
        if left:
            there = {row.mm for row in shown}
            sums = _sums(row for row in left if row.mm not in there)
            cells.append(_cells_of_sums(Absent.NOT_APPLICABLE, sums))
        columns = self._columns(len(left))
        if in_document:
            of_counters = Column("counters", "json", absent=(Absent.NOT_APPLICABLE,))
            columns = (*columns[: -len(COUNTERS)], of_counters)
            cells = [(*row[: -len(COUNTERS)], _joined(row[-len(COUNTERS) :])) for row in cells]
        return Table("rows", columns, cells)

    def _columns(self, left_out: int) -> tuple[Column, ...]:
        none = (Absent.NOT_APPLICABLE,)
        unread = (Absent.UNREADABLE,)
        more = f"{number(left_out)} more"
        spare = {name: i for i, name in enumerate(_DROPPED_FIRST) if name != self.sort}
        numbers = (
            Column(
                name,
                "int64",
                "bytes",
                absent=unread,
                show=_size,
                blank="unreadable",
                spare=spare.get(name, 0),
                machines=name == "hugetlb" and name != self.sort,
            )
            for name in NUMBERS
        )
        return (
            Column("pid", "int64", absent=none, show=str),
            Column("comm", absent=none, blank=more),
            Column("cgroup", absent=(*none, *unread), spare=spare["cgroup"]),
            *numbers,
            Column("exe", absent=(*none, *unread), machines=True),
            Column("mm", "int64", absent=none, machines=True),
            Column("complete", "bool", absent=none, machines=True),
            *(
                Column(f"counter_{name}", "int64", "bytes", absent=_UNKNOWN, machines=True)
                for name in COUNTERS
            ),
        )

    def _cells(self, row: ProcessRow) -> Row:
        use = row.use
        counted = (Absent.UNAVAILABLE if n is None else n for n in use.counted().values())
        cgroup = Absent.UNREADABLE if row.cgroup is None else row.cgroup
        exe = row.exe or Absent.UNREADABLE
        return (row.pid, row.comm, cgroup, *use.cells(), exe, row.mm, use.whole, *counted)

    def _remarks(self) -> tuple[str, ...]:
        shared = len(self.processes) - len({row.mm for row in self.processes})
        hugetlb = self.total["hugetlb"]
        remarks = {
            "Not shown: kernel threads and processes that have exited, "
            f"{number(self.without_memory)} in all.": self.without_memory,
            "Not shown: processes that ended while they were read, "
            f"{number(self.ended)} in all.": self.ended,
            f"Processes with the address space of another process: {number(shared)}. The total has "
            "it once.": shared,
            "Huge pages of hugetlb that processes map, each once for each of them, are not in rss: "
            f"{size(hugetlb)}.": hugetlb,
        }
        return ("", *(sentence for sentence, n in remarks.items() if n))


def _joined(counters: Row) -> Cell:
    """Return the cells of COUNTERS as one cell."""
    if Absent.NOT_APPLICABLE in counters:
        return Absent.NOT_APPLICABLE
    known = (None if isinstance(cell, Absent) else cell for cell in counters)
    return dict(zip(COUNTERS, known, strict=True))


def _cells_of_sums(name: Cell, sums: Mapping[str, int]) -> Row:
    """Return the cells of a row that is about several processes."""
    none = Absent.NOT_APPLICABLE
    return (none, name, none, *sums.values(), none, none, none, *[none] * len(COUNTERS))


def check_sort(key: str) -> None:
    """Raise UsageError if processes cannot be sorted by this."""
    if key not in SORT_KEYS:
        advice = did_you_mean(key, SORT_KEYS, f"choose from {', '.join(SORT_KEYS)}")
        raise UsageError(f"processes cannot be sorted by {key!r}", advice)


def _size(n_bytes: int) -> str:
    return size(n_bytes) if n_bytes else "0"


def _sums(rows: Iterable[ProcessRow]) -> dict[str, int]:
    """Return the sum of each of NUMBERS in bytes; processes that share an mm count once."""
    uses = {row.mm: row.use for row in rows if row.use.readable}
    return {name: sum(getattr(use, name) for use in uses.values()) for name in NUMBERS}
