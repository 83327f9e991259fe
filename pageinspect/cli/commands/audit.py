# SPDX-License-Identifier: GPL-2.0-only
"""Which pages a core lacks: left out by its dump level, or lost.

Pages are counted by use and kind of owner: those in the file, those that the dump level allows to
be absent, memory that is not dumped, and those that are lost: the core should have them, and has
not. makedumpfile leaves out pages by rules for struct pages, which are checked here one by one; a
makedumpfile that is older than the kernel may leave out pages of the kernel itself. The exit status
is 4 if pages are lost, and 3 if it cannot be decided.
"""

import argparse
from functools import partial

from ..arguments import whole_number
from ..options import (
    add_output_arguments,
    add_target_arguments,
    open_target,
    write_report,
)
from ..walking import add_jobs_argument, fold_pieces

_MAX_LEVEL = 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    parser.add_argument(
        "--dump-level",
        type=whole_number("a dump level", 0, _MAX_LEVEL),
        metavar="N",
        help="the level (makedumpfile -d) of an ELF core, which does not have it; a kdump has it "
        "in its header (default for ELF: what any level leaves out is allowed)",
    )
    add_output_arguments(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write an AuditReport."""
    from ...inspector.audit import audit_file
    from ...inspector.lost_pages import no_core

    if "program" not in args and args.core is None and args.snapshot is None:
        raise no_core()
    report = audit_file(
        partial(open_target, args),
        args.core,
        fold=partial(fold_pieces, args),
        dump_level=args.dump_level,
    )
    write_report(args, report)
    return report.status
