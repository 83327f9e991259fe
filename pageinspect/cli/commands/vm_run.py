# SPDX-License-Identifier: GPL-2.0-only
"""Boot a kernel and run a command in the guest, or a shell on this terminal.

pageinspect itself is installed in the guest. The exit status is that of COMMAND (128 and the number
of the signal that ended it), or 125 when the guest was lost or could not start. Ctrl-C interrupts
COMMAND, a second one ends the guest; in the shell, Ctrl-] ends the guest.
"""

import argparse
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError, system_error
from ...host.terminal import say, write_line
from ..vm_options import add_guest_arguments, guest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...vm.crash_dump import Disks
    from ...vm.guest import Guest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_guest_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run, and return the command's status."""
    from ...vm.session import run_command, run_shell

    with in_guest(args) as guest:
        if args.command or sys.stdin is None or not sys.stdin.isatty():
            return run_command(guest, args.command or ["/bin/sh"], args.timeout, say)
        return run_shell(guest, args.timeout, say)


@contextmanager
def in_guest(args: argparse.Namespace, disks: "Disks | None" = None) -> "Iterator[Guest]":
    """Boot the guest that the arguments describe and end it afterwards.

    Every error but a wrong command line exits with 125: smaller numbers are the command's.
    """
    from ...vm.errors import GuestLostError

    try:
        with guest_of(args, disks) as guest:
            yield guest
    except (UsageError, BrokenPipeError):
        raise
    except OSError as error:
        refused = system_error(error)
        refused.exit_code = Exit.GUEST_LOST
        raise refused from None
    except PageInspectError as error:
        if isinstance(error, GuestLostError):
            for line in error.console:
                write_line(f"| {line}")
        error.exit_code = Exit.GUEST_LOST
        raise
