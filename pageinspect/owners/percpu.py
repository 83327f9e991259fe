# SPDX-License-Identifier: GPL-2.0-only
"""Percpu memory."""

from ..model.kernel_memory import PercpuPages
from .kind import Claims, Kind, Label, claims_of_pfns
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    percpu = structures.percpu or PercpuPages()
    return claims_of_pfns(
        ((Label("first chunk"), percpu.first), (Label("other chunks"), percpu.chunks))
    )


PERCPU = Kind(
    "percpu",
    "Percpu memory: the first chunk, which has the static variables, and the other chunks.",
    "The lists of percpu chunks, their bitmaps of populated pages, and the kernel's page tables.",
    may_claim=("kernel", "idle", "mapped", "reserved"),
    claims=_claims,
    needs=("percpu",),
    exact=True,
    counter="pcpu_nr_populated x pcpu_nr_units",
    commits=(
        (
            'Since Linux kernel commit faf65dde844a ("percpu: rework memcg accounting") '
            "(in v5.14), the lists of chunks are pcpu_chunk_lists, with one set"
        ),
    ),
    limits="The percpu variable or allocation that a page belongs to is not found. The structures "
    "that describe chunks are in vmalloc areas, and belong to vmalloc.",
)
