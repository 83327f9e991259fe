# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one module per subcommand, in an explicit list.

A command module has a docstring (first line: the command's summary below; all of it: its
description), `add_arguments(parser)` and `run(args) -> int`. It is imported only for its own
command, and the import must stay cheap: drgn, bcc and numpy are imported inside `run`.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from ..version import __version__

if TYPE_CHECKING:
    import builtins
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

COMMANDS = {
    "summary": "How many pages, folios and bytes of each type, use, zone, node or order",
    "list": "Runs of pages of one use, type and order, by pfn range",
    "owners": "Who owns the pages: files, slab caches, processes, callers of vmalloc and others",
    "diff": "What changed between two moments: pages by owner, use, process, cache, cgroup or zone",
    "contiguity": "How contiguous free memory is, and which pages keep blocks from being free",
    "map": "Draw a map of memory: by use, type, owner or order, as image or in the terminal",
    "page": "Everything about single pages: what dump_page() prints, and more",
    "processes": "What each process uses: RSS, PSS, USS and swap, from its page tables",
    "check": "Find contradictions in memory, and compare totals with the kernel's counters",
    "audit": "Which pages a core lacks: left out by its dump level, or lost",
    "snapshot": "Keep what memory has at one moment as Parquet files, to compare and to query",
    "report": "Write all about memory as one HTML file, to look at and to pass on",
    "export": "Write /proc/kpageflags and /proc/kpagecount, computed from a core or this kernel",
    "types": "The page types this kernel knows, and whether its buddy allocator resets them",
    "top": "A screen that shows memory as it changes: uses, owners, processes, files and caches",
    "trace": "Count pages that are freed with a page type still set, as they are freed",
    "fleet": "Questions on the snapshots of many hosts: what grows, which host differs, any SQL",
    "doctor": "Check what this machine provides, and how to fix what is missing",
    "vm": "QEMU guests with real kernels, to try pageinspect on",
}
"""Each command, the module of that name, and its summary."""


class _Paragraphs(argparse.HelpFormatter):
    """Keeps paragraphs of a description separate, and does not break names of options."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (self._split_lines(paragraph, width) for paragraph in text.split("\n\n"))
        return "\n\n".join("\n".join(indent + line for line in lines) for lines in paragraphs)

    def _split_lines(self, text: str, width: int) -> "builtins.list[str]":
        from ..units import wrapped

        return wrapped(" ".join(text.split()), width)


class _WithCommands(argparse.HelpFormatter):
    """Has the help of a command beside its name; argparse forgets how far names are indented."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = max(map(len, COMMANDS)) + 2 * self._indent_increment


class CommandParser(argparse.ArgumentParser):
    """A parser that loads its options when it is first used; its errors are UsageErrors."""

    module = ""
    """Name of the command's module; empty once it is loaded."""
    has_kernel = False
    """Whether the kernel is already open, as at drgn's prompt."""
    commands: "Mapping[str, str] | None" = None
    """The commands that it has, and their summaries; None for a command without."""

    def load(self) -> None:
        """Import the command's module, and declare what it takes."""
        if not self.module:
            return
        from importlib import import_module

        command = import_module(f".commands.{self.module}", __package__)
        self.module = ""
        self.description = command.__doc__
        command.add_arguments(self)
        if not self.commands:
            self.set_defaults(run=command.run, command_name=self.prog.partition(" ")[2])

    def add_commands(
        self,
        commands: "Mapping[str, str]",
        metavar: str,
        parser_class: "type[CommandParser]",
        prefix: str = "",
    ) -> None:
        """Add commands by name and summary; `prefix` and the name are the name of a module."""
        self.commands = commands
        added = self.add_subparsers(metavar=metavar, parser_class=parser_class)
        for name, summary in commands.items():
            parser = added.add_parser(
                name,
                help=summary,
                formatter_class=_Paragraphs,
                allow_abbrev=False,
            )
            parser.module = prefix + name

    def parse_known_args(  # type: ignore[override]
        self, args: "Sequence[str] | None" = None, namespace: "Any" = None
    ) -> "tuple[argparse.Namespace, list[str]]":
        """Load the command and parse its arguments; an unknown one is a UsageError."""
        self.load()
        words = sys.argv[1:] if args is None else [*args]
        if self.commands and not words:
            self.print_help(sys.stderr)
            self.exit(2)
        if not {*words}.isdisjoint(self.commands or ()):
            self._check_order(words)
        parsed, unknown = super().parse_known_args(words, namespace)
        self._take_optional(parsed, unknown)
        if unknown:
            self._refuse(unknown[0])
        if not hasattr(parsed, "run"):
            self.error("no command is given")
        return parsed, unknown

    def _take_optional(self, parsed: argparse.Namespace, unknown: "builtins.list[str]") -> None:
        """Take an optional argument that follows options, for which argparse does not look."""
        if not unknown or unknown[0].startswith("-"):
            return
        for action in self._actions:
            if action.nargs == argparse.OPTIONAL and not action.option_strings:
                if getattr(parsed, action.dest) is action.default:
                    setattr(parsed, action.dest, self._get_values(action, [unknown.pop(0)]))
                return

    def _check_order(self, words: "Sequence[str]") -> None:
        """Raise UsageError for an option of a command that is given before the command."""
        first = words[0] if words else ""
        if first.startswith("-") and first.partition("=")[0] not in self._option_string_actions:
            from ..errors import UsageError

            raise UsageError(
                f"{first} comes before the command",
                f"options follow the command: {self.prog} COMMAND {first} …",
            )

    def _refuse(self, word: str) -> "NoReturn":
        from ..errors import UsageError, did_you_mean

        if not word.startswith("-"):
            raise UsageError(f"unexpected argument {word!r}", self._advice())
        option = word.partition("=")[0]
        if option in {"-c", "--core"} and any(each.dest == "before" for each in self._actions):
            raise UsageError(
                f"there is no option {option}", f"give both as arguments: {self.prog} X Y"
            )
        options = [name for action in self._actions for name in action.option_strings]
        raise UsageError(
            f"there is no option {option}", did_you_mean(option, options, self._advice())
        )

    def _check_value(self, action: argparse.Action, value: "Any") -> None:
        """Raise UsageError for a value that is not among the choices of an option."""
        if action.choices is None or value in action.choices:
            return
        from ..errors import UsageError, did_you_mean

        choices = [*action.choices]
        if action.option_strings:
            names = "/".join(action.option_strings)
            message, advice = f"{names}: there is no {value!r}", f"choose from {', '.join(choices)}"
        else:
            message = f"there is no command {f'{self.prog} {value}'.partition(' ')[2]}"
            advice = self._advice()
        raise UsageError(message, did_you_mean(value, choices, advice))

    def _advice(self) -> str:
        what = "the commands" if self.commands else "what it takes"
        return f"{self.prog} --help shows {what}"

    def error(self, message: str) -> "NoReturn":
        """Raise a UsageError instead of exiting, as for all other errors."""
        from ..errors import UsageError

        raise UsageError(message.removeprefix("argument "), self._advice())


def build_parser(
    parser_class: type[CommandParser] = CommandParser,
    prog: str = "pageinspect",
    without: "Sequence[str]" = (),
) -> CommandParser:
    """Return the parser of the command line, of all commands or `without` some."""
    parser = parser_class(
        prog=prog,
        description="Show what every page of a Linux kernel is, and count pages freed still typed.",
        epilog=f"For example: {prog} summary -c vmcore. More: {prog} COMMAND --help, and man "
        "pageinspect.",
        formatter_class=_WithCommands,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pageinspect {__version__}")
    commands = {name: summary for name, summary in COMMANDS.items() if name not in without}
    parser.add_commands(commands, "COMMAND", parser_class)
    return parser
