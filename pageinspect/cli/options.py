# SPDX-License-Identifier: GPL-2.0-only
"""Options that several commands share, and their implementation."""

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from ..errors import UsageError, needs_struct_pages, system_error
from ..host.terminal import say
from ..render import FORMATS, METRICS
from .output import check_output, open_output, report_stream
from .targets import TargetAction

if TYPE_CHECKING:
    from ..report import Report
    from ..report.source import ReportSource
    from ..target.open import Target

Item = TypeVar("Item")

SYMBOLS = ("symbols", "btf", "kallsyms", "vmcoreinfo")
"""Options that name a file with types or symbols."""


def add_target_arguments(parser: argparse.ArgumentParser, *, named: bool = True) -> None:
    """Add the target: which kernel to read, and where its types come from.

    Without `named`, the target is not an argument of its own, because the command has others. Adds
    nothing at drgn's prompt, where a kernel is already open.
    """
    if getattr(parser, "has_kernel", False):
        return
    if named:
        parser.add_argument(
            "target_text",
            nargs="?",
            action=TargetAction,
            metavar="TARGET",
            help="what to read, as -c has it (default: this kernel)",
        )
    group = parser.add_argument_group("target (default: this kernel)")
    group.add_argument(
        "-c",
        "--core",
        action=TargetAction,
        metavar="TARGET",
        help="read this kernel core (a FILE), or what a snapshot has of a kernel: "
        "DATASET[@TIME|@-N][#HOST], by default the newest, -2 is the one before; or qemu:SOCKET as "
        "--qemu, or live for this kernel. A file or folder of that name is meant first",
    )
    parser.set_defaults(snapshot=None)
    group.add_argument(
        "--qemu",
        action=TargetAction,
        metavar="QMP_SOCKET",
        help="read a QEMU guest from outside, through the QMP socket of its monitor",
    )
    group.add_argument(
        "--pause",
        action="store_true",
        help="with --qemu, pause a running guest while it is read, for consistent results",
    )
    group.add_argument(
        "-s",
        "--symbols",
        type=Path,
        metavar="VMLINUX",
        help="take types from this vmlinux with debug information, not from the kernel's own BTF",
    )
    for option, what in (
        ("--btf", "take types from this BTF: /sys/kernel/btf/vmlinux of the same build"),
        ("--kallsyms", "take symbols from this copy of /proc/kallsyms, or System.map"),
        ("--vmcoreinfo", "take this VMCOREINFO, for a core that lacks it"),
    ):
        group.add_argument(option, type=Path, metavar="FILE", help=what)
    group.add_argument(
        "--symbols-from",
        choices=["btf", "vmcoreinfo"],
        help="btf: fail if there is no BTF; vmcoreinfo: use only VMCOREINFO (default: BTF, or "
        "VMCOREINFO if there is no BTF)",
    )


def names_target(args: argparse.Namespace) -> bool:
    """Return whether any option of add_target_arguments() was given."""
    options = ("core", "qemu", "snapshot", "pause", *SYMBOLS, "symbols_from")
    return any(getattr(args, option, None) not in (None, False) for option in options)


def open_target(args: argparse.Namespace, what: str = "") -> "Target":
    """Open the target of the options, after checking that the report can be written.

    `what` is what struct pages are needed for, by default the command: a snapshot has none.
    """
    if hasattr(args, "output"):
        check_output(args.output, args.mode)
    if getattr(args, "snapshot", None) is not None:
        raise needs_struct_pages(what or getattr(args, "command_name", "this command"))
    if "program" in args:
        return _adopt(args)
    from ..target.symbols.sources import SymbolOptions

    options = SymbolOptions(
        args.symbols, args.btf, args.kallsyms, args.vmcoreinfo, args.symbols_from
    )
    if args.qemu is not None:
        from ..target.qemu.open import open_guest

        guest: Target = args.ends.enter_context(open_guest(args.qemu, options, pause=args.pause))
        args.ends.push(partial(save_symbol_caches, guest, args.qemu))
        return guest
    if args.pause:
        raise UsageError("only a QEMU guest can be paused", "name its QMP socket: --qemu SOCKET")
    from ..target.open import open_target as open_core_or_kernel

    opened = open_core_or_kernel(args.core, options)
    for note in opened.provenance.notes:
        say(note)
    args.ends.push(partial(save_symbol_caches, opened, args.core))
    return opened


def _adopt(args: argparse.Namespace) -> "Target":
    """Return the kernel that drgn has open, for a command at drgn's prompt."""
    from ..target.open import core_path, target_from_program

    adopted = target_from_program(args.program)
    source = core_path(adopted)
    if source is not None or adopted.provenance.source == "live":
        args.ends.push(partial(save_symbol_caches, adopted, source))
    return adopted


def open_source(args: argparse.Namespace) -> "ReportSource":
    """Open what the reports of the command are made from: a kernel, or a snapshot of one."""
    snapshot = getattr(args, "snapshot", None)
    if snapshot is None:
        from ..inspector.source import KernelSource
        from .walking import fold_pieces

        return KernelSource(open_target(args), partial(fold_pieces, args))
    check_output(args.output, args.mode)
    check_snapshot_options(args)
    from ..saved.opening import open_saved

    return open_saved(snapshot.dataset, snapshot.time, snapshot.host)


def check_snapshot_options(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense with a snapshot."""
    given = [f"--{option}" for option in (*SYMBOLS, "symbols_from") if getattr(args, option)]
    if args.pause or given:
        raise UsageError(
            f"a snapshot has the names of its kernel, and no memory: omit {[*given, '--pause'][0]}",
            "these options are for a core, a guest, or this kernel",
        )


def save_symbol_caches(
    opened: "Target", source: Path | None, error: type[BaseException] | None, *_: object
) -> None:
    """Save types and symbols of the kernel in the cache, unless the command failed."""
    refused = next((cache.refused for cache in opened.symbol_caches if cache.refused), None)
    if refused is not None and sys.stderr is not None:
        say(f"{refused.message}; {refused.hint}")
    if error is None:
        opened.save_symbol_caches(source)


def add_output_arguments(
    parser: argparse.ArgumentParser, exception: str = "", *, metrics: bool = False
) -> None:
    """Add --format and -o: how and where the report is written.

    `exception` names the options with which the file is not written at once, and says how it is
    then; `metrics` is whether the report has metrics.
    """
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        choices=(*FORMATS, METRICS) if metrics else FORMATS,
        default="table",
        metavar="FORM",
        help=f"form of the report: {', '.join(FORMATS)} (default: table); table and markdown are "
        "for people, the others for programs. csv does not escape names: a spreadsheet may "
        f"evaluate one that begins with = as a formula{_WITH_METRICS if metrics else ''}",
    )
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the report to FILE instead of stdout, completely or not at all"
        f"{exception and f' ({exception})'}",
    )
    add_mode_argument(group)


_WITH_METRICS = ". prometheus: metrics for node_exporter's textfile collector"


def add_mode_argument(group: argparse._ActionsContainer, default: str = "by the umask") -> None:
    """Add --mode, where the files that are written are named."""
    group.add_argument(
        "--mode",
        type=_mode,
        metavar="OCTAL",
        help=f"permissions of the file in octal, such as 640 (default: {default})",
    )


def _mode(text: str) -> int:
    if re.fullmatch("0?[0-7]{3}", text) is None:
        raise argparse.ArgumentTypeError(f"{text} is not three octal digits such as 640")
    return int(text, 8)


def write_report(args: argparse.Namespace, report: "Report") -> None:
    """Render the report as add_output_arguments() asked for."""
    from ..render import render

    with _output(args) as stream:
        render(report, args.format, stream)


def write_text(args: argparse.Namespace, text: str) -> None:
    """Write text, in a format of its own, to the output that the options name."""
    with _output(args) as stream:
        stream.write(text)


@contextlib.contextmanager
def _output(args: argparse.Namespace) -> Iterator[TextIO]:
    if args.output is not None:
        with open_output(args.output, mode=args.mode) as stream, _reading():
            yield report_stream(stream, args.output)
        return
    check_output(None, args.mode)
    yield report_stream(sys.stdout)


def read_errors(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; report an OSError of their iterator as one of reading, not of writing."""
    with _reading():
        yield from items


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Report an OSError in this context as one of reading, not of writing the report."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise system_error(error) from None
