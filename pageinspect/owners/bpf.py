# SPDX-License-Identifier: GPL-2.0-only
"""The programs and maps of BPF that are in vmalloc areas."""

from .kind import Claims, Kind, claims_of_pfns
from .structures import Structures
from .vmap_parts import pieces_of


def _claims(structures: Structures) -> Claims:
    return claims_of_pfns(pieces_of(structures, "bpf"))


BPF = Kind(
    "bpf",
    "BPF programs and maps in vmalloc areas, by name: `program packs` of machine code, "
    "`program NAME`, `map NAME`.",
    "pack_list, prog_idr and map_idr, and vmalloc areas that functions of BPF programs allocated, "
    "such as bpf_prog_alloc_no_stats().",
    may_claim=("kernel", "idle", "mapped"),
    claims=_claims,
    needs=("vmap", "bpf"),
    exact=True,
    counter="NR_VMALLOC or nr_vmalloc_pages, together with vmalloc, stack and module",
    commits=(
        (
            'Since Linux kernel commit 57631054fae6 ("bpf: Introduce bpf_prog_pack allocator") '
            "(in v5.18), programs share packs of machine code"
        ),
    ),
    limits="Small maps and the elements of maps are slab objects or percpu memory. The pages of "
    "ring buffers are mapped by vmalloc areas that do not own them.",
)
