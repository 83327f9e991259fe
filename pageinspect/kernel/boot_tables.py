# SPDX-License-Identifier: GPL-2.0-only
"""Finds tables that are allocated at boot and never freed: hash tables of a size by memory."""

from collections.abc import Callable
from dataclasses import dataclass

from drgn import FaultError, Object, Program, sizeof

from ..model.arch import PAGE_SHIFT, PAGE_SIZE, SECTION_PFNS
from ..model.owner_memory import BootTables
from ..model.ranges import Range
from ..target.vmcoreinfo import MAX_SECTIONS
from .page_owners import page_offset_base
from .structures import require_structure

_MAX_BYTES = 1 << 36
Find = Callable[[Program], tuple[Object, int]]
"""Returns the pointer to a table and its size in bytes."""


def _masked(pointer: str, mask: str, each: int | None = None) -> Find:
    """Return the finder of a table in variables: the pointer, and the largest index."""

    def find(prog: Program) -> tuple[Object, int]:
        table = prog[pointer]
        size = sizeof(table.type_.type) if each is None else each
        return table, (prog[mask].value_() + 1) * size

    return find


def _dentries(prog: Program) -> tuple[Object, int]:
    """Since Linux kernel commit 854d3e63438d (...), the shift is of 32-bit hashes."""
    table = prog["dentry_hashtable"]
    return table, sizeof(table.type_.type) << (32 - prog["d_hash_shift"].value_())


def _established(prog: Program) -> tuple[Object, int]:
    info = prog["tcp_hashinfo"]
    return info.ehash, (info.ehash_mask.value_() + 1) * sizeof(info.ehash.type_.type)


def _bound(prog: Program) -> tuple[Object, int]:
    """bhash2 is the second half of the table."""
    info = prog["tcp_hashinfo"]
    halves = 2 if hasattr(info, "bhash2") else 1
    return info.bhash, halves * info.bhash_size.value_() * sizeof(info.bhash.type_.type)


def _listening(prog: Program) -> tuple[Object, int]:
    info = prog["tcp_hashinfo"]
    return info.lhash2, (info.lhash2_mask.value_() + 1) * sizeof(info.lhash2.type_.type)


def _udp(variable: str) -> Find:
    def find(prog: Program) -> tuple[Object, int]:
        table = prog[variable]
        slots = ("hash", "hash2", "hash4")
        sizes = [sizeof(getattr(table, n).type_.type) for n in slots if hasattr(table, n)]
        return table.hash, (table.mask.value_() + 1) * sum(sizes)

    return find


_TABLES: tuple[tuple[str, Find], ...] = (
    ("dentry hash table", _dentries),
    ("inode hash table", _masked("inode_hashtable", "i_hash_mask")),
    ("mount hash table", _masked("mount_hashtable", "m_hash_mask")),
    ("mountpoint hash table", _masked("mountpoint_hashtable", "mp_hash_mask")),
    ("TCP established hash table", _established),
    ("TCP bind hash table", _bound),
    ("TCP listen hash table", _listening),
    ("UDP hash table", _udp("udp_table")),
    ("UDP-Lite hash table", _udp("udplite_table")),
    ("IP idents hash table", _masked("ip_idents", "ip_idents_mask")),
)
"""All tables that alloc_large_system_hash() allocates and whose variables have a type."""


def read_boot_tables(prog: Program) -> BootTables:
    """Return the tables in the direct map; raises MissingStructureError without any table.

    Tables in vmalloc areas are left out: with hashdist=1, or large ones allocated late.
    """
    with require_structure("direct map"):
        direct = page_offset_base(prog)
    found: list[tuple[str, Range]] = []
    known, unreadable = 0, 0
    for name, find in _TABLES:
        try:
            pointer, size = find(prog)
            offset = pointer.value_() - direct
        except (LookupError, AttributeError):
            continue
        except FaultError:
            unreadable += 1
            continue
        known += 1
        if not 0 <= offset < MAX_SECTIONS * SECTION_PFNS * PAGE_SIZE:
            continue
        if not 0 < size <= _MAX_BYTES or offset % PAGE_SIZE:
            unreadable += 1
            continue
        start = offset >> PAGE_SHIFT
        found.append((name, (start, start + -(-size >> PAGE_SHIFT))))
    with require_structure("hash tables of boot"):
        if not known and not unreadable:
            raise LookupError("dentry_hashtable")
    return BootTables(tuple(found), unreadable)
