# SPDX-License-Identifier: GPL-2.0-only
"""What the modes of trace have in common: the kernel, and reports that are written as they come."""

import argparse
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..errors import Exit
from ..render import RowFormat, load
from .intervals import IntervalOutput, is_redrawn, open_stream, until_reader_leaves
from .options import save_symbol_caches, write_report

if TYPE_CHECKING:
    from ..model.gfp import GfpNames
    from ..model.layout import PageLayout
    from ..report.outstanding import OutstandingReport
    from ..report.traffic import TrafficReport
    from ..target.open import Target
    from ..trace.compile import Compiler
    from ..trace.options import Filters
    from ..trace.records import Difference, Interval
    from ..trace.session import Traced

C = TypeVar("C", bound="Difference")


class OpenedKernel(NamedTuple):
    """The running kernel, and what a program of bpf/ is loaded with."""

    target: "Target"
    layout: "PageLayout"
    filters: "Filters"
    compiler: "Compiler"

    def function_names(self) -> Callable[[int], str]:
        """Return what names the function at an address.

        Call it when the program is loaded: its own functions are on stacks, and have names.
        """
        from ..trace.symbolizer import Symbolizer

        return Symbolizer(self.target.prog).name

    def migratetypes(self) -> tuple[str, ...]:
        """Return the names of migratetypes by number; none if they are not known."""
        from ..kernel.pageblocks import migratetype_names

        with contextlib.suppress(LookupError):
            return migratetype_names(self.target.prog)
        return ()

    def gfp(self) -> "GfpNames":
        """Return the names of gfp flags."""
        from ..kernel.gfp_flags import read_gfp_names

        return read_gfp_names(self.target.prog)


def open_by_btf(
    args: argparse.Namespace,
    compiler: "Compiler",
    filters_of: "Callable[[Target, PageLayout], Filters]",
) -> OpenedKernel:
    """Open the running kernel by its own types."""
    from ..host.startup import configure_libraries

    configure_libraries()

    from ..layout import build_layout
    from ..target.open import open_target
    from ..target.symbols.sources import SymbolOptions

    target = open_target(options=SymbolOptions(only="btf"))
    args.ends.push(partial(save_symbol_caches, target, None))
    layout = build_layout(target.prog, target.vmcoreinfo)
    return OpenedKernel(target, layout, filters_of(target, layout), compiler)


def write_reports(
    args: argparse.Namespace,
    program: "Traced[C, object]",
    announce: Callable[[], None],
    report_of: "Callable[[Interval[C]], OutstandingReport | TrafficReport]",
    *,
    sees_watcher: bool = False,
) -> Exit:
    """Trace; write a report at the end, or with -i one for each interval; return the status.

    With `sees_watcher` the counts have what the watcher of the command frees at its end. The last
    report is made before a command that outlives the trace is ended, so that it sees its pages.
    """
    from dataclasses import replace

    from ..trace.session import Session

    form = load(args.format)
    timing = args.duration, args.interval, args.command
    last: list[OutstandingReport | TrafficReport] = []
    session = Session(
        program,
        *timing,
        announce,
        sees_watcher=sees_watcher,
        at_end=lambda reading: last.append(report_of(reading)),
    )
    complete = True
    with open_stream(args, grows=args.interval is not None) as stream:
        rows = IntervalOutput(form, stream) if isinstance(form, RowFormat) else None
        with until_reader_leaves(stream), contextlib.closing(session.readings()) as readings:
            for reading in readings:
                report = last.pop() if last else report_of(reading)
                report = replace(report, command_status=reading.command_status)
                complete = complete and report.complete
                if rows is not None and args.interval is not None:
                    rows.write(report, redrawn=is_redrawn(args))
                else:
                    write_report(args, report)
                    stream.flush()
    return Exit.COMPLETE if complete else Exit.INCOMPLETE
