# SPDX-License-Identifier: GPL-2.0-only
"""Plugin of drgn: types and symbols of a kernel without debug information, and %pageinspect.

drgn loads it by the entry point `pageinspect` of the group drgn.plugins, in every process that
makes a drgn Program; PAGEINSPECT_DRGN_PLUGIN=0 disables it. It serves only the Program of drgn's
command line, and only while drgn has no debug information of the kernel. It searches for BTF and
kallsyms at the first lookup of a name that drgn does not know.
"""

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from drgn import (
    FindObjectFlags,
    NoDefaultProgramError,
    Object,
    Program,
    ProgramFlags,
    Symbol,
    Type,
    TypeKind,
    get_default_prog,
)
from drgn.commands import CommandError, custom_command, parse_shell_command

from ..target.debug_info import has_debug_info
from .parser import CommandParser, build_parser

if TYPE_CHECKING:
    from ..target.symbols.finders import Finders

_NAME = "pageinspect plugin"
EXCLUDED_COMMANDS = ("diff", "snapshot", "report", "top", "trace", "fleet", "doctor", "vm")
"""Commands that are not about the kernel that drgn has open, or not about it alone."""

Found = TypeVar("Found")


def _is_on(prog: Program) -> bool:
    return (
        os.environ.get("PAGEINSPECT_DRGN_PLUGIN") != "0"
        and ProgramFlags.IS_LINUX_KERNEL in prog.flags
    )


def drgn_prog_set(prog: Program) -> None:
    """Register finders for names that drgn does not know; drgn calls this for a new kernel."""
    if not _is_on(prog) or has_debug_info(prog):
        return
    lazy = _LazyFinders()
    last = -1
    prog.register_symbol_finder(_NAME, lazy.symbol, enable_index=last)
    prog.register_type_finder(_NAME, lazy.type, enable_index=last)
    prog.register_object_finder(_NAME, lazy.object, enable_index=last)


class _LazyFinders:
    """Finders that load BTF and kallsyms when they are first used. They do not raise."""

    def __init__(self) -> None:
        self._finders: Finders | None = None
        self._searched = False

    def type(
        self, prog: Program, kinds: set[TypeKind], name: str, filename: str | None
    ) -> Type | None:
        """Return a type that drgn does not know."""
        return self._find(prog, lambda finders: finders.type(prog, kinds, name, filename), None)

    def object(
        self, prog: Program, name: str, flags: FindObjectFlags, filename: str | None
    ) -> Object | None:
        """Return a constant or a variable that drgn does not know."""
        return self._find(prog, lambda finders: finders.object(prog, name, flags, filename), None)

    def symbol(
        self,
        prog: Program,
        name: str | None,
        address: int | None,
        one: bool,  # noqa: FBT001 - as drgn calls it
    ) -> Sequence[Symbol]:
        """Return symbols that drgn does not know."""
        return self._find(prog, lambda finders: finders.symbols(prog, name, address, one), ())

    def _find(self, prog: Program, ask: "Callable[[Finders], Found]", otherwise: Found) -> Found:
        try:
            if not self._searched:
                self._search(prog)
            if self._finders is None or has_debug_info(prog):
                return otherwise
            return ask(self._finders)
        except Exception as error:  # noqa: BLE001 - a damaged core can raise anything
            self._say(error)
            return otherwise

    def _search(self, prog: Program) -> None:
        """Find BTF and kallsyms, once drgn has started and if it has nothing itself."""
        # drgn itself asks for types of modules while it loads debug information.
        if not _is_default(prog) or has_debug_info(prog):
            return
        from ..target import vmcoreinfo
        from ..target.platform import ARCHITECTURE
        from ..target.symbols import finders

        # Lookups during this one return nothing.
        self._searched = True
        if finders.CONFIG in prog.config or prog.platform is None:
            return
        if prog.platform.arch == ARCHITECTURE:
            live = ProgramFlags.IS_LIVE in prog.flags and ProgramFlags.IS_LOCAL in prog.flags
            self._finders, _ = finders.find_finders(prog, vmcoreinfo.of_program(prog), live=live)

    def _say(self, error: Exception) -> None:
        from ..errors import PageInspectError
        from ..units import printable

        hint = f"; {error.hint}" if isinstance(error, PageInspectError) else ""
        logging.getLogger("drgn").warning("pageinspect: %s", printable(f"{error}{hint}"))


def _is_default(prog: Program) -> bool:
    try:
        return get_default_prog() is prog
    except NoDefaultProgramError:
        return False


class _PromptParser(CommandParser):
    """A parser without target options: drgn has opened the kernel."""

    has_kernel = True


@custom_command(
    name="pageinspect",
    description="what every physical page is",
    usage="**pageinspect** *COMMAND* [*OPTION* ...]",
    long_description="Commands of pageinspect on this kernel: summary, list, page, check, export "
    "and types. %pageinspect COMMAND --help shows what each takes.",
    parse=parse_shell_command,
    enabled=_is_on,
)
def _cmd_pageinspect(prog: Program, _name: str, words: Sequence[str], **_: object) -> None:
    from ..errors import PageInspectError
    from ..units import printable

    try:
        args = build_parser(_PromptParser, "%pageinspect", EXCLUDED_COMMANDS).parse_args([*words])
        args.program = prog
        _run(args)
    except SystemExit:
        # --help has printed its text.
        return
    except PageInspectError as error:
        text = f"{printable(error.message)}\n  hint: {printable(error.hint)}"
        raise CommandError(text) from None


def _run(args: argparse.Namespace) -> None:
    # With one job the core is not mapped: if it were truncated, SIGBUS would end drgn's process.
    if getattr(args, "jobs", None) is None:
        args.jobs = 1
    with ExitStack() as args.ends:
        args.run(args)
