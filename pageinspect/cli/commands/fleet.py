# SPDX-License-Identifier: GPL-2.0-only
"""Questions on the snapshots of many hosts: what grows, which host differs, any SQL.

DATASET is a folder of snapshots, of one host or of many. REPORT is one of uses, growth, contiguity,
outliers, frees, hosts and snapshots. With --sql, one SELECT statement on the tables of the dataset
takes the place of a report.
"""

import argparse
import contextlib
import re
import time
from functools import partial
from pathlib import Path

from ...errors import Exit, UsageError, did_you_mean
from ...fleet.questions import QUESTIONS
from ..arguments import whole_number
from ..options import add_output_arguments, write_report
from ..output import check_output

_MOST_ROWS = (1 << 31) - 1
_FOR_PEOPLE = ("table", "markdown")
_SHOWN = 10
_SHOWN_OF_SQL = 1000
_LEAST_MIB, _MOST_MIB = 64, 1 << 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the folder of snapshots")
    parser.add_argument(
        "report",
        nargs="?",
        metavar="REPORT",
        help="; ".join(f"{name}: {summary}" for name, summary in QUESTIONS.items()),
    )
    add_output_arguments(parser)
    chosen = parser.add_argument_group("snapshots that count (default: all)")
    chosen.add_argument(
        "--since",
        type=moment,
        metavar="TIME",
        help="from this moment on: 2026-11-27, 2026-11-27T20:15 (UTC), or 7d or 12h before now",
    )
    chosen.add_argument("--host", metavar="GLOB", help="of hosts whose names match")
    chosen.add_argument(
        "--where",
        metavar="EXPR",
        help="for which this expression of SQL on columns of the table snapshots is true, such as "
        "\"release LIKE '6.12%%' AND source = 'live'\"",
    )
    parser.add_argument(
        "--sql",
        metavar="QUERY",
        help="the rows of one SELECT statement on the tables of docs/dataset.md; nothing else "
        "is run, and no other file is read; tables for people have its first 1000 rows",
    )
    parser.add_argument(
        "--top",
        type=whole_number("a number of rows", 0, _MOST_ROWS),
        metavar="N",
        help="only the first N rows; 0 is all (default: 10 in tables, all in formats for programs)",
    )
    parser.add_argument(
        "--memory",
        type=whole_number("a number of MiB", _LEAST_MIB, _MOST_MIB),
        default=1024,
        metavar="MIB",
        help="what DuckDB may hold in memory; more goes to a temporary file (default: 1024)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number("a number of threads", 1, 1024),
        metavar="N",
        help="threads of DuckDB (default: one for each CPU)",
    )


def run(args: argparse.Namespace) -> int:
    """Write a FleetReport."""
    from ...dataset.files import check_dataset
    from ...fleet.engine import Choice, Limits, opened, spill_folder
    from ...fleet.questions import ask, needs

    _check_words(args.dataset, args.report, args.sql)
    if args.sql is not None and args.top is not None:
        raise UsageError("--top is not for --sql", "the statement can have a LIMIT")
    check_output(args.output, args.mode)
    check_dataset(args.dataset)
    for_people = args.format in _FOR_PEOPLE
    top = args.top
    if top is None:
        top = _SHOWN if for_people else 0
    if args.sql is None:
        needed, answer = needs(args.report), partial(ask, question=args.report, top=top)
    else:
        from ...fleet import sql

        most = _SHOWN_OF_SQL if for_people else 0
        needed, answer = sql.needs(args.sql), partial(sql.report, query=args.sql, most=most)
    choice = Choice(args.since, args.host, args.where)
    with spill_folder() as folder:
        limits = Limits(args.memory, args.threads or 0, folder)
        with opened(args.dataset, choice, limits, needed) as fleet:
            write_report(args, answer(fleet))
    return Exit.COMPLETE


def _check_words(dataset: Path, report: str | None, sql: str | None) -> None:
    """Raise UsageError unless there are a dataset, and a report or SQL."""
    if str(dataset) in QUESTIONS and not dataset.exists():
        if report is None:
            raise UsageError("the dataset is missing", f"pageinspect fleet DATASET {dataset}")
        if report not in QUESTIONS:
            raise UsageError(
                f"{str(dataset)!r} is a report", f"the dataset comes first: fleet DATASET {dataset}"
            )
    if report is None and sql is None:
        raise UsageError(
            "give a report or --sql",
            f"the reports are {', '.join(QUESTIONS)}; --sql QUERY asks more",
        )
    if report is not None and report not in QUESTIONS:
        advice = did_you_mean(report, QUESTIONS, f"choose from {', '.join(QUESTIONS)}")
        raise UsageError(f"there is no report {report!r}", advice)
    if report is not None and sql is not None:
        raise UsageError("give a report or --sql, not both", "omit one of them")
    folder = re.split("[@#]", str(dataset), maxsplit=1)[0]
    if folder != str(dataset) and not dataset.exists() and Path(folder).is_dir():
        raise UsageError(
            "fleet takes a dataset as a whole, not one snapshot of it",
            "--since TIME, --host GLOB and --where EXPR choose snapshots",
        )


def moment(text: str) -> str:
    """Type of --since: a time such as 20261127T201500Z."""
    from ...dataset.paths import first_time, time_of

    ago = re.fullmatch(r"(\d{1,6})([dh])", text, re.ASCII)
    if ago:
        hours = int(ago[1]) * (24 if ago[2] == "d" else 1)
        # A time before the year 1 is none.
        with contextlib.suppress(ValueError):
            text = time_of(time.time() - hours * 3600)
    found = first_time(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-27T20:15, or 7d or 12h"
        )
    return found
