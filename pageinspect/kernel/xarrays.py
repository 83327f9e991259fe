# SPDX-License-Identifier: GPL-2.0-only
"""Follows the kernel's xarrays."""

import struct
from collections.abc import Iterator

from drgn import FaultError, Program

from .members import Members

_SLOTS = 64
_INTERNAL = 2
"""The low two bits of an entry that leads to a struct xa_node, or that the xarray uses itself."""
_LOWEST_NODE = 1 << 12


class XarrayWalk:
    """Follows xarrays of pointers, with at most `most` entries and nodes together."""

    def __init__(self, prog: Program, most: int) -> None:
        """Look up the types; raises LookupError."""
        self._prog = prog
        self._array = Members(prog, "struct xarray", "xa_head")
        self._node = Members(prog, "struct xa_node", "shift", "slots")
        self._left = most
        self.whole = True
        """False once something could not be followed."""

    def entries(self, xarray: int) -> Iterator[int]:
        """Yield the pointers in the xarray at an address, in the order of their indexes."""
        try:
            head = self._array.of(self._array.read(xarray), "xa_head")
        except FaultError:
            self.whole = False
            return
        pending = [(head, 64)] if head else []
        while pending:
            entry, above = pending.pop()
            if not self._left:
                self.whole = False
                return
            self._left -= 1
            if entry & 3 != _INTERNAL:
                yield entry
            elif entry > _LOWEST_NODE:
                pending += self._below(entry - _INTERNAL, above)

    def _below(self, node: int, above: int) -> list[tuple[int, int]]:
        """Return the entries of a node, the last first, with its shift: it falls at each level."""
        try:
            data = self._node.read(node)
        except FaultError:
            self.whole = False
            return []
        shift = self._node.of(data, "shift")
        if shift >= above:
            self.whole = False
            return []
        slots = struct.unpack_from(f"<{_SLOTS}Q", data, self._node.at["slots"])
        return [(entry, shift) for entry in reversed(slots) if entry]
