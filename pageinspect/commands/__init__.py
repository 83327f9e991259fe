"""The command line: one module a subcommand, in an explicit list.

A command module has a docstring (first line: the command's summary below; all of it: its
description), `add_arguments(parser)` and `run(args) -> int`. It is imported when its command is
asked for; even then that must stay cheap: drgn, bcc and numpy are imported inside `run`.
"""

import argparse

from .. import __version__

TYPE_CHECKING = False  # importing typing would take a tenth of the time of --help
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar

    AnyParser = TypeVar("AnyParser", bound="CommandParser")

COMMANDS = {
    "summary": "How many pages, folios and bytes of each type, use, zone, node or order",
    "list": "Runs of pages of one use, type and order, by pfn range",
    "page": "Everything about single pages, as dump_page() and more",
    "check": "Where memory contradicts itself, and whether the books balance",
    "export": "Write what /proc/kpageflags and /proc/kpagecount would say, "
    "from a core or this kernel",
    "types": "The page types this kernel knows, and whether its buddy allocator resets them",
    "trace": "Count the pages that are freed with a page type still set, while they are freed",
    "doctor": "What this machine offers of what pageinspect needs, and what mends what is missing",
    "vm": "QEMU guests with real kernels to try all this on",
}
"""Each command, the module of that name, and its summary."""


class CommandParser(argparse.ArgumentParser):
    """The parser of a command, which knows its options when it has work to do."""

    module = ""
    """The command's module in this package; none once it is loaded."""

    def load(self) -> None:
        """Import the command's module, and declare what it takes."""
        if not self.module:
            return
        from importlib import import_module

        command = import_module(f".{self.module}", __package__)
        self.module = ""
        self.description = command.__doc__
        command.add_arguments(self)
        self.set_defaults(run=command.run)

    def parse_known_args(  # type: ignore[override]
        self, args: "Sequence[str] | None" = None, namespace: "Any" = None
    ) -> "tuple[argparse.Namespace, list[str]]":
        """Load the command and parse its words."""
        self.load()
        return super().parse_known_args(args, namespace)


def add_commands(
    subparsers: "argparse._SubParsersAction[AnyParser]",
    commands: "Mapping[str, str]",
    prefix: str = "",
) -> None:
    """Add commands by their names and summaries; `prefix` and the name are the name of a module."""
    for name, summary in commands.items():
        parser = subparsers.add_parser(
            name,
            help=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.module = prefix + name


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="pageinspect",
        description="What every page of a Linux kernel is, and which pages were freed still typed.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pageinspect {__version__}")
    add_commands(
        parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser),
        COMMANDS,
    )
    return parser
