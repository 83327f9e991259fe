# SPDX-License-Identifier: GPL-2.0-only
"""Write all about memory as one HTML file, to look at and to pass on.

The file opens in any browser and loads nothing from elsewhere: totals with the kernel's counters,
owners as areas, a map of memory with the use and owner of each page, processes, files, caches,
cgroups, contiguity, contradictions, and what a core lacks. It has at most 2 MB: with too many runs
of pages, the map ends at cells of several pages. It has names of files and processes of the
machine.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ...errors import Exit, PageInspectError
from ..options import (
    SYMBOLS,
    add_mode_argument,
    add_target_arguments,
    check_snapshot_options,
    open_target,
)
from ..output import check_output
from ..walking import add_jobs_argument, fold_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...inspector.inspector import Inspector
    from ...model.snapshot import Snapshot
    from ...report.audit import AuditReport
    from ...report.check import CheckReport

Made = TypeVar("Made")

_LEFT_OUT = "It was left out by --no-check."
_NO_STRUCT_PAGES = "A snapshot has no struct pages to check."
_NAMES = {"symbols": "-s"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the HTML file to write, completely or not at all",
    )
    add_mode_argument(parser)
    group = parser.add_argument_group("report")
    group.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="also show the typed frees of FILE, which `pageinspect trace --format json` wrote",
    )
    group.add_argument(
        "--no-check",
        action="store_true",
        help="do not search for contradictions, and do not audit a core: two walks less",
    )
    add_jobs_argument(parser)


class _Read(NamedTuple):
    """What the command has read of its target."""

    snapshot: "Snapshot"
    check: "CheckReport | str"
    audit: "AuditReport | str | None"
    target: tuple[str, ...]
    """The options that name the target in other commands."""


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from ...html_report.contents import Contents, page_of
    from ...html_report.frees import read_frees
    from ...html_report.page import library
    from ...saved.reports import SavedReports
    from ..output import open_output

    # What is missing is found out before anything is read.
    library()
    check_output(args.output, args.mode)
    frees = None if args.trace is None else read_frees(args.trace)
    read = _taken(args) if args.snapshot is None else _saved(args)
    reports = SavedReports(read.snapshot)
    contents = Contents(
        read.snapshot,
        reports,
        check=read.check,
        audit=read.audit,
        frees=frees,
        target=read.target,
        has_struct_pages=args.snapshot is None,
        made_by=("pageinspect", *sys.argv[1:]),
    )
    page = page_of(contents)
    with open_output(args.output, mode=args.mode) as stream:
        stream.write(page)
    whole = reports.provenance.is_whole and not reports.layout.unavailable
    header = read.snapshot.header
    missing = header("unreadable") or header("missing") or not whole
    return int(Exit.INCOMPLETE if missing else Exit.COMPLETE)


def _saved(args: argparse.Namespace) -> _Read:
    """Read a snapshot of a dataset."""
    from ..snapshots import snapshot_of_target

    check_snapshot_options(args)
    snapshot = snapshot_of_target(args, ())
    exact = f"{args.snapshot.dataset}@{snapshot.time}#{snapshot.host}"
    return _Read(snapshot, _NO_STRUCT_PAGES, None, ("-c", exact))


def _taken(args: argparse.Namespace) -> _Read:
    """Take a snapshot of a kernel, check it, and audit it if it is a core."""
    from ...inspector.audit import audit_core
    from ...inspector.check import check
    from ...inspector.inspector import inspect
    from ...inspector.snapshot import host_of, take

    target, fold = open_target(args), partial(fold_pieces, args)
    inspector: Inspector = inspect(target)
    snapshot = take(inspector, host=host_of(inspector), fold=fold)
    found: CheckReport | str = _LEFT_OUT
    audit: AuditReport | str | None = None if args.core is None else _LEFT_OUT
    if not args.no_check:
        found = _or_why(lambda: check(target, partial(inspect, target), (), fold=fold))
        if args.core is not None:
            audit = _or_why(lambda: audit_core(inspector, fold=fold))
    return _Read(snapshot, found, audit, _target_words(args))


def _target_words(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the options that name a kernel, for other commands."""
    words: list[str] = []
    for option, name in (("core", "-c"), ("qemu", "--qemu")):
        if getattr(args, option) is not None:
            words += [name, str(getattr(args, option))]
    for option in (*SYMBOLS, "symbols_from"):
        if getattr(args, option) is not None:
            words += [_NAMES.get(option, f"--{option.replace('_', '-')}"), getattr(args, option)]
    return tuple(map(str, words))


def _or_why(make: "Callable[[], Made]") -> "Made | str":
    """Return a report, or the reason why there is none."""
    try:
        return make()
    except PageInspectError as error:
        return f"It could not be made: {error.message}."
