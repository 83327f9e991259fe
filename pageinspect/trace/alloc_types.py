# SPDX-License-Identifier: GPL-2.0-only
"""Types of pages when they leave the allocator: loads bpf/alloc_type.bpf.c, and reads its maps."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .compile import Compiler
from .hooks import Hook, HookKind
from .kinds import KINDS
from .loaded import LoadedProgram
from .options import Filters, layout_defines
from .records import LOSSES, ORDERS, WHO, FreeCounts, Lost

_HOOK = Hook("count_page_alloc", HookKind.TRACEPOINT, "mm_page_alloc")


class AllocTypeProgram:
    """bpf/alloc_type.bpf.c, loaded into this kernel; counts while attached."""

    events_fd = None

    def __init__(self, compiler: Compiler, layout: PageLayout, filters: Filters) -> None:
        """Load the program. Raises PageInspectError."""
        defines = layout_defines(layout) | filters.defines(layout)
        self._program = LoadedProgram(compiler, "alloc_type.bpf.c", defines, [_HOOK])
        self._maps = self._program.maps
        if filters.pfns:
            try:
                self._maps["ranges"].fill(filters.ranges(layout))
            except BaseException:
                self.close()
                raise

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""
        self._program.attach()

    def detach(self) -> None:
        """Stop counting; the counts stay readable. Does nothing when not attached."""
        self._program.detach()

    def take_events(self, _start_ns: int) -> list[None]:
        """Return nothing: this program only counts."""
        return []

    def stack(self, number: int) -> Sequence[int]:
        """Return the addresses of a kernel stack by its number, innermost first."""
        return self._maps["stacks"].stack(number)

    def read(self) -> FreeCounts:
        """Return the allocations since attach, as FreeCounts has frees."""
        keys, values = self._maps["who"].read_hash(WHO)
        losses = self._maps["lost"].read_percpu(LOSSES)[:, 0].tolist()
        return FreeCounts(
            self._maps["allocs"].read_percpu(KINDS, ORDERS),
            Lost(0, self._program.missed(), *losses),
            dict(zip((key.tobytes() for key in keys), values.tolist(), strict=True)),
            np.zeros(SLOTS, np.uint64),
            None,
        )

    def close(self) -> None:
        """Detach and give everything back to the kernel."""
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
