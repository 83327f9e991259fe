# SPDX-License-Identifier: GPL-2.0-only
"""Finds the processes of anonymous pages from words that point to a struct anon_vma.

The word is `mapping` of a folio's head, with the tag of anonymous pages in its low bits.
"""

from collections.abc import Iterable, Iterator

from drgn import FaultError, Program

from ...host.progress import paced
from ...model.owner_names import AnonOwner
from ...model.page_words import MAPPING_KSM
from ..members import Members
from ..structures import require_structure

_MAX_MMS = 64
"""Processes that are listed for an anon_vma."""
_MAX_VMAS = 1 << 12
"""Memory areas that are followed for an anon_vma."""
_UNREADABLE = AnonOwner((), cut=False, form="unreadable")


class AnonOwners:
    """Finds the mms of anonymous pages. Each memory area is read once."""

    def __init__(self, prog: Program) -> None:
        with require_structure("anonymous memory areas"):
            self._anon_vma = Members(prog, "struct anon_vma", "rb_root.rb_root.rb_node")
            self._chain = Members(
                prog, "struct anon_vma_chain", "vma", "rb", "rb.rb_left", "rb.rb_right"
            )
            self._vma = Members(prog, "struct vm_area_struct", "vm_mm", "anon_vma")
        self._known: dict[int, tuple[int, int]] = {}
        self.unreadable = 0

    def owners(self, words: Iterable[int]) -> list[AnonOwner]:
        """Return the owner of each word, in the same order."""
        return [self._owner(int(word)) for word in paced(words, 256)]

    def _owner(self, word: int) -> AnonOwner:
        if word & 3 == MAPPING_KSM:
            return AnonOwner((), cut=False, form="ksm")
        anon_vma = word & ~3
        first: dict[int, None] = {}
        others: dict[int, None] = {}
        areas = 0
        try:
            for mm, own in self._areas(anon_vma):
                areas += 1
                (first if own == anon_vma else others).setdefault(mm)
                if areas == _MAX_VMAS or len(first) + len(others) > 2 * _MAX_MMS:
                    break
        except FaultError:
            self.unreadable += 1
            return _UNREADABLE
        mms = tuple(first | others)
        return AnonOwner(mms[:_MAX_MMS], len(mms) > _MAX_MMS or areas == _MAX_VMAS, "anon")

    def _areas(self, anon_vma: int) -> Iterator[tuple[int, int]]:
        """Yield (address of the mm, address of its own anon_vma) of the memory areas in a tree."""
        chain = self._chain
        root = self._anon_vma.of(self._anon_vma.read(anon_vma), "rb_root.rb_root.rb_node")
        nodes = [root] if root else []
        while nodes:
            data = chain.read(nodes.pop() - chain.at["rb"])
            yield self._area(chain.of(data, "vma"))
            for side in ("rb.rb_right", "rb.rb_left"):
                node = chain.of(data, side)
                if node:
                    nodes.append(node)

    def _area(self, address: int) -> tuple[int, int]:
        known = self._known.get(address)
        if known is None:
            data = self._vma.read(address)
            known = self._vma.of(data, "vm_mm"), self._vma.of(data, "anon_vma")
            self._known[address] = known
        return known
