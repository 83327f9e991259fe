"""Run a command in a guest, then pause the guest and write its memory to an ELF core.

The core is written whatever the command's status is, and that status is the exit status.
"""

import argparse
from pathlib import Path

from .output import check_output
from .vm_options import add_guest_arguments, say
from .vm_run import in_guest

NAME = "dump"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_guest_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the core")


def run(args: argparse.Namespace) -> int:
    """Run, dump, and return the command's status."""
    from ..units import size
    from ..vm.session import run_command

    check_output(args.output)
    with in_guest(args) as guest:
        status = run_command(guest, args.command, args.timeout, say) if args.command else 0
        if status != 0:
            say(f"the command ended with status {status}; dumping all the same")
        guest.dump(args.output)
        say(f"wrote {args.output} ({size(args.output.stat().st_size)})")
    return status
