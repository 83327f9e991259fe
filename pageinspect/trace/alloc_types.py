# SPDX-License-Identifier: GPL-2.0-only
"""Types of pages when they leave the allocator: loads bpf/alloc_type.bpf.c, and reads its maps."""

import numpy as np

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .bpf_program import BpfProgram
from .compile import Compiler
from .hooks import Hook, HookKind
from .kinds import KINDS
from .options import Filters
from .records import LOSSES, ORDERS, WHO, FreeCounts, Lost

_HOOK = Hook("count_page_alloc", HookKind.TRACEPOINT, "mm_page_alloc")


class AllocTypeProgram(BpfProgram):
    """bpf/alloc_type.bpf.c, loaded into this kernel; counts while attached."""

    def __init__(self, compiler: Compiler, layout: PageLayout, filters: Filters) -> None:
        """Load the program. Raises PageInspectError."""
        defines = filters.defines(layout)
        super().__init__(compiler, "alloc_type.bpf.c", layout, defines, [_HOOK], filters)

    def read(self) -> FreeCounts:
        """Return the allocations since attach, as FreeCounts has frees."""
        keys, values = self._maps["who"].read_hash(WHO)
        losses = self._maps["lost"].read_percpu(LOSSES)[:, 0].tolist()
        return FreeCounts(
            self._maps["allocs"].read_percpu(KINDS, ORDERS),
            Lost(0, self._loaded.missed(), *losses),
            dict(zip((key.tobytes() for key in keys), values.tolist(), strict=True)),
            np.zeros(SLOTS, np.uint64),
            None,
        )
