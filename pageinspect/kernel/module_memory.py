"""Reads where the parts of each module are, and names addresses in code."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from drgn import FaultError, Object, Program, Type, offsetof

from ..model.kernel_memory import Module, ModuleRange, Modules
from .structures import ListWalk, needed, text_at

_MOST_MODULES = 1 << 14
_LONGEST_SYMBOL = 512
"""KSYM_NAME_LEN."""
_MOST_SYMBOLS = 1 << 18
"""Of one module."""
_MOST_TRIES = 16
"""Symbols without a name that are passed over."""
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


def read_modules(prog: Program) -> Modules:
    """Read the modules that are loaded; raises MissingStructureError."""
    with needed("list of modules"):
        type_, head = prog.type("struct module"), prog["modules"].address_
        parts = _parts(type_)
        unformed = prog.constant(_UNFORMED).value_()
        link = int(offsetof(type_, "list"))
    walk = ListWalk(prog, _MOST_MODULES)
    found, unreadable = [], 0
    for node in walk.nodes(head):
        module = Object(prog, type_, address=node - link)
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
        found.append(Module(name, node - link, ranges))
    return Modules(tuple(found), walk.whole and not unreadable, unreadable)


_Parts = Callable[[Object], list[tuple[str, int, int]]]


def _parts(type_: Type) -> _Parts:
    """Return what lists the parts of a struct module: name, address and size.

    Since Linux kernel commit ac3b43283923 ("module: replace module_layout with module_memory")
    (in v6.4) they are in an array. Before, there are core_layout and init_layout, and, where data
    is apart (not on x86), data_layout.
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


@dataclass(slots=True)
class CodeNames:
    """Names addresses in code, those of modules too: "function", or "function [module]".

    An address that nothing names is itself, as a hexadecimal number. Names are untrusted text.
    """

    prog: Program
    modules: Modules
    _names: dict[int, str] = field(default_factory=dict)

    def name(self, address: int) -> str:
        """Return the name of the function that has this address."""
        name = self._names.get(address)
        if name is None:
            name = self._names[address] = self._look_up(address)
        return name

    def _look_up(self, address: int) -> str:
        module = self.modules.at(address)
        if module is None:
            try:
                return self.prog.symbol(address).name[:_LONGEST_SYMBOL]
            except LookupError:
                return hex(address)
        try:
            symbol = _symbol_in(self.prog, module, address)
        except (FaultError, LookupError, AttributeError):
            # CONFIG_KALLSYMS may be off.
            symbol = ""
        return f"{symbol or hex(address)} [{module.name}]"


def _symbol_in(prog: Program, module: Module, address: int) -> str:
    """Return the symbol of a module that is next below an address, "" for none.

    Since Linux kernel commit 8244062ef1e5 ("modules: fix longstanding /proc/kallsyms vs module
    insertion race.") (in v4.5) kallsyms leads to the tables that are in use.
    """
    part = module.range_at(address)
    tables = Object(prog, "struct module", address=module.address).kallsyms
    n = tables.num_symtab.value_()
    if part is None or not 0 < n <= _MOST_SYMBOLS:
        return ""
    symbols = np.frombuffer(prog.read(tables.symtab.value_(), n * _SYMBOL.itemsize), _SYMBOL)
    values = symbols["value"]
    # As find_kallsyms_symbol() of the kernel: section 0 is SHN_UNDEF.
    fits = (values >= part.start) & (values <= address) & (symbols["section"] != 0)
    strings = tables.strtab.value_()
    for value in np.unique(values[fits])[::-1][:_MOST_TRIES]:
        for offset in symbols["name"][fits & (values == value)][:_MOST_TRIES].tolist():
            name = text_at(prog, strings + offset, _LONGEST_SYMBOL)
            # Labels of the assembler name no function.
            if name and not name.startswith((".L", "L0")):
                return name
    return ""
