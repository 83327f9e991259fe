# SPDX-License-Identifier: GPL-2.0-only
"""The parsers of the command line with all commands loaded, for what is generated from them."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command_line() -> argparse.ArgumentParser:
    """Return the parser of this source tree's command line, with the options of every command."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from pageinspect.cli.parser import build_parser

    parser = build_parser()
    for _ in commands(parser):
        pass
    return parser


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Load and yield every parser of a command that runs, in the order of --help."""
    parser.load()  # type: ignore[attr-defined]
    below = [
        command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
    ]
    for command in below:
        yield from commands(command)
    if not below:
        yield parser


def shown(actions: "list[argparse.Action]") -> "list[argparse.Action]":
    """Return the actions that --help shows, without --help itself."""
    return [
        action
        for action in actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
