# SPDX-License-Identifier: GPL-2.0-only
"""Names slab caches from words that point to a struct kmem_cache."""

from collections.abc import Iterable

from drgn import FaultError, Program

from ...model.owner_names import UNREADABLE
from ..members import Members
from ..structures import read_string, require_structure

_LONGEST_NAME = 256


class SlabCacheNames:
    """Names slab caches. The word is slab_cache of a slab's first page."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("slab caches"):
            self._cache = Members(prog, "struct kmem_cache", "name")
            slab = "struct slab" if _has_slabs(prog) else "struct page"
            self._slab = Members(prog, slab, "slab_cache")
        self.unreadable = 0

    def names(self, words: Iterable[int]) -> list[str]:
        """Return the name of the cache that each word points to."""
        return [self._known_name(int(word)) for word in words]

    def name(self, word: int) -> str:
        """Return the name of the cache that a word points to. Raises FaultError."""
        name = self._cache.of(self._cache.read(word), "name")
        return read_string(self._prog, name, _LONGEST_NAME)

    def name_of_slab(self, slab: int) -> str:
        """Return the name of the cache of the struct slab at an address. Raises FaultError."""
        return self.name(self._slab.of(self._slab.read(slab), "slab_cache"))

    def _known_name(self, word: int) -> str:
        try:
            return self.name(word)
        except FaultError:
            self.unreadable += 1
            return UNREADABLE


def _has_slabs(prog: Program) -> bool:
    """Return whether slabs have a type of their own: in older kernels, it is struct page."""
    try:
        prog.type("struct slab")
    except LookupError:
        return False
    return True
