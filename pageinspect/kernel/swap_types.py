# SPDX-License-Identifier: GPL-2.0-only
"""Detects which types of swap entries a kernel uses for entries that are not swap.

A page table entry that is neither present nor empty is a swap entry. Its type is the number of a
swap file, except for the last few of 32 types: migration entries and others. These types are
macros, which the kernel's types do not have: their number is inferred from other features that were
added with them.
"""

import numpy as np
import numpy.typing as npt
from drgn import Program

from ..model.mappings import EntryKind

TYPES = 32


def read_swap_types(prog: Program) -> npt.NDArray[np.uint8]:
    """Return the EntryKind of each swap type of this kernel, (32,) uint8.

    The order is: swap files, hwpoison, migration, device entries, markers. Device entries of
    kernels before v5.14 are not detected.
    """
    kinds = np.full(TYPES, EntryKind.SWAP, np.uint8)
    end = TYPES
    for kind, number in (
        (EntryKind.MARKER, _markers(prog)),
        (EntryKind.DEVICE_EXCLUSIVE, max(_device_types(prog) - 2, 0)),
        (EntryKind.DEVICE_PRIVATE, min(_device_types(prog), 2)),
        (EntryKind.MIGRATION, _migration_types(prog)),
        (EntryKind.HWPOISON, int(_has_constant(prog, "PG_hwpoison"))),
    ):
        kinds[end - number : end] = kind
        end -= number
    return kinds


def _markers(prog: Program) -> int:
    """Return the number of marker types.

    Since Linux kernel commit 679d10331910 ("mm: introduce PTE_MARKER swap entry") (in v5.19), there
    is one; its series added zap_flags_t. A second type for swap read errors exists up to v6.1.
    Since Linux kernel commit 15520a3f0469 ("mm: use pte markers for swap errors") (in v6.2), such
    errors are markers; v6.2 also removed struct mm_rss_stat.
    """
    if not _has_type(prog, "zap_flags_t"):
        return 0
    return 2 if _has_type(prog, "struct mm_rss_stat") else 1


def _device_types(prog: Program) -> int:
    """Return the number of device memory types: two are private, the others exclusive.

    Since Linux kernel commit b756a3b5e7ea ("mm: device exclusive memory access") (in v5.14), there
    are four with CONFIG_DEVICE_PRIVATE. Since Linux kernel commit c25465eb7630 ("mm: use single
    SWP_DEVICE_EXCLUSIVE entry type") (in v6.15), there are three. v6.15 also renamed the function.
    """
    if _has_symbol(prog, "make_device_exclusive"):
        return 3
    return 4 if _has_symbol(prog, "make_device_exclusive_range") else 0


def _migration_types(prog: Program) -> int:
    """Return the number of migration types.

    Since Linux kernel commit 6c287605fd56 ("mm: remember exclusively mapped anonymous pages with
    PG_anon_exclusive") (in v5.19), there are three. Before, there are two.
    """
    if not _has_symbol(prog, "migration_entry_wait"):
        return 0
    return 3 if _has_constant(prog, "PG_anon_exclusive") else 2


def _has_symbol(prog: Program, name: str) -> bool:
    try:
        prog.symbol(name)
    except LookupError:
        return False
    return True


def _has_constant(prog: Program, name: str) -> bool:
    try:
        prog.constant(name)
    except LookupError:
        return False
    return True


def _has_type(prog: Program, name: str) -> bool:
    try:
        prog.type(name)
    except LookupError:
        return False
    return True
