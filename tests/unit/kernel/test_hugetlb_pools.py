# SPDX-License-Identifier: GPL-2.0-only
"""The counters of hugetlb pools, in memory made by hand."""

import struct

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel.hugetlb_pools import read_hugetlb_pools
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import HugetlbPool


def test_all_counters_and_a_pool_of_an_impossible_order() -> None:
    kernel = Kernel()
    pool = kernel.struct(
        "hstate",
        order=kernel.ulong,
        nr_huge_pages=kernel.ulong,
        free_huge_pages=kernel.ulong,
        resv_huge_pages=kernel.ulong,
        surplus_huge_pages=kernel.ulong,
    )
    pools = kernel.variable("hstates", kernel.array(pool, 3))
    kernel.variable("hugetlb_max_hstate", kernel.uint, 3)
    kernel.write(pools, struct.pack("<15Q", 18, 1, 0, 0, 0, 9, 14, 8, 2, 3, 60, 1, 0, 0, 0))
    found, flaws = read_hugetlb_pools(kernel.prog)
    assert found == [HugetlbPool(18, 1, 0, 0, 0), HugetlbPool(9, 14, 8, 2, 3)]
    assert flaws == "a pool of huge pages of order 60 is left out"


def test_a_kernel_without_pools() -> None:
    with pytest.raises(MissingStructureError, match="pools of huge pages"):
        read_hugetlb_pools(Kernel().prog)
