# SPDX-License-Identifier: GPL-2.0-only
"""Names memory cgroups from words that point to a struct mem_cgroup or obj_cgroup.

The word is `memcg` of a folio's head. In slab pages it is a vector of words, one for each object.
"""

from collections.abc import Iterable

from drgn import FaultError, Program

from ...host.progress import paced
from ...model.owner_names import UNREADABLE
from ..members import Members
from ..name_paths import CgroupPaths
from ..structures import require_structure

_FLAGS = 7
"""The bits of the word that are flags: enum page_memcg_data_flags and enum objext_flags."""


class MemoryCgroupNames:
    """Names memory cgroups by their path."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("memory cgroups"):
            self._memcg = Members(prog, "struct mem_cgroup", "css.ss", "css.cgroup", "css.flags")
            self._cgroup = Members(prog, "struct cgroup", "kn")
            self._paths = CgroupPaths(prog)
            self._online = int(prog.constant("CSS_ONLINE").value_())
            self._controller = int(prog.symbol("memory_cgrp_subsys").address)
        try:
            self._of_objects: Members | None = Members(prog, "struct obj_cgroup", "memcg")
        except LookupError:
            self._of_objects = None
        self.unreadable = 0

    def names(self, words: Iterable[int]) -> list[str]:
        """Return the path of each word's cgroup: "/" is the root, "" none.

        " (removed)" is appended to the path of a cgroup that no longer exists.
        """
        return [self._known_name(int(word)) for word in paced(words, 256)]

    def _known_name(self, word: int) -> str:
        try:
            return self.name(word)
        except FaultError:
            self.unreadable += 1
            return UNREADABLE

    def name(self, word: int) -> str:
        """Return the path of a word's cgroup, as names(). Raises FaultError."""
        address = word & ~_FLAGS
        if not address:
            return ""
        memcg = self._read(address)
        node = self._cgroup.of(self._cgroup.read(self._memcg.of(memcg, "css.cgroup")), "kn")
        path = self._paths.path(node)
        return path if self._memcg.of(memcg, "css.flags") & self._online else f"{path} (removed)"

    def _read(self, address: int) -> bytes:
        """Return the bytes of the struct mem_cgroup that an address leads to.

        Kernel memory that is not in slabs points to a struct obj_cgroup, which has a pointer. In
        newer kernels, all folios do.
        """
        memcg = self._memcg_at(address)
        if memcg is None and self._of_objects is not None:
            objects = self._of_objects.read(address)
            memcg = self._memcg_at(self._of_objects.of(objects, "memcg"))
        if memcg is None:
            raise FaultError("it leads to no memory cgroup", address)
        return memcg

    def _memcg_at(self, address: int) -> bytes | None:
        """Return the bytes of the struct mem_cgroup at an address; None if there is another."""
        try:
            data = self._memcg.read(address)
        except FaultError:
            return None
        return data if self._memcg.of(data, "css.ss") == self._controller else None
