# SPDX-License-Identifier: GPL-2.0-only
"""The code and data of modules."""

from .kind import Claims, Kind, claims_of_pfns
from .structures import Structures
from .vmap_parts import pieces_of


def _claims(structures: Structures) -> Claims:
    return claims_of_pfns(pieces_of(structures, "module"))


MODULE = Kind(
    "module",
    "Code and data of modules, by module.",
    "The address ranges in the list of modules, and the pages of the vmalloc areas there.",
    may_claim=("kernel", "idle"),
    claims=_claims,
    needs=("vmap", "modules"),
    exact=True,
    group="module",
    counter="NR_VMALLOC or nr_vmalloc_pages, together with vmalloc, stack and bpf",
    commits=(
        (
            'Since Linux kernel commit ac3b43283923 ("module: replace module_layout with '
            'module_memory") (in v6.4), a module has an address range for each kind of memory'
        ),
    ),
    limits="Percpu variables of a module belong to percpu. What a module allocates belongs to the "
    "kind of that memory: `--by caller` has its functions.",
)
