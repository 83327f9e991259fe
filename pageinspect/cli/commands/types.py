# SPDX-License-Identifier: GPL-2.0-only
"""The page types this kernel knows, and whether its buddy allocator resets them."""

import argparse

from ..options import add_output_arguments, add_target_arguments, open_target, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a TypesReport."""
    from ...errors import Exit
    from ...layout import build_layout
    from ...report.types import TypesReport

    target = open_target(args)
    layout = build_layout(target.prog, target.vmcoreinfo)
    write_report(args, TypesReport(target.provenance, layout))
    return Exit.INCOMPLETE if layout.unavailable else Exit.COMPLETE
