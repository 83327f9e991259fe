# SPDX-License-Identifier: GPL-2.0-only
"""Follows the kernel's IDRs, which are xarrays of pointers by number."""

from collections.abc import Iterator

import numpy as np
from drgn import FaultError, Object, Program, offsetof

from .structures import require_structure

_SLOTS = 64
_MAX_SHIFT = 60
_INTERNAL = 2
"""Low two bits of an entry that refers to a node. Other internal entries are small numbers."""
_FIRST_NODE = 4096


class IdrWalk:
    """Follows IDRs, with at most `most` nodes and entries in all IDRs together."""

    def __init__(self, prog: Program, most: int) -> None:
        """Raise MissingStructureError if this kernel's types are not known."""
        self._prog = prog
        self._left = most
        self.whole = True
        with require_structure("struct xa_node"):
            node = prog.type("struct xa_node")
            self._slots, self._shift = offsetof(node, "slots"), offsetof(node, "shift")
            if node.member("slots").type.length != _SLOTS:
                raise LookupError("its nodes have another number of slots")

    def entries(self, idr: Object) -> Iterator[int]:
        """Yield the pointers of a struct idr, each node once."""
        try:
            waiting = [(idr.idr_rt.xa_head.value_(), _MAX_SHIFT + 6)]
        except FaultError:
            self.whole = False
            return
        while waiting:
            entry, below = waiting.pop()
            if not self._left:
                self.whole = False
                return
            self._left -= 1
            if entry & 3 != _INTERNAL:
                if entry:
                    yield entry
                continue
            if entry < _FIRST_NODE:
                continue
            try:
                node = entry - _INTERNAL
                shift = self._prog.read_u8(node + self._shift)
                data = self._prog.read(node + self._slots, 8 * _SLOTS)
            except FaultError:
                self.whole = False
                continue
            if shift >= below:
                self.whole = False
                continue
            words = np.frombuffer(data, np.uint64)
            waiting += [(word, shift) for word in words[words != 0].tolist()]
