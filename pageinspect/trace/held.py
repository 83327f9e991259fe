# SPDX-License-Identifier: GPL-2.0-only
"""Keeps who allocated each page until it is freed: bpf/page_held.bpf.c, loaded into this kernel."""

import contextlib
from collections.abc import Sequence
from typing import Self

import numpy as np

from ..model.layout import PageLayout
from ..target.symbols.btf import Btf
from ..target.symbols.find import LIVE_BTF, read_btf
from .compile import Compiler
from .frame_sizes import FrameSizes
from .held_blocks import (
    COUNTS,
    HELD,
    STACK_BITS,
    BesideVmstat,
    HeldBlocks,
    HeldCounts,
    HeldOptions,
    HeldReading,
    Missed,
    page_base,
)
from .hooks import PAGE_FREE, Hook, HookKind
from .loaded import LoadedProgram
from .options import layout_defines
from .vmstat import read_beside

PAGE_ALLOC = "mm_page_alloc"
"""The tracepoint of an allocation."""

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


class HeldProgram:
    """bpf/page_held.bpf.c, loaded; records while it is attached.

    The kernel frees the program and its maps with their last descriptor.
    """

    events_fd = None
    """There are no events."""

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
        defines = layout_defines(layout) | options.defines(layout) | of_bulk | of_contiguous
        if sizes is not None:
            defines |= sizes.defines()
        hooks = [
            Hook("release_pages", HookKind.PLAIN, PAGE_FREE),
            *bulk,
            *contiguous,
            Hook("hold_pages", HookKind.PLAIN, PAGE_ALLOC),
        ]
        self._loaded = LoadedProgram(compiler, "page_held.bpf.c", defines, hooks)
        self._maps = self._loaded.maps
        self._first = (layout.vmemmap - page_base(layout)) // layout.struct_size
        self._filters = options.filters
        self._attached: frozenset[str] = frozenset()
        self._begin = BesideVmstat()
        self._end: BesideVmstat | None = None
        self._text = sizes.text if sizes is not None else 0
        with contextlib.ExitStack() as given_back:
            given_back.callback(self.close)
            if options.filters.pfns:
                self._maps["ranges"].fill(options.filters.ranges(layout))
            if sizes is not None:
                self._fill(sizes)
            given_back.pop_all()

    def _fill(self, sizes: FrameSizes) -> None:
        numbers = np.flatnonzero(sizes.blocks)
        self._maps["text_blocks"].put(numbers.tolist(), sizes.blocks[numbers])
        self._maps["frame_tables"].fill(sizes.tables)
        self._maps["walks"].fill(np.array([[sizes.text, 0, 0]], np.uint64))

    def attach(self) -> None:
        """Start to record. Raises PageInspectError."""
        self._loaded.attach()
        functions = self._loaded.functions
        self._attached = frozenset(name for name, each in functions.items() if each.attached)
        # To attach takes a while, in which some of the functions are attached.
        self._begin = self._compared()

    def detach(self) -> None:
        """Stop recording; what was recorded stays readable."""
        if self._end is None and self._attached:
            self._end = self._compared()
        self._loaded.detach()

    def _counts(self) -> HeldCounts:
        return HeldCounts.of(self._maps["counts"].read_percpu(1, COUNTS)[0])

    def _compared(self) -> BesideVmstat:
        """Return pages by the kernel's counters and by those of the program."""
        return read_beside(self._pages)

    def _pages(self) -> tuple[int, int]:
        counts = self._counts()
        return counts.allocated_pages + counts.bulk_pages, counts.freed_pages

    def take_events(self, _start_ns: int) -> list[object]:
        """Return no events."""
        return []

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first.

        The number of a caller (STACK_BITS) is that of a stack of one frame.
        """
        if abs(number) >> STACK_BITS:
            return [self._text + (number >> STACK_BITS)]
        table = self._maps["stacks"]
        addresses = np.zeros((1, table.shape.value_size // 8), np.uint64)
        table.look_up([number], addresses)
        return addresses[0, : np.count_nonzero(addresses)].tolist()

    def read(self) -> HeldReading:
        """Return what is held now, and the counts since attach."""
        keys, records = self._maps["held"].read_hash(np.uint64, HELD)
        functions = self._loaded.functions
        missed = {name: function.missed() for name, function in functions.items()}
        frees = missed.pop("release_pages")
        missed.pop("count_contiguous", 0)
        end = self._end or self._compared()
        return HeldReading(
            HeldBlocks.of(keys, records, self._first).passing(self._filters),
            self._counts(),
            Missed(sum(missed.values()), frees),
            end - self._begin,
            {"hold_bulk", "note_bulk"} <= self._attached,
            "count_contiguous" in self._attached,
        )

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
