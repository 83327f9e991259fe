# SPDX-License-Identifier: GPL-2.0-only
"""The life of pages: loads bpf/page_life.bpf.c into this kernel, and reads what it records."""

from collections.abc import Mapping

import numpy as np
from drgn import Program, offsetof

from ..errors import PageInspectError
from ..model import arch
from ..model.layout import PageLayout
from ..target.page_tables import encryption_mask
from .bpf_program import BpfProgram
from .compile import Compiler
from .hooks import Hook, HookKind
from .life_records import (
    LIFE_EVENT,
    LOSSES,
    MOST_KEPT,
    POINTS,
    LifeEvent,
    LifeLost,
    life_events_of,
)
from .options import Filters


class PageLifeProgram(BpfProgram):
    """bpf/page_life.bpf.c, loaded into this kernel; records while attached.

    Only tracepoints that this kernel has are attached.
    """

    def __init__(
        self,
        compiler: Compiler,
        prog: Program,
        layout: PageLayout,
        vmcoreinfo: Mapping[str, str],
        filters: Filters,
    ) -> None:
        """Load the program; `filters` has at least one range of pfns. Raises PageInspectError."""
        self._layout = layout
        defines = (
            filters.defines(layout)
            | _order_defines(layout)
            | _file_defines(prog)
            | _entry_defines(vmcoreinfo)
        )
        hooks = [
            Hook(point.function, HookKind.TRACEPOINT, point.tracepoint, optional=not point.needed)
            for point in POINTS
        ]
        super().__init__(compiler, "page_life.bpf.c", layout, defines, hooks, filters)
        with self._closed_on_error():
            self._maps["vmemmap"].fill(np.array([layout.vmemmap], np.uint64))
            self.events_fd = self._loaded.open_records("events", LIFE_EVENT.itemsize)
        self._taken = 0

    def lacking(self) -> tuple[str, ...]:
        """Return the tracepoints that this kernel does not have, or not as they are known."""
        loaded = self._loaded.functions
        return tuple(p.tracepoint for p in POINTS if p.function not in loaded)

    def take_events(self, start_ns: int) -> list[LifeEvent]:
        """Return the events since the last call, their times since `start_ns`.

        After MOST_KEPT events of the run there are no more.
        """
        records = self._loaded.take_records("events")
        left = max(MOST_KEPT - self._taken, 0)
        self._taken += len(records)
        return life_events_of(self._layout, records[:left], start_ns)

    def read(self) -> LifeLost:
        """Return what was lost since attach()."""
        stacks, events = self._maps["lost"].read_percpu(LOSSES)[:, 0].tolist()
        unkept = max(self._taken - MOST_KEPT, 0)
        return LifeLost(self._loaded.missed(), stacks, events, unkept)


def _order_defines(layout: PageLayout) -> dict[str, str]:
    """Return the -D of the order of a folio."""
    if layout.order is None or layout.mapping is None or layout.index is None:
        raise PageInspectError(
            "this kernel's struct page lacks what the life of a page needs",
            "trace without --life",
        )
    return {
        "FOLIO_ORDER_OFFSET": str(layout.order.offset),
        "FOLIO_ORDER_MASK": str(layout.order.mask),
        "MAPPING_OFFSET": str(layout.mapping),
        "INDEX_OFFSET": str(layout.index),
    }


def _file_defines(prog: Program) -> dict[str, str]:
    """Return the -D of the offsets that lead from a page to its inode and device."""
    members = {
        "HOST_OFFSET": ("struct address_space", "host"),
        "INODE_NUMBER_OFFSET": ("struct inode", "i_ino"),
        "SUPER_BLOCK_OFFSET": ("struct inode", "i_sb"),
        "DEVICE_OFFSET": ("struct super_block", "s_dev"),
    }
    return {
        name: str(offsetof(prog.type(type_), member)) for name, (type_, member) in members.items()
    }


def _entry_defines(vmcoreinfo: Mapping[str, str]) -> dict[str, str]:
    """Return the -D of the pfn in page table entries, which tracepoints of migration have."""
    bits = int(vmcoreinfo.get("NUMBER(MAX_PHYSMEM_BITS)", "52"), 0)
    numbers = {
        "SWAP_TYPE_BITS": arch.SWAP_TYPE_BITS,
        "SWAP_OFFSET_SHIFT": arch.SWAP_OFFSET_SHIFT,
        "SWAP_PFN_MASK": (1 << (bits - arch.PAGE_SHIFT)) - 1,
        "ENTRY_ADDRESS": arch.ENTRY_ADDRESS & ~encryption_mask(vmcoreinfo),
        "PAGE_BITS": arch.PAGE_SHIFT,
        "PMD_ORDER": arch.LEVELS[4]["pmd"] - arch.PAGE_SHIFT,
    }
    return {name: f"{value:#x}ULL" for name, value in numbers.items()}
