# SPDX-License-Identifier: GPL-2.0-only
"""Counts allocations and frees by who did them: bpf/page_traffic.bpf.c, loaded into this kernel."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..model.layout import PageLayout
from ..target.symbols.find import LIVE_BTF, read_btf
from .abilities import has_btf
from .compile import Compiler
from .held import PAGE_ALLOC, bulk_hooks
from .held_blocks import BesideVmstat
from .hooks import PAGE_FREE, Hook, HookKind
from .loaded import LoadedProgram
from .options import layout_defines
from .records import ORDERS
from .traffic_counts import (
    SIDES,
    SOURCE,
    TRAFFIC_LOSSES,
    TrafficCounts,
    TrafficLost,
    TrafficOptions,
)
from .vmstat import read_beside

_BULK = {HookKind.FENTRY: "note_bulk", HookKind.FEXIT: "count_bulk"}


class TrafficProgram:
    """bpf/page_traffic.bpf.c, loaded; counts while it is attached.

    The kernel frees the program and its maps with their last descriptor.
    """

    events_fd = None
    """There are no events."""

    def __init__(self, compiler: Compiler, layout: PageLayout, options: TrafficOptions) -> None:
        """Load the program. Raises PageInspectError."""
        of_bulk, bulk = bulk_hooks(read_btf(LIVE_BTF)) if has_btf() else ({}, [])
        hooks = [
            # A call whose entry was not seen must not be counted: the entry is attached first.
            *sorted(
                (hook._replace(function=_BULK[hook.kind]) for hook in bulk),
                key=lambda hook: hook.kind is HookKind.FEXIT,
            ),
            Hook("count_free", HookKind.PLAIN, PAGE_FREE),
            Hook("count_allocation", HookKind.PLAIN, PAGE_ALLOC),
        ]
        defines = layout_defines(layout) | options.defines(layout) | of_bulk
        self._loaded = LoadedProgram(compiler, "page_traffic.bpf.c", defines, hooks)
        self._maps = self._loaded.maps
        self._sees_bulk = False
        self._begin = BesideVmstat()
        self._end: BesideVmstat | None = None

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        self._loaded.attach()
        functions = self._loaded.functions
        attached = {name for name, function in functions.items() if function.attached}
        self._sees_bulk = {*_BULK.values()} <= attached
        # To attach takes a while, in which some of the functions are attached.
        self._begin = self._compared()

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        if self._end is None and self._loaded.functions["count_free"].attached:
            self._end = self._compared()
        self._loaded.detach()

    def _compared(self) -> BesideVmstat:
        """Return pages by the kernel's counters and by those of the program."""
        return read_beside(self._pages)

    def _pages(self) -> tuple[int, int]:
        allocated, freed = (self._sides() << np.arange(ORDERS)).sum(axis=1).tolist()
        return allocated, freed

    def _sides(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        return self._maps["sides"].read_percpu(SIDES, ORDERS).astype(np.int64)

    def take_events(self, _start_ns: int) -> list[object]:
        """Return no events."""
        return []

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first."""
        return self._maps["stacks"].stack(number)

    def read(self) -> TrafficCounts:
        """Return the counts since attach."""
        keys, times = self._maps["traffic"].read_hash(SOURCE)
        sides = self._sides()
        functions = self._loaded.functions
        missed = {name: function.missed() for name, function in functions.items()}
        frees = missed.pop("count_free")
        lost = self._maps["lost"].read_percpu(TRAFFIC_LOSSES)[:, 0].tolist()
        return TrafficCounts(
            dict(zip((key.tobytes() for key in keys), times.tolist(), strict=True)),
            sides,
            TrafficLost(sum(missed.values()), frees, *lost),
            (self._end or self._compared()) - self._begin,
            self._sees_bulk,
        )

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._loaded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
