# SPDX-License-Identifier: GPL-2.0-only
"""Reads stacks that the kernel stores once each, by their handles.

A handle has the number of a pool and the place of the stack in it.
"""

import struct

from drgn import FaultError, Program, Type

from ..model.arch import ADDRESSES_OF_KERNEL
from .members import Members
from .structures import add_offset, require_structure

_ALIGN = 4
"""DEPOT_STACK_ALIGN: log2 of the unit of the place in a pool, in bytes."""
_MOST_FRAMES = 256
"""Maximum of CONFIG_STACKDEPOT_MAX_FRAMES. page_owner keeps 16."""


class StackDepot:
    """The stacks of one kernel."""

    def __init__(self, prog: Program) -> None:
        """Find the pools; raises MissingStructureError.

        Since Linux kernel commit 961c949b012f ("lib/stackdepot: rename slab to pool") (in v6.3), it
        is stack_pools and pool_index. Since Linux kernel commit 3ee34eabac2a ("lib/stackdepot: fix
        first entry having a 0-handle") (in v6.9-rc1), the number of the pool is one higher, and
        since Linux kernel commit a6c1d9cb9a68 ("stackdepot: rename pool_index to
        pool_index_plus_1") (in v6.9-rc3), its name shows this.
        """
        self._prog = prog
        with require_structure("stack depot"):
            parts = prog.type("union handle_parts")
            self._record = Members(prog, "struct stack_record", "size", "handle", "entries")
            name = "stack_pools" if _has(prog, "stack_pools") else "stack_slabs"
            self._pools: int = prog[name].address_
            # From then on, the pools are allocated.
            self._indirect = _has(prog, "stack_max_pools")
            self._offset = _bits(parts, "offset")
            self._extra = _bits(parts, "extra") if parts.has_member("extra") else (0, 0)
            names = ("pool_index_plus_1", "pool_index", "slabindex")
            index = next((name for name in names if parts.has_member(name)), "pool_index")
            self._index = _bits(parts, index)
        # A record has its own handle, which shows that the number of the pool is right.
        plus_1 = (1,) if index == "pool_index_plus_1" else ()
        self._lower = plus_1 or ((0,) if parts.has_member("valid") else (1, 0))

    def frames(self, handle: int) -> tuple[int, ...] | None:
        """Return the return addresses of a stack, innermost first; None if it is unreadable."""
        for lower in self._lower:
            try:
                found = self._frames(handle, _part(handle, self._index) - lower)
            except FaultError:
                continue
            if found is not None:
                return found
        return None

    def _frames(self, handle: int, index: int) -> tuple[int, ...] | None:
        if index < 0:
            return None
        pools = self._prog.read_u64(self._pools) if self._indirect else self._pools
        pool = self._read_word(add_offset(pools, 8 * index))
        address = add_offset(pool, _part(handle, self._offset) << _ALIGN)
        data = self._record.read(address)
        size = self._record.of(data, "size")
        stored = self._record.of(data, "handle") & 0xFFFFFFFF
        if (stored ^ handle) & ~_mask(self._extra) or size > _MOST_FRAMES:
            return None
        entries = self._prog.read(address + self._record.at["entries"], 8 * size)
        return struct.unpack(f"<{size}Q", entries)

    def _read_word(self, address: int) -> int:
        if address < ADDRESSES_OF_KERNEL:
            raise FaultError("not an address of the kernel", address)
        return self._prog.read_u64(address)


def _has(prog: Program, variable: str) -> bool:
    try:
        prog[variable]
    except LookupError:
        return False
    return True


def _bits(parts: Type, name: str) -> tuple[int, int]:
    """Return (first bit, number of bits) of a part of a handle; raises LookupError."""
    member = parts.member(name)
    return member.bit_offset, member.bit_field_size or 32


def _mask(bits: tuple[int, int]) -> int:
    first, number = bits
    return (1 << number) - 1 << first


def _part(handle: int, bits: tuple[int, int]) -> int:
    return (handle & _mask(bits)) >> bits[0]
