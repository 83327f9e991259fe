# SPDX-License-Identifier: GPL-2.0-only
"""Modules and their symbols, made by hand."""

import struct
from dataclasses import dataclass, field
from typing import Any

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel import module_memory
from pageinspect.kernel.module_memory import CodeNames, read_modules
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import Module, ModuleRange, Modules

TEXT = 0xFFFFFFFFC0800000
DATA = 0xFFFFFFFFC0300000
GONE = 0xFFFF8FFFFFFFF000


@dataclass
class Loaded:
    """The list of modules of a kernel with mem[], or with core_layout and init_layout."""

    array: bool = True
    kallsyms: bool = True
    kernel: Kernel = field(default_factory=Kernel)
    addresses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        k = self.kernel
        memory = k.struct("module_memory", base=k.void_p, rox=k.uint, size=k.uint)
        k.enum("module_state", ["LIVE", "COMING", "GOING", "MODULE_STATE_UNFORMED"])
        k.enum("mod_mem_type", ["MOD_TEXT", "MOD_DATA", "MOD_INIT_TEXT"])
        self.tables = k.struct("mod_kallsyms", symtab=k.void_p, num_symtab=k.uint, strtab=k.void_p)
        parts = (
            {"mem": k.array(memory, 3)}
            if self.array
            else {"core_layout": memory, "init_layout": memory}
        )
        if self.kallsyms:
            parts["kallsyms"] = k.pointer(self.tables)
        self.type = k.struct(
            "module", state=k.uint, list=k.list_head, name=k.array(k.char, 56), **parts
        )
        self.head = k.variable("modules", k.list_head)
        k.ring(self.type, head=self.head)

    def add(self, name: str, *memory: tuple[int, int], state: int = 0, kallsyms: int = 0) -> int:
        k = self.kernel
        values: dict[str, Any] = {"name": name.encode().ljust(56, b"\0"), "state": state}
        if self.kallsyms:
            values["kallsyms"] = kallsyms
        address = k.make(self.type, **values)
        for number, (base, size) in enumerate(memory):
            if self.array:
                at = k.prog.type("struct module").member("mem").offset + 16 * number
                k.write(address + at, struct.pack("<QII", base, 1, size))
            else:
                part = ("core_layout", "init_layout")[number]
                k.set(self.type, address, f"{part}.base", base)
                k.set(self.type, address, f"{part}.size", size)
        self.addresses.append(address)
        k.ring(self.type, *self.addresses, head=self.head)
        return address

    def symbols(self, *symbols: tuple[str, int, int], number: int | None = None) -> int:
        """Make the tables of symbols: their name, section and address."""
        k = self.kernel
        strings, rows = b"\0", b""
        for name, section, value in symbols:
            at = len(strings) if name else 0
            rows += struct.pack("<IBBHQQ", at, 0x12, 0, section, value, 16)
            strings += name.encode() + b"\0" if name else b""
        table, text = k.room(len(rows)), k.room(len(strings))
        k.write(table, rows)
        k.write(text, strings)
        n = len(symbols) if number is None else number
        return k.make(self.tables, symtab=table, num_symtab=n, strtab=text)

    def read(self) -> Modules:
        return read_modules(self.kernel.prog)

    def name(self, address: int) -> str:
        return CodeNames(self.kernel.prog, self.read()).name(address)


def test_the_parts_of_modules() -> None:
    loaded = Loaded()
    zram = loaded.add("zram", (TEXT, 0x6000), (DATA, 0x4000))
    loaded.add("half_made", (GONE, 5), state=3)
    loaded.add("lz4", (TEXT + 0x6000, 0x1000), (0, 0), (DATA + 0x4000, 0x1000), state=1)
    found = loaded.read()
    text = ModuleRange("text", TEXT, TEXT + 0x6000)
    assert found.modules[0] == Module(
        "zram", zram, (text, ModuleRange("data", DATA, DATA + 0x4000))
    )
    assert [m.name for m in found.modules] == ["zram", "lz4"]
    assert [r.part for r in found.modules[1].ranges] == ["text", "init_text"]
    assert (found.whole, found.unreadable) == (True, 0)
    assert found.at(TEXT + 0x5FFF) is found.modules[0]
    assert found.at(TEXT + 0x6000) is found.modules[1]
    assert found.at(DATA - 1) is None


def test_the_parts_of_modules_of_an_older_kernel() -> None:
    loaded = Loaded(array=False)
    loaded.add("zram", (TEXT, 0x6000))
    (module,) = loaded.read().modules
    assert module.ranges == (ModuleRange("core", TEXT, TEXT + 0x6000),)


def test_a_list_that_leads_round_or_astray_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Loaded()
    first, second = loaded.add("a", (TEXT, 1)), loaded.add("b", (TEXT + 1, 1))
    link = loaded.kernel.prog.type("struct module").member("list").offset
    for to in (first + link, 8):
        loaded.kernel.set(loaded.type, second, "list.next", to)
        found = loaded.read()
        assert [m.name for m in found.modules] == ["a", "b"]
        assert not found.whole
    monkeypatch.setattr(module_memory, "_MAX_MODULES", 1)
    assert [m.name for m in loaded.read().modules] == ["a"]


def test_a_kernel_without_modules() -> None:
    with pytest.raises(MissingStructureError, match="no known list of modules"):
        read_modules(Kernel().prog)


def test_an_address_in_a_module_has_the_symbol_next_below_it() -> None:
    loaded = Loaded()
    tables = loaded.symbols(
        ("", 0, 0),
        ("kvmalloc", 0, TEXT + 0x120),
        ("disksize_store", 1, TEXT + 0x100),
        *((f"alias{i}", 1, TEXT + 0x100) for i in range(100)),
        ("later", 1, TEXT + 0x200),
        (".Lloop", 1, TEXT + 0x140),
        ("", 1, TEXT + 0x148),
        ("in_data", 2, DATA),
    )
    loaded.add("zram", (TEXT, 0x6000), (DATA, 0x4000), kallsyms=tables)
    assert loaded.name(TEXT + 0x150) == "disksize_store [zram]"
    assert loaded.name(TEXT + 0x200) == "later [zram]"
    assert loaded.name(DATA + 8) == "in_data [zram]"
    # in_data is below, in another part.
    assert loaded.name(TEXT + 0x10) == f"{TEXT + 0x10:#x} [zram]"


@pytest.mark.parametrize("number", [0, 3, 1 << 20])
def test_a_module_without_symbols_that_can_be_read(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_memory, "_MAX_SYMBOLS", 2)
    loaded = Loaded()
    loaded.add("a", (TEXT, 16), kallsyms=loaded.symbols(("f", 1, TEXT), number=number))
    loaded.add("b", (DATA, 16), kallsyms=GONE)
    assert loaded.name(TEXT + 1) == f"{TEXT + 1:#x} [a]"
    assert loaded.name(DATA + 1) == f"{DATA + 1:#x} [b]"
    without = Loaded(kallsyms=False)
    without.add("c", (TEXT, 16))
    assert without.name(TEXT + 1) == f"{TEXT + 1:#x} [c]"


def test_a_name_that_cannot_be_read_or_is_long() -> None:
    loaded = Loaded()
    tables = loaded.symbols(("f" * 2000, 1, TEXT), ("g", 1, TEXT + 8))
    loaded.add("a", (TEXT, 16), kallsyms=tables)
    assert loaded.name(TEXT) == "f" * 512 + " [a]"
    loaded.kernel.set(loaded.tables, tables, "strtab", (1 << 64) - 1)
    assert loaded.name(TEXT + 9) == f"{TEXT + 9:#x} [a]"


def test_an_address_in_the_image_has_the_symbol_that_spans_it() -> None:
    loaded = Loaded()
    loaded.kernel.symbols({"kernel_clone": (0xFFFFFFFF81000000, 0x40)})
    assert loaded.name(0xFFFFFFFF8100003F) == "kernel_clone"
    assert loaded.name(0xFFFFFFFF81000040) == "0xffffffff81000040"
    assert loaded.name(0) == "0x0"
