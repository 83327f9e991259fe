# SPDX-License-Identifier: GPL-2.0-only
"""Finds deposited page tables: those that the kernel keeps for splitting a huge page later.

Each mapping of an anonymous huge page or of the huge zero page has one. No entry refers to it: it
is on a list of the PMD table. Kernels built for fewer than four CPUs have the list in struct
mm_struct instead, which is not read.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..host.progress import paced
from ..model.arch import SECTION_PFNS
from ..model.layout import PageLayout
from ..model.mappings import Tables
from ..target.vmcoreinfo import MAX_SECTIONS
from .structures import add_offset

_MAX_ON_LIST = 512
"""The number of entries of a PMD table."""


def read_deposited_tables(
    prog: Program, layout: PageLayout, pmds: Tables
) -> tuple[Tables, npt.NDArray[np.int32]]:
    """Return the deposited tables of these PMD tables, and the mms whose lists are incomplete.

    A list is incomplete if it is damaged or cannot be read. Without huge pages there are none.
    """
    reader = _Reader(prog, layout)
    found: list[tuple[int, int, int]] = []
    damaged: list[int] = []
    if reader.is_supported:
        rows = zip(pmds.mm.tolist(), pmds.vpn.tolist(), pmds.pfn.tolist(), strict=True)
        for mm, vpn, pfn in paced(rows, 1024):
            found += [(mm, vpn, kept) for kept in reader.deposited_at(pfn)]
            if not reader.whole:
                damaged.append(mm)
    columns = np.array(found, np.int64).reshape(-1, 3).T
    tables = Tables(columns[0].astype(np.int32), columns[1], columns[2])
    return tables, np.array(damaged, np.int32)


class _Reader:
    def __init__(self, prog: Program, layout: PageLayout) -> None:
        self._prog = prog
        self._base, self._size = layout.vmemmap, layout.struct_size
        self.whole = False
        """Whether the last list was followed to its end."""
        self.is_supported = False
        # From v6.6 on, these members are in struct ptdesc, which overlays struct page.
        for name, link in (("struct ptdesc", "pt_list"), ("struct page", "lru")):
            try:
                type_ = prog.type(name)
            except LookupError:
                continue
            if type_.has_member("pmd_huge_pte") and type_.has_member(link):
                self._first = type_.member("pmd_huge_pte").bit_offset // 8
                self._link = type_.member(link).bit_offset // 8
                self.is_supported = True
                return

    def deposited_at(self, pmd: int) -> Iterator[int]:
        """Yield the pfns of the tables on the list of the PMD table with pfn `pmd`."""
        self.whole = False
        seen: set[int] = set()
        try:
            first = page = self._prog.read_u64(
                add_offset(self._base, pmd * self._size + self._first)
            )
            while first and (page != first or not seen):
                pfn, rest = divmod(page - self._base, self._size)
                sound = not rest and 0 <= pfn < MAX_SECTIONS * SECTION_PFNS
                if not sound or page in seen or len(seen) == _MAX_ON_LIST:
                    return
                seen.add(page)
                page = self._prog.read_u64(add_offset(page, self._link)) - self._link
                yield pfn
        except FaultError:
            return
        self.whole = True
