"""Which types of swap entries a kernel uses for what is not swap.

A page table entry that is not present and not empty is a swap entry. Its type is the number of a
swap file, but for the last few of 32, which are migration entries and others. They are macros, and
leave no trace in the types: how many there are of each follows from what came with them.
"""

import numpy as np
import numpy.typing as npt
from drgn import Program

from ..model.mappings import Kind

TYPES = 32


def read_swap_types(prog: Program) -> npt.NDArray[np.uint8]:
    """Return the Kind of each swap type of this kernel, (32,).

    The order is: swap files, hwpoison, migration, device entries, markers. Device entries of
    kernels before v5.14 are not found.
    """
    kinds = np.full(TYPES, Kind.SWAP, np.uint8)
    end = TYPES
    for kind, number in (
        (Kind.MARKER, _markers(prog)),
        (Kind.DEVICE_EXCLUSIVE, max(_device_types(prog) - 2, 0)),
        (Kind.DEVICE_PRIVATE, min(_device_types(prog), 2)),
        (Kind.MIGRATION, _migration_types(prog)),
        (Kind.HWPOISON, int(_has_constant(prog, "PG_hwpoison"))),
    ):
        kinds[end - number : end] = kind
        end -= number
    return kinds


def _markers(prog: Program) -> int:
    """Return how many types are markers.

    Since Linux kernel commit 679d10331910 ("mm: introduce PTE_MARKER swap entry") (in v5.19) there
    is one; zap_flags_t came with the series. Up to v6.1 one more stood for an error of reading;
    since Linux kernel commit 15520a3f0469 ("mm: use pte markers for swap errors") (in v6.2) that is
    a marker. It is inferred from struct mm_rss_stat, which ended in v6.2 as well.
    """
    if not _has_type(prog, "zap_flags_t"):
        return 0
    return 2 if _has_type(prog, "struct mm_rss_stat") else 1


def _device_types(prog: Program) -> int:
    """Return how many types are for memory of devices: two private, the rest exclusive.

    Since Linux kernel commit b756a3b5e7ea ("mm: device exclusive memory access") (in v5.14) there
    are four with CONFIG_DEVICE_PRIVATE; since Linux kernel commit c25465eb7630 ("mm: use single
    SWP_DEVICE_EXCLUSIVE entry type") (in v6.15) three. The function changed its name in v6.15.
    """
    if _has_symbol(prog, "make_device_exclusive"):
        return 3
    return 4 if _has_symbol(prog, "make_device_exclusive_range") else 0


def _migration_types(prog: Program) -> int:
    """Return how many types are migration entries.

    Since Linux kernel commit 6c287605fd56 ("mm: remember exclusively mapped anonymous pages with
    PG_anon_exclusive") (in v5.19) there are three; before, two.
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
