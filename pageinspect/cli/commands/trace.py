# SPDX-License-Identifier: GPL-2.0-only
"""Count pages that are freed with a page type still set, as they are freed.

Counts the pages that this kernel frees, by the page type that is still set when they reach the
buddy allocator. The trace ends when COMMAND ends, after SECONDS, or at Ctrl-C, and then writes its
report. COMMAND's stdout is sent to stderr, and its exit status is in the report. A COMMAND that
still runs when the trace ends is terminated. Other options answer other
questions: who allocated pages and did not free them (--outstanding), who allocates and frees most
(--alloc), what happened to a page before (--life).
"""

import argparse
import contextlib
import shutil
from functools import partial
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError, no_such_name
from ...host.terminal import say
from ...render import RowFormat, load
from ..arguments import seconds
from ..intervals import open_stream, until_reader_leaves
from ..options import add_output_arguments, save_symbol_caches
from ..output import check_output
from ..trace_alloc import add_alloc, check_alloc, run_alloc
from ..trace_arguments import add_details, add_filters, add_watch, check_age, refuse_targets
from ..trace_left_on import Readings, add_left_on, check_left_on, grows, replaces
from ..trace_output import Output, Watch, is_redrawn
from ..trace_outstanding import add_outstanding, check_outstanding, run_outstanding
from ..trace_pages import add_pages, check_pages, run_pages

if TYPE_CHECKING:
    from ...host.files import UntrustedError
    from ...model.layout import PageLayout
    from ...target.open import Target
    from ...trace.options import Filters, TraceOptions
    from ...trace.records import Event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.usage = "pageinspect trace [options] [--exec PROGRAM ARG...] [-- COMMAND...]"
    parser.add_argument(
        "-d", "--duration", type=seconds, metavar="SECONDS", help="end after SECONDS"
    )
    parser.add_argument(
        "-i",
        "--interval",
        type=seconds,
        metavar="SECONDS",
        help="write a report every SECONDS, about what happened since the last one (--outstanding: "
        "about all that is outstanding). On a terminal the table is redrawn; elsewhere reports "
        "follow each other (json: one per line; prometheus, of typed frees alone: counts since the "
        "start, which replace the file of -o)",
    )
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="compile the BPF program even if the cache has it, and do not keep it",
    )
    add_filters(parser.add_argument_group("which frees, allocations or pages (default: all)"))
    add_details(parser.add_argument_group("who freed"))
    add_watch(parser.add_argument_group("disallowed frees"))
    add_left_on(parser.add_argument_group("left on"))
    add_pages(parser.add_argument_group("other questions"))
    add_outstanding(parser.add_argument_group("pages that were not freed"))
    add_alloc(parser.add_argument_group("allocations and frees"))
    add_output_arguments(
        parser,
        "with -i, --events: as it grows; with --every, FILE is the folder of a dataset",
        metrics=True,
    )
    refuse_targets(parser)
    parser.add_argument(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="command to run; tracing lasts from before its start until after its end",
    )


def check_command(command: list[str]) -> None:
    """Raise PageInspectError when the command cannot be started, before anything else is done."""
    if command and shutil.which(command[0]) is None:
        raise PageInspectError(
            f"{command[0]}: command not found, or not executable",
            "check its name; shell syntax needs a shell: -- sh -c '…'",
        )


def check_together(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    check_alloc(args)
    check_pages(args)
    check_outstanding(args)
    check_age(args)
    if args.events and args.interval is not None:
        raise UsageError("--events and -i cannot be combined", "choose one of them")
    if args.folded and (args.events or args.interval is not None or args.format != "table"):
        raise UsageError(
            "--folded is a format of its own, written at the end", "omit --format, --events and -i"
        )
    if args.folded and args.by:
        raise UsageError("--folded and --by cannot be combined", "omit --by, or use --stacks")
    check_left_on(args)
    if grows(args) and not isinstance(load(args.format), RowFormat):
        raise UsageError(f"--format {args.format} is written at the end", "omit --events and -i")
    if args.exec == []:
        raise UsageError("--exec names no program", "write it last: --exec PROGRAM ARG...")
    if args.exec and not args.disallow:
        raise UsageError("--exec needs --disallow", "name the frees to wait for: --disallow T,…")
    groups = args.by or args.stacks or args.folded or args.outstanding or args.alloc
    if args.top is not None and not groups:
        raise UsageError("--top needs groups to choose from", "add --by or --stacks")


def check_types(names: tuple[str, ...] | None, layout: "PageLayout", *others: str) -> None:
    """Raise UsageError unless these are names of page types of this kernel, or `others`."""
    from ...trace.kinds import check_page_pool

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
    from ...trace import kinds
    from ...trace.options import TraceOptions

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


def _filters(args: argparse.Namespace, target: "Target", layout: "PageLayout") -> "Filters":
    from ...trace.options import Filters

    pfns = []
    if args.pfn:
        from ...kernel.memory_map import read_memory_map
        from ...model.range_text import resolve

        memory_map = read_memory_map(target.prog, layout, target.vmcoreinfo)
        pfns = resolve(args.pfn, memory_map, layout.page_shift)
    return Filters(args.order, tuple(pfns), args.pid, args.comm)


def _announce(args: argparse.Namespace) -> None:
    ends = ["Ctrl-C"]
    if args.duration is not None:
        ends.insert(0, f"{args.duration:g} s")
    if args.command:
        ends.insert(0, f"the end of {args.command[0]}")
    say(f"tracing until {' or '.join(ends)}")


def _say_compiling(refused: "UntrustedError | None") -> None:
    if refused is not None:
        say(f"{refused.message}; {refused.hint}")
    say("compiling the BPF program; tracing has not begun")


def _check(args: argparse.Namespace) -> None:
    """Raise PageInspectError for what can be found out before the kernel is opened."""
    from ...model.range_text import check_syntax

    check_together(args)
    check_command(args.command)
    check_command(args.exec or [])
    check_syntax(args.pfn)
    load(args.format)
    if args.every is None:
        check_output(args.output, args.mode)
        return
    from ...dataset.schema import arrow
    from ...host.startup import hide_pandas

    hide_pandas()
    arrow()


def run(args: argparse.Namespace) -> int:
    """Trace and report."""
    from ...host.startup import configure_libraries
    from ...trace.compile import Compiler
    from ...trace.find_bcc import find_bcc

    _check(args)
    compiler = Compiler(find_bcc(), cached=not args.no_cache, before=_say_compiling)
    compiler.preload()
    if args.life or args.types_at_alloc:
        return run_pages(args, compiler, partial(_announce, args), partial(_filters, args))
    if args.outstanding:
        return run_outstanding(args, compiler, partial(_announce, args), partial(_filters, args))
    if args.alloc:
        return run_alloc(args, compiler, partial(_announce, args), partial(_filters, args))
    configure_libraries()

    from ...layout import build_layout
    from ...layout.from_types import zone_names
    from ...report.event import EventLines
    from ...report.trace import TraceReport
    from ...report.trace_subject import TraceSubject
    from ...trace.kernel import open_kernel
    from ...trace.program import PageFreeProgram
    from ...trace.session import Session
    from ...trace.stacks import Stacks
    from ...trace.symbolizer import Symbolizer

    target = open_kernel()
    args.ends.push(partial(save_symbol_caches, target, None))
    layout = build_layout(target.prog, target.vmcoreinfo)
    options = trace_options(args, layout, _filters(args, target, layout))
    dataset = None
    if args.every is not None:
        from ..frees_dataset import FreesDataset

        dataset = FreesDataset(args, target, layout)
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(PageFreeProgram(compiler, layout, options))
        subject = TraceSubject(
            target.provenance,
            layout,
            options,
            args.type,
            () if layout.zone_field is None else zone_names(target.prog),
            Stacks(program.stack, Symbolizer(target.prog).name) if options.with_stacks else None,
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

        session = Session(
            program,
            args.duration,
            args.every or args.interval,
            args.command,
            partial(_announce, args),
            on_events,
        )
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
    return int(Exit.FINDING if watch.fired else Exit.INCOMPLETE if lost else Exit.COMPLETE)
