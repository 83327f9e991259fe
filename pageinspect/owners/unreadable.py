# SPDX-License-Identifier: GPL-2.0-only
"""Pages whose struct page could not be read."""

from .kind import Kind

UNREADABLE = Kind(
    "unreadable",
    "Pages whose struct page could not be read.",
    "The use.",
    owns=("unreadable",),
)
