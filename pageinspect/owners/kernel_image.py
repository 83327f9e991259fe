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
    "The kernel's image: code, rodata, data, bss, init.",
    "The resources Kernel code, Kernel rodata, Kernel data and Kernel bss of iomem_resource, and "
    "the symbols from _text to _end.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("image",),
    limits="Parts of the image are freed after boot, such as init: these pages belong to who has "
    "them now.",
)
