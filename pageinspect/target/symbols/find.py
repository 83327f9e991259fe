# SPDX-License-Identifier: GPL-2.0-only
"""Locates a kernel's own BTF and symbol tables, and looks up symbols through the cache."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from drgn import (
    BadDataError,
    FaultError,
    MissingDebugInfoError,
    Program,
    Symbol,
    SymbolBinding,
    SymbolIndex,
    SymbolKind,
)

from ...errors import MISSING_MEMORY_HINT, PageInspectError
from ...host.files import read_whole
from ...model.arch import ADDRESSES_OF_KERNEL, IMAGE_START
from .btf import BTF_MAGIC, Btf, BtfError
from .cache import SymbolCache, load_cache
from .keys import SymbolTables, kaslr_offset, live_symbols_key, read_tables

SymbolFinder = Callable[[Program, str | None, int | None, bool], Sequence[Symbol]]

LIVE_BTF = Path("/sys/kernel/btf/vmlinux")
_KALLSYMS_HINT = (
    "give this boot's /proc/kallsyms or the build's System.map (--kallsyms FILE), or -s VMLINUX"
)
_LARGEST_BTF = 64 << 20
_MOST_ADDRESSES = 4096
"""Addresses whose symbols are kept."""
_DWARF_HINT = "give the kernel's vmlinux with debug information: -s VMLINUX"


def address_of(prog: Program, symbols: SymbolFinder, name: str) -> int | None:
    """Return the address of a symbol, or None."""
    found = symbols(prog, name, None, True)  # noqa: FBT003 (drgn takes it by position alone)
    return found[0].address if found else None


def find_symbols(prog: Program, *, live: bool, tables: SymbolTables | None = None) -> SymbolIndex:
    """Return the kernel's own symbols: from /proc/kallsyms live, else from the tables in memory.

    With `tables`, which read_tables() returns, addresses are those without KASLR. Raises
    PageInspectError if there are no symbols. Since Linux kernel commit f09bddbd8661 ("vmcoreinfo:
    add kallsyms_num_syms symbol") (in v6.0), VMCOREINFO locates the tables.
    """
    # Imported here because it imports all of drgn's helpers, which cached lookups do not need.
    from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

    hint = _DWARF_HINT
    try:
        symbols = load_vmlinux_kallsyms(prog if tables is None else tables.program())
        if address_of(prog, symbols, "_stext"):
            return symbols
        problem = "their addresses are hidden"
    except FaultError as error:
        problem, hint = str(error), MISSING_MEMORY_HINT
    except MissingDebugInfoError:
        problem, hint = "VMCOREINFO does not have their location", _KALLSYMS_HINT
    except (LookupError, ValueError, OverflowError, OSError, BadDataError) as error:
        problem = str(error)
    where = "/proc/kallsyms" if live else "the kallsyms tables in the core"
    raise PageInspectError(f"no symbols from {where}: {problem}", hint)


class CachedSymbols:
    """A drgn symbol finder with a cache.

    `load` parses the symbol tables, at the first lookup without a cached result. `offset` is the
    KASLR offset of the kernel, `indexed` the one that addresses from `load` contain. Lookups raise
    as find_symbols().
    """

    def __init__(
        self, cache: SymbolCache, load: Callable[[], SymbolIndex], offset: int, indexed: int
    ) -> None:
        self._cache = cache
        self._load = load
        self._offset = offset
        self._indexed = indexed

    @cached_property
    def _index(self) -> SymbolIndex:
        return self._load()

    def __call__(
        self,
        prog: Program,
        name: str | None,
        address: int | None,
        one: bool,  # noqa: FBT001 - as drgn calls it
    ) -> list[Symbol]:
        """Return the symbols with this name, or at this address."""
        at = None if address is None else _moved(address, -self._offset)
        if not one or (name is None) == (at is None):
            return [self._symbol(*each) for each in self._found(prog, name, at, one=one)]
        if name is not None:
            return self._by_name(prog, name)
        return self._by_address(prog, at or 0)

    def _by_name(self, prog: Program, name: str) -> list[Symbol]:
        known = self._cache.symbols.get(name)
        if known is None:
            found = self._found(prog, name, None)
            known = found[0][1] if found else []
            self._cache.add(self._cache.symbols, name, known)
        return [self._symbol(name, known)] if known else []

    def _by_address(self, prog: Program, at: int) -> list[Symbol]:
        known = self._cache.addresses.get(f"{at:x}")
        if known is None:
            found = self._found(prog, None, at)
            known = found[0] if found else ("", [])
            # A damaged core may lead to any number of addresses.
            if len(self._cache.addresses) < _MOST_ADDRESSES:
                self._cache.add(self._cache.addresses, f"{at:x}", known)
        return [self._symbol(*known)] if known[1] else []

    def _found(
        self, prog: Program, name: str | None, at: int | None, *, one: bool = True
    ) -> list[tuple[str, list[int]]]:
        """Look up a name or an address without KASLR in the index; return names and numbers."""
        place = None if at is None else _moved(at, self._indexed)
        return [(s.name, self._numbers(s)) for s in self._index(prog, name, place, one)]

    def _symbol(self, name: str, numbers: Sequence[int]) -> Symbol:
        place, size, binding, kind = numbers
        place = _moved(place, self._offset)
        return Symbol(name, place, size, SymbolBinding(binding), SymbolKind(kind))

    def _numbers(self, symbol: Symbol) -> list[int]:
        place = _moved(symbol.address, -self._indexed)
        return [place, symbol.size, symbol.binding.value, symbol.kind.value]


def _moved(address: int, by: int) -> int:
    return (address + by) % (1 << 64) if address >= ADDRESSES_OF_KERNEL else address


def cached_symbols(
    prog: Program, info: Mapping[str, str], *, live: bool
) -> tuple[CachedSymbols, SymbolCache]:
    """Return the kernel's own symbols, and their cache.

    Cached symbols are used only if the kernel's banner and BTF are at their addresses. Raises
    PageInspectError as find_symbols().
    """
    offset = kaslr_offset(info)
    tables = None if live else read_tables(prog, info)
    key = None if tables is None else tables.key(info)
    if live and offset is not None:
        key = live_symbols_key(info)
    cache = load_cache(key)
    indexed = offset or 0 if tables is None else 0

    def load() -> SymbolIndex:
        return find_symbols(prog, live=live, tables=tables)

    symbols = CachedSymbols(cache, load, offset or 0, indexed)
    if cache.symbols and not _match_kernel(prog, info, cache, symbols, live=live):
        cache.symbols.clear()
        cache.addresses.clear()
    if not cache.symbols and not _match_kernel(prog, info, cache, symbols, live=live):
        cache.path = None
    return symbols, cache


def _match_kernel(
    prog: Program,
    info: Mapping[str, str],
    cache: SymbolCache,
    symbols: CachedSymbols,
    *,
    live: bool,
) -> bool:
    """Return whether symbols agree with the kernel's banner, its BTF and VMCOREINFO."""
    banner = address_of(prog, symbols, "linux_banner")
    btf = None if live else address_of(prog, symbols, "__start_BTF")
    wanted = f"Linux version {info.get('OSRELEASE')} ".encode()
    # Below IMAGE_START, VMCOREINFO has the value of a pointer variable instead of its address, and
    # before v6.15 per-CPU variables are offsets.
    listed = {f"SYMBOL({name})": name for name in ("_stext", *cache.symbols)}
    try:
        return (
            banner is not None
            and prog.read(banner, len(wanted)) == wanted
            and (btf is None or prog.read(btf, len(BTF_MAGIC)) == BTF_MAGIC)
            and all(
                address_of(prog, symbols, name) == value
                for key, name in listed.items()
                if (value := int(info.get(key, "0"), 16)) >= IMAGE_START
            )
        )
    except (FaultError, ValueError):
        return False


def read_btf(path: Path) -> Btf:
    """Read BTF from a file; raises PageInspectError."""
    try:
        return Btf(read_whole(path, _LARGEST_BTF))
    except (OSError, BtfError) as error:
        raise PageInspectError(
            f"cannot use {path} as BTF: {error}",
            "give a copy of /sys/kernel/btf/vmlinux of the same build",
        ) from None


def find_btf(
    prog: Program, symbols: SymbolFinder, known: Callable[[bytes], SymbolCache], *, live: bool
) -> Btf:
    """Return the kernel's BTF: from sysfs live, else from __start_BTF to __stop_BTF in memory.

    `known` returns the cache for the BTF data. Raises PageInspectError if the kernel has no BTF, or
    it cannot be read.
    """
    try:
        if live:
            data = LIVE_BTF.read_bytes()
        else:
            start = address_of(prog, symbols, "__start_BTF")
            stop = address_of(prog, symbols, "__stop_BTF")
            if start is None or stop is None:
                raise PageInspectError(
                    "the kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)", _DWARF_HINT
                )
            # In a damaged core, symbols may have any address.
            data = prog.read(start, min(max(stop - start, 0), _LARGEST_BTF))
        return Btf(data, known(data))
    except (OSError, FaultError, BtfError) as error:
        where = str(LIVE_BTF) if live else "the core"
        hint = MISSING_MEMORY_HINT if isinstance(error, FaultError) else _DWARF_HINT
        raise PageInspectError(f"cannot use the BTF in {where}: {error}", hint) from None
