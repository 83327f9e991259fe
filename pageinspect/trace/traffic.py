# SPDX-License-Identifier: GPL-2.0-only
"""Counts allocations and frees by who did them: bpf/page_traffic.bpf.c, loaded into this kernel."""

import numpy as np

from ..model.layout import PageLayout
from ..target.symbols.find import LIVE_BTF, read_btf
from .bpf_program import ComparedProgram
from .compile import Compiler
from .frame_sizes import FrameSizes
from .held import PAGE_ALLOC, bulk_hooks
from .hooks import PAGE_FREE, Hook, HookKind
from .records import ORDERS, sums_by_order
from .traffic_counts import (
    SIDES,
    SOURCE,
    TRAFFIC_LOSSES,
    TrafficCounts,
    TrafficLost,
    TrafficOptions,
)

_BULK = {HookKind.FENTRY: "note_bulk", HookKind.FEXIT: "count_bulk"}


class TrafficProgram(ComparedProgram):
    """bpf/page_traffic.bpf.c, loaded; counts while it is attached."""

    def __init__(
        self,
        compiler: Compiler,
        layout: PageLayout,
        options: TrafficOptions,
        sizes: FrameSizes | None = None,
    ) -> None:
        """Load the program. Raises PageInspectError.

        With `sizes` of the frames of both paths, that of allocations first, it finds callers by
        itself.
        """
        of_bulk, bulk = bulk_hooks(read_btf(LIVE_BTF))
        hooks = [
            # A call whose entry was not seen must not be counted: the entry is attached first.
            *sorted(
                (hook._replace(function=_BULK[hook.kind]) for hook in bulk),
                key=lambda hook: hook.kind is HookKind.FEXIT,
            ),
            Hook("count_free", HookKind.PLAIN, PAGE_FREE),
            Hook("count_allocation", HookKind.PLAIN, PAGE_ALLOC),
        ]
        defines = options.defines(layout) | of_bulk
        if sizes is not None:
            defines |= sizes.defines()
        source = "page_traffic.bpf.c"
        super().__init__(compiler, source, layout, defines, hooks, options.filters)
        self._fill(sizes, walks=SIDES)

    def _pages(self) -> tuple[int, int]:
        allocated, freed = (self._sides() << np.arange(ORDERS)).sum(axis=1).tolist()
        return allocated, freed

    def _sides(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        return self._maps["sides"].read_percpu(SIDES, ORDERS).astype(np.int64)

    def read(self) -> TrafficCounts:
        """Return the counts since attach."""
        keys, times = self._maps["traffic"].read_hash(SOURCE)
        sources = dict(zip((key.tobytes() for key in keys), times.tolist(), strict=True))
        missed = self._missed()
        frees = missed.pop("count_free")
        losses = self._maps["lost"].read_percpu(TRAFFIC_LOSSES)[:, 0].tolist()
        lost = TrafficLost(sum(missed.values()), frees, *losses)
        # What happens between two readings would be in one of them alone.
        sides = self._sides() if lost.sources else sums_by_order(sources, SOURCE, "side", SIDES)
        return TrafficCounts(
            sources,
            sides.astype(np.int64),
            lost,
            self._compared(),
            {*_BULK.values()} <= self._attached,
        )
