# SPDX-License-Identifier: GPL-2.0-only
"""Pages that nothing leads to."""

from .kind import Kind

UNKNOWN = Kind(
    "unknown",
    "Pages in use that no other kind has, by signature: use, order, number of references and flags "
    "of the first page of the allocation.",
    "The struct pages themselves.",
    limits="Only pointers of their owners lead to such pages: buffers of the network, rings of "
    "devices, allocations of drivers.",
)
