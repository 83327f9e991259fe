# SPDX-License-Identifier: GPL-2.0-only
"""What changed between two moments: pages by owner, use, process, cache, cgroup or zone.

BEFORE and AFTER are kernels or snapshots, each written as for other commands. Rows without a change
are left out, and those that changed most come first. Of two snapshots of one boot, the pages that
kept their use and owner are counted, and --pfn lists those that changed; of different boots names
alone are compared. The exit status is 4 if a limit of --fail-above is exceeded, and otherwise 3 if
one side lacks memory, or something could not be read.
"""

import argparse
from typing import TYPE_CHECKING

from ...host.terminal import say
from ..arguments import whole_number
from ..options import add_output_arguments, write_report
from ..output import check_output
from ..snapshots import snapshot_of
from ..walking import add_jobs_argument

if TYPE_CHECKING:
    from ...model.ranges import Range
    from ...model.snapshot import Snapshot

_BY = ("type", "use", "owner", "name", "process", "file", "cache", "cgroup", "zone")
_MOST_ROWS = (1 << 31) - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    for name in ("before", "after"):
        parser.add_argument(name, metavar=name.upper(), help=f"the kernel or snapshot {name}")
    parser.add_argument(
        "--by",
        choices=_BY,
        default="owner",
        metavar="K",
        help=f"what to compare: {', '.join(_BY)} (default: owner). owner: kinds of owner; name: "
        "all owners",
    )
    parser.add_argument(
        "--top",
        type=whole_number("a number of rows", 0, _MOST_ROWS),
        metavar="N",
        help="show the N rows that changed most; 0 is all (default: 10 in tables, all in formats "
        "for programs)",
    )
    parser.add_argument(
        "--pfn",
        nargs="?",
        action="append",
        metavar="RANGE",
        help="of two snapshots of one boot: list the pages that changed, as runs; with a RANGE, as "
        "list --pfn takes it, only those pfns. May be repeated",
    )
    parser.add_argument(
        "--fail-above",
        action="append",
        default=[],
        metavar="LIMIT",
        help="end with 4 if NAME grows or shrinks by more than this: NAME:+N or NAME:-N, where N "
        "is a number of pages, a percentage (10%%), or bytes with K, M, G or T. NAME is one of "
        "--by; for owner and name KIND or KIND:NAME. May be repeated",
    )
    add_output_arguments(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a DiffReport."""
    from ...analysis.limits import parse_limit
    from ...model.range_text import check_syntax

    limits = [parse_limit(text) for text in args.fail_above]
    asked = [text for text in args.pfn or () if text is not None]
    check_syntax(asked)
    check_output(args.output, args.mode)

    from ...report.diff import compare, tables_for

    tables = tables_for(args.by)
    before, after = (snapshot_of(args, text, tables) for text in (args.before, args.after))
    report = compare(
        before,
        after,
        args.by,
        top=args.top,
        runs=args.pfn is not None,
        wanted=_pfns(asked, before, after) if asked else None,
        limits=limits,
    )
    write_report(args, report)
    for line in report.exceeded_lines():
        say(line)
    return report.status


def _pfns(texts: list[str], before: "Snapshot", after: "Snapshot") -> "list[Range]":
    """Return the pfns of the user's ranges that either side has."""
    from ...analysis.comparable import runs_table, spans
    from ...model.memory_map import MemoryMap
    from ...model.range_text import resolve
    from ...model.ranges import merge
    from ...saved.kernel import kernel_of

    sides = before, after
    spanned = merge(r for side in sides for r in spans(runs_table(side, "--pfn")))
    kernel = kernel_of(after)
    return resolve(texts, MemoryMap(tuple(spanned), kernel.zones), kernel.page_shift)
