# SPDX-License-Identifier: GPL-2.0-only
"""Reads symbols from a file: a copy of /proc/kallsyms, or a System.map."""

import re
from collections.abc import Mapping
from pathlib import Path

from drgn import Symbol, SymbolBinding, SymbolIndex, SymbolKind

from ...errors import PageInspectError
from ...host.files import read_whole
from ...model.arch import IMAGE_START, KASLR_STEP

_LINE = re.compile(r"^([0-9a-fA-F]{1,16}) \S (\S+)$", re.MULTILINE)
_VMCOREINFO_SYMBOL = re.compile(r"SYMBOL\((\w+)\)")
_LARGEST = 256 << 20
"""Maximum file size in bytes; real files have 10 to 20 MB."""
_SAME_BOOT = "give a copy of /proc/kallsyms from the same boot, or System.map of the same build"


def read_kallsyms(path: Path, vmcoreinfo: Mapping[str, str]) -> SymbolIndex:
    """Return the symbols in a file, without those of modules, at the addresses of this boot.

    If the file is from another boot, or a System.map, all symbols are moved by the difference of
    _stext to VMCOREINFO. Raises PageInspectError if other symbols in VMCOREINFO then do not match.
    """
    try:
        text = read_whole(path, _LARGEST).decode("ascii", "replace")
    except OSError as error:
        raise PageInspectError(f"cannot read {path}: {error.strerror}", _SAME_BOOT) from None
    found = {name: int(address, 16) for address, name in _LINE.findall(text)}
    if not found:
        raise PageInspectError(f"{path} has no symbols", _SAME_BOOT)
    if not any(found.values()):
        raise PageInspectError(
            f"{path} hides the addresses of its symbols", "copy /proc/kallsyms as root"
        )
    moved = _move(path, found, vmcoreinfo)
    return SymbolIndex(
        Symbol(name, address, 1, SymbolBinding.UNKNOWN, SymbolKind.UNKNOWN)
        for name, address in moved.items()
    )


def _move(path: Path, found: dict[str, int], vmcoreinfo: Mapping[str, str]) -> dict[str, int]:
    """Return the symbols, moved to the addresses of this boot."""
    known = {
        match[1]: int(value, 16)
        for key, value in vmcoreinfo.items()
        if (match := _VMCOREINFO_SYMBOL.fullmatch(key))
    }
    shift = known.get("_stext", 0) - found.get("_stext", 0)
    moved = {n: (a + shift) % (1 << 64) if a >= IMAGE_START else a for n, a in found.items()}
    # For pointers to memory outside of the image, VMCOREINFO has the value of the variable instead
    # of its address.
    wrong = [n for n, a in known.items() if a >= IMAGE_START and moved.get(n, a) != a]
    if wrong or shift % KASLR_STEP:
        name = wrong[0] if wrong else "_stext"
        raise PageInspectError(
            f"{path} is of another kernel: {name} is not where VMCOREINFO has it", _SAME_BOOT
        )
    return moved
