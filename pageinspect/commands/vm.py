"""QEMU guests with real kernels to try all this on.

The kernels come from Debian's archive by the recipes in vm-images/; what is built stays in the
cache folder ($PAGEINSPECT_CACHE, else pageinspect/ in the XDG cache home).
"""

import argparse

from . import add_commands
from .vm_options import DashesParser

COMMANDS = {
    "build": "Build kernels and the guest root from Debian's archive",
    "run": "Boot a kernel and run a command in the guest, or a shell on this terminal",
    "dump": "Run a command in a guest, then write the guest's memory to a core",
    "list": "List the kernels of the catalogue and those that are built",
}
"""Each subcommand, the module vm_ and that name, and its summary."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    subparsers = parser.add_subparsers(
        metavar="SUBCOMMAND", required=True, parser_class=DashesParser
    )
    add_commands(subparsers, COMMANDS, prefix="vm_")


def run(args: argparse.Namespace) -> int:
    """Never called: each subcommand sets its own."""
    raise AssertionError(args)
