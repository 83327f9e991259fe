# SPDX-License-Identifier: GPL-2.0-only
"""Counts objects in slabs by the memory cgroup that they are charged to.

Words of a slab's first page: `slab_cache`, `memcg` (the vector with a word for each object) and
`slab_counters`. The words that are found are named by MemoryCgroupNames.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program, Type, sizeof

from ...model.batch import Words
from ..gather import gather_words
from ..members import Members
from ..structures import require_structure

_FLAGS = np.uint64(7)
"""The bits of the word that are flags: enum page_memcg_data_flags and enum objext_flags."""
_OBJECTS_SHIFT, _OBJECTS_MASK = np.uint64(16), np.uint64((1 << 15) - 1)
_MOST_AT_ONCE = 1 << 22
"""Objects whose words are read together."""


@dataclass(frozen=True, slots=True, eq=False)
class ChargedObjects:
    """Objects of slabs by cgroup; the three arrays belong together."""

    words: Words
    """Words that lead to a struct obj_cgroup, each once."""
    objects: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]
    """Bytes of the objects. memory.stat adds 8 for each object, which are slab memory as well."""
    unreadable: int
    """Slabs and objects that cannot be read."""


class SlabObjects:
    """Finds the cgroups of the objects in slabs."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        with require_structure("vectors of the cgroups of slab objects"):
            self._cache = Members(prog, "struct kmem_cache", "size")
            self._stride = _Stride(prog)

    def charged(self, caches: Words, vectors: Words, counters: Words) -> ChargedObjects:
        """Return the charged objects of slabs; the arrays have a word for each slab."""
        sizes, unreadable = self._sizes(caches)
        vectors = np.where(self._stride.has_cgroups(counters), vectors & ~_FLAGS, np.uint64(0))
        known = (vectors != 0) & (sizes > 0)
        numbers = (counters >> _OBJECTS_SHIFT & _OBJECTS_MASK).astype(np.int64)
        strides = self._stride.strides(counters, sizes)
        numbers, sizes, strides, vectors = (
            each[known] for each in (numbers, sizes, strides, vectors)
        )
        words, weights = [], []
        for part in _parts(numbers):
            number = numbers[part]
            slab = np.repeat(np.arange(len(number)), number)
            place = np.arange(len(slab)) - np.repeat(np.cumsum(number) - number, number)
            steps = (place * strides[part][slab] + self._stride.at).astype(np.uint64)
            found, readable = gather_words(self._prog, vectors[part][slab] + steps)
            unreadable += int(np.count_nonzero(~readable))
            charged = found != 0
            words.append(found[charged])
            weights.append(sizes[part][slab][charged])
        return _summed(words, weights, unreadable)

    def _sizes(self, caches: Words) -> tuple[npt.NDArray[np.int64], int]:
        """Return the size of an object of each slab, 0 for damaged caches, and their number."""
        distinct, index = np.unique(caches, return_inverse=True)
        sizes = np.array([self._size(cache) for cache in distinct.tolist()], np.int64)
        return sizes[index], int(np.count_nonzero(sizes[index] == 0)) if len(caches) else 0

    def _size(self, cache: int) -> int:
        try:
            return self._cache.of(self._cache.read(cache), "size")
        except FaultError:
            return 0


class _Stride:
    """The distance of the words of two objects in a vector, in bytes.

    Older kernels have a vector of pointers, as memcg_data. Then obj_exts has a vector of struct
    slabobj_ext, in the newest kernels perhaps inside the objects: a field of `counters` has the
    distance, or bits say where the words are and whether there are any.
    """

    def __init__(self, prog: Program) -> None:
        self.at, self._size = 0, 8
        self._field: int | None = None
        self._in_object: int | None = None
        self._has: int | None = None
        slab = prog.type("struct slab")
        if not slab.has_member("obj_exts"):
            # It raises LookupError for kernels with neither.
            slab.member("memcg_data")
            return
        element = prog.type("struct slabobj_ext")
        name = "objcg" if element.has_member("objcg") else "_objcg"
        self.at, self._size = element.member(name).bit_offset // 8, sizeof(element)
        self._field = _bit(slab, "stride")
        self._in_object = _bit(slab, "obj_exts_in_object")
        self._has = _bit(slab, "obj_exts_needs_objcg")
        if self._has is not None and len(_names(element)) > 1:
            raise LookupError("size of a slabobj_ext with allocation profiling")

    def has_cgroups(self, counters: Words) -> npt.NDArray[np.bool_]:
        """Return whether the vectors of slabs have words of cgroups."""
        if self._has is None:
            return np.ones(len(counters), np.bool_)
        return counters >> np.uint64(self._has) & np.uint64(1) != 0

    def strides(self, counters: Words, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the distance for each slab, from its counters and the size of its objects."""
        if self._field is not None:
            return (counters >> np.uint64(self._field) & np.uint64(0xFFFF)).astype(np.int64)
        if self._in_object is None:
            return np.full(len(counters), self._size, np.int64)
        inside = counters >> np.uint64(self._in_object) & np.uint64(1) != 0
        return np.where(inside, sizes, self._size)


def _bit(slab: Type, member: str) -> int | None:
    """Return the lowest bit of a bit field in the word `counters`; None without the member."""
    if not slab.has_member(member):
        return None
    return int(slab.member(member).bit_offset - slab.member("counters").bit_offset)


def _names(type_: Type) -> list[str]:
    """Return the names of all members, also of those without a name."""
    found: list[str] = []
    for member in type_.members or ():
        found += [member.name] if member.name else _names(member.type)
    return found


def _parts(numbers: npt.NDArray[np.int64]) -> list[slice]:
    """Return parts of slabs with up to _MOST_AT_ONCE objects together."""
    before = np.cumsum(numbers) - numbers
    cuts = (np.flatnonzero(np.diff(before // _MOST_AT_ONCE)) + 1).tolist()
    edges = [0, *cuts, len(numbers)]
    return [slice(start, end) for start, end in pairwise(edges)]


def _summed(
    words: list[Words], weights: list[npt.NDArray[np.int64]], unreadable: int
) -> ChargedObjects:
    found = np.concatenate([np.empty(0, np.uint64), *words])
    sizes = np.concatenate([np.empty(0, np.int64), *weights])
    distinct, index, objects = np.unique(found, return_inverse=True, return_counts=True)
    total = np.bincount(index, sizes, len(distinct)).astype(np.int64)
    return ChargedObjects(distinct, objects.astype(np.int64), total, unreadable)
