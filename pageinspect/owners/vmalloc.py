# SPDX-License-Identifier: GPL-2.0-only
"""Memory of vmalloc()."""

from .kind import Claims, Kind, claims_of_pfns
from .structures import Structures
from .vmap_parts import pieces_of


def _claims(structures: Structures) -> Claims:
    return claims_of_pfns(pieces_of(structures, "vmalloc"))


VMALLOC = Kind(
    "vmalloc",
    "Pages of vmalloc areas, by the function that allocated them: FUNCTION or FUNCTION [MODULE]. "
    "Those of stacks, modules and BPF are kinds of their own.",
    "The trees of vmalloc areas in use: struct vmap_area, and pages and caller of its struct "
    "vm_struct.",
    may_claim=("kernel", "idle", "mapped"),
    claims=_claims,
    needs=("vmap",),
    exact=True,
    group="caller",
    counter="NR_VMALLOC or nr_vmalloc_pages, together with stack, module and bpf",
    commits=(
        (
            'Since Linux kernel commit d093602919ad ("mm: vmalloc: remove global vmap_area_root '
            'rb-tree") (in v6.9), there are several trees of areas'
        ),
    ),
    limits="Areas of vm_map_ram(), ioremap() and percpu chunks do not own the pages that they map.",
)
