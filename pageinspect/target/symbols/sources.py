# SPDX-License-Identifier: GPL-2.0-only
"""Selects the source of types and symbols: a given vmlinux, else the kernel's BTF, else VMCOREINFO.

There are no other sources: no folder is searched and no server is contacted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from drgn import Program, offsetof, sizeof

from ...errors import PageInspectError
from ...model.provenance import Symbols
from ..vmcoreinfo import Info
from . import SymbolCache, attach_btf
from .dwarf import load_dwarf


@dataclass(frozen=True, slots=True)
class SymbolOptions:
    """The user's choice of sources for types, symbols and VMCOREINFO; all optional."""

    vmlinux: Path | None = None
    """DWARF types and symbols."""
    btf: Path | None = None
    """BTF to use instead of the kernel's own."""
    kallsyms: Path | None = None
    """Symbols to use instead of the kernel's own: a copy of /proc/kallsyms, or System.map."""
    vmcoreinfo: Path | None = None
    """VMCOREINFO to use instead of the core's."""
    only: Literal["btf", "vmcoreinfo"] | None = None
    """The source to use, without a fallback."""


def attach_symbols(
    prog: Program, info: Info, options: SymbolOptions, *, live: bool
) -> tuple[Symbols, str, tuple[SymbolCache, ...]]:
    """Attach types and symbols to `prog`.

    Returns their source, the reason why only VMCOREINFO is available ("" otherwise), and the symbol
    caches. Falls back to VMCOREINFO only if the kernel's own BTF or symbols are missing. Raises
    PageInspectError if a given file does not match the kernel.
    """
    if options.vmlinux is not None:
        load_dwarf(prog, info, options.vmlinux)
        return "dwarf", "", ()
    if options.only == "vmcoreinfo":
        return "vmcoreinfo", "", ()
    try:
        caches = attach_btf(prog, info, live=live, btf=options.btf, kallsyms=options.kallsyms)
    except PageInspectError as error:
        if options.only or options.btf or options.kallsyms:
            raise
        return "vmcoreinfo", f"{error.message} ({error.hint})", ()
    if options.btf is not None:
        _check_types(prog, info, options.btf)
    return "btf", "", caches


def _check_types(prog: Program, info: Info, path: Path) -> None:
    """Raise PageInspectError if sizes or offsets of types differ from VMCOREINFO."""
    for key, value in info.items():
        kind, _, rest = key.partition("(")
        if kind not in ("SIZE", "OFFSET"):
            continue
        name, _, member = rest.rstrip(")").partition(".")
        try:
            type_ = prog.type(f"struct {name}")
            found = offsetof(type_, member) if member else sizeof(type_)
        except (LookupError, TypeError, ValueError):
            continue
        if found != int(value):
            raise PageInspectError(
                f"{path} is of another kernel: its {key} is {found}, VMCOREINFO has {value}",
                "give /sys/kernel/btf/vmlinux of the same build",
            )
