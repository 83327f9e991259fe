# SPDX-License-Identifier: GPL-2.0-only
"""Find contradictions in memory, and compare totals with the kernel's counters.

Each struct page is checked against the rules in docs/check.md. Each total that the kernel also
counts is compared with the kernel's counter: it is verified, explained (the difference is within a
documented tolerance), or differs. On a running kernel, a page that breaks a rule is read again; it
is a violation only if it breaks the rule twice. With --pfn, totals are not compared, because the
counters are about all pages. The exit status is 4 if there is a violation or a total that differs.
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
