# SPDX-License-Identifier: GPL-2.0-only
"""Completion for bash and zsh, from the parsers, written by shtab."""

import argparse
from pathlib import Path

import shtab
from parsers import commands

_FILES = ("FILE", "PROGRAM ARG", "TARGET", "BEFORE", "AFTER", "DATASET", "QMP_SOCKET")
"""Names of values in --help that are names of files or folders, or may be."""


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the completion script for a shell: "bash" or "zsh".

    The parser cannot parse afterwards: lists of names and kernels get their names as choices.
    """
    from pageinspect.cli.arguments import NamesOf
    from pageinspect.vm import catalogue

    for command in commands(parser):
        command.description = (command.description or "").partition("\n")[0]
        for action in command._actions:
            if action.type is Path or action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif isinstance(action.type, NamesOf):
                action.choices = action.type.choices
            elif action.metavar == "KERNEL":
                action.choices = tuple(catalogue.kernels())
    return shtab.complete(parser, shell=shell)
