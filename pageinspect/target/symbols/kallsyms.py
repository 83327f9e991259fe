"""Symbols from a file: a copy of /proc/kallsyms, or a System.map."""

import re
from collections.abc import Mapping
from pathlib import Path

from drgn import Symbol, SymbolBinding, SymbolIndex, SymbolKind

from ...errors import PageInspectError
from ...host.files import read_whole
from ...model.arch import KASLR_STEP

_LINE = re.compile(r"^([0-9a-fA-F]{1,16}) \S (\S+)$", re.MULTILINE)
_VMCOREINFO_SYMBOL = re.compile(r"SYMBOL\((\w+)\)")
_IMAGE = 0xFFFFFFFF80000000
_LARGEST = 256 << 20
"""Bytes of a file of symbols, which has 10 to 20 MB."""
_SAME_BOOT = "give /proc/kallsyms as it was in this boot, or System.map of the very same build"


def read_kallsyms(path: Path, vmcoreinfo: Mapping[str, str]) -> SymbolIndex:
    """Return the symbols in a file, those of modules left out, at the addresses of this boot.

    Where the file is of another boot, or of none, all are moved by what KASLR moved _stext. Raises
    PageInspectError when the symbols that VMCOREINFO names are elsewhere.
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
    """Return the symbols where this boot has them."""
    known = {
        match[1]: int(value, 16)
        for key, value in vmcoreinfo.items()
        if (match := _VMCOREINFO_SYMBOL.fullmatch(key))
    }
    shift = known.get("_stext", 0) - found.get("_stext", 0)
    moved = {n: (a + shift) % (1 << 64) if a >= _IMAGE else a for n, a in found.items()}
    # Of what is not in the image VMCOREINFO has the value, not the address.
    wrong = [n for n, a in known.items() if a >= _IMAGE and moved.get(n, a) != a]
    if wrong or shift % KASLR_STEP:
        name = wrong[0] if wrong else "_stext"
        raise PageInspectError(
            f"{path} is of another kernel: {name} is not where VMCOREINFO has it", _SAME_BOOT
        )
    return moved
