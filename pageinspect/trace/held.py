# SPDX-License-Identifier: GPL-2.0-only
"""Keeps who allocated each page until it is freed: bpf/page_held.bpf.c, loaded into this kernel."""

import numpy as np

from ..model.layout import PageLayout
from ..target.symbols.btf import Btf
from ..target.symbols.find import LIVE_BTF, read_btf
from .bpf_program import ComparedProgram
from .compile import Compiler
from .frame_sizes import CallPath, FrameSizes
from .held_blocks import (
    COUNTS,
    HELD,
    HeldBlocks,
    HeldCounts,
    HeldOptions,
    HeldReading,
    Missed,
    page_base,
)
from .hooks import PAGE_FREE, Hook, HookKind
from .stacks import ALLOCATING_PATH, FREEING_PATH

PAGE_ALLOC = "mm_page_alloc"
"""The tracepoint of an allocation."""
ALLOCATING = CallPath(ALLOCATING_PATH, PAGE_ALLOC)
FREEING = CallPath(FREEING_PATH, PAGE_FREE)

_BULK = ("alloc_pages_bulk_noprof", "__alloc_pages_bulk")
"""Names of the bulk allocator. Since Linux kernel commit b951aaff5035 ("mm: enable page allocation
tagging") (in v6.10) it is the first."""
_CONTIGUOUS = (
    "alloc_contig_frozen_range_noprof",
    "alloc_contig_range_noprof",
    "alloc_contig_range",
)
"""Names of the allocator of contiguous ranges: each of those calls what is before it."""


def parameter_number(btf: Btf, function: str, parameter: str) -> tuple[int, int] | None:
    """Return the number of a parameter of a function, and how many it has; None without it."""
    found = btf.find_function(function)
    if found is None:
        return None
    prototype = btf.record(btf.record(found).size_or_type)
    names = [name for name, _ in btf.parameters(prototype)]
    return (names.index(parameter), len(names)) if parameter in names else None


HOOKED = (*_BULK, *_CONTIGUOUS)
"""Functions of the allocator whose ends are hooked: they return to a trampoline."""


def bulk_hooks(btf: Btf) -> tuple[dict[str, str], list[Hook]]:
    """Return the -D and hooks of the bulk allocator; none if BTF does not have it."""
    for function in _BULK:
        found = parameter_number(btf, function, "page_array")
        # The program expects the number of pages as the fourth parameter, and the array last.
        pages = parameter_number(btf, function, "nr_pages")
        if found is not None and found[0] + 1 == found[1] and pages is not None and pages[0] == 3:
            return {"BULK_ARRAY": str(found[0])}, [
                Hook("hold_bulk", HookKind.FEXIT, function, optional=True),
                Hook("note_bulk", HookKind.FENTRY, function, optional=True),
            ]
    return {}, []


def contiguous_hooks(btf: Btf) -> tuple[dict[str, str], list[Hook]]:
    """Return the -D and hooks of the allocator of contiguous ranges; none if BTF lacks it."""
    for function in _CONTIGUOUS:
        found = parameter_number(btf, function, "end")
        if found is not None and found[0] == 1:
            hook = Hook("count_contiguous", HookKind.FEXIT, function, optional=True)
            return {"CONTIGUOUS": str(found[1])}, [hook]
    return {}, []


class HeldProgram(ComparedProgram):
    """bpf/page_held.bpf.c, loaded; records while it is attached."""

    def __init__(
        self,
        compiler: Compiler,
        layout: PageLayout,
        options: HeldOptions,
        sizes: FrameSizes | None = None,
    ) -> None:
        """Load the program. Raises PageInspectError.

        With `sizes` of the frames of the allocator's functions, it finds the caller by itself.
        """
        btf = read_btf(LIVE_BTF)
        of_bulk, bulk = bulk_hooks(btf)
        of_contiguous, contiguous = contiguous_hooks(btf)
        defines = options.defines(layout) | of_bulk | of_contiguous
        if sizes is not None:
            defines |= sizes.defines()
        hooks = [
            Hook("release_pages", HookKind.PLAIN, PAGE_FREE),
            *bulk,
            *contiguous,
            Hook("hold_pages", HookKind.PLAIN, PAGE_ALLOC),
        ]
        super().__init__(compiler, "page_held.bpf.c", layout, defines, hooks, options.filters)
        self._first = (layout.vmemmap - page_base(layout)) // layout.struct_size
        self._filters = options.filters
        self._fill(sizes, walks=1)

    def _counts(self) -> HeldCounts:
        return HeldCounts.of(self._maps["counts"].read_percpu(1, COUNTS)[0])

    def _pages(self) -> tuple[int, int]:
        counts = self._counts()
        return counts.allocated_pages + counts.bulk_pages, counts.freed_pages

    def read(self) -> HeldReading:
        """Return what is held now, and the counts since attach."""
        keys, records = self._maps["held"].read_hash(np.uint64, HELD)
        missed = self._missed()
        frees = missed.pop("release_pages")
        missed.pop("count_contiguous", 0)
        return HeldReading(
            HeldBlocks.of(keys, records, self._first).passing(self._filters),
            self._counts(),
            Missed(sum(missed.values()), frees),
            self._compared(),
            {"hold_bulk", "note_bulk"} <= self._attached,
            "count_contiguous" in self._attached,
        )
