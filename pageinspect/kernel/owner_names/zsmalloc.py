# SPDX-License-Identifier: GPL-2.0-only
"""Names pools of compressed memory from words that point to a struct zspage.

The word is `zspage` of each page with the type zsmalloc: one for each of up to a few pages.
"""

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ...model.batch import Words
from ...model.owner_names import UNREADABLE, PoolName
from ..gather import gather_words
from ..module_types import module_members
from ..structures import read_string, require_structure

_LONGEST_NAME = 64
_MODULE = "zsmalloc"
"""The module that has the types, if they are not the kernel's own."""


class ZsmallocPools:
    """Finds the pools of pages of zsmalloc."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("pools of compressed memory"):
            self._pool_at = module_members(prog, _MODULE, "zspage", "pool").at["pool"]
            self._pool = module_members(prog, _MODULE, "zs_pool", "name", "pages_allocated")
        self.unreadable = 0
        """Zspages and pools that cannot be read."""

    def pools(self, words: Words) -> Words:
        """Return the address of the struct zs_pool for each word: 0 if it is unreadable.

        All words may be given at once: each page of memory with zspages is read once.
        """
        zspages, index = np.unique(words, return_inverse=True)
        pools, readable = gather_words(self._prog, zspages + np.uint64(self._pool_at))
        self.unreadable += int(np.count_nonzero(~readable))
        return pools[index]

    def names(self, pools: npt.NDArray[np.uint64]) -> list[PoolName]:
        """Return the pool of each address that pools() returned, in the same order."""
        return [self._name(pool) for pool in pools.tolist()]

    def _name(self, address: int) -> PoolName:
        try:
            data = self._pool.read(address)
            name = read_string(self._prog, self._pool.of(data, "name"), _LONGEST_NAME)
        except FaultError:
            self.unreadable += 1
            return PoolName(address, UNREADABLE, None)
        return PoolName(address, name, self._pool.of(data, "pages_allocated"))
