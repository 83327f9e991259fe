# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's memory made by hand: structs, variables, symbols and page tables, for drgn to read."""

import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from drgn import (
    Architecture,
    FindObjectFlags,
    Object,
    Platform,
    Program,
    Qualifiers,
    Symbol,
    SymbolBinding,
    SymbolIndex,
    SymbolKind,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeMember,
    offsetof,
    sizeof,
)

BASE = 0xFFFF888000000000
"""The direct map: physical memory is here as well."""
_SIZE = 1 << 21
_HUGE = 0x80


class Kernel:
    """2 MiB of memory in a direct map, allocated from its start; what is beyond cannot be read."""

    def __init__(self) -> None:
        self.prog = Program(Platform(Architecture.X86_64))
        self._memory = bytearray(_SIZE)
        self._types: dict[str, Type] = {}
        self._objects: dict[str, tuple[Type, int]] = {}
        self._next = 0x1000
        self.prog.add_memory_segment(BASE, _SIZE, self._read)
        self.prog.add_memory_segment(0, _SIZE, self._read, physical=True)
        self.prog.register_type_finder("hand", self._find_type, enable_index=0)
        self.prog.register_object_finder("hand", self._find_object, enable_index=0)
        self.ulong = self.prog.int_type("unsigned long", 8, is_signed=False)
        self.uint = self.prog.int_type("unsigned int", 4, is_signed=False)
        self.char = self.prog.int_type("char", 1, is_signed=True)
        self.void_p = self.prog.pointer_type(self.prog.void_type())
        self.list_head = self.struct("list_head", next=self.void_p, prev=self.void_p)
        self.root = self.page()
        """Physical address of the root of the page tables."""

    def _read(self, _address: int, count: int, offset: int, _physical: bool) -> bytes:
        return bytes(self._memory[offset : offset + count])

    def _find_type(
        self, _prog: Program, kinds: set[TypeKind], name: str, _file: str | None
    ) -> Type | None:
        found = self._types.get(name)
        return found if found is not None and found.kind in kinds else None

    def _find_object(
        self, _prog: Program, name: str, flags: FindObjectFlags, _file: str | None
    ) -> Object | None:
        if flags & FindObjectFlags.CONSTANT:
            for enum in self._types.values():
                for e in (enum.enumerators or ()) if enum.kind == TypeKind.ENUM else ():
                    if e.name == name:
                        return Object(self.prog, enum, e.value)
        if name not in self._objects:
            return None
        type_, address = self._objects[name]
        return Object(self.prog, type_, address=address)

    def struct(self, name: str, /, **members: Type) -> Type:
        """Make a struct type of members in this order, each aligned to its size up to 8 bytes."""
        rows, at = [], 0
        for member, type_ in members.items():
            align = min(sizeof(type_) or 8, 8)
            at = -(-at // align) * align
            rows.append(TypeMember(type_, member, at * 8))
            at += sizeof(type_)
        made = self.prog.struct_type(name, -(-at // 8) * 8, rows)
        self._types[name] = made
        return made

    def bits(self, name: str, whole: str, /, **sizes: int) -> Type:
        """Make a union of an unsigned int `whole` with a struct of its parts, of so many bits."""
        ends = list(itertools.accumulate(sizes.values()))
        rows = [
            TypeMember(Object(self.prog, self.uint, bit_field_size=size), part, end - size)
            for (part, size), end in zip(sizes.items(), ends, strict=True)
        ]
        parts = self.prog.struct_type(None, sizeof(self.uint), rows)
        members = [TypeMember(self.uint, whole), TypeMember(parts)]
        made = self.prog.union_type(name, sizeof(self.uint), members)
        self._types[name] = made
        return made

    def typedef(self, name: str, of: Type) -> None:
        self._types[name] = self.prog.typedef_type(name, of)

    def enum(self, name: str, names: Sequence[str]) -> Type:
        rows = [TypeEnumerator(n, i) for i, n in enumerate(names)]
        made = self.prog.enum_type(name, self.uint, rows)
        self._types[name] = made
        return made

    def pointer(self, to: Type) -> Type:
        return self.prog.pointer_type(to)

    def array(self, of: Type, length: int) -> Type:
        return self.prog.array_type(of, length, qualifiers=Qualifiers.NONE)

    def room(self, size: int, align: int = 16) -> int:
        """Return the address of so many bytes of zeros."""
        at = -(-self._next // align) * align
        self._next = at + size
        assert self._next <= _SIZE
        return BASE + at

    def page(self) -> int:
        """Return the physical address of a page of zeros."""
        return self.room(4096, 4096) - BASE

    def write(self, address: int, data: bytes) -> None:
        at = address - BASE
        self._memory[at : at + len(data)] = data

    def words(self, *words: int) -> int:
        """Return the address of 64-bit words."""
        address = self.room(8 * len(words))
        self.write(address, struct.pack(f"<{len(words)}Q", *words))
        return address

    def text(self, text: str) -> int:
        data = text.encode() + b"\0"
        address = self.room(len(data))
        self.write(address, data)
        return address

    def make(self, type_: Type, /, *, at: int | None = None, extra: int = 0, **values: Any) -> int:
        """Return the address of a struct with these values: "a__b" is the member a.b."""
        address = self.room(sizeof(type_) + extra) if at is None else at
        for member, value in values.items():
            self.set(type_, address, member.replace("__", "."), value)
        return address

    def set(self, type_: Type, address: int, member: str, value: int | bytes) -> None:
        where: Any = Object(self.prog, type_, address=address)
        for part in member.split("."):
            where = getattr(where, part)
        data = value if isinstance(value, bytes) else value.to_bytes(sizeof(where), "little")
        self.write(where.address_, data)

    def variable(self, name: str, type_: Type, value: int | None = None, at: int = 0) -> int:
        """Make a variable, and return its address."""
        address = at or self.room(sizeof(type_))
        if value is not None:
            self.write(address, value.to_bytes(sizeof(type_), "little"))
        self._objects[name] = (type_, address)
        return address

    def ring(self, type_: Type, *addresses: int, head: int = 0) -> int:
        """Join structs with a member `list` to a list, and return the address of its head."""
        head = head or self.room(16)
        link = offsetof(type_, "list")
        self.link(head, *(address + link for address in addresses))
        return head

    def link(self, head: int, *nodes: int) -> None:
        """Join struct list_heads to a list."""
        for node, following in itertools.pairwise((head, *nodes, head)):
            self.write(node, following.to_bytes(8, "little"))

    def symbols(self, symbols: Mapping[str, tuple[int, int]]) -> None:
        """Let the Program know symbols, by their address and size."""
        index = SymbolIndex(
            Symbol(name, address, size, SymbolBinding.GLOBAL, SymbolKind.FUNC)
            for name, (address, size) in symbols.items()
        )
        self.prog.register_symbol_finder("hand", index, enable_index=0)

    def map(self, virtual: int, physical: int, *, large: bool = False) -> None:
        """Map a page, or 2 MiB, in the page tables at `root`."""
        table, end = self.root, 21 if large else 12
        for shift in range(39, end - 1, -9):
            at = BASE + table + (virtual >> shift & 511) * 8
            if shift == end:
                entry = physical | (_HUGE if large else 0) | 1
                self.write(at, entry.to_bytes(8, "little"))
                return
            entry = int.from_bytes(self._memory[at - BASE : at - BASE + 8], "little")
            if not entry:
                entry = self.page() | 1
                self.write(at, entry.to_bytes(8, "little"))
            table = entry & ~0xFFF
