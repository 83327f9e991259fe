"""Options that commands share, and what they do."""

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from ..errors import UsageError, system_error
from ..host.terminal import say
from ..render import FORMATS
from .output import check_output, open_output, report_stream

if TYPE_CHECKING:
    from ..report import Report
    from ..target.open import Target

Item = TypeVar("Item")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -c, --qemu, -s and their like: which kernel it is, and where its types come from.

    At a prompt that has a kernel open there is nothing to choose.
    """
    if getattr(parser, "has_kernel", False):
        return
    group = parser.add_argument_group("target (default: this kernel)")
    instead = group.add_mutually_exclusive_group()
    instead.add_argument(
        "-c", "--core", type=_core, metavar="FILE", help="a kernel core instead of this kernel"
    )
    instead.add_argument(
        "--qemu",
        type=Path,
        metavar="QMP_SOCKET",
        help="a QEMU guest instead, from outside, through the QMP socket of its monitor",
    )
    group.add_argument(
        "--pause",
        action="store_true",
        help="with --qemu, stop a guest that runs while it is read, for an exact answer",
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
        help="btf: fail if there is none; vmcoreinfo: use VMCOREINFO alone (default: btf, and "
        "vmcoreinfo where there is none)",
    )


def _core(text: str) -> Path | None:
    """Type of -c: None for /proc/kcore, which is this kernel and not a core."""
    from ..target.kcore import is_kcore

    path = Path(text)
    return None if is_kcore(path) else path


def names_target(args: argparse.Namespace) -> bool:
    """Return whether any option of add_target_arguments() was given."""
    options = ("core", "qemu", "pause", "symbols", "btf", "kallsyms", "vmcoreinfo", "symbols_from")
    return any(getattr(args, option, None) not in (None, False) for option in options)


def open_target(args: argparse.Namespace) -> "Target":
    """Open what add_target_arguments() asked for, after a look at where the report is to go."""
    if hasattr(args, "output"):
        check_output(args.output, args.mode)
    if "program" in args:
        return _adopt(args)
    from ..target.symbols.sources import Given

    given = Given(args.symbols, args.btf, args.kallsyms, args.vmcoreinfo, args.symbols_from)
    if args.qemu is not None:
        from ..target.qemu.open import open_guest

        guest: Target = args.ends.enter_context(open_guest(args.qemu, given, pause=args.pause))
        args.ends.push(partial(save_symbol_cache, guest, args.qemu))
        return guest
    if args.pause:
        raise UsageError("only a QEMU guest can be paused", "name its QMP socket: --qemu SOCKET")
    from ..target.open import open_target as open_core_or_kernel

    opened = open_core_or_kernel(args.core, given)
    for note in opened.provenance.notes:
        say(note)
    args.ends.push(partial(save_symbol_cache, opened, args.core))
    return opened


def _adopt(args: argparse.Namespace) -> "Target":
    """Return the kernel that drgn has open, whose command this is."""
    from ..target.open import adopt_program, core_path

    adopted = adopt_program(args.program)
    source = core_path(adopted)
    if source is not None or adopted.provenance.source == "live":
        args.ends.push(partial(save_symbol_cache, adopted, source))
    return adopted


def save_symbol_cache(
    opened: "Target", source: Path | None, error: type[BaseException] | None, *_: object
) -> None:
    """Keep what was learnt of the kernel, unless the command ended with an error."""
    refused = next((answers.refused for answers in opened.answers if answers.refused), None)
    if refused is not None and sys.stderr is not None:
        say(f"{refused.message}; {refused.hint}")
    if error is None:
        opened.keep_answers(source)


def add_output_arguments(parser: argparse.ArgumentParser, except_with: str = "") -> None:
    """Add --format and -o: how and where the report is written.

    `except_with` names the options with which the file grows.
    """
    exception = f" ({except_with}: it grows)" if except_with else ""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="form of the report (default: table); table and markdown are for people, the others "
        "for programs. csv has names as they are: a spreadsheet may take one that begins with = "
        "for a formula",
    )
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help=f"write the report to FILE, whole or not at all{exception}, instead of stdout",
    )
    add_mode_argument(group)


def add_mode_argument(group: argparse._ActionsContainer, default: str = "by the umask") -> None:
    """Add --mode, where the files that are written are named."""
    group.add_argument(
        "--mode",
        type=_mode,
        metavar="OCTAL",
        help=f"permissions of the file, as chmod takes them: 640 (default: {default})",
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
    """Write text that is a form of its own where add_output_arguments() asked for."""
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
    """Yield the items; what the system refuses meanwhile was asked to make them, not to write."""
    with _reading():
        yield from items


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Distinguish what fails while a report is read from what fails while it is written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise system_error(error) from None
