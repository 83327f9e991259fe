"""Where memory contradicts itself, and whether the totals agree with the kernel's counters.

Every struct page is held against the rules of docs/check.md, and every total that the kernel counts
too against its counter: verified, explained (off in a way and by no more than a rule allows), or
differs. On a running kernel, what looks broken is read again: only what is broken twice is a
violation. With --pfn no total is compared: the counters cover all pages. The status is 4 when
there is a violation or a total that differs.
"""

import argparse
from functools import partial

from ..options import open_target, write_report
from ..walking import add_jobs_argument, add_pfn_argument, fold_pieces


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_pfn_argument(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a CheckReport."""
    from ...inspector.check import check
    from ...inspector.inspector import inspect

    target = open_target(args)
    report = check(target, partial(inspect, target), args.pfn, fold=partial(fold_pieces, args))
    write_report(args, report)
    return report.status
