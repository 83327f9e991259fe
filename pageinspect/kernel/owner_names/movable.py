# SPDX-License-Identifier: GPL-2.0-only
"""Names the drivers of pages that their owner can move, from the tagged word in their mapping.

The word is `mapping` of pages with the use movable_ops, in kernels whose tag is in mapping. Newer
kernels give such pages a type instead.
"""

from collections.abc import Iterable

from drgn import FaultError, Program

from ...model.owner_names import UNREADABLE
from ..members import Members
from ..module_memory import CodeNames, read_modules
from ..structures import require_structure

_TAG = 3


class MovableNames:
    """Names the operations that a driver has for its pages: "zsmalloc_mops [zsmalloc]".

    The word points to them or, in kernels without struct movable_operations, to a struct
    address_space that has them as a_ops.
    """

    def __init__(self, prog: Program) -> None:
        self._names = CodeNames(prog, read_modules(prog))
        self._mapping: Members | None = None
        with require_structure("drivers of movable pages"):
            if not _has_operations(prog):
                self._mapping = Members(prog, "struct address_space", "a_ops")
        self.unreadable = 0

    def names(self, words: Iterable[int]) -> list[str]:
        """Return the name of each word's operations, in the same order."""
        return [self._name(int(word) & ~_TAG) for word in words]

    def _name(self, address: int) -> str:
        if self._mapping is not None:
            try:
                address = self._mapping.of(self._mapping.read(address), "a_ops")
            except FaultError:
                self.unreadable += 1
                return UNREADABLE
        return self._names.name(address)


def _has_operations(prog: Program) -> bool:
    try:
        prog.type("struct movable_operations")
    except LookupError:
        return False
    return True
