# SPDX-License-Identifier: GPL-2.0-only
"""Reads several members of a kernel structure with one read of memory."""

import struct
from collections.abc import Mapping

from drgn import FaultError, Program, Type, sizeof

from ..model.arch import ADDRESSES_OF_KERNEL

_FORMATS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


class Members:
    """Offsets and sizes of some members of one structure type."""

    def __init__(
        self, prog: Program, name: str, *members: str, optional: tuple[str, ...] = ()
    ) -> None:
        """Look up the members; raises LookupError if this kernel lacks one that is not optional.

        "a.b" is the member b of the structure that is the member a.
        """
        type_ = prog.type(name)
        self.size: int = sizeof(type_)
        known = [*members, *(member for member in optional if _has(type_, member))]
        self._required = frozenset(members)
        self._place(prog, {member: _place(type_, member) for member in known})

    def _place(self, prog: Program, places: Mapping[str, tuple[int, int]]) -> None:
        """Set the places of the members: (offset, size) in bytes."""
        self._prog = prog
        self.at = {member: offset for member, (offset, _) in places.items()}
        self._sizes = {member: size for member, (_, size) in places.items()}
        self._formats = {member: _FORMATS.get(size, "<Q") for member, size in self._sizes.items()}
        self._start = min(self.at.values(), default=0)
        self._end = max((offset + size for offset, size in places.values()), default=0)

    def __contains__(self, member: str) -> bool:
        return member in self.at

    def size_of(self, member: str) -> int:
        """Return the size of a member in bytes."""
        return self._sizes[member]

    def read(self, address: int) -> bytes:
        """Return the bytes of the structure at an address, up to the end of the last member.

        Bytes before the first member are not read, because a dump may lack them: they are zeros.
        Raises FaultError, and for addresses that are not the kernel's: in some cores, address 0
        can be read.
        """
        self._check(address)
        data = self._prog.read(address + self._start, self._end - self._start)
        return bytes(self._start) + data

    def _check(self, address: int) -> None:
        """Raise FaultError if there can be no structure of the kernel at an address."""
        if not ADDRESSES_OF_KERNEL <= address <= (1 << 64) - self._end:
            raise FaultError("not an address of the kernel", address % (1 << 64))

    def read_partly(self, address: int) -> tuple[bytes, frozenset[str]]:
        """Return the same, and the optional members that cannot be read, which are zeros.

        Raises FaultError if another member cannot be read, and as read() does.
        """
        self._check(address)
        try:
            return self.read(address), frozenset()
        except FaultError:
            data, missing = bytearray(self._end), set()
        for member, at in self.at.items():
            size = self._sizes[member]
            try:
                data[at : at + size] = self._prog.read(address + at, size)
            except FaultError:
                if member in self._required:
                    raise
                missing.add(member)
        return bytes(data), frozenset(missing)

    def of(self, data: bytes, member: str) -> int:
        """Return a member as an unsigned integer; if it is a structure, its first 64-bit word."""
        number: int = struct.unpack_from(self._formats[member], data, self.at[member])[0]
        return number

    def bytes_of(self, data: bytes, member: str, length: int) -> bytes:
        """Return the first bytes of a member."""
        return data[self.at[member] : self.at[member] + length]


class WordMembers(Members):
    """Members of 64 bits at known offsets, of a structure that the Program does not know."""

    def __init__(self, prog: Program, offsets: Mapping[str, int]) -> None:
        self.size = max(offsets.values(), default=0) + 8
        self._required = frozenset(offsets)
        self._place(prog, {member: (offset, 8) for member, offset in offsets.items()})


def _place(type_: Type, member: str) -> tuple[int, int]:
    """Return (offset, size) of a member in bytes; raises LookupError."""
    bits = 0
    for name in member.split("."):
        found = type_.member(name)
        bits, type_ = bits + found.bit_offset, found.type
    return bits // 8, sizeof(type_)


def _has(type_: Type, member: str) -> bool:
    try:
        _place(type_, member)
    except LookupError:
        return False
    return True
