# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own code and data."""

from ..model.owner_memory import KernelImage
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    image = structures.image or KernelImage()
    return claims_of_ranges((Label(name), (pages,)) for name, pages in image.sections)


KERNEL_IMAGE = Kind(
    "kernel",
    "The kernel's image, by section: code, rodata, data, init, bss, brk.",
    "The symbols of the sections, from _text to _end, and NUMBER(phys_base) of VMCOREINFO.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("image",),
    limits="The kernel frees parts of its image after boot, such as init: a page that was freed "
    "belongs to its present owner.",
)
