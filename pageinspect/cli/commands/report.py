# SPDX-License-Identifier: GPL-2.0-only
"""Write all about memory as one HTML file, to look at and to pass on.

The file opens in any browser and loads nothing from elsewhere: totals with the kernel's counters,
owners as areas, a map of memory with the use and owner of each page, processes, files, caches,
cgroups, contiguity, contradictions, and what a core lacks. It has at most 2 MB: with too many runs
of pages, the map ends at cells of 2 MiB or more. It has names of files and processes of the
machine.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import Exit, PageInspectError, UsageError
from ..options import add_mode_argument, add_target_arguments, open_target
from ..walking import add_jobs_argument, fold_pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...html_report.contents import Reports
    from ...inspector.inspector import Inspector
    from ...model.snapshot import Snapshot
    from ...report.audit import AuditReport
    from ...report.check import CheckReport
    from ...report.contiguity import ContiguityReport
    from ...target.open import Target

Made = TypeVar("Made")

_TARGET_OPTIONS = ("core", "qemu", "symbols", "btf", "kallsyms", "vmcoreinfo", "symbols_from")
_NAMES = {"core": "-c", "symbols": "-s"}
_NEEDS_TYPES = "It needs the kernel's own types, and VMCOREINFO alone was found."
_LEFT_OUT = "It was left out by --no-check."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "target",
        nargs="?",
        action=_CoreName,
        metavar="TARGET",
        help="a core, as with -c (default: the kernel of the options below)",
    )
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


class _CoreName(argparse.Action):
    """Sets `core`, as the option -c does."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        _option: str | None = None,
    ) -> None:
        """Set the attributes."""
        namespace.target = values
        if values is not None and getattr(namespace, "core", None) is None:
            namespace.core = Path(values)


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    if args.target is not None and (args.qemu is not None or Path(args.target) != args.core):
        raise UsageError("two targets are named", "omit one of them")
    from ...html_report.contents import Contents, page_of
    from ...html_report.frees import read_frees
    from ...html_report.page import library
    from ..output import open_output

    # What is missing is found out before anything is read.
    library()
    frees = None if args.trace is None else read_frees(args.trace)
    target = open_target(args)
    snapshot, reports = _contents(args, target)
    made_by = ("pageinspect", *sys.argv[1:])
    page = page_of(Contents(snapshot, reports, frees, _target_words(args), made_by))
    with open_output(args.output, mode=args.mode) as stream:
        stream.write(page)
    whole = target.provenance.is_whole and reports.uses.coverage.complete
    missing = snapshot.header("unreadable") or snapshot.header("missing") or not whole
    return int(Exit.INCOMPLETE if missing else Exit.COMPLETE)


def _target_words(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the options that name the target, for other commands."""
    words: list[str] = []
    for option in _TARGET_OPTIONS:
        value = getattr(args, option)
        if value is not None:
            words += [_NAMES.get(option, f"--{option.replace('_', '-')}"), str(value)]
    return tuple(words)


def _contents(args: argparse.Namespace, target: "Target") -> "tuple[Snapshot, Reports]":
    """Return a snapshot of the target of the options, and the reports on it."""
    from ...inspector.inspector import inspect
    from ...inspector.snapshot import host_of, take

    fold = partial(fold_pieces, args)
    inspector = inspect(target)
    snapshot = take(inspector, host=host_of(inspector), fold=fold)
    return snapshot, _reports(args, inspector)


def _reports(args: argparse.Namespace, inspector: "Inspector") -> "Reports":
    """Return the reports, each of a walk of its own."""
    from ...html_report.contents import Reports
    from ...inspector.audit import audit_core
    from ...inspector.check import check
    from ...inspector.contiguity import find_contiguity
    from ...inspector.inspector import inspect
    from ...inspector.owners import count_owners
    from ...inspector.selection import Request
    from ...inspector.summary import summarise

    fold, target, every = partial(fold_pieces, args), inspector.target, Request()
    contiguity: ContiguityReport | str = _NEEDS_TYPES
    if not inspector.layout.unavailable:
        contiguity = _or_why(lambda: find_contiguity(inspector, fold=fold, pfns=False))
    found: CheckReport | str = _LEFT_OUT
    audit: AuditReport | str | None = None if args.core is None else _LEFT_OUT
    if not args.no_check:
        found = _or_why(lambda: check(target, partial(inspect, target), (), fold=fold))
        if args.core is not None:
            audit = _or_why(lambda: audit_core(inspector, fold=fold))
    return Reports(
        uses=summarise(inspector, ["use"], every, fold=fold),
        kinds=count_owners(inspector, "kind", every, fold=fold),
        contiguity=contiguity,
        check=found,
        audit=audit,
    )


def _or_why(make: "Callable[[], Made]") -> "Made | str":
    """Return a report, or the reason why there is none."""
    try:
        return make()
    except PageInspectError as error:
        return f"It could not be made: {error.message}."
