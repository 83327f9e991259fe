# SPDX-License-Identifier: GPL-2.0-only
"""The pages that kinds claim by structures other than vmalloc areas."""

import numpy as np

from pageinspect.model.kernel_memory import (
    BootReserved,
    MemmapPages,
    PercpuPages,
    Resource,
    Resources,
)
from pageinspect.model.owner_memory import (
    BlockRequests,
    KernelImage,
    PageTablePages,
    StaticMemory,
    TraceMemory,
)
from pageinspect.model.ranges import Range
from pageinspect.owners.block import BLOCK
from pageinspect.owners.boot import BOOT
from pageinspect.owners.crashkernel import CRASHKERNEL
from pageinspect.owners.firmware import FIRMWARE
from pageinspect.owners.kernel_image import KERNEL_IMAGE
from pageinspect.owners.kind import Kind
from pageinspect.owners.memmap import MEMMAP
from pageinspect.owners.page_table import TABLE
from pageinspect.owners.percpu import PERCPU
from pageinspect.owners.static import STATIC
from pageinspect.owners.structures import Structures
from pageinspect.owners.table import KINDS
from pageinspect.owners.tracing import TRACING
from pageinspect.owners.unknown import UNKNOWN

PAGE = 4096


def claimed(kind: Kind, structures: Structures) -> dict[str, list[Range]]:
    """Return the ranges by name."""
    assert kind.claims is not None
    claims = kind.claims(structures)
    found: dict[str, list[Range]] = {}
    rows = zip(claims.starts.tolist(), claims.ends.tolist(), claims.owners.tolist(), strict=True)
    for start, end, owner in rows:
        found.setdefault(claims.labels[owner].name, []).append((start, end))
    return found


def resources(*lines: tuple[int, int, str, int], whole: bool = True) -> Resources:
    """Make resources of lines of /proc/iomem, with the first and last byte."""
    made = (Resource(start, last + 1, name, depth) for start, last, name, depth in lines)
    return Resources(tuple(made), whole)


LINES = resources(
    (0x0, 0xFFF, "Reserved", 0),
    (0x1000, 0x9FBFF, "System RAM", 0),
    (0x9FC00, 0x9FFFF, "Reserved", 0),
    (0xA0000, 0xBFFFF, "PCI Bus 0000:00", 0),
    (0xA8000, 0xA8FFF, "Video ROM", 1),
    (0x100000, 0x7FFFFFF, "System RAM", 0),
    (0x1000000, 0x1FFFFFF, "Kernel code", 1),
    (0x2000000, 0x2FFFFFF, "Kernel bss", 1),
    (0x4000000, 0x5FFFFFF, "Crash kernel", 1),
)


def test_firmware_is_what_is_not_ram() -> None:
    assert claimed(FIRMWARE, Structures(resources=LINES)) == {
        "Reserved": [(0, 1), (0x9F, 0xA0)],
        "PCI Bus 0000:00": [(0xA0, 0xA8), (0xA9, 0xC0)],
        "Video ROM": [(0xA8, 0xA9)],
        "not in iomem": [(0xC0, 0x100), (0x8000, 1 << 40)],
    }


def test_without_all_resources_nothing_is_outside_of_them() -> None:
    part = resources((0x1000, 0x1FFF, "", 0), whole=False)
    assert claimed(FIRMWARE, Structures(resources=part)) == {"(no name)": [(1, 2)]}


def test_the_crash_kernel_is_a_resource() -> None:
    assert claimed(CRASHKERNEL, Structures(resources=LINES)) == {"Crash kernel": [(0x4000, 0x6000)]}


def test_boot_memory_is_of_any_other_kind_first() -> None:
    assert KINDS[-2:] == (BOOT, UNKNOWN)
    assert BOOT.rest


def test_boot_memory() -> None:
    assert claimed(BOOT, Structures(boot=BootReserved(((3, 5),)))) == {"memblock": [(3, 5)]}


def test_percpu_has_the_first_chunk_and_others() -> None:
    pages = PercpuPages(first=np.array([3, 4, 9]), chunks=np.array([10]))
    found = claimed(PERCPU, Structures(percpu=pages))
    assert found == {"first chunk": [(3, 5), (9, 10)], "other chunks": [(10, 11)]}


def test_memmap_and_image_are_ranges() -> None:
    given = Structures(
        memmap=MemmapPages(((5, 8), (10, 11))),
        image=KernelImage((("code", (20, 30)), ("data", (30, 35)))),
    )
    assert claimed(MEMMAP, given) == {"struct pages": [(5, 8), (10, 11)]}
    assert claimed(KERNEL_IMAGE, given) == {"code": [(20, 30)], "data": [(30, 35)]}


def test_a_table_that_processes_share_has_the_name_of_the_first() -> None:
    processes = (("bash[8]", np.array([5, 6])), ("cat[9]", np.array([6, 7])))
    given = Structures(
        tables=PageTablePages(processes, kernel=np.array([7, 20, 29, 30])),
        image=KernelImage((("data", (20, 30)),)),
    )
    assert claimed(TABLE, given) == {
        "kernel": [(7, 8), (30, 31)],
        "bash[8]": [(5, 7)],
    }


def test_memory_of_variables_of_tracing_and_of_block_devices() -> None:
    given = Structures(
        static=StaticMemory((("dentry hash table", (8, 16)),)),
        trace=TraceMemory((("ring", (20, 21)), ("records", (30, 34)), ("ring", (21, 22)))),
        block=BlockRequests((("vda", (40, 44)), ("vdb", (44, 48)), ("vda", (50, 51)))),
    )
    assert claimed(BLOCK, given) == {"vda": [(40, 44), (50, 51)], "vdb": [(44, 48)]}
    assert claimed(STATIC, given) == {"dentry hash table": [(8, 16)]}
    assert claimed(TRACING, given) == {"ring": [(20, 22)], "records": [(30, 34)]}
