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
from .trace_arguments import OF_FREES, refuse_others
from .trace_readings import session_of

if TYPE_CHECKING:
    from ..report.alloc_types import AllocTypesReport
    from ..report.life import LifeReport, LifeSubject, NowPage
    from ..trace.life import PageLifeProgram
    from ..trace.life_records import LifeEvent
    from ..trace.records import Difference, Interval
    from ..trace.session import Traced
    from .traced_kernel import TracedKernel

C = TypeVar("C", bound="Difference")
E = TypeVar("E")

_MOST_NOW = 64
"""Pages of which --life says what they are at the end."""
_OTHERS = ("outstanding", "by", "top", "interval", *OF_FREES)
"""Options of other questions."""
_FILTERS = ("order", "pid", "comm")
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
    refuse_others(args, option, (*_OTHERS, *(_FILTERS if args.life else ())))
    if args.format == METRICS:
        raise UsageError(f"{option} has no metrics", "choose another --format")
    if args.life and not args.pfn:
        raise UsageError("--life needs pages to watch", "name them: --pfn RANGE")


def _traced(
    args: argparse.Namespace,
    program: "Traced[C, E]",
    on_events: Callable[[list[E]], None] = lambda _events: None,
) -> "Interval[C]":
    """Run the session to its end and return its reading."""
    with contextlib.closing(session_of(args, program, on_events).readings()) as readings:
        (reading,) = readings
    return reading


def _write(args: argparse.Namespace, report: "LifeReport | AllocTypesReport", lost: int) -> None:
    """Write a report, and on stderr what it lost if the form has no place for it."""
    if lost and load(args.format).tables_alone:
        write_line(report.lost_remark())
    write_report(args, report)


def run_life(kernel: "TracedKernel") -> Exit:
    """Trace and report the life of pages."""
    from ..report.life import LifeReport
    from ..trace.life import PageLifeProgram

    target = kernel.target
    events: list[LifeEvent] = []
    with PageLifeProgram(
        kernel.compiler, target.prog, kernel.layout, target.vmcoreinfo, kernel.filters
    ) as program:
        reading = _traced(kernel.args, program, events.extend)
        subject = _subject(kernel, program)
        # CPUs write events of the same moment in any order.
        events.sort(key=lambda event: event.time_ns)
        report = LifeReport(subject, tuple(events), reading, _now(kernel))
        _write(kernel.args, report, lost=report.lost.total)
    return Exit.INCOMPLETE if report.lost.total else Exit.COMPLETE


def _subject(kernel: "TracedKernel", program: "PageLifeProgram") -> "LifeSubject":
    from ..report.life import LifeSubject
    from ..trace.life_records import NEVER_SEEN, POINTS

    lacking = program.lacking()
    return LifeSubject(
        kernel.target.provenance,
        kernel.layout,
        kernel.filters,
        kernel.migratetypes(),
        kernel.stacks(program),
        kernel.allocating_stacks(program),
        kernel.args.stacks,
        tuple(p.tracepoint for p in POINTS if p.tracepoint not in lacking),
        lacking,
        NEVER_SEEN,
        kernel.gfp(),
    )


def _now(kernel: "TracedKernel") -> "tuple[NowPage, ...]":
    """Return what each page is, unless there are too many."""
    from ..inspector.describe import describe_addresses
    from ..inspector.inspector import inspect
    from ..model.ranges import count
    from ..report.life import NowPage

    if count(kernel.filters.pfns) > _MOST_NOW:
        return ()
    pfns = [str(pfn) for start, end in kernel.filters.pfns for pfn in range(start, end)]
    report = describe_addresses(inspect(kernel.target), pfns, explain=False)
    texts = ({fact.name: fact.text for fact in page.facts} for page in report.pages)
    return tuple(NowPage.of(page.pfn, each) for page, each in zip(report.pages, texts, strict=True))


def run_types_at_alloc(kernel: "TracedKernel") -> Exit:
    """Trace and report pages that leave the allocator with a type still set."""
    from ..report.alloc_types import AllocTypesReport
    from ..trace.alloc_types import AllocTypeProgram

    args = kernel.args
    with AllocTypeProgram(kernel.compiler, kernel.layout, kernel.filters) as program:
        reading = _traced(args, program)
        report = AllocTypesReport(
            kernel.target.provenance,
            kernel.layout,
            kernel.filters,
            reading,
            kernel.allocating_stacks(program),
            args.stacks,
        )
        _write(args, report, lost=reading.counts.lost.total)
    if report.typed:
        return Exit.FINDING
    return Exit.INCOMPLETE if reading.counts.lost.total else Exit.COMPLETE
