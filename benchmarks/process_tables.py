# SPDX-License-Identifier: GPL-2.0-only
"""Processes of a core: our walk of page tables beside drgn's follow_page(), page by page."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drgn import FaultError, Object
from drgn.helpers.linux.mm import follow_page
from timing import Line, Timing, best, here
from workloads import pageinspect

from pageinspect.inspector.address_spaces import AddressSpaces, read_address_spaces
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.inspector.processes import list_processes
from pageinspect.kernel.mm_tables import MmTables
from pageinspect.kernel.swap_types import read_swap_types
from pageinspect.model.arch import PAGE_SHIFT
from pageinspect.model.mappings import EntryKind
from pageinspect.target.open import open_target

FILL = """
import mmap, os, signal
shared = mmap.mmap(-1, 64 << 20)
shared.write(os.urandom(1 << 20) * 64)
ready, done = os.pipe()
for i in range(200):
    if os.fork():
        continue
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    own = mmap.mmap(-1, 6 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(own), 4096):
        own[at] = 1
    sum(shared[:: 64 * 4096])
    os.write(done, b"x")
    signal.pause()
left = 200
while left:
    left -= len(os.read(ready, left))
"""
"""Python program for a guest: leaves 200 processes behind, with more than 2 GiB mapped in all."""
_MOST_PAGES = 1 << 16
"""Pages that follow_page() is called for: it takes a while."""


def process_lines(core: Path, runs: int) -> list[Line]:
    """Compare on a core with many processes."""
    asked = inspect(open_target(core))
    spaces = read_address_spaces(asked)
    chosen, pages = _mapped_pages(spaces)
    roots = [spaces.tasks.mms[number].pgd_pfn for number in chosen]
    (theirs,) = best(lambda: here(lambda: _follow(asked, spaces, chosen, pages)), runs=1)
    ours, body = best(
        lambda: here(lambda: _walk(asked, roots)),
        lambda: here(lambda: list_processes(lambda: asked, "pss", None, fold=fold_here)),
        runs=runs,
    )
    processes, summary = (
        pageinspect(*words, "-c", core) for words in (["processes"], ["summary", "--by", "use"])
    )
    processes()
    whole, counting = best(processes, summary, runs=runs)
    number = sum(process.mm is not None for process in spaces.tasks.processes)
    work = f"processes, {number} of them"
    return [
        Line(
            f"page tables of {sum(map(len, pages)):,} pages",
            "follow_page(), page by page",
            ours,
            theirs,
            "at least",
            20,
        ),
        Line(f"{work}, without start, CPU", "1 s", body, Timing(1, 1, 1), "at most", 1, "cpu"),
        Line(work, "summary --by use", whole, counting, "at most", None),
    ]


def _mapped_pages(spaces: AddressSpaces) -> tuple[list[int], list[np.ndarray]]:
    """Return numbers of mms with up to _MOST_PAGES pages in all, and the pages of each."""
    parts = list(spaces.tables)
    left = _MOST_PAGES
    chosen: list[int] = []
    pages: list[np.ndarray] = []
    for number in range(len(spaces.tasks.mms)):
        found = [part.vpn[(part.mm == number) & (part.kind == EntryKind.MAPPED)] for part in parts]
        vpns = np.concatenate(found)
        if chosen and len(vpns) > left:
            break
        chosen.append(number)
        pages.append(vpns)
        left -= len(vpns)
    return chosen, pages


def _follow(
    asked: Inspector, spaces: AddressSpaces, chosen: Sequence[int], pages: Sequence[np.ndarray]
) -> None:
    """Look up every page of these mms with drgn, which takes PROT_NONE for not mapped."""
    for number, vpns in zip(chosen, pages, strict=True):
        mm = Object(asked.target.prog, "struct mm_struct *", spaces.tasks.mms[number].address)
        for vpn in vpns.tolist():
            with contextlib.suppress(FaultError):
                follow_page(mm, vpn << PAGE_SHIFT).value_()


def _walk(asked: Inspector, roots: Sequence[int]) -> None:
    """Look up every page of these mms as `processes` does."""
    target = asked.target
    tables = MmTables(target.prog, target.vmcoreinfo, roots, read_swap_types(target.prog))
    for part in tables:
        part.pages.sum()
