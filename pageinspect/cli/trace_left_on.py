# SPDX-License-Identifier: GPL-2.0-only
"""A trace that is left on: each interval is added to a dataset, or replaces a file of metrics."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import PageInspectError, UsageError
from ..host.terminal import say
from ..render import METRICS
from .arguments import kept, repeated
from .trace_arguments import is_given, option_of

if TYPE_CHECKING:
    from ..report.trace import TraceReport

_NOT_KEPT = ("interval", "events", "folded", "stacks", "top", "tails", "mode")
"""Options whose results a dataset has no place for."""


def add_left_on(group: "argparse._ArgumentGroup") -> None:
    """Declare the options of a dataset."""
    group.add_argument(
        "--every",
        type=repeated,
        metavar="SECONDS",
        help="add the frees of each SECONDS to the dataset of snapshots that -o names; --by caller "
        "gives their callers",
    )
    group.add_argument("--host", metavar="NAME", help="name of this machine in the dataset")
    group.add_argument(
        "--keep",
        type=kept,
        metavar="N",
        help="remove all but the latest N of this host's snapshots of frees",
    )


def check_left_on(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if args.every is None:
        if args.host is not None or args.keep is not None:
            raise UsageError("--host and --keep need --every", "add --every SECONDS")
        if replaces(args):
            _check_metrics(args)
        return
    if args.output is None:
        raise UsageError("no dataset is named", "name the folder of snapshots: -o DATASET")
    if args.host == "":
        raise UsageError("the name of the host is empty", "omit --host, or give a name")
    for name in _NOT_KEPT:
        if is_given(args, name):
            raise UsageError(
                f"--every and {option_of(name)} cannot be combined", "choose one of them"
            )
    if args.format != "table":
        raise UsageError("--every writes a dataset", "omit --format")
    if not {*args.by} <= {"caller"}:
        raise UsageError("a dataset has frees by type and caller", "omit --by, or use --by caller")


def replaces(args: argparse.Namespace) -> bool:
    """Return whether each interval's metrics replace those of the last one."""
    return args.interval is not None and args.format == METRICS


def grows(args: argparse.Namespace) -> bool:
    """Return whether the output grows while the trace runs."""
    return args.events or (args.interval is not None and not replaces(args))


def _check_metrics(args: argparse.Namespace) -> None:
    if args.output is None:
        raise UsageError(
            f"--format {args.format} is written as a whole",
            "name a file, which each interval replaces: -o FILE",
        )
    if args.top is not None:
        raise UsageError("--top and metrics of intervals cannot be combined", "omit --top")


class Readings:
    """Writes the readings of a trace, and adds up what was lost."""

    def __init__(
        self,
        write: "Callable[[TraceReport], None]",
        carry_over: Callable[[], None],
        *,
        since_start: bool,
        left_on: bool,
    ) -> None:
        """`carry_over` lets the next reading include the last one: `since_start` each does.

        With `left_on`, a reading that cannot be written is in the next one.
        """
        self._write = write
        self._carry_over = carry_over
        self._since_start = since_start
        self._left_on = left_on
        self._failed: PageInspectError | None = None
        self._lost = self._carried = 0

    def take(self, report: "TraceReport") -> None:
        """Write a reading."""
        try:
            self._write(report)
        except PageInspectError as error:
            if not self._left_on:
                raise
            self._failed = error
            say(f"{error.message}; the next interval includes this one")
        else:
            self._failed = None
        if self._failed is not None or self._since_start:
            self._carry_over()
            self._carried = report.lost.total
        else:
            self._lost, self._carried = self._lost + report.lost.total, 0

    def finish(self) -> int:
        """Return the number of what was lost; raises PageInspectError if the end is not written."""
        if self._failed is not None:
            raise self._failed
        return self._lost + self._carried
