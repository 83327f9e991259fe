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
        self.unreadable = 0

    def names(self, words: Iterable[int]) -> list[str]:
        """Return the name of the cache that each word points to."""
        return [self._name(int(word)) for word in words]

    def _name(self, word: int) -> str:
        try:
            name = self._cache.of(self._cache.read(word), "name")
            return read_string(self._prog, name, _LONGEST_NAME) or UNREADABLE
        except FaultError:
            self.unreadable += 1
            return UNREADABLE
