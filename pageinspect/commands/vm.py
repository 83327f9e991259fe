"""QEMU guests with real kernels to try all this on.

The kernels come from Debian's archive by the recipes in vm-images/; what is built stays in the
cache folder ($PAGEINSPECT_CACHE, else pageinspect/ in the XDG cache home).
"""

import argparse
from typing import Any, cast

from . import vm_build, vm_dump, vm_list, vm_run
from .vm_options import DashesParser

NAME = "vm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    from . import Command, add_command

    subparsers = parser.add_subparsers(
        metavar="SUBCOMMAND", required=True, parser_class=DashesParser
    )
    # The type of a group of parsers is invariant, though a DashesParser is a parser.
    group: Any = subparsers
    for command in (vm_build, vm_run, vm_dump, vm_list):
        add_command(group, cast("Command", command))


def run(args: argparse.Namespace) -> int:
    """Never called: each subcommand sets its own."""
    raise AssertionError(args)
