# SPDX-License-Identifier: GPL-2.0-only
"""Names slab caches from words that point to a struct kmem_cache."""

import contextlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ...model.owner_names import UNREADABLE
from ..members import Members
from ..structures import read_string, require_structure

_LONGEST_NAME = 256
_OLD_RECLAIM_ACCOUNT = 0x20000
"""SLAB_RECLAIM_ACCOUNT of kernels where flags of caches are macros. In newer ones the bit is the
enumerator _SLAB_RECLAIM_ACCOUNT."""


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


class ReclaimableCaches:
    """Finds the slab caches whose objects shrinkers can free (SLAB_RECLAIM_ACCOUNT)."""

    def __init__(self, prog: Program) -> None:
        with require_structure("slab caches"):
            self._cache = Members(prog, "struct kmem_cache", "flags")
        self._mask = _OLD_RECLAIM_ACCOUNT
        with contextlib.suppress(LookupError):
            self._mask = 1 << prog["_SLAB_RECLAIM_ACCOUNT"].value_()
        self._known: dict[int, bool] = {}

    def of(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Return whether the cache that each word points to is one, (n,); False if unreadable.

        Each distinct word is read once.
        """
        distinct, at = np.unique(words, return_inverse=True)
        found = np.array([self._is_one(word) for word in distinct.tolist()], np.bool_)
        return found[at]

    def _is_one(self, word: int) -> bool:
        if word not in self._known:
            try:
                flags = self._cache.of(self._cache.read(word), "flags")
            except FaultError:
                flags = 0
            self._known[word] = bool(flags & self._mask)
        return self._known[word]
