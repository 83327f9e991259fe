# SPDX-License-Identifier: GPL-2.0-only
"""Pages of zsmalloc, which zram and zswap compress into."""

from .kind import Kind

ZSMALLOC = Kind(
    "zsmalloc",
    "Compressed memory of zram devices and of zswap, by pool.",
    "The struct zspage that the page points to, and its pool.",
    owns=("zsmalloc", "movable_ops"),
    counter="NR_ZSPAGES",
    limits="Without types of the module zsmalloc, its pools are unreadable.",
    member="zspage",
)
