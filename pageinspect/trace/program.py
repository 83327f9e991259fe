# SPDX-License-Identifier: GPL-2.0-only
"""Loads bpf/page_free.bpf.c into this kernel, attaches it and reads its maps."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .compile import Compiler
from .hooks import PAGE_FREE, Hook, HookKind
from .kinds import KINDS, UNREAD
from .loaded import LoadedProgram
from .options import TraceOptions, layout_defines
from .records import LOSSES, ORDERS, WHO, Event, FreeCounts, Lost, events_of

_STACK_DEPTH = 127
"""Maximum frames per stack: PERF_MAX_STACK_DEPTH."""

_HOOK = Hook("count_page_free", HookKind.TRACEPOINT, PAGE_FREE)
_BAD_PAGE = Hook("count_bad_page", HookKind.KPROBE, "bad_page", optional=True)
"""Without it only calls of bad_page() are not counted."""


class PageFreeProgram:
    """bpf/page_free.bpf.c, loaded into this kernel; counts while attached."""

    def __init__(
        self, compiler: Compiler, layout: PageLayout, options: TraceOptions | None = None
    ) -> None:
        options = options or TraceOptions()
        self._layout = layout
        self._defines = options.defines(layout)
        defines = layout_defines(layout) | self._defines
        hooks = [_BAD_PAGE, _HOOK] if "BAD_PAGES" in self._defines else [_HOOK]
        self._program = LoadedProgram(compiler, "page_free.bpf.c", defines, hooks)
        self._maps = self._program.maps
        if options.filters.pfns:
            try:
                self._maps["ranges"].fill(options.filters.ranges(layout))
            except BaseException:
                self.close()
                raise
        self.events_fd = self._maps["events"].fd if "EVENT_SET" in self._defines else None
        """Descriptor that is readable while there are events to take; None when events are off."""
        self._counts_bad_pages = False

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        self._program.attach()
        bad_page = self._program.functions.get(_BAD_PAGE.function)
        self._counts_bad_pages = bad_page is not None and bad_page.attached

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        self._program.detach()

    def take_events(self, start_ns: int) -> list[Event]:
        """Return the events since the last call, oldest first, their times since `start_ns`."""
        if self.events_fd is None:
            return []
        return events_of(self._layout, self._program.take_records("events"), start_ns)

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first."""
        addresses = np.zeros((1, _STACK_DEPTH), np.uint64)
        self._maps["stacks"].look_up([number], addresses)
        return addresses[0, : np.count_nonzero(addresses)].tolist()

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
        missed = self._program.functions[_HOOK.function].missed()
        lost = Lost(int(frees[UNREAD].sum()), missed, *losses)
        return FreeCounts(frees, lost, who, tails, bad_pages)

    def _read_who(self) -> dict[bytes, int]:
        keys, values = self._maps["who"].read_hash(WHO)
        return dict(zip((key.tobytes() for key in keys), values.tolist(), strict=True))

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
