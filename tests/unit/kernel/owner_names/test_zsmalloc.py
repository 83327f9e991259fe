# SPDX-License-Identifier: GPL-2.0-only
"""Pools of compressed memory, in memory made by hand."""

import numpy as np
import pytest
from kernel_by_hand import BASE, Kernel
from owner_builder import ZsPools

from pageinspect.kernel.owner_names.zsmalloc import ZsmallocPools
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import PoolName

BEYOND = BASE + (1 << 30)


def test_pages_of_several_zspages_and_pools() -> None:
    pools = ZsPools()
    kernel = pools.kernel
    first, second = pools.pool("zram0", 5), pools.pool("zram1", 2)
    # The last of the three begins in one page of memory, and has its pool in the next.
    zspages = [
        kernel.make(pools.zspage_type, at=BASE + at, pool=pool)
        for at, pool in ((0x20000, first), (0x20100, second), (0x20FE0, first))
    ]
    words = np.array([zspages[i] for i in (2, 0, 1, 1, 2, 0)], np.uint64)
    reader = ZsmallocPools(kernel.prog)
    found = reader.pools(words)
    assert found.tolist() == [first, first, second, second, first, first]
    assert reader.names(np.unique(found)) == [
        PoolName(first, "zram0", 5),
        PoolName(second, "zram1", 2),
    ]
    assert reader.unreadable == 0


def test_damage_is_counted() -> None:
    pools = ZsPools()
    zspage = pools.kernel.make(pools.zspage_type, pool=BEYOND)
    words = np.array([BEYOND, zspage, BEYOND + 64, 0, (1 << 64) - 1], np.uint64)
    reader = ZsmallocPools(pools.kernel.prog)
    found = reader.pools(words)
    assert found.tolist() == [0, BEYOND, 0, 0, 0]
    assert reader.unreadable == 4
    assert reader.names(found[:2]) == [
        PoolName(0, "unreadable", None),
        PoolName(BEYOND, "unreadable", None),
    ]


def test_no_pages() -> None:
    assert len(ZsmallocPools(ZsPools().kernel.prog).pools(np.empty(0, np.uint64))) == 0


def test_a_kernel_without_the_types() -> None:
    with pytest.raises(MissingStructureError, match="pools of compressed memory"):
        ZsmallocPools(Kernel().prog)
