# SPDX-License-Identifier: GPL-2.0-only
"""Pools of network pages, in memory made by hand."""

import struct

import pytest
from kernel_by_hand import BASE, Kernel
from owner_builder import PagePools

from pageinspect.kernel.owner_names.page_pools import PagePoolNames
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import PoolName

BEYOND = BASE + (1 << 30)


def test_network_device_number_and_pages() -> None:
    pools = PagePools()
    device = pools.kernel.make(pools.net_type, name=b"eth0")
    counts = {"pages_state_hold_cnt": 5, "pages_state_release_cnt": (1 << 32) - 2}
    pool = pools.pool(slow__netdev=device, user__id=7, p__order=2, **counts)
    assert PagePoolNames(pools.kernel.prog).names([pool]) == [PoolName(pool, "eth0 pool 7", 28)]


@pytest.mark.parametrize("netdev", [0, 1, BEYOND])
def test_a_pool_without_a_device(netdev: int) -> None:
    pools = PagePools()
    assert pools.name(pools.pool(slow__netdev=netdev, user__id=3)) == "pool 3"


def test_a_pool_of_before_has_a_device_and_no_number() -> None:
    pools = PagePools(network=False)
    device = pools.kernel.make(pools.device_type, kobj__name=pools.kernel.text("0000:00:03.0"))
    pool = pools.pool(p__dev=device)
    assert pools.name(pool) == f"0000:00:03.0 pool at {pool:#x}"
    assert pools.name(other := pools.pool()) == f"pool at {other:#x}"


def test_damage_is_counted() -> None:
    reader = PagePoolNames(PagePools().kernel.prog)
    assert reader.names([BEYOND, 0]) == [
        PoolName(BEYOND, "unreadable", None),
        PoolName(0, "unreadable", None),
    ]
    assert reader.unreadable == 2


def test_all_pools() -> None:
    pools = PagePools()
    kernel = pools.kernel
    array = kernel.struct("xarray", xa_flags=kernel.uint, xa_head=kernel.void_p)
    node = kernel.struct("xa_node", shift=kernel.char, slots=kernel.array(kernel.void_p, 64))
    made = [pools.pool(user__id=number) for number in (1, 2)]
    slots = kernel.make(node)
    kernel.write(slots + 8, struct.pack("<3Q", 0, *made))
    kernel.symbols({"page_pools": (kernel.make(array, xa_head=slots | 2), 16)})
    reader = PagePoolNames(kernel.prog)
    found, whole = reader.all_pools()
    assert ([pool.name for pool in found], whole) == (["pool 1", "pool 2"], True)
    kernel.write(slots + 8, struct.pack("<Q", BEYOND))
    found, whole = reader.all_pools()
    assert ([pool.pages for pool in found], whole) == ([None, 0, 0], False)


def test_a_kernel_without_the_types() -> None:
    with pytest.raises(MissingStructureError, match="pools of network pages"):
        PagePoolNames(Kernel().prog)
    with pytest.raises(MissingStructureError, match="list of pools"):
        PagePoolNames(PagePools().kernel.prog).all_pools()
