# SPDX-License-Identifier: GPL-2.0-only
"""Slab caches, in memory made by hand."""

import numpy as np
import pytest
from drgn import FaultError
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.slab_caches import ReclaimableCaches, SlabCacheNames
from pageinspect.kernel.structures import MissingStructureError


def test_names_and_what_cannot_be_read() -> None:
    kernel = Kernel()
    type_ = kernel.struct("kmem_cache", flags=kernel.ulong, name=kernel.void_p)
    kernel.struct("slab", flags=kernel.ulong, slab_cache=kernel.void_p)
    caches = [kernel.make(type_, name=kernel.text(name)) for name in ("dentry", "x" * 300)]
    damaged = kernel.make(type_, name=BASE + (1 << 30))
    reader = SlabCacheNames(kernel.prog)
    words = np.array([*caches, 0, damaged], np.uint64)
    assert reader.names(words) == ["dentry", "x" * 256, "unreadable", "unreadable"]
    assert reader.unreadable == 2


@pytest.mark.parametrize("has_slabs", [True, False])
def test_the_cache_of_a_slab(has_slabs: bool) -> None:
    kernel = Kernel()
    cache = kernel.struct("kmem_cache", flags=kernel.ulong, name=kernel.void_p)
    page = {"flags": kernel.ulong, "lru": kernel.ulong, "slab_cache": kernel.void_p}
    slab = kernel.struct("page", **page)
    if has_slabs:
        slab = kernel.struct("slab", flags=kernel.ulong, slab_cache=kernel.void_p)
    made = kernel.make(slab, slab_cache=kernel.make(cache, name=kernel.text("dentry")))
    reader = SlabCacheNames(kernel.prog)
    assert reader.name_of_slab(made) == "dentry"
    with pytest.raises(FaultError):
        reader.name_of_slab(BASE + (1 << 30))


def test_a_kernel_without_the_type() -> None:
    with pytest.raises(MissingStructureError, match="slab caches"):
        SlabCacheNames(Kernel().prog)


@pytest.mark.parametrize(("enumerators", "bit"), [((), 17), (("_A", "_SLAB_RECLAIM_ACCOUNT"), 1)])
def test_caches_that_shrinkers_can_free(enumerators: tuple[str, ...], bit: int) -> None:
    kernel = Kernel()
    type_ = kernel.struct("kmem_cache", name=kernel.void_p, flags=kernel.uint)
    if enumerators:
        kernel.enum("_slab_flag_bits", enumerators)
    one, other = (
        kernel.make(type_, flags=flags) for flags in (1 << bit | 8, 0xFFFFFFFF ^ 1 << bit)
    )
    reader = ReclaimableCaches(kernel.prog)
    words = np.array([other, one, 0, one, BASE + (1 << 30)], np.uint64)
    assert reader.of(words).tolist() == [False, True, False, True, False]
    assert reader.of(words[:0]).tolist() == []
