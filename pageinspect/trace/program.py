# SPDX-License-Identifier: GPL-2.0-only
"""Loads bpf/page_free.bpf.c into this kernel, attaches it and reads its maps."""

import numpy as np

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .bpf_program import BpfProgram
from .compile import Compiler
from .hooks import PAGE_FREE, Hook, HookKind
from .kinds import KINDS, UNREAD
from .options import TraceOptions
from .records import (
    EVENT,
    LOSSES,
    ORDERS,
    WHO,
    Event,
    FreeCounts,
    Lost,
    events_of,
    sums_by_order,
)

_HOOK = Hook("count_page_free", HookKind.TRACEPOINT, PAGE_FREE)
_BAD_PAGE = Hook("count_bad_page", HookKind.KPROBE, "bad_page", optional=True)
"""Without it only calls of bad_page() are not counted."""


class PageFreeProgram(BpfProgram):
    """bpf/page_free.bpf.c, loaded into this kernel; counts while attached."""

    def __init__(
        self, compiler: Compiler, layout: PageLayout, options: TraceOptions | None = None
    ) -> None:
        """Load the program. Raises PageInspectError."""
        options = options or TraceOptions()
        self._layout = layout
        self._defines = options.defines(layout)
        self._kinds = sorted(options.kinds)
        hooks = [_BAD_PAGE, _HOOK] if "BAD_PAGES" in self._defines else [_HOOK]
        filters = options.filters
        super().__init__(compiler, "page_free.bpf.c", layout, self._defines, hooks, filters)
        if "EVENT_SET" in self._defines:
            with self._closed_on_error():
                self.events_fd = self._loaded.open_records("events", EVENT.itemsize)
        self._counts_bad_pages = False

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        super().attach()
        bad_page = self._loaded.functions.get(_BAD_PAGE.function)
        self._counts_bad_pages = bad_page is not None and bad_page.attached

    def take_events(self, start_ns: int) -> list[Event]:
        """Return the events since the last call, oldest first, their times since `start_ns`."""
        if self.events_fd is None:
            return []
        return events_of(self._layout, self._loaded.take_records("events"), start_ns)

    def read(self) -> FreeCounts:
        """Return the counts since attach."""
        frees = self._maps["frees"].read_percpu(KINDS, ORDERS)
        who, tails, losses = {}, np.zeros(SLOTS, np.uint64), [0] * LOSSES
        if "WHO_SET" in self._defines:
            who = self._read_who()
        if "COUNT_TAILS" in self._defines:
            tails = self._maps["tails"].read_percpu(SLOTS)[:, 0]
        if not {"WHO_SET", "EVENT_SET"}.isdisjoint(self._defines):
            losses = self._maps["lost"].read_percpu(LOSSES)[:, 0].tolist()
        bad_pages = None
        if self._counts_bad_pages:
            bad_pages = int(self._maps["bad_pages"].read_percpu(1).sum())
        lost_who, *_ = losses
        if "WHO_SET" in self._defines and not lost_who:
            # What was freed since `frees` was read is in `who` alone.
            frees[self._kinds] = sums_by_order(who, WHO, "kind", KINDS)[self._kinds]
        missed = self._loaded.functions[_HOOK.function].missed()
        lost = Lost(int(frees[UNREAD].sum()), missed, *losses)
        return FreeCounts(frees, lost, who, tails, bad_pages)

    def _read_who(self) -> dict[bytes, int]:
        keys, values = self._maps["who"].read_hash(WHO)
        return dict(zip((key.tobytes() for key in keys), values.tolist(), strict=True))
