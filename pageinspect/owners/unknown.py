# SPDX-License-Identifier: GPL-2.0-only
"""Pages that nothing leads to."""

from .kind import Kind

UNKNOWN = Kind(
    "unknown",
    "Pages in use that no other kind claims, by signature: order, number of references, flags.",
    "The struct pages themselves: see owners/signatures.py.",
    limits="Only pointers lead to such pages: network buffers, rings of devices, and allocations "
    "of drivers.",
)
