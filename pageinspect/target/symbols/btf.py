# SPDX-License-Identifier: GPL-2.0-only
"""Reads the BTF format: looks up types by name and by id.

The kernel's Documentation/bpf/btf.rst describes the format. A kernel has 95,000 to 125,000 types:
one pass indexes only their offsets, and a type is decoded when it is requested.

No library is used: drgn and pyelftools read DWARF but not BTF, and libbpf is C, which would need
bindings and one more package to install.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from .cache import SymbolCache

_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MAGIC = 0xEB9F
BTF_MAGIC = _MAGIC.to_bytes(2, "little")
"""The first bytes of BTF."""


class BtfKind(IntEnum):
    """The kinds of BTF type records."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# Bytes of each kind after the common 12: a fixed part, and a part for each of vlen entries.
_FIXED = {BtfKind.INT: 4, BtfKind.ARRAY: 12, BtfKind.VAR: 4, BtfKind.DECL_TAG: 4}
_PER_ENTRY = {
    BtfKind.STRUCT: 12,
    BtfKind.UNION: 12,
    BtfKind.ENUM: 8,
    BtfKind.FUNC_PROTO: 8,
    BtfKind.DATASEC: 12,
    BtfKind.ENUM64: 12,
}
_NAMED = frozenset(
    (
        BtfKind.INT,
        BtfKind.STRUCT,
        BtfKind.UNION,
        BtfKind.ENUM,
        BtfKind.ENUM64,
        BtfKind.TYPEDEF,
        BtfKind.VAR,
        BtfKind.FLOAT,
    )
)


@dataclass(frozen=True, slots=True)
class Record:
    """One type record; `extra` is the offset in the BTF of the data after its common part."""

    kind: BtfKind
    name: str
    vlen: int
    kind_flag: bool
    size_or_type: int
    extra: int


class BtfError(ValueError):
    """The data is not BTF, is damaged, or has records of an unknown kind."""


class Btf:
    """The BTF of one kernel: `data` is the whole .BTF section, as in /sys/kernel/btf/vmlinux.

    The types are indexed at the first lookup that the cache has no result for. Raises BtfError.
    """

    def __init__(self, data: bytes, cache: SymbolCache | None = None) -> None:
        self.data = data
        self.cache = SymbolCache() if cache is None else cache
        if len(data) < _HEADER.size:
            raise BtfError("it is too short for BTF")
        magic, version, _, header_size, type_offset, type_size, str_offset, str_size = (
            _HEADER.unpack_from(data)
        )
        if magic != _MAGIC or version != 1:
            raise BtfError("it does not begin with the BTF magic number")
        self._types = header_size + type_offset
        self._end = self._types + type_size
        self._strings = header_size + str_offset
        self._strings_end = self._strings + str_size
        if self._end > len(data) or self._strings_end > len(data) or not str_size:
            raise BtfError("it is cut off")
        if not self.cache.types:
            _ = self._index

    @cached_property
    def _index(self) -> tuple[list[int], dict[tuple[int, int], int]]:
        """Return the offset of each type by its id, and the ids by kind and offset of the name."""
        data, end, unpack = self.data, self._end, _TYPE.unpack_from
        offsets = [0]
        ids: dict[tuple[int, int], int] = {}
        fixed = [_FIXED.get(kind, 0) for kind in BtfKind]
        per_entry = [_PER_ENTRY.get(kind, 0) for kind in BtfKind]
        named = [kind in _NAMED for kind in BtfKind]
        offset = self._types
        while offset < end:
            try:
                name, info, _ = unpack(data, offset)
                kind = info >> 24 & 0x1F
                size = 12 + fixed[kind] + per_entry[kind] * (info & 0xFFFF)
            except (struct.error, IndexError):
                raise BtfError(f"type {len(offsets)} is of an unknown kind or cut off") from None
            if name and named[kind]:
                # Unrelated types may share a name. The first one is used.
                ids.setdefault((kind, name), len(offsets))
            offsets.append(offset)
            offset += size
        return offsets, ids

    def __len__(self) -> int:
        return len(self._index[0])

    def _string(self, offset: int) -> str:
        start = self._strings + offset
        end = self.data.find(b"\0", start, self._strings_end)
        return self.data[start : self._strings_end if end < 0 else end].decode("utf-8", "replace")

    def _find_string(self, text: str) -> int | None:
        """Return the offset of a string in the string section, or None. Each is stored once."""
        wanted = b"\0" + text.encode() + b"\0"
        position = self.data.find(wanted, self._strings, self._strings_end)
        return None if position < 0 else position + 1 - self._strings

    def find(self, kind: BtfKind, name: str) -> int | None:
        """Return the id of the first type of this kind and name, or None."""
        key = f"{int(kind)} {name}"
        known = self.cache.types.get(key)
        if known is None:
            string = self._find_string(name)
            found = None if string is None else self._index[1].get((kind, string))
            known = [] if found is None else [found]
            self.cache.add(self.cache.types, key, known)
        return known[0] if known else None

    def record(self, type_id: int) -> Record:
        """Return the record of a type id; id 0 is void. Raises BtfError."""
        if type_id == 0:
            return Record(BtfKind.VOID, "void", 0, kind_flag=False, size_or_type=0, extra=0)
        offset = self._offset(type_id)
        name, info, size_or_type = _TYPE.unpack_from(self.data, offset)
        return Record(
            BtfKind(info >> 24 & 0x1F),
            self._string(name) if name else "",
            info & 0xFFFF,
            bool(info >> 31),
            size_or_type,
            offset + 12,
        )

    def _offset(self, type_id: int) -> int:
        known = self.cache.offsets.get(str(type_id))
        if known and self._types <= known[0] <= self._end - _TYPE.size:
            return known[0]
        offsets = self._index[0]
        if not 0 < type_id < len(offsets):
            raise BtfError(f"it has no type {type_id}")
        self.cache.add(self.cache.offsets, str(type_id), [offsets[type_id]])
        return offsets[type_id]

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(form, self.data, offset)
        except struct.error:
            raise BtfError("it is cut off within a type") from None

    def integer(self, record: Record) -> tuple[bool, bool, int]:
        """Return (signed, boolean, bits) of an INT record."""
        (word,) = self._unpack("<I", record.extra)
        encoding = word >> 24 & 0xF
        return bool(encoding & 1), bool(encoding & 4), word & 0xFF

    def array(self, record: Record) -> tuple[int, int]:
        """Return (element type id, length) of an ARRAY record."""
        element, _, length = self._unpack("<III", record.extra)
        return element, length

    def members(self, record: Record) -> list[tuple[str, int, int, int]]:
        """Return (name, type id, bit offset, bit field size or 0) of each member."""
        members = []
        for i in range(record.vlen):
            name, type_id, offset = self._unpack("<III", record.extra + 12 * i)
            bits = offset >> 24 if record.kind_flag else 0
            members.append(
                (
                    self._string(name),
                    type_id,
                    offset & 0xFFFFFF if record.kind_flag else offset,
                    bits,
                )
            )
        return members

    def enumerators(self, record: Record) -> list[tuple[str, int]]:
        """Return (name, value) of each enumerator; values are signed if the enum is."""
        entries = []
        wide = record.kind is BtfKind.ENUM64
        bits = 64 if wide else 32
        for i in range(record.vlen):
            if wide:
                name, low, high = self._unpack("<III", record.extra + 12 * i)
                value = high << 32 | low
            else:
                name, value = self._unpack("<II", record.extra + 8 * i)
            if record.kind_flag and value >> (bits - 1):
                value -= 1 << bits
            entries.append((self._string(name), value))
        return entries

    def parameters(self, record: Record) -> list[tuple[str, int]]:
        """Return (name, type id) of a FUNC_PROTO's parameters; ("", 0) at the end is `...`."""
        pairs = (self._unpack("<II", record.extra + 8 * i) for i in range(record.vlen))
        return [(self._string(name) if name else "", type_id) for name, type_id in pairs]

    def find_enumerator(self, name: str) -> tuple[int, int] | None:
        """Return (id of its enum, value) of the enumerator `name`, or None."""
        known = self.cache.enumerators.get(name)
        if known is None:
            known = list(self._search_enumerator(name) or ())
            self.cache.add(self.cache.enumerators, name, known)
        return (known[0], known[1]) if known else None

    def find_function(self, name: str) -> int | None:
        """Return the id of the first FUNC of this name, or None."""
        for position, type_id in self._uses(name):
            if position == self._index[0][type_id] and self.record(type_id).kind is BtfKind.FUNC:
                return type_id
        return None

    def _search_enumerator(self, name: str) -> tuple[int, int] | None:
        for position, type_id in self._uses(name):
            record = self.record(type_id)
            size = _PER_ENTRY.get(record.kind, 0)
            if record.kind in (BtfKind.ENUM, BtfKind.ENUM64) and position >= record.extra:
                index, inside = divmod(position - record.extra, size)
                if inside == 0:
                    return type_id, self.enumerators(record)[index][1]
        return None

    def _uses(self, name: str) -> Iterator[tuple[int, int]]:
        """Give the offsets in the type section of what may be this name, and the types' ids."""
        string = self._find_string(name)
        if string is None:
            return
        # A type has the offset of its name, and so has an enumerator. Search for that word and find
        # the record that contains it, instead of decoding all types of the kernel.
        word = struct.pack("<I", string)
        position = self.data.find(word, self._types, self._end)
        while position >= 0:
            yield position, bisect_right(self._index[0], position) - 1
            position = self.data.find(word, position + 1, self._end)
