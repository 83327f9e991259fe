# SPDX-License-Identifier: GPL-2.0-only
"""One report of each kind, made by hand, with absent values and text that needs escaping."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from compared_snapshots import process, snapshot
from lives_by_hand import allocations, life
from outstanding_by_hand import outstanding
from synthetic import MODERN, Memory
from trace_reports import TABLE, broken_down, counts
from trace_reports import report as traced
from traffic_by_hand import traffic

from pageinspect.analysis.contiguity import Spread, TypeBlocks, ZoneBlocks, free_indexes
from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.analysis.limits import parse_limit
from pageinspect.analysis.page_facts import describe_page
from pageinspect.classify import Pages
from pageinspect.doctor.finding import CheckedItem, Finding
from pageinspect.doctor.items import ITEMS
from pageinspect.fleet import contiguity as contiguity_of_fleet
from pageinspect.fleet import frees as frees_of_fleet
from pageinspect.fleet import growth, hosts, outliers, snapshots, uses
from pageinspect.fleet.answer import FleetReport
from pageinspect.model.memory_map import Zone
from pageinspect.model.presence import PfnSet
from pageinspect.model.processes import MmCounters
from pageinspect.model.provenance import Provenance
from pageinspect.model.table import Absent, Table
from pageinspect.owners.assign import Assigner
from pageinspect.owners.dump_fates import FATES
from pageinspect.report import Coverage, Report
from pageinspect.report.audit import AuditReport, AuditRow, Extent, LostRow
from pageinspect.report.check import CheckReport, Findings, Violation
from pageinspect.report.contiguity import BlockerRow, ContiguityReport
from pageinspect.report.diff import compare
from pageinspect.report.dimensions import DIMENSIONS
from pageinspect.report.doctor import DoctorReport
from pageinspect.report.kernels import GuestKernel, KernelsReport
from pageinspect.report.life import NowPage
from pageinspect.report.listing import PagesListing, RunsListing, entries_of, runs_of
from pageinspect.report.obstacles import BlockCounts, ObstacleRow, ObstaclesReport
from pageinspect.report.overlaps import Overlap
from pageinspect.report.owners import OwnerRow, OwnersReport
from pageinspect.report.page import DumpTextReport, PageReport
from pageinspect.report.processes import NUMBERS, MmUse, ProcessesReport, ProcessRow
from pageinspect.report.selection import Selection
from pageinspect.report.since import Measured, ReportSince
from pageinspect.report.summary import count, summarise
from pageinspect.report.types import TypesReport
from pageinspect.trace.keys import KEYS
from pageinspect.trace.options import TraceOptions

FROM = Provenance("7.3.4-test", "core", "btf")
ALL = Selection(64, 0x1040)
HOSTILE = "\x1b]0;a|b\n`c`*d*\x07"
CHECK = CounterCheck("buddy", ("buddy",), "NR_FREE_PAGES", 8, 7, 9, "verified", "")


def pages() -> Pages:
    memory = Memory(64).free_block(8, 3).compound(16, 3).word(16, 0xF5000000)
    memory.word(40, 0xFFFFFFFF, 1).word(41, 5, 1)
    memory.readable = np.arange(64) != 63
    return memory.pages()


def summary(*by: str) -> Report:
    batch = pages()
    counted = count(MODERN, ALL, by, [batch], Assigner(MODERN, {}).kinds)
    return summarise(FROM, MODERN, batch.memory_map, ALL, by, counted)


def check() -> Report:
    findings = Findings([Violation("odd-word", 0x1005, HOSTILE)], {"odd-word": 3})
    overlaps = (Overlap("table", "kernel", 12),)
    return CheckReport(FROM, MODERN, Coverage(64, 1), findings, (CHECK,), overlaps=overlaps)


def trace(**options: bool) -> Report:
    given = counts({(TABLE, 0): 3}, {1: 4}, missed=2)
    given.tails[TABLE] = 2
    return traced(given, options=TraceOptions(**options))


def doctor() -> Report:
    findings = (Finding(ok=False, found=HOSTILE, fix="install it"), Finding(ok=True, found="yes"))
    return DoctorReport("7.3.4", [CheckedItem(i, f) for i, f in zip(ITEMS, findings, strict=False)])


def processes(sort: str = "pss", top: int | None = None) -> Report:
    use = MmUse(9 << 12, 18432, 3 << 12, 1 << 12, 5 << 12, 3 << 12, 8 << 12, 2 << 20, 1 << 14, 0)
    counted_use = replace(use, counters=MmCounters(1, 2, 3, 4, 1 << 14, None), hugetlb=2 << 20)
    lost = MmUse(*[0] * len(NUMBERS), readable=False, whole=False)
    rows = (
        ProcessRow(1, HOSTILE, "/" + HOSTILE, 0, counted_use),
        *(ProcessRow(pid, "sh", "/", 1, use) for pid in (2, 3)),
        ProcessRow(4, "lost", None, 2, lost),
    )
    return ProcessesReport(FROM, MODERN, Coverage(64, 0), sort, rows, 5, 1, top)


def owners(by: str, top: int | None = None) -> Report:
    rows = (
        OwnerRow("file", HOSTILE, 9, "ext4 on vda"),
        OwnerRow("slab", "dentry", 7),
        OwnerRow("offline", "", 5),
        OwnerRow("shmem", "x|" * 128, 4),
        OwnerRow("", HOSTILE, 3),
    )
    kinds = tuple(row._replace(name="", file_system="") for row in rows if row.kind)
    whole = by == "kind"
    return OwnersReport(
        *(FROM, MODERN, Coverage(64, 1), by, kinds if whole else rows),
        unnamed=(0, 0) if whole else (3, 4),
        others=0 if whole else 6,
        largest=rows if whole else (),
        counters=(CHECK,),
        overlaps=(Overlap("table", "kernel", 12),),
        top=top,
    )


def audit() -> Report:
    fates = tuple(range(1, 1 + len(FATES)))
    rows = (AuditRow("slab", "slab", fates), AuditRow("kernel", "unknown", fates))
    lost = (LostRow("slab", "slab", HOSTILE, 9, (0x40, 0x49)), LostRow("file", "file", "", 1, (2,)))
    pfns = PfnSet(np.array([300, 310, 320, 321]))
    return AuditReport(
        *(FROM, MODERN, Coverage(64, 1, missing=("Tasks were lost.",)), "kdump", 31, "cut off"),
        *(rows, lost, (Extent(0, 256, 0), Extent(300, 310, 10)), pfns),
        {"excluded": 9, "cut_off": 1, "uncovered": 10},
        unknown_tails=3,
    )


def contiguity(top: int | None = None) -> Report:
    spread = Spread(0, 500, 512)
    rows = (
        BlockerRow("slab", HOSTILE, "reclaim", 9, 3, 2, 1, ((0x1000, 0x1008), (0x1010, 0x1011))),
        BlockerRow("table", "", "", 5, 2, 0, 0),
        BlockerRow("file", "/x|y", "unpin", 1, 1, 1, 1),
    )
    return ContiguityReport(
        *(FROM, MODERN, Coverage(64, 1), 9, 9),
        blocks=(ZoneBlocks(0, "DMA32", 9, 10, 4, 3, 1, 1, 1, 2, spread, spread, spread),),
        indexes=tuple(free_indexes(Zone(0, "DMA32", 0, 0x2000, 1), [3, 0, 1])),
        types=(
            TypeBlocks(0, "DMA32", "movable", 8, (2000, 1000, 10, 1, 0)),
            TypeBlocks(0, "DMA32", "isolate", 0, (0,) * 5),
        ),
        blockers=rows,
        uses=(rows[0]._replace(kind="slab", name="", ranges=()),),
        top=top,
    )


def obstacles(blocks: BlockCounts | None = None, top: int | None = None) -> Report:
    block = None if blocks is None else 0x1000
    rows = (
        ObstacleRow(block, 0x1001, 0x1003, "slab", "slab", HOSTILE, 1, 0, 0, 0, 2, "reclaim"),
        ObstacleRow(block, 0x1008, 0x1009, "file", "file", "", 0, 1027, 1, 2, 3, "unpin"),
    )
    return ObstaclesReport(
        *(FROM, MODERN, Coverage(64, 1), "offline:3" if blocks is None else "hugepage"),
        pages=(30, 20, 2, 1, 10, 3, 4),
        absent=0 if blocks else 5,
        obstacles=rows,
        order=9 if blocks else None,
        blocks=blocks,
        top=top,
    )


def readings(last: Report, now: Report, keys: tuple[str, ...], measure: str) -> Report:
    unit = "pages" if measure == "pages" else "bytes"
    return ReportSince("20261127T201500Z", now, now, last, Measured(keys, measure, unit))


def diff(by: str, top: int | None = None, *, runs: bool = True, boot: str = "1") -> Report:
    owners = ((0, "free", ""), (1, "slab", "dentry"), (2, "file", HOSTILE), (3, "anon", "sh[8]"))
    groups = [{"cgroup": "/" + HOSTILE, "kind": "slab", "pages": 2, "bytes": 7000}]
    before = snapshot(
        ((0x100, 64, "buddy", 0), (0x140, 32, "slab", 1), (0x160, 8, "file", 2)),
        owners,
        host=HOSTILE,
        processes=(process(8, HOSTILE, 8192, 4096),),
        filesystems={2: "ext4 on vda"},
        boot_id="1",
    )
    after = snapshot(
        ((0x100, 16, "buddy", 0), (0x110, 84, "slab", 1), (0x170, 4, "anon", 3)),
        owners,
        processes=(process(8, HOSTILE, 9000, 5000), process(9, "cp", 1, 1)),
        cgroups=groups,
        boot_id=boot,
        unreadable=3,
    )
    name = {"process": HOSTILE, "cgroup": "/" + HOSTILE, "file": HOSTILE, "type": "slab"}
    limit = parse_limit(f"{name.get(by, 'slab')}:{'-' if by == 'file' else '+'}0")
    return compare(before, after, by, top=top, runs=runs, limits=[limit])


def kernels() -> Report:
    none = GuestKernel("newest", "sid", "7", None, None, False, "")
    return KernelsReport((GuestKernel("6.1", "a", "6", "6.1.9", 1 << 30, True, "one|two"), none))


def fleet(question: str) -> Report:
    """Return a report of fleet by hand: the cells that DuckDB gives."""
    answers = {
        "uses": [(uses.COLUMNS, "uses", [("slab", 2, 0, 5, 9, 9, (HOSTILE,), (HOSTILE, "b"))])],
        "growth": [
            (growth.COLUMNS, "owners", [("slab", "dentry", 8192, 2, 1, 8000, HOSTILE)]),
            (growth.HOSTS, "steepest", [("slab", "dentry", HOSTILE, -8000)]),
        ],
        "contiguity": [
            (contiguity_of_fleet.TOTALS, "fleet", [(2, 1, 50.0, 9, 3, 4, 44.4)]),
            (contiguity_of_fleet.SPREADS, "spread", [("free", 1.0, 2.0, 3.0, HOSTILE)]),
            (contiguity_of_fleet.HOSTS, "hosts", [(HOSTILE, "7.3.4", 9, 0, 4, 44.4)]),
        ],
        "outliers": [
            (
                outliers.COLUMNS,
                "outliers",
                [(HOSTILE, "7.3.4", "slab", -4.5, 10, 0.1, 2.5, Absent.NOT_APPLICABLE, 10, 90)],
            )
        ],
        "frees": [
            (
                frees_of_fleet.COLUMNS,
                "frees",
                [("slab", HOSTILE, False, True, 5, 10, 2, Absent.NOT_APPLICABLE, HOSTILE)],
            )
        ],
        "hosts": [
            (
                hosts.COLUMNS,
                "hosts",
                [
                    (
                        *(HOSTILE, "7.3.4", ("7.3.4", HOSTILE)),
                        *("20261127T201500Z", "20261128T201500Z", 2, 1, 1, HOSTILE),
                    )
                ],
            )
        ],
        "snapshots": [
            (
                snapshots.COLUMNS,
                "snapshots",
                [(HOSTILE, "20261127T201500Z", "7.3.4", "core", 9, Absent.NOT_APPLICABLE)],
            )
        ],
    }
    tables = [(name, Table(name, columns, rows)) for columns, name, rows in answers[question]]
    return FleetReport(question, 2, 4, 1, "data", tuple(tables), ("Left out: 1.",))


REPORTS: dict[str, Callable[[], Report]] = {
    "summary": lambda: summary("type"),
    "summary of two": lambda: summary("use", "zone"),
    "summary by every dimension": lambda: summary(*DIMENSIONS),
    "list": lambda: RunsListing(FROM, MODERN, ALL, [runs_of(ALL, [pages()])]),
    "list of pages": lambda: PagesListing(FROM, MODERN, ALL, [entries_of(ALL, [pages()])]),
    "page": lambda: PageReport(
        FROM, MODERN, tuple(describe_page(pages(), i) for i in (0, 8, 17, 63)), explain=True
    ),
    "page of a log": lambda: DumpTextReport((describe_page(pages(), 17).facts,)),
    "check": check,
    "owners": lambda: owners("kind"),
    "owners by name": lambda: owners("name"),
    "owners by name, the first": lambda: owners("name", 1),
    "owners by cgroup": lambda: owners("cgroup"),
    "audit": audit,
    "contiguity": contiguity,
    "contiguity of the first": lambda: contiguity(1),
    "contiguity for offline": obstacles,
    "contiguity for a huge page": lambda: obstacles(BlockCounts(0, 1, 2, 3, 4, 1), 1),
    "diff by owner": lambda: diff("owner"),
    "diff by name, the first": lambda: diff("name", 1),
    **{
        f"diff by {by}": partial(diff, by, runs=False)
        for by in ("type", "file", "process", "cgroup")
    },
    "diff of two boots": lambda: diff("process", runs=False, boot="2"),
    "processes": processes,
    "processes of the first": lambda: processes("rss", 1),
    "summary of readings": lambda: readings(summary("type"), summary("type"), ("type",), "pages"),
    "owners of readings": lambda: readings(
        owners("kind"), owners("kind"), ("kind", "name", "filesystem"), "pages"
    ),
    "processes of readings": lambda: readings(
        processes(), processes("rss"), ("pid", "comm"), "pss"
    ),
    "fleet uses": lambda: fleet("uses"),
    "fleet growth": lambda: fleet("growth"),
    "fleet contiguity": lambda: fleet("contiguity"),
    "fleet outliers": lambda: fleet("outliers"),
    "fleet frees": lambda: fleet("frees"),
    "fleet hosts": lambda: fleet("hosts"),
    "fleet snapshots": lambda: fleet("snapshots"),
    "trace": lambda: trace(tails=True),
    "trace by who": lambda: broken_down("comm", "pid", "zone", stacks=True, top=1),
    "trace by every key": lambda: broken_down(*KEYS, stacks=True),
    "trace of an interval": lambda: broken_down("order", interval=True, start_ns=5),
    "trace --life": lambda: life(now=(NowPage(0x40, "buddy", HOSTILE),), stacks=True),
    "trace --types-at-alloc": lambda: allocations(3),
    "trace --outstanding": lambda: outstanding(by=("caller", "comm"), found={"p10": ("slab", 1)}),
    "trace --alloc": lambda: traffic(by=("comm", "stack"), top=2),
    "trace --alloc of an interval": lambda: traffic(interval=True),
    "types": lambda: TypesReport(FROM, MODERN),
    "doctor": doctor,
    "vm list": kernels,
}
"""Makers, as what streams can be read once."""
