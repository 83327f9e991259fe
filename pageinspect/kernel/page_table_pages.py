# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages of page tables: those of each process, and the kernel's own."""

from collections.abc import Iterator, Mapping

import numpy as np
from drgn import FaultError, Program

from ..model.arch import IMAGE_START, PAGE_SHIFT
from ..model.kernel_memory import Pfns
from ..model.layout import PageLayout
from ..model.owner_memory import PageTablePages
from ..model.processes import Tasks
from .mm_tables import MmTables
from .page_owners import page_offset_base
from .structures import MissingStructureError

_NO_SWAP = np.zeros(256, np.uint8)
"""Kinds of swap entries, which are not read here."""
_PTI = 7 * 32 + 11
"""X86_FEATURE_PTI: page table isolation, with a second page for each PGD."""


def read_page_table_pages(
    prog: Program, vmcoreinfo: Mapping[str, str], layout: PageLayout, tasks: Tasks
) -> PageTablePages:
    """Read the tables of all levels, of all processes and of the kernel.

    Raises MissingStructureError if the address of the kernel's root table is not known.
    """
    root = _kernel_root(vmcoreinfo)
    isolated = has_page_table_isolation(prog)
    first: dict[int, str] = {}
    for process in tasks.processes:
        if process.mm is not None:
            first.setdefault(process.mm, f"{process.comm}[{process.pid}]")
    of_mms = MmTables(prog, vmcoreinfo, [mm.pgd_pfn for mm in tasks.mms], _NO_SWAP, layout)
    pfns, mms = of_mms.table_pfns()
    order = np.argsort(mms, kind="stable")
    parts = np.split(pfns[order], np.searchsorted(mms[order], np.arange(1, len(tasks.mms))))
    processes = []
    for i, (mm, part) in enumerate(zip(tasks.mms, parts, strict=False)):
        second = [mm.pgd_pfn + 1] if isolated and mm.pgd_pfn >= 0 else []
        processes.append((first.get(i, ""), np.append(part, np.array(second, np.int64))))
    kernel, kernel_whole = _kernel_tables(prog, vmcoreinfo, root, isolated=isolated)
    missing = int(np.count_nonzero(~of_mms.whole))
    return PageTablePages(
        tuple(processes), kernel, not missing and kernel_whole, missing + (not kernel_whole)
    )


def has_page_table_isolation(prog: Program) -> bool:
    """Return whether each PGD has a second page; False if that is not known."""
    try:
        words = prog["boot_cpu_data"].x86_capability
        return bool(words[_PTI // 32].value_() >> _PTI % 32 & 1)
    except (LookupError, AttributeError, FaultError):
        return False


def _kernel_root(vmcoreinfo: Mapping[str, str]) -> int:
    """Return the pfn of swapper_pg_dir."""
    try:
        address = int(vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
        return (address - IMAGE_START + int(vmcoreinfo["NUMBER(phys_base)"], 0)) >> PAGE_SHIFT
    except KeyError as error:
        raise MissingStructureError(
            f"VMCOREINFO of this kernel has no {error.args[0]}",
            "the kernel's page tables cannot be found",
        ) from None


def _kernel_tables(
    prog: Program, vmcoreinfo: Mapping[str, str], root: int, *, isolated: bool
) -> tuple[Pfns, bool]:
    """Return the pfns of the tables of the kernel's own address spaces, and whether all were read.

    They are that of swapper_pg_dir, and those for patching code and for EFI, which also have
    mappings at user addresses.
    """
    own = list(_own_pgds(prog))
    roots = [root, *own]
    if isolated:
        roots += [pgd + 1 for pgd in roots]
    halves = [
        MmTables(prog, vmcoreinfo, roots, _NO_SWAP, kernel_half=True),
        MmTables(prog, vmcoreinfo, own, _NO_SWAP),
    ]
    pfns = np.unique(np.concatenate([tables.table_pfns()[0] for tables in halves]))
    return pfns, all(bool(tables.whole.all()) for tables in halves)


def _own_pgds(prog: Program) -> Iterator[int]:
    """Yield the pfns of the PGDs of mms that belong to no process.

    The one for patching code is poking_mm in older kernels, and text_poke_mm in newer ones.
    """
    for name in ("text_poke_mm", "poking_mm", "efi_mm"):
        try:
            pgd, direct = prog[name].pgd.value_(), page_offset_base(prog)
        except (LookupError, AttributeError, FaultError):
            continue
        if pgd:
            yield max((pgd - direct) >> PAGE_SHIFT, -1)
