# SPDX-License-Identifier: GPL-2.0-only
"""What each process uses: RSS, PSS, USS and swap, from its page tables.

The numbers are those of /proc/PID/smaps_rollup, in bytes, also for a dump: what the page tables map
now, not what the kernel has counted. pss divides each page among its mappings, uss is pages with a
single mapping. tables are its page tables, huge is the part of rss that huge entries map. hugetlb
and the zero page are not in rss. Kernel threads have no memory of their own.
"""

import argparse

from ..arguments import whole_number
from ..intervals import add_interval_argument, write_readings
from ..options import add_output_arguments, add_target_arguments, open_source
from ..walking import add_jobs_argument

_NAMES = ("pid", "comm")
_SORT_KEYS = (
    *("pss", "rss", "uss", "anon", "file", "shmem", "swap", "huge", "tables", "hugetlb"),
    *_NAMES,
)
_MOST = (1 << 31) - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument(
        "--sort",
        choices=_SORT_KEYS,
        default=_SORT_KEYS[0],
        metavar="KEY",
        help=f"order of the processes: {', '.join(_SORT_KEYS)} (default: %(default)s); numbers "
        "from the largest on",
    )
    parser.add_argument(
        "--top",
        type=whole_number("a number of processes", 0, _MOST),
        metavar="N",
        help="only the first N processes, and one row with the sums of the others; 0 is all "
        "(default: 10 for people, all in formats for programs)",
    )
    add_interval_argument(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a ProcessesReport, or one at each interval."""
    from ...report.since import Measured

    source = open_source(args)
    measure = _SORT_KEYS[0] if args.sort in _NAMES else args.sort
    return write_readings(
        args,
        lambda whole: source.processes(args.sort, 0 if whole else args.top),
        Measured(("pid", "comm"), measure, "bytes"),
    )
