# SPDX-License-Identifier: GPL-2.0-only
"""Opens a kernel as an Inspector: a core, this kernel, a QEMU guest, a drgn Program."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

from drgn import Program

from ..errors import UsageError
from ..target.open import Target, core_path, open_target, target_from_program
from ..target.qemu import open as qemu
from ..target.symbols.sources import SymbolOptions
from .arguments import FilePath, file_path, one_of
from .inspector import Inspector, OpenResources, inspect

Only = Literal["btf", "vmcoreinfo"]


def open_core(
    path: FilePath,
    *,
    symbols: FilePath | None = None,
    btf: FilePath | None = None,
    kallsyms: FilePath | None = None,
    vmcoreinfo: FilePath | None = None,
    symbols_from: Only | None = None,
) -> Inspector:
    """Open a kernel core; raises PageInspectError.

    Types and symbols come from the core itself, or from files: `symbols` is a vmlinux with debug
    information. `symbols_from` allows only one source, and there is no fallback.
    """
    core = file_path(path)
    options = _symbol_options(symbols, btf, kallsyms, vmcoreinfo, symbols_from)
    return _opened(nullcontext(open_target(core, options)), core)


def open_live(
    *,
    symbols: FilePath | None = None,
    btf: FilePath | None = None,
    kallsyms: FilePath | None = None,
    symbols_from: Only | None = None,
) -> Inspector:
    """Open the running kernel; raises PageInspectError, for example without root."""
    options = _symbol_options(symbols, btf, kallsyms, None, symbols_from)
    return _opened(nullcontext(open_target(None, options)), None)


def open_guest(
    socket: FilePath,
    *,
    pause: bool = False,
    symbols: FilePath | None = None,
    btf: FilePath | None = None,
    kallsyms: FilePath | None = None,
    vmcoreinfo: FilePath | None = None,
    symbols_from: Only | None = None,
) -> Inspector:
    """Open a QEMU guest from outside, through the QMP socket of its monitor.

    With `pause`, a running guest is paused until the Inspector is closed: use `with`. Raises
    PageInspectError.
    """
    options = _symbol_options(symbols, btf, kallsyms, vmcoreinfo, symbols_from)
    path = file_path(socket)
    return _opened(qemu.open_guest(path, options, pause=pause), path)


def from_program(prog: Program) -> Inspector:
    """Return an Inspector of the kernel that a drgn Program has open; raises PageInspectError.

    A Program without debug information gets types from the kernel's own BTF.
    """
    if not isinstance(prog, Program):
        raise UsageError(
            f"an object of type {type(prog).__name__} is not a drgn Program",
            "give the prog of drgn's prompt, or a drgn.Program",
        )
    target = target_from_program(prog)
    source = core_path(target)
    known = source is not None or target.provenance.source == "live"
    return _opened(nullcontext(target), source, keep=known)


def _symbol_options(
    symbols: FilePath | None,
    btf: FilePath | None,
    kallsyms: FilePath | None,
    vmcoreinfo: FilePath | None,
    only: Only | None,
) -> SymbolOptions:
    files = (symbols, btf, kallsyms, vmcoreinfo)
    vmlinux, types, table, info = (None if file is None else file_path(file) for file in files)
    if only is not None:
        one_of(only, "source of symbols", get_args(Only))
    return SymbolOptions(vmlinux, types, table, info, only)


def _opened(
    target: AbstractContextManager[Target], source: Path | None, *, keep: bool = True
) -> Inspector:
    """Return the Inspector of a target; closing it exits the target's context.

    With `keep`, symbols that were looked up are written to the symbol cache: once after opening,
    and again when the Inspector is closed without an error.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(target)
        inspector = inspect(opened)
        if keep:
            opened.save_symbol_caches(source)

            def keep_more(
                error: type[BaseException] | None,
                _value: BaseException | None,
                _traceback: TracebackType | None,
            ) -> None:
                if error is None:
                    opened.save_symbol_caches(source)

            stack.push(keep_more)
        return replace(inspector, session=OpenResources(stack.pop_all()))
    raise AssertionError
