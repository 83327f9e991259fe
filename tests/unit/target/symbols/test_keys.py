# SPDX-License-Identifier: GPL-2.0-only
"""Cached lookups are used for the same bytes that they came from, and for no others."""

import contextlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from drgn import Architecture, Platform, Program, Symbol, SymbolIndex
from made_kernel import (
    BANNER,
    BTF,
    IMAGE,
    INDEX,
    NAMES,
    NUM_SYMS,
    OFFSETS,
    RELATIVE_BASE,
    SYMBOLS,
    TOKENS,
    Kernel,
    types,
)

from pageinspect.errors import PageInspectError
from pageinspect.target.symbols import find
from pageinspect.target.symbols.cache import SymbolCache
from pageinspect.target.symbols.find import CachedSymbols, find_symbols
from pageinspect.target.symbols.keys import kaslr_offset, live_symbols_key, read_tables


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    return tmp_path / "symbols"


def contents(cache: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in cache.iterdir()}


def test_the_second_run_parses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Kernel().run()
    monkeypatch.delattr(find, "find_symbols")
    assert not Kernel().run()
    # Where KASLR put the kernel in another boot makes no difference.
    assert not Kernel(kaslr=0xCC00000).run()


@pytest.mark.parametrize(
    "place",
    [
        OFFSETS + 4,  # of mem_section
        NAMES + 8,  # the length of a name
        NAMES + 10,
        TOKENS + 2 * ord("x"),
        INDEX + 2 * ord("x"),
        NUM_SYMS + 4,  # between the tables, before the address that KASLR moves
        RELATIVE_BASE + 8,  # and behind it
        BTF + 0x30,
        BTF + len(types().build()) - 2,
    ],
)
def test_a_damaged_core_neither_uses_nor_changes_what_is_kept(cache: Path, place: int) -> None:
    assert Kernel().run()
    sound = contents(cache)
    damaged = Kernel()
    damaged.memory[place] ^= 1
    try:
        _, caches = damaged.attach()
    except Exception:  # noqa: BLE001 - whatever damage makes of it
        caches = ()
    assert any(each.changed for each in caches) or not caches
    for each in caches:
        each.save()
    assert {name: contents(cache)[name] for name in sound} == sound
    assert not Kernel().run()


def test_a_symbol_that_is_moved_is_read_anew() -> None:
    assert Kernel().run()
    # Kernel.attach() looks where the symbol is.
    assert Kernel(symbols=SYMBOLS | {"mem_section": 0x300}).run()
    assert not Kernel().run()


def names_at(kernel: Kernel, *addresses: int) -> list[str]:
    """Return the names of symbols at addresses without KASLR, "" where there is none; save them."""
    prog = kernel.program()
    symbols, symbol_cache = find.cached_symbols(prog, kernel.info(), live=False)
    found = [symbols(prog, None, at + kernel.kaslr, True) for at in addresses]
    symbol_cache.save()
    for at, each in zip(addresses, found, strict=True):
        assert all(symbol.address <= at + kernel.kaslr for symbol in each)
    return [each[0].name if each else "" for each in found]


def test_symbols_at_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = IMAGE + 0x200, IMAGE + 0x20A, IMAGE - 0x1000
    expected = ["mem_section", "__highest_present_section_nr", ""]
    assert names_at(Kernel(), *addresses) == expected
    # The tables of a kernel with other symbols differ.
    other = Kernel(symbols=SYMBOLS | {"__highest_present_section_nr": 0x300})
    assert names_at(other, *addresses) == ["mem_section", "mem_section", ""]
    monkeypatch.delattr(find, "find_symbols")
    assert names_at(Kernel(), *addresses) == expected
    assert names_at(Kernel(kaslr=0xCC00000), *addresses) == expected


def test_addresses_of_which_symbols_are_kept_are_bounded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "_MOST_ADDRESSES", 2)
    names = names_at(Kernel(), *(IMAGE + 0x200 for _ in range(3)), IMAGE + 0x208, IMAGE + 0x100)
    assert names == [*["mem_section"] * 3, "__highest_present_section_nr", "_stext"]
    (path,) = cache.glob("*symbols*")
    assert json.loads(path.read_text())["addresses"].keys() == {
        f"{IMAGE + 0x200:x}",
        f"{IMAGE + 0x208:x}",
    }


def test_another_build_has_a_cache_of_its_own(cache: Path) -> None:
    assert Kernel().run()
    assert Kernel(build_id="2fe9968467f2").run()
    assert len(contents(cache)) == 4


@pytest.mark.parametrize(
    "key", ["BUILD-ID", "KERNELOFFSET", "SYMBOL(kallsyms_offsets)", "SYMBOL(kallsyms_num_syms)"]
)
def test_without_a_key_no_symbols_are_kept(cache: Path, key: str) -> None:
    for _ in range(2):
        assert Kernel(left_out=key).run()
    assert not list(cache.glob("*symbols*"))


def test_tables_that_cannot_be_read_whole_have_no_key() -> None:
    kernel = Kernel()
    info = kernel.info()
    assert read_tables(kernel.program(), info)
    for name, place in (
        ("kallsyms_token_index", len(kernel.memory) - 511),
        ("kallsyms_num_syms", len(kernel.memory)),
        ("kallsyms_names", INDEX + 0x1000),
        ("kallsyms_token_index", 1 << 30),
    ):
        moved = info | {f"SYMBOL({name})": f"{IMAGE + place:x}"}
        assert read_tables(kernel.program(), moved) is None, (name, place)


def test_this_kernel_has_a_key_of_its_own() -> None:
    info = Kernel().info()
    prog = Program(Platform(Architecture.X86_64))
    assert live_symbols_key(info) == "1fe9968467f2-symbols-live"
    assert read_tables(prog, info) is None


def test_per_cpu_offsets_stay_where_kaslr_moves_the_image() -> None:
    symbol_cache = SymbolCache(
        symbols={"runqueues": [0x31980, 8, 1, 1], "_stext": [IMAGE, 0, 1, 1]}
    )
    symbols = CachedSymbols(symbol_cache, SymbolIndex, 0x7000, 0)
    found = [symbols(Program(), name, None, True)[0].address for name in ("runqueues", "_stext")]
    assert found == [0x31980, IMAGE + 0x7000]


@dataclass
class Changing(Kernel):
    """A core whose symbols change once they were read."""

    def program(self) -> Program:
        prog = Program(Platform(Architecture.X86_64))
        read: set[int] = set()

        def serve(_address: int, count: int, offset: int, _physical: bool) -> bytes:
            place = OFFSETS + 4  # of mem_section
            memory = bytearray(self.memory)
            if place in read:
                memory[place : place + 4] = struct.pack("<I", 0x300)
            if offset <= place < offset + count:
                read.add(place)
            return bytes(memory[offset : offset + count])

        prog.add_memory_segment(IMAGE + self.kaslr, len(self.memory), serve)
        return prog


@pytest.mark.parametrize("crafted", [Changing(), Kernel(kaslr=-(1 << 63))], ids=["changes", "far"])
def test_a_crafted_core_does_not_poison_what_is_kept_for_the_sound_one(crafted: Kernel) -> None:
    with contextlib.suppress(PageInspectError):
        _, caches = crafted.ask()
        for each in caches:
            each.save()
    # Looks where mem_section is.
    Kernel().attach()


@pytest.mark.parametrize("offset", ["", "-200000", "-8000000000000000", "1000", "40000000", "x"])
def test_an_offset_that_kaslr_does_not_choose_is_none(offset: str) -> None:
    assert kaslr_offset({"KERNELOFFSET": offset}) is None
    assert kaslr_offset({"KERNELOFFSET": "21a00000"}) == 0x21A00000


@pytest.mark.parametrize("name", ["linux_banner", "__start_BTF", "_stext", "kallsyms_names"])
def test_what_is_kept_is_used_only_if_it_leads_to_the_kernel(cache: Path, name: str) -> None:
    assert Kernel().run()
    (path,) = cache.glob("*symbols*")
    document = json.loads(path.read_text())
    assert document["symbols"].keys() >= SYMBOLS.keys()
    document["symbols"][name] = [IMAGE + 0x4000, 0, 1, 1]
    document["symbols"]["mem_section"][0] += 8
    path.write_text(json.dumps(document))
    # Looks where mem_section is, and replaces what is kept.
    assert Kernel().run()
    assert not Kernel().run()


@pytest.mark.parametrize("damage", ["nested", "binding", "kind"])
def test_a_damaged_file_is_written_anew(cache: Path, damage: str) -> None:
    assert Kernel().run()
    (path,) = cache.glob("*symbols*")
    document = json.loads(path.read_text())
    address, size, binding, kind = document["symbols"]["mem_section"]
    document["symbols"]["mem_section"] = {
        "binding": [address, size, 5, kind],
        "kind": [address, size, binding, 16],
    }.get(damage)
    path.write_text("[" * 100_000 if damage == "nested" else json.dumps(document))
    assert Kernel().run()
    assert not Kernel().run()


def test_symbols_that_lead_nowhere_are_not_kept(cache: Path) -> None:
    kernel = Kernel()
    kernel.memory[BANNER] ^= 1
    for _ in range(2):
        assert kernel.run()
    assert not list(cache.glob("*symbols*"))


def test_this_kernels_symbols_are_checked_too(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(kaslr=0x200000)
    index = find_symbols(
        kernel.program(), live=False, tables=read_tables(kernel.program(), kernel.info())
    )
    moved = SymbolIndex(
        Symbol(s.name, s.address + kernel.kaslr, s.size, s.binding, s.kind)
        for s in index(Program(), None, None, False)
    )
    monkeypatch.setattr(find, "find_symbols", lambda _prog, **_: moved)

    def place() -> int:
        symbols, symbol_cache = find.cached_symbols(kernel.program(), kernel.info(), live=True)
        address = find.address_of(kernel.program(), symbols, "mem_section")
        symbol_cache.save()
        assert address is not None
        return address

    right = IMAGE + kernel.kaslr + SYMBOLS["mem_section"]
    assert place() == right
    (path,) = cache.glob("*symbols-live*")
    document = json.loads(path.read_text())
    for numbers in document["symbols"].values():
        numbers[0] += 8
    path.write_text(json.dumps(document))
    assert place() == right


def test_a_symbol_at_an_address_is_found_where_kaslr_put_it() -> None:
    kernel = Kernel(kaslr=0x200000)
    prog, _ = kernel.attach()
    place = IMAGE + kernel.kaslr + SYMBOLS["mem_section"]
    symbol = prog.symbol(place)
    assert (symbol.name, symbol.address) == ("mem_section", place)


def test_names_of_more_than_127_tokens_are_read() -> None:
    # Since Linux kernel commit 73bbb94466fd ("kallsyms: support \"big\" kernel symbols") (in v6.1)
    # the length of such a name takes two bytes; drgn goes by the release whether it does.
    kernel, name = Kernel(), "n" * 300
    # The second symbol's address is mem_section's.
    names = b"\x07D_stext" + bytes((301 & 127 | 128, 301 >> 7)) + b"D" + name.encode()
    kernel.memory[NAMES : NAMES + len(names)] = names
    kernel.memory[NUM_SYMS : NUM_SYMS + 4] = struct.pack("<I", 2)
    tables = read_tables(kernel.program(), kernel.info())
    symbols = find_symbols(kernel.program(), live=False, tables=tables)
    found = find.address_of(Program(), symbols, name)
    assert found == IMAGE + SYMBOLS["mem_section"]
