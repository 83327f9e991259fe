# SPDX-License-Identifier: GPL-2.0-only
"""Records of who allocated pages, in memory made by hand."""

import struct
from collections.abc import Mapping, Sequence

from drgn import offsetof
from kernel_by_hand import BASE, Kernel

SECTION = 32768
OWNER_AT, TAG_AT, RECORD = 8, 48, 56
"""Offsets of the parts of a record, and its size: flags, page_owner, tag."""
ALLOCATED = 1 << 1
"""PAGE_EXT_OWNER_ALLOCATED."""


class Allocations:
    """Three memory sections; only the first has valid records, of some of its pages.

    The records of the second are about to be freed. Those of the third would be valid for the same
    place in the one after it.
    """

    def __init__(self, *, owners: bool = True, tags: bool = True, comm: bool = True) -> None:
        self.kernel = kernel = Kernel()
        ext = kernel.struct("page_ext", flags=kernel.ulong)
        section = kernel.struct(
            "mem_section",
            section_mem_map=kernel.ulong,
            usage=kernel.void_p,
            page_ext=kernel.pointer(ext),
            pad=kernel.ulong,
        )
        per_root = 128
        kernel.variable("SECTIONS_PER_ROOT", kernel.ulong, per_root)
        kernel.enum("page_ext_flags", ["PAGE_EXT_OWNER", "PAGE_EXT_OWNER_ALLOCATED"])
        self._operations = kernel.struct(
            "page_ext_operations", offset=kernel.ulong, size=kernel.ulong
        )
        self.records = kernel.room(16 * RECORD)
        """The records of pfns 100 to 115."""
        root = kernel.room(32 * per_root, 4096)
        of_100, of_invalid, of_beyond = (
            self.records - (n * SECTION + 100) * RECORD for n in (0, 1, 3)
        )
        for at, base in enumerate((of_100, of_invalid | 1, of_beyond)):
            kernel.make(section, at=root + 32 * at, section_mem_map=0b111, page_ext=base)
        kernel.variable("mem_section", kernel.ulong, kernel.words(root))
        kernel.variable("__highest_present_section_nr", kernel.ulong, 2)
        kernel.variable("page_ext_size", kernel.ulong, RECORD)
        if owners:
            char_16 = kernel.array(kernel.char, 16)
            ushort = kernel.prog.int_type("unsigned short", 2, is_signed=False)
            parts = {"handle": kernel.uint, "gfp_mask": kernel.uint, "order": ushort}
            name = {"comm": char_16} if comm else {}
            kernel.struct("page_owner", **parts, pid=kernel.uint, **name)
            self.client("page_owner_ops", OWNER_AT)
            for number, variable in enumerate(("dummy", "failure", "early"), 1):
                kernel.variable(f"{variable}_handle", kernel.uint, number)
        if tags:
            self.client("page_alloc_tagging_ops", TAG_AT)

    def client(self, name: str, offset: int) -> None:
        """Let records have the part of a client at an offset."""
        operations = self.kernel.make(self._operations, offset=offset)
        self.kernel.variable(name, self._operations, at=operations)

    def record(
        self,
        pfn: int,
        *,
        flags: int = ALLOCATED,
        handle: int = 0,
        gfp_mask: int = 0,
        order: int = 0,
        pid: int = 0,
        comm: bytes = b"",
        tag: int = 0,
    ) -> None:
        record = struct.pack("<QIIHxxi16s8xQ", flags, handle, gfp_mask, order, pid, comm, tag)
        assert len(record) == RECORD
        self.kernel.write(self.records + (pfn - 100) * RECORD, record)


def depot(kernel: Kernel, stacks: Mapping[int, Sequence[int]], index: str, *, plus_1: bool) -> None:
    """Store stacks by the number of a unit of 16 bytes in the second pool.

    `index` is the name of the part of a handle with the number of the pool, which is one higher
    with `plus_1`.
    """
    valid = {} if plus_1 else {"valid": 1}
    sizes = {index: 17 - len(valid), "offset": 10, **valid, "extra": 5}
    parts = kernel.bits("handle_parts", "handle", **sizes)
    record = kernel.struct(
        "stack_record",
        hash_list=kernel.list_head,
        hash=kernel.uint,
        size=kernel.uint,
        handle=parts,
        entries=kernel.array(kernel.ulong, 64),
    )
    pool = kernel.room(1 << 14, 4096)
    name = "stack_slabs" if index == "slabindex" else "stack_pools"
    pools = kernel.array(kernel.ulong, 4)
    kernel.variable(name, pools, at=kernel.words(BASE + (1 << 30), pool, 0, 0))
    for place, frames in stacks.items():
        at = pool + (place << 4)
        handle = handle_of_stack(place, plus_1=plus_1)
        kernel.make(record, at=at, size=len(frames), handle=handle)
        kernel.write(at + offsetof(record, "entries"), struct.pack(f"<{len(frames)}Q", *frames))


def handle_of_stack(place: int, *, plus_1: bool) -> int:
    """Return the handle of a stack in the second pool."""
    return 2 | place << 17 if plus_1 else 1 | place << 16 | 1 << 26
