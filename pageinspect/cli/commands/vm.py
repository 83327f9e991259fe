# SPDX-License-Identifier: GPL-2.0-only
"""QEMU guests with real kernels, to try pageinspect on.

The kernels come from Debian's archive by the recipes in vm-images/. What was built is kept in the
cache folder ($PAGEINSPECT_CACHE, else pageinspect/ in the XDG cache home).
"""

from ..parser import CommandParser
from ..vm_options import DashesParser

COMMANDS = {
    "build": "Build kernels and the guest root from Debian's archive",
    "run": "Boot a kernel and run a command in the guest, or a shell on this terminal",
    "dump": "Run a command in a guest, then write the guest's memory to a core",
    "list": "List the kernels of the catalogue and those that are built",
}
"""Each subcommand, the module vm_ and that name, and its summary."""


def add_arguments(parser: CommandParser) -> None:
    """Declare the subcommands."""
    parser.add_commands(COMMANDS, "SUBCOMMAND", DashesParser, prefix="vm_")
