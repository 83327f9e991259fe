# SPDX-License-Identifier: GPL-2.0-only
"""Page tables."""

from collections.abc import Iterator

from ..model.kernel_memory import Pfns
from ..model.owner_memory import KernelImage, PageTablePages
from .kind import Claims, Kind, Label, claims_of_pfns
from .structures import Structures

NO_PROCESS = "(no process)"
"""The name of page tables that no known address space leads to."""


def _claims(structures: Structures) -> Claims:
    return claims_of_pfns(_parts(structures))


def _parts(structures: Structures) -> Iterator[tuple[Label, Pfns]]:
    tables = structures.tables or PageTablePages()
    kernel = tables.kernel
    for _, (start, end) in (structures.image or KernelImage()).sections:
        kernel = kernel[(kernel < start) | (kernel >= end)]
    yield Label("kernel"), kernel
    for name, pfns in tables.processes:
        yield Label(name), pfns


TABLE = Kind(
    "table",
    "Page tables, by process: COMM[PID]. The kernel's own have the name `kernel`.",
    "The page type. Names come from the page tables of each process, from mm->pgd down and with "
    "those deposited for huge pages, and from the kernel's, from swapper_pg_dir down.",
    owns=("table",),
    may_claim=("kernel", "idle", "reserved"),
    claims=_claims,
    needs=("tables",),
    group="task",
    counter="NR_PAGETABLE, without pages that do not have the type",
    limits="A table of an address space that several processes share has the name of the first. "
    "Tables of address spaces without a process have the name `(no process)`, and so have "
    "deposited tables of kernels built for fewer than four CPUs. Tables of the direct map that "
    "were made at boot, and levels that a kernel does not count, have no page type. Tables in the "
    "kernel's image belong to kernel.",
)
