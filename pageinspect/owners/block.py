# SPDX-License-Identifier: GPL-2.0-only
"""Requests of block devices."""

from ..model.owner_memory import BlockRequests
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    block = structures.block or BlockRequests()
    return claims_of_ranges((Label(name), (pages,)) for name, pages in block.parts)


BLOCK = Kind(
    "block",
    "Requests of block devices, by device.",
    "The tags of the hardware queues of all disks, and the lists of the pages with their requests.",
    may_claim=("kernel", "idle"),
    claims=_claims,
    needs=("block",),
    exact=True,
    limits="Devices that share tags have the name of the first. Requests of devices without a disk "
    "are not found.",
)
