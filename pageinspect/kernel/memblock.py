# SPDX-License-Identifier: GPL-2.0-only
"""Reads memblock.reserved: memory that was allocated at boot, before the buddy allocator."""

import numpy as np
from drgn import FaultError, Program, Type, offsetof, sizeof

from ..model.arch import PAGE_SHIFT
from ..model.kernel_memory import BootReserved
from ..model.ranges import merge
from .structures import require_structure

_MAX = 1 << 16


def read_boot_reserved(prog: Program) -> BootReserved:
    """Read memblock.reserved; raises MissingStructureError.

    Without CONFIG_ARCH_KEEP_MEMBLOCK, memblock_discard() frees an array of regions that outgrew the
    static one, and its pages may have been reused. The regions are therefore used only if they are
    sorted and their sizes add up to total_size.
    """
    with require_structure("memblock"):
        reserved, region = prog["memblock"].reserved, prog.type("struct memblock_region")
        dtype = _dtype(region)
        fields = [getattr(reserved, name) for name in ("cnt", "regions", "total_size")]
    try:
        n, address, total = (value.value_() for value in fields)
        if not 0 <= n <= _MAX:
            return BootReserved(whole=False, unreadable=1)
        regions = np.frombuffer(prog.read(address, n * dtype.itemsize), dtype)
    except FaultError:
        return BootReserved(whole=False, unreadable=1)
    bases, sizes = regions["base"], regions["size"]
    ends = bases + sizes
    # uint64 sums wrap as in the kernel.
    if (
        int(sizes.sum(dtype=np.uint64)) != total
        or (ends < bases).any()
        or (bases[1:] < ends[:-1]).any()
    ):
        return BootReserved(whole=False, unreadable=1)
    ranges = zip(bases.tolist(), ends.tolist(), strict=True)
    return BootReserved(
        tuple(merge((s >> PAGE_SHIFT, -(-e >> PAGE_SHIFT)) for s, e in ranges if s < e))
    )


def _dtype(region: Type) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": ["base", "size"],
            "formats": [np.uint64, np.uint64],
            "offsets": [offsetof(region, "base"), offsetof(region, "size")],
            "itemsize": sizeof(region),
        }
    )
