# SPDX-License-Identifier: GPL-2.0-only
"""Names of kernel addresses: symbols of the image by drgn, those of modules by /proc/kallsyms."""

import bisect
import re
from pathlib import Path

from drgn import Program

from ..units import printable

_KALLSYMS = Path("/proc/kallsyms")
_MODULES = Path("/proc/modules")
_OF_A_MODULE = re.compile(r"^([0-9a-f]+) [tTwW] (\S+)\t\[(\S+)\]$", re.MULTILINE)
_MODULE = re.compile(r"^(\S+) (\d+) .* 0x([0-9a-f]+)\b", re.MULTILINE)
"""Name, size and address."""

_LONGEST_FUNCTION = 1 << 16
"""Assumed size of functions outside of all modules: BPF programs, and init code of modules."""


class _Modules:
    """Functions of modules, sorted by address, from /proc/kallsyms.

    Functions of unloaded modules are kept: the command may unload the module that freed.
    """

    def __init__(self) -> None:
        self._loaded: list[tuple[str, str, str]] | None = None
        self._functions: dict[int, tuple[str, int]] = {}
        self._addresses: list[int] = []
        self._look()

    def name(self, address: int) -> str | None:
        """Return the function at the address; None outside of all known modules."""
        self._look()
        i = bisect.bisect_right(self._addresses, address) - 1
        if i < 0:
            return None
        name, end = self._functions[self._addresses[i]]
        return name if address < end else None

    def _look(self) -> None:
        """Read the symbols, if modules came or went since the last call."""
        try:
            loaded = _MODULE.findall(_MODULES.read_text("ascii", "replace"))
        except FileNotFoundError:
            # Without CONFIG_MODULES only BPF programs add functions.
            loaded = []
        if loaded == self._loaded:
            return
        self._loaded = loaded
        ranges = {name: (int(base, 16), int(base, 16) + int(size)) for name, size, base in loaded}
        symbols = _KALLSYMS.read_text("ascii", "replace")
        for address, name, module in _OF_A_MODULE.findall(symbols):
            start = int(address, 16)
            base, end = ranges.get(module, (0, 0))
            if not base <= start < end:
                end = start + _LONGEST_FUNCTION
            self._functions[start] = (f"{name} [{module}]", end)
        self._addresses = sorted(self._functions)


class Symbolizer:
    """Function names of kernel addresses, those of modules and BPF programs included."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        self._modules = _Modules()
        self._text = (prog.symbol("_stext").address, prog.symbol("_etext").address)
        self._names: dict[int, str] = {}

    def name(self, address: int) -> str:
        """Return the function that contains the call which returns to this address."""
        if address not in self._names:
            self._names[address] = printable(self._look_up(address - 1))
        return self._names[address]

    def _look_up(self, address: int) -> str:
        if self._text[0] <= address < self._text[1]:
            try:
                return self._prog.symbol(address).name
            except LookupError:
                return f"{address:#x}"
        return self._modules.name(address) or f"{address:#x}"
