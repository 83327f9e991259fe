# SPDX-License-Identifier: GPL-2.0-only
"""A cache file of lookups in a kernel's BTF and symbols, in the user's cache folder.

Parsing BTF and kallsyms takes most of the time of a short command, and every run looks up the same
few names. The name of a file has a digest of the data that was parsed (keys.py). A file that
another user could have written is not read.
"""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from drgn import SymbolBinding, SymbolKind

from ...errors import PageInspectError
from ...host.files import (
    PRIVATE,
    UntrustedError,
    forget_oldest,
    names_in,
    read_trusted,
    replacing,
    trusted_folder,
)
from ...paths import cache_folder
from ...version import __version__

FORM = 3
"""Version of the file format; part of the file names."""
_KINDS = {"symbols": (0, 4), "types": (0, 1), "offsets": (1,), "enumerators": (0, 2)}
"""The kinds of lookups whose results are integers, and how many are allowed."""
_BINDINGS = {each.value for each in SymbolBinding}
_SYMBOL_KINDS = {each.value for each in SymbolKind}
_MAX_FILES = 64
"""Each damaged core adds a file of its own."""
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors of reading a damaged file. Such a file is treated as absent."""

Numbers = list[int]
_Result = TypeVar("_Result")


@dataclass
class SymbolCache:
    """Results of lookups, by what was looked up. An empty list means that it does not exist.

    `symbols`: [address without the KASLR offset, size, binding, kind] by name. `types`: [id] by
    "kind name". `offsets`: [offset in the BTF] by type id. `enumerators`: [id, value] by name.
    `addresses`: the name of the symbol at an address without the KASLR offset, in hexadecimal, and
    what `symbols` has of it.
    """

    path: Path | None = None
    """The cache file; None if nothing is to be saved."""
    symbols: dict[str, Numbers] = field(default_factory=dict)
    types: dict[str, Numbers] = field(default_factory=dict)
    offsets: dict[str, Numbers] = field(default_factory=dict)
    enumerators: dict[str, Numbers] = field(default_factory=dict)
    addresses: dict[str, tuple[str, Numbers]] = field(default_factory=dict)
    changed: bool = False
    """Whether there are results that the file does not have."""
    refused: UntrustedError | None = None
    """The reason why the cache folder is not used."""

    def add(self, kind: dict[str, _Result], name: str, result: _Result) -> None:
        """Add the result of a lookup to `kind`, one of the dicts above."""
        kind[name] = result
        self.changed = True

    def save(self) -> None:
        """Replace the file if there are new results. Best effort: I/O errors are ignored."""
        if self.path is None or not self.changed:
            return
        content = json.dumps({kind: getattr(self, kind) for kind in (*_KINDS, "addresses")})
        with (
            contextlib.suppress(OSError, UntrustedError),
            trusted_folder(self.path.parent, make=True, mode=0o700) as folder,
        ):
            with replacing(folder, self.path.name, mode=PRIVATE) as file:
                file.write(content.encode("ascii"))
            self.changed = False
            forget_oldest(folder, names_in(folder, ".json"), _MAX_FILES)


def load_cache(key: str | None) -> SymbolCache:
    """Return the cache with this key; an empty one if there is no file, or the key is None.

    A cache folder that another user can change is neither read nor written; then `refused` is set.
    """
    if key is None:
        return SymbolCache()
    try:
        path = cache_folder() / "symbols" / f"{key}-{__version__}-{FORM}.json"
        with trusted_folder(path.parent):
            pass
    except UntrustedError as error:
        return SymbolCache(refused=error)
    except PageInspectError:
        # The user has no home folder.
        return SymbolCache()
    except OSError:
        return SymbolCache(path)
    try:
        document = json.loads(read_trusted(path))
        symbols, types, offsets, enumerators = (
            _checked(document[kind], lengths) for kind, lengths in _KINDS.items()
        )
        _check_symbols(symbols)
        addresses = _checked_addresses(document["addresses"])
    except (OSError, UntrustedError, *_DAMAGED):
        return SymbolCache(path)
    return SymbolCache(path, symbols, types, offsets, enumerators, addresses)


def _checked(cache: Any, lengths: tuple[int, ...]) -> dict[str, Numbers]:
    for numbers in cache.values():
        whole = all(type(number) is int and -(1 << 63) <= number < 1 << 64 for number in numbers)
        if not whole or len(numbers) not in lengths:
            raise ValueError
    return dict(cache)


def _checked_addresses(cache: Any) -> dict[str, tuple[str, Numbers]]:
    found = {at: (name, numbers) for at, (name, numbers) in cache.items()}
    if not all(type(name) is str for name, _ in found.values()):
        raise ValueError
    _check_symbols(_checked({at: n for at, (_, n) in found.items()}, _KINDS["symbols"]))
    return found


def _check_symbols(symbols: dict[str, Numbers]) -> None:
    for address, size, binding, kind in filter(None, symbols.values()):
        if address < 0 or size < 0 or binding not in _BINDINGS or kind not in _SYMBOL_KINDS:
            raise ValueError
