# SPDX-License-Identifier: GPL-2.0-only
"""Slab caches, in memory made by hand."""

import numpy as np
import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.owner_names.slab_caches import SlabCacheNames
from pageinspect.kernel.structures import MissingStructureError


def test_names_and_what_cannot_be_read() -> None:
    kernel = Kernel()
    type_ = kernel.struct("kmem_cache", flags=kernel.ulong, name=kernel.void_p)
    caches = [kernel.make(type_, name=kernel.text(name)) for name in ("dentry", "x" * 300)]
    damaged = kernel.make(type_, name=BASE + (1 << 30))
    reader = SlabCacheNames(kernel.prog)
    words = np.array([*caches, 0, damaged], np.uint64)
    assert reader.names(words) == ["dentry", "x" * 256, "unreadable", "unreadable"]
    assert reader.unreadable == 2


def test_a_kernel_without_the_type() -> None:
    with pytest.raises(MissingStructureError, match="slab caches"):
        SlabCacheNames(Kernel().prog)
