# SPDX-License-Identifier: GPL-2.0-only
"""Reads the address ranges of modules, and names code addresses."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program, Type, offsetof

from ..model.kernel_memory import Module, ModuleRange, Modules
from .structures import ListWalk, add_offset, read_string, require_structure

_MAX_MODULES = 1 << 14
_LONGEST_SYMBOL = 512
"""KSYM_NAME_LEN."""
_MAX_SYMBOLS = 1 << 18
"""Symbols of one module."""
_MAX_TRIES = 16
"""Symbols that are tried for a name."""
_UNFORMED = "MODULE_STATE_UNFORMED"
_SYMBOL = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("section", "<u2"),
        ("value", "<u8"),
        ("size", "<u8"),
    ]
)
"""Elf64_Sym."""
_UNDEFINED = 0
"""SHN_UNDEF."""


def read_modules(prog: Program) -> Modules:
    """Read the loaded modules; raises MissingStructureError."""
    with require_structure("list of modules"):
        type_, head = prog.type("struct module"), prog["modules"].address_
        parts = _parts(type_)
        unformed = prog.constant(_UNFORMED).value_()
        link = int(offsetof(type_, "list"))
    walk = ListWalk(prog, _MAX_MODULES)
    found, unreadable = [], 0
    for node in walk.nodes(head):
        module = Object(prog, type_, address=add_offset(node, -link))
        try:
            if module.state.value_() == unformed:
                continue
            name = module.name.string_().decode("utf-8", "replace")
            ranges = tuple(
                ModuleRange(part, start, start + size)
                for part, start, size in parts(module)
                if start and size
            )
        except FaultError:
            unreadable += 1
            continue
        found.append(Module(name, add_offset(node, -link), ranges))
    return Modules(tuple(found), walk.whole and not unreadable, unreadable)


_Parts = Callable[[Object], list[tuple[str, int, int]]]


def _parts(type_: Type) -> _Parts:
    """Return a function that lists (name, address, size) of the parts of a struct module.

    Since Linux kernel commit ac3b43283923 ("module: replace module_layout with module_memory")
    (in v6.4), they are in an array. Before, they are core_layout and init_layout, and data_layout
    on some architectures other than x86.
    """
    if type_.has_member("mem"):
        kinds = type_.prog.type("enum mod_mem_type").enumerators or ()
        names = {e.value: e.name.removeprefix("MOD_").lower() for e in kinds}

        def of_array(module: Object) -> list[tuple[str, int, int]]:
            memory = enumerate(module.mem.read_())
            return [(names.get(i, ""), m.base.value_(), m.size.value_()) for i, m in memory]

        return of_array
    layouts = [n for n in ("core", "init", "data") if type_.has_member(f"{n}_layout")]
    if not layouts:
        raise LookupError("struct module has neither mem nor core_layout")

    def of_layouts(module: Object) -> list[tuple[str, int, int]]:
        found = [(name, getattr(module, f"{name}_layout")) for name in layouts]
        return [(name, part.base.value_(), part.size.value_()) for name, part in found]

    return of_layouts


class CodeNames:
    """Names code addresses: "function", or "function [module]".

    An address without a symbol is shown as a hexadecimal number. Names are untrusted text.
    """

    def __init__(self, prog: Program, modules: Modules) -> None:
        self._prog = prog
        self._modules = modules
        self._names: dict[int, str] = {}
        self._tables: dict[int, _Symbols] = {}

    def name(self, address: int) -> str:
        """Return the name of the function that contains this address."""
        name = self._names.get(address)
        if name is None:
            name = self._names[address] = self._look_up(address)
        return name

    def _look_up(self, address: int) -> str:
        module = self._modules.at(address)
        part = None if module is None else module.range_at(address)
        if module is None or part is None:
            try:
                return self._prog.symbol(address).name[:_LONGEST_SYMBOL]
            except LookupError:
                return hex(address)
        if module.address not in self._tables:
            self._tables[module.address] = _read_symbols(self._prog, module)
        symbol = self._tables[module.address].name(self._prog, part.start, address)
        return f"{symbol or hex(address)} [{module.name}]"


@dataclass(frozen=True, slots=True)
class _Symbols:
    """The symbols of a module, sorted by address, and by table order at the same address."""

    values: npt.NDArray[np.uint64]
    names: npt.NDArray[np.uint32]
    """The offset of each name from `strings`."""
    strings: int

    def name(self, prog: Program, start: int, address: int) -> str:
        """Return the nearest symbol at or below an address, but not below `start`; "" if none.

        As in the kernel's find_kallsyms_symbol(), unnamed symbols and assembler labels are skipped,
        and of symbols with the same address the first is used.
        """
        end = int(np.searchsorted(self.values, np.uint64(address), "right"))
        for _ in range(_MAX_TRIES):
            if not end or self.values[end - 1] < start:
                break
            first = int(np.searchsorted(self.values, self.values[end - 1], "left"))
            for offset in self.names[first:end][:_MAX_TRIES].tolist():
                try:
                    name = read_string(prog, add_offset(self.strings, offset), _LONGEST_SYMBOL)
                except FaultError:
                    continue
                if name and not name.startswith((".L", "L0")):
                    return name
            end = first
        return ""


def _read_symbols(prog: Program, module: Module) -> _Symbols:
    """Return the symbols of a module; none without CONFIG_KALLSYMS, or if they are unreadable.

    Since Linux kernel commit 8244062ef1e5 ("modules: fix longstanding /proc/kallsyms vs module
    insertion race.") (in v4.5), the member kallsyms has the tables in use.
    """
    table, strings = np.empty(0, _SYMBOL), 0
    with contextlib.suppress(FaultError, AttributeError):
        found = Object(prog, "struct module", address=module.address).kallsyms
        n, strings = found.num_symtab.value_(), found.strtab.value_()
        if n <= _MAX_SYMBOLS:
            data = prog.read(found.symtab.value_(), n * _SYMBOL.itemsize)
            table = np.frombuffer(data, _SYMBOL)
    table = table[table["section"] != _UNDEFINED]
    table = table[np.argsort(table["value"], kind="stable")]
    return _Symbols(table["value"], table["name"], strings)
