# SPDX-License-Identifier: GPL-2.0-only
"""Pages whose struct page could not be read."""

from .kind import Kind

UNREADABLE = Kind(
    "unreadable",
    "Pages whose struct page could not be read.",
    "The use of the page.",
    owns=("unreadable",),
    limits="The owner is not looked for by other structures.",
)
