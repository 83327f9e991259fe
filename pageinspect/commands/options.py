"""Options that commands share, and what they do."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from ..errors import PageInspectError

if TYPE_CHECKING:
    from ..report import Report
    from ..target import Target

_FORMATS = ("table", "json", "csv")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -c and -s: which kernel is looked at, and where its types come from."""
    group = parser.add_argument_group("target (default: this kernel)")
    group.add_argument(
        "-c", "--core", type=Path, metavar="FILE", help="a kernel core instead of this kernel"
    )
    group.add_argument(
        "-s",
        "--symbols",
        type=Path,
        metavar="VMLINUX",
        help="take types from this vmlinux with debug information, not from the kernel's own BTF",
    )


def open_target(args: argparse.Namespace) -> "Target":
    """Open what add_target_arguments() asked for."""
    from .. import target

    return target.open_target(args.core, args.symbols)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --format and -o: how and where the report is written."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=_FORMATS, default="table", help="form of the report (default: table)"
    )
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the report to FILE, whole or not at all, instead of stdout",
    )


def write_report(args: argparse.Namespace, report: "Report") -> None:
    """Render the report as add_output_arguments() asked for."""
    from ..render import render

    if args.output is None:
        render(report, args.format, sys.stdout)
        return
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=args.output.parent, prefix=f".{args.output.name}.", delete=False
        ) as stream:
            try:
                render(report, args.format, cast("TextIO", stream))
                _keep(Path(stream.name), args.output)
            except BaseException:
                Path(stream.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise PageInspectError(
            f"cannot write {args.output}: {error.strerror}", "name a file in a folder you may write"
        ) from None


def _keep(temporary: Path, final: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.rename(final)


def comma_separated(text: str) -> tuple[str, ...]:
    """Type of options such as --type T,…: the names, without empty ones."""
    return tuple(name for name in text.split(",") if name)
