# SPDX-License-Identifier: GPL-2.0-only
"""Which types of swap entries are none of swap, by what a kernel has."""

import pytest

from pageinspect.kernel.swap_types import read_swap_types
from pageinspect.model.mappings import EntryKind


class Kernel:
    """A Program that knows some names."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def _find(self, name: str) -> str:
        if name not in self._names:
            raise LookupError(name)
        return name

    symbol = constant = type = _find


V6_1 = ("migration_entry_wait", "PG_anon_exclusive", "zap_flags_t", "struct mm_rss_stat")
V6_12 = ("migration_entry_wait", "PG_anon_exclusive", "zap_flags_t", "PG_hwpoison")
V7_3 = (*V6_12, "make_device_exclusive")
V6_12_DEVICE = (*V6_12, "make_device_exclusive_range")
V4_18 = ("migration_entry_wait", "PG_hwpoison", "struct mm_rss_stat")


@pytest.mark.parametrize(
    ("names", "files"),
    [
        # LENGTH of swap_info[] in the debug information of Debian's kernels.
        (V6_1, 27),
        (V6_12, 27),
        (V7_3, 24),
        # By the macros of include/linux/swap.h.
        (V6_12_DEVICE, 23),
        (V4_18, 29),
        ((), 32),
    ],
)
def test_as_many_swap_files_as_the_kernel_has_room_for(names: tuple[str, ...], files: int) -> None:
    kinds = read_swap_types(Kernel(*names))  # type: ignore[arg-type]
    assert (kinds == EntryKind.SWAP).tolist() == [True] * files + [False] * (32 - files)


def test_the_order_is_that_of_the_kernel() -> None:
    kinds = read_swap_types(Kernel(*V6_12_DEVICE)).tolist()  # type: ignore[arg-type]
    assert kinds[23:] == [
        EntryKind.HWPOISON,
        *[EntryKind.MIGRATION] * 3,
        *[EntryKind.DEVICE_PRIVATE] * 2,
        *[EntryKind.DEVICE_EXCLUSIVE] * 2,
        EntryKind.MARKER,
    ]
