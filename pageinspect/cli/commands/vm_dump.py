# SPDX-License-Identifier: GPL-2.0-only
"""Run a command in a guest, then write the guest's memory to a core.

By default the guest is paused, and the core is ELF. With --kdump the guest panics, and its capture
kernel writes the core with makedumpfile. The folder FILE.kernel then has files of /proc from right
before the panic: meminfo, zoneinfo, buddyinfo, vmstat, slabinfo, kpageflags, kpagecount, and
kpageflags again. If the guest hangs while it writes the kdump, it is booted once more and the
command runs again. The core is written even if the command fails; the exit status is that of the
command.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...host.terminal import say
from ..arguments import whole_number
from ..options import add_mode_argument
from ..output import check_output
from ..vm_options import add_guest_arguments
from .vm_run import in_guest

if TYPE_CHECKING:
    from ...vm.guest import Guest

_FORMS = ("elf", "zlib", "lzo", "zstd")
_LEAST_MEMORY = 512 << 20
_MOST_LEVEL = 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_guest_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, required=True, help="write the core to FILE"
    )
    add_mode_argument(parser, default="600, because a core contains all memory")
    parser.add_argument(
        "--kdump",
        nargs="?",
        const="lzo",
        choices=_FORMS,
        help="panic the guest; its capture kernel writes the core in this form (default: lzo)",
    )
    parser.add_argument(
        "--dump-level",
        type=whole_number("a dump level", 0, _MOST_LEVEL),
        metavar="N",
        help="pages to leave out of a kdump, as makedumpfile -d: from 0 (none, the default) to 31",
    )


def run(args: argparse.Namespace) -> int:
    """Run, dump, and return the command's status."""
    check_output(args.output)
    if args.kdump is None:
        if args.dump_level is not None:
            raise UsageError("--dump-level needs --kdump", "add --kdump, or omit --dump-level")
        with in_guest(args) as guest:
            status = _command(guest, args)
            guest.dump(args.output, mode=args.mode)
    else:
        status = _kdump(args)
    _wrote(args.output)
    return status


def _kdump(args: argparse.Namespace) -> int:
    from ...vm.errors import GuestSilentError

    if args.memory < _LEAST_MEMORY:
        raise UsageError("a guest needs 512M of memory or more for a kdump", "--memory 512M")
    try:
        return _crash(args)
    except GuestSilentError as error:
        say(f"{error.message}; trying once more")
    return _crash(args)


def _crash(args: argparse.Namespace) -> int:
    from ...vm import crash_dump
    from ...vm.core_file import folder_of_kdump

    with (
        crash_dump.disks(folder_of_kdump(args.output), args.memory) as disks,
        in_guest(args, disks) as guest,
    ):
        status = _command(guest, args)
        level = args.dump_level or 0
        folder = crash_dump.crash(
            guest,
            disks,
            args.output,
            form=args.kdump,
            level=level,
            mode=args.mode,
            progress=say,
        )
    say(f"the files of /proc from before the panic are in {folder}")
    return status


def _command(guest: "Guest", args: argparse.Namespace) -> int:
    from ...vm.session import run_command

    status = run_command(guest, args.command, args.timeout, say) if args.command else 0
    if status != 0:
        say(f"the command ended with status {status}; dumping anyway")
    return status


def _wrote(output: Path) -> None:
    from ...units import size

    say(f"wrote {output} ({size(output.stat().st_size)})")
