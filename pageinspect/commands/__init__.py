"""The command line: one module a subcommand, in an explicit list.

A command module has a docstring (first line: its help; the rest: its description), NAME,
`add_arguments(parser)` and `run(args) -> int`. Importing one must stay cheap: drgn, bcc and numpy
are imported inside `run`.
"""

import argparse
from typing import Protocol, cast

from .. import __version__
from . import check, doctor, export, page, summary, trace, types, vm
from . import list as list_


class Command(Protocol):
    """What a command module provides."""

    NAME: str
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options of the command."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit status."""


COMMANDS = cast(
    "tuple[Command, ...]", (summary, list_, page, check, export, types, trace, doctor, vm)
)


def add_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]", command: Command
) -> None:
    """Add one command module to a group of subcommands, its docstring as its help."""
    help_line, _, description = (command.__doc__ or "").partition("\n")
    help_line = help_line.rstrip(".")
    parser = subparsers.add_parser(
        command.NAME,
        help=help_line,
        description=f"{help_line}.\n{description}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="pageinspect",
        description="What every page of a Linux kernel is, and which pages were freed still typed.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pageinspect {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        add_command(subparsers, command)
    return parser
