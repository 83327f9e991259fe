# SPDX-License-Identifier: GPL-2.0-only
"""trace without another question: frees by the page type that is still set."""

import argparse
import contextlib
from typing import TYPE_CHECKING

from ..errors import Exit, UsageError, no_such_name
from .intervals import open_stream, until_reader_leaves
from .trace_left_on import Readings, grows, replaces
from .trace_output import Output, Watch, is_redrawn
from .trace_readings import session_of

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..trace.options import Filters, TraceOptions
    from ..trace.records import Event
    from .traced_kernel import TracedKernel


def check_types(names: tuple[str, ...] | None, layout: "PageLayout", *others: str) -> None:
    """Raise UsageError unless these are names of page types of this kernel, or `others`."""
    from ..trace.kinds import check_page_pool

    known = [*(page_type.name for page_type in layout.scheme.types), *others]
    for name in names or ():
        if name not in known:
            raise no_such_name("page type", name, known)
        if name == "page_pool":
            check_page_pool(layout)


def trace_options(
    args: argparse.Namespace, layout: "PageLayout", filters: "Filters"
) -> "TraceOptions":
    """Return the options of the trace. Raises UsageError for types that this kernel lacks."""
    from ..trace import kinds
    from ..trace.options import TraceOptions

    check_types(args.type, layout, *kinds.OTHER_NAMES)
    check_types(args.disallow, layout, "page_pool", kinds.UNEXPECTED)
    if args.page_pool:
        kinds.check_page_pool(layout)
    if layout.zone_field is None and not {"zone", "node"}.isdisjoint(args.by):
        raise UsageError("zone and node are not known without the kernel's types", "omit them")
    disallowed = kinds.kinds_of(layout, args.disallow)
    if kinds.UNEXPECTED in args.disallow:
        disallowed |= kinds.unexpected(layout)
    chosen = (
        kinds.TYPED | {kinds.PAGE_POOL} if args.type is None else kinds.kinds_of(layout, args.type)
    )
    named = kinds.PAGE_POOL in disallowed or "page_pool" in (args.type or ())
    return TraceOptions(
        filters,
        chosen,
        by=tuple(dict.fromkeys(args.by)),
        stacks=args.stacks or args.folded,
        events=args.events,
        disallowed=disallowed,
        page_pool=args.page_pool or named,
        tails=args.tails,
    )


def run_frees(kernel: "TracedKernel") -> Exit:
    """Trace and report."""
    from ..layout.from_types import zone_names
    from ..report.event import EventLines
    from ..report.trace import TraceReport
    from ..report.trace_subject import TraceSubject
    from ..trace.program import PageFreeProgram

    args, target, layout = kernel.args, kernel.target, kernel.layout
    options = trace_options(args, layout, kernel.filters)
    dataset = None
    if args.every is not None:
        from .frees_dataset import FreesDataset

        dataset = FreesDataset(args, target, layout)
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(PageFreeProgram(kernel.compiler, layout, options))
        subject = TraceSubject(
            target.provenance,
            layout,
            options,
            args.type,
            () if layout.zone_field is None else zone_names(target.prog),
            kernel.stacks(program) if options.with_stacks else None,
            args.top,
            interval=args.interval is not None,
            since_start=replaces(args),
            redrawn=is_redrawn(args),
        )
        lines = EventLines(subject)
        stream = stack.enter_context(open_stream(args, grows=grows(args)))
        output = Output(args, lines, stream)
        watch = Watch(lines, options.disallowed, args.exec or ())

        def on_events(events: "list[Event]") -> None:
            watch.see(events)
            if args.events:
                output.events([e for e in events if e.who.kind in options.kinds])

        session = session_of(args, program, on_events)
        written = Readings(
            output.report if dataset is None else dataset.write,
            session.carry_over,
            since_start=replaces(args),
            left_on=dataset is not None or replaces(args),
        )
        with until_reader_leaves(stream), contextlib.closing(session.readings()) as readings:
            for reading in readings:
                report = TraceReport.of(subject, reading)
                if report.disallowed.frees:
                    # Their events may have been lost.
                    watch.fire()
                written.take(report)
        watch.finish()
        lost = written.finish()
    return Exit.FINDING if watch.fired else Exit.INCOMPLETE if lost else Exit.COMPLETE
