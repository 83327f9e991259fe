# SPDX-License-Identifier: GPL-2.0-only
"""Reads several members of a kernel structure with one read of memory."""

import struct

from drgn import FaultError, Program, sizeof

_FORMATS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


class Members:
    """Offsets and sizes of some members of one structure type."""

    def __init__(
        self, prog: Program, name: str, *members: str, optional: tuple[str, ...] = ()
    ) -> None:
        """Look up the members; raises LookupError if this kernel lacks one that is not optional."""
        type_ = prog.type(name)
        self._prog = prog
        self.size: int = sizeof(type_)
        known = [*members, *(member for member in optional if type_.has_member(member))]
        found = {member: type_.member(member) for member in known}
        sizes = {member: sizeof(found[member].type) for member in known}
        self._sizes = sizes
        self._required = frozenset(members)
        self.at = {member: found[member].bit_offset // 8 for member in known}
        self._formats = {member: _FORMATS.get(sizes[member], "<Q") for member in known}
        self._start = min(self.at.values(), default=0)
        self._end = max((self.at[m] + sizes[m] for m in known), default=0)

    def __contains__(self, member: str) -> bool:
        return member in self.at

    def read(self, address: int) -> bytes:
        """Return the bytes of the structure at an address, up to the end of the last member.

        Bytes before the first member are not read, because a dump may lack them: they are zeros.
        Raises FaultError.
        """
        data = self._prog.read(address + self._start, self._end - self._start)
        return bytes(self._start) + data

    def read_partly(self, address: int) -> tuple[bytes, frozenset[str]]:
        """Return the same, and the optional members that cannot be read, which are zeros.

        Raises FaultError if another member cannot be read.
        """
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
