# SPDX-License-Identifier: GPL-2.0-only
"""Everything about single pages: what dump_page() prints, and more.

ADDR is a pfn, or an address after phys: (physical), virt: (kernel virtual: direct map, image,
vmalloc) or page: (a struct page). Numbers are decimal or begin with 0x; an address may end in K, M,
G or T: phys:16M. --dump-text reads no kernel: it decodes the reports of dump_page() in a log.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError
from ..options import (
    add_output_arguments,
    add_target_arguments,
    names_target,
    open_target,
    write_report,
)
from ..walking import status

if TYPE_CHECKING:
    from ...analysis.page_facts.facts import Fact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("addresses", metavar="ADDR", nargs="*", help="which page; see above")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="also show the words in memory, and the rule and kernel commit that decode each",
    )
    parser.add_argument(
        "--dump-text",
        metavar="FILE",
        help='decode the "page dumped because" reports in a log; - is standard input',
    )
    add_target_arguments(parser, named=False)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a PageReport or a DumpTextReport."""
    if bool(args.addresses) == (args.dump_text is not None):
        raise UsageError(
            "page takes either ADDR or --dump-text FILE",
            "for example: page 0x1000, or dmesg | pageinspect page --dump-text -",
        )
    if args.dump_text is not None:
        return _decode_text(args)
    from ...inspector.describe import describe_addresses
    from ...inspector.inspector import inspect

    report = describe_addresses(inspect(open_target(args)), args.addresses, explain=args.explain)
    write_report(args, report)
    return status(report.coverage)


def _decode_text(args: argparse.Namespace) -> int:
    from ...report.page import DumpTextReport

    if names_target(args):
        raise UsageError("--dump-text reads no kernel", "omit -c, -s and the other target options")
    write_report(args, DumpTextReport(_decode(args.dump_text), args.explain))
    return Exit.COMPLETE


def _decode(path: str) -> "tuple[tuple[Fact, ...], ...]":
    from ...analysis.dump_page_text import decode, log_lines

    try:
        if path != "-":
            with open(path, "rb") as stream:  # noqa: PTH123 - not a tree
                return decode(log_lines(stream))
        if sys.stdin is None:
            raise PageInspectError(
                "standard input is closed", "for example: dmesg | pageinspect page --dump-text -"
            )
        return decode(log_lines(sys.stdin.buffer))
    except OSError as error:
        raise PageInspectError(
            f"cannot read {path}: {error.strerror}", "name a text file with a kernel log, or -"
        ) from None
