# SPDX-License-Identifier: GPL-2.0-only
"""Names pools of compressed memory from words that point to a struct zspage.

The word is `zspage` of each page with the type zsmalloc: one for each of up to a few pages.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ...host.progress import paced
from ...model.arch import ADDRESSES_OF_KERNEL, PAGE_SHIFT, PAGE_SIZE
from ...model.batch import Words
from ...model.owner_names import UNREADABLE, PoolName
from ..module_types import module_members
from ..structures import read_string, require_structure

_LONGEST_NAME = 64
_WORD = 8
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
        places = zspages + np.uint64(self._pool_at)
        found = np.zeros(len(zspages), np.uint64)
        pages = places >> np.uint64(PAGE_SHIFT)
        cuts = (np.flatnonzero(np.diff(pages)) + 1).tolist()
        for start, end in paced(list(pairwise(dict.fromkeys([0, *cuts, len(pages)]))), 256):
            try:
                data = self._page(int(pages[start]) << PAGE_SHIFT)
            except FaultError:
                self.unreadable += end - start
                continue
            offsets = (places[start:end] % np.uint64(PAGE_SIZE)) // np.uint64(_WORD)
            found[start:end] = np.frombuffer(data, np.uint64)[offsets.astype(np.intp)]
        return found[index]

    def _page(self, address: int) -> bytes:
        if address < ADDRESSES_OF_KERNEL:
            raise FaultError("not an address of the kernel", address)
        return self._prog.read(address, PAGE_SIZE)

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
