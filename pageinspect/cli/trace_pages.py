# SPDX-License-Identifier: GPL-2.0-only
"""trace --life and trace --types-at-alloc: questions on pages, answered when the trace ends."""

import argparse
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import Exit, UsageError
from ..host.terminal import write_line
from ..render import METRICS, load
from .options import write_report
from .trace_arguments import refuse_others
from .trace_readings import OpenedKernel, open_by_btf

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..report.alloc_types import AllocTypesReport
    from ..report.life import LifeReport, LifeSubject, NowPage
    from ..target.open import Target
    from ..trace.compile import Compiler
    from ..trace.life import PageLifeProgram
    from ..trace.life_records import LifeEvent
    from ..trace.options import Filters
    from ..trace.records import Difference, Interval
    from ..trace.session import Traced

C = TypeVar("C", bound="Difference")
E = TypeVar("E")

_MOST_NOW = 64
"""Pages of which --life says what they are at the end."""
_OTHERS = {
    "type": "--type",
    "page_pool": "--page-pool",
    "tails": "--tails",
    "by": "--by",
    "top": "--top",
    "events": "--events",
    "folded": "--folded",
    "disallow": "--disallow",
    "exec": "--exec",
    "interval": "-i",
    "every": "--every",
    "outstanding": "--outstanding",
}
"""Options about frees, by their names in the namespace."""
_FILTERS = {"order": "--order", "pid": "--pid", "comm": "--comm"}
"""Filters that would hide a part of a page's life."""


def add_pages(group: "argparse._ArgumentGroup") -> None:
    """Declare the options."""
    group.add_argument(
        "--life",
        action="store_true",
        help="with --pfn: write in order what tracepoints report about these pages (allocated, "
        "freed and with which type, in and out of the page cache, migrated, …), by whom, and what "
        "they are at the end",
    )
    group.add_argument(
        "--types-at-alloc",
        action="store_true",
        help="count pages that leave the allocator with a type still set, and who took them; there "
        "should be none: if there are, exit with 4",
    )


def check_pages(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if args.life and args.types_at_alloc:
        raise UsageError("--life and --types-at-alloc cannot be combined", "choose one of them")
    if not (args.life or args.types_at_alloc):
        return
    option = "--life" if args.life else "--types-at-alloc"
    refuse_others(args, option, _OTHERS | (_FILTERS if args.life else {}))
    if args.format == METRICS:
        raise UsageError(f"{option} has no metrics", "choose another --format")
    if args.life and not args.pfn:
        raise UsageError("--life needs pages to watch", "name them: --pfn RANGE")


def run_pages(
    args: argparse.Namespace,
    compiler: "Compiler",
    announce: Callable[[], None],
    filters_of: "Callable[[Target, PageLayout], Filters]",
) -> int:
    """Trace and report. `announce` is called when tracing has begun."""
    opened = open_by_btf(args, compiler, filters_of)
    return (_life if args.life else _types_at_alloc)(args, opened, announce)


def _traced(
    args: argparse.Namespace,
    program: "Traced[C, E]",
    announce: Callable[[], None],
    on_events: Callable[[list[E]], None],
) -> "Interval[C]":
    """Run the session to its end and return its reading."""
    from ..trace.session import Session

    session = Session(program, args.duration, None, args.command, announce, on_events)
    with contextlib.closing(session.readings()) as readings:
        (reading,) = readings
    return reading


def _write(args: argparse.Namespace, report: "LifeReport | AllocTypesReport", lost: int) -> None:
    """Write a report, and on stderr what it lost if the form has no place for it."""
    if lost and load(args.format).tables_alone:
        write_line(report.lost_remark())
    write_report(args, report)


def _life(args: argparse.Namespace, opened: OpenedKernel, announce: Callable[[], None]) -> int:
    from ..report.life import LifeReport
    from ..trace.life import PageLifeProgram

    target = opened.target
    events: list[LifeEvent] = []
    with PageLifeProgram(
        opened.compiler, target.prog, opened.layout, target.vmcoreinfo, opened.filters
    ) as program:
        reading = _traced(args, program, announce, events.extend)
        subject = _subject(args, opened, program)
        # CPUs write events of the same moment in any order.
        events.sort(key=lambda event: event.time_ns)
        report = LifeReport(subject, tuple(events), reading, _now(opened))
        _write(args, report, lost=report.lost.total)
    return int(Exit.INCOMPLETE if report.lost.total else Exit.COMPLETE)


def _subject(
    args: argparse.Namespace, opened: OpenedKernel, program: "PageLifeProgram"
) -> "LifeSubject":
    from ..report.life import LifeSubject
    from ..trace.life_records import NEVER_SEEN, POINTS
    from ..trace.stacks import ALLOCATING_PATH, Stacks

    lacking, name = program.lacking(), opened.function_names()
    return LifeSubject(
        opened.target.provenance,
        opened.layout,
        opened.filters,
        opened.migratetypes(),
        Stacks(program.stack, name),
        Stacks(program.stack, name, ALLOCATING_PATH),
        args.stacks,
        tuple(p.tracepoint for p in POINTS if p.tracepoint not in lacking),
        lacking,
        NEVER_SEEN,
        opened.gfp(),
    )


def _now(opened: OpenedKernel) -> "tuple[NowPage, ...]":
    """Return what each page is, unless there are too many."""
    from ..inspector.describe import describe_addresses
    from ..inspector.inspector import inspect
    from ..model.ranges import count
    from ..report.life import NowPage

    if count(opened.filters.pfns) > _MOST_NOW:
        return ()
    pfns = [str(pfn) for start, end in opened.filters.pfns for pfn in range(start, end)]
    report = describe_addresses(inspect(opened.target), pfns, explain=False)
    texts = ({fact.name: fact.text for fact in page.facts} for page in report.pages)
    return tuple(NowPage.of(page.pfn, each) for page, each in zip(report.pages, texts, strict=True))


def _types_at_alloc(
    args: argparse.Namespace, opened: OpenedKernel, announce: Callable[[], None]
) -> int:
    from ..report.alloc_types import AllocTypesReport
    from ..trace.alloc_types import AllocTypeProgram
    from ..trace.stacks import ALLOCATING_PATH, Stacks

    with AllocTypeProgram(opened.compiler, opened.layout, opened.filters) as program:
        reading = _traced(args, program, announce, lambda _: None)
        stacks = Stacks(program.stack, opened.function_names(), ALLOCATING_PATH)
        report = AllocTypesReport(
            opened.target.provenance, opened.layout, opened.filters, reading, stacks, args.stacks
        )
        _write(args, report, lost=reading.counts.lost.total)
    if report.typed:
        return int(Exit.FINDING)
    return int(Exit.INCOMPLETE if reading.counts.lost.total else Exit.COMPLETE)
