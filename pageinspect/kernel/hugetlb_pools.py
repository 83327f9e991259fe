# SPDX-License-Identifier: GPL-2.0-only
"""Reads the counters of hugetlb pools."""

from drgn import FaultError, Program

from ..model.arch import GIGANTIC_ORDER
from ..model.owner_names import HugetlbPool
from .structures import require_structure


def read_hugetlb_pools(prog: Program) -> tuple[list[HugetlbPool], str]:
    """Return the pools, and a text about invalid values ("" if none).

    Raises MissingStructureError for kernels without pools, and FaultError.
    """
    with require_structure("pools of huge pages"):
        pools, n = prog["hstates"], prog["hugetlb_max_hstate"].value_()
    found, flaws, most = [], [], len(pools)
    if not 0 <= n <= most:
        flaws.append(f"hugetlb_max_hstate is {n}, outside of 0 to {most}")
    for pool in pools[: min(max(n, 0), most)]:
        order = pool.order.value_()
        if order > GIGANTIC_ORDER:
            flaws.append(f"a pool of huge pages of order {order} is left out")
            continue
        found.append(
            HugetlbPool(
                order=order,
                pages=pool.nr_huge_pages.value_(),
                free=pool.free_huge_pages.value_(),
                reserved=pool.resv_huge_pages.value_(),
                surplus=pool.surplus_huge_pages.value_(),
            )
        )
    return found, "; ".join(flaws)


def movable_gigantic_pages(prog: Program) -> bool | None:
    """Return vm.movable_gigantic_pages: whether ZONE_MOVABLE may have huge pages of 1 GiB.

    None for a kernel without this setting: it never takes them from there.
    """
    try:
        return bool(prog["movable_gigantic_pages"].value_())
    except (LookupError, FaultError):
        return None
