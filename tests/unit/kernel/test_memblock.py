# SPDX-License-Identifier: GPL-2.0-only
"""What memblock has as reserved, made by hand."""

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel.memblock import read_boot_reserved
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import BootReserved

UNREADABLE = BootReserved((), whole=False, unreadable=1)


def read(
    *regions: tuple[int, int],
    count: int | None = None,
    total: int | None = None,
    at: int | None = None,
) -> BootReserved:
    """Read a list of regions, each an address and a size."""
    k = Kernel()
    type_ = k.struct("memblock_type", cnt=k.ulong, total_size=k.ulong, regions=k.void_p)
    region = k.struct("memblock_region", flags=k.uint, base=k.ulong, size=k.ulong, nid=k.uint)
    memblock = k.struct("memblock", current_limit=k.ulong, memory=type_, reserved=type_)
    array = k.room(32 * len(regions))
    for number, (base, size) in enumerate(regions):
        k.make(region, at=array + 32 * number, flags=0xFFFF, base=base, size=size, nid=7)
    k.variable("memblock", memblock)
    k.make(
        memblock,
        at=k.prog["memblock"].address_,
        reserved__cnt=len(regions) if count is None else count,
        reserved__total_size=sum(size for _, size in regions) if total is None else total,
        reserved__regions=array if at is None else at,
    )
    return read_boot_reserved(k.prog)


def test_regions_are_the_pages_that_they_touch() -> None:
    found = read((0, 0x1000), (0x1800, 0x10), (0x2000, 0x2000), (0x100000, 0x1001), (0x200800, 0))
    assert found == BootReserved(((0, 4), (0x100, 0x102)))


def test_a_list_of_one_empty_region_is_empty() -> None:
    assert read((0, 0)) == BootReserved()


@pytest.mark.parametrize(
    "regions",
    [
        [(0x5000, 0x1000), (0x1000, 0x1000)],
        [(0x1000, 0x2000), (0x2000, 0x1000)],
        [((1 << 64) - 0x1000, 0x2000)],
    ],
)
def test_regions_out_of_order_are_not_believed(regions: list[tuple[int, int]]) -> None:
    assert read(*regions) == UNREADABLE


def test_sizes_that_do_not_add_up_are_not_believed() -> None:
    """The array was freed once it had been replaced by a longer one."""
    assert read((0x1000, 0x1000), total=0x3000) == UNREADABLE


@pytest.mark.parametrize(
    ("count", "at"), [(1 << 17, None), ((1 << 64) - 1, None), (1, 0xFFFF8FFFFFFFF000)]
)
def test_a_list_that_cannot_be_read(count: int, at: int | None) -> None:
    assert read((0x1000, 0x1000), count=count, at=at) == UNREADABLE


def test_a_kernel_without_memblock() -> None:
    with pytest.raises(MissingStructureError, match="no known memblock"):
        read_boot_reserved(Kernel().prog)
