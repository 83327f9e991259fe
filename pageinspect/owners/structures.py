# SPDX-License-Identifier: GPL-2.0-only
"""The kernel structures that kinds of owners claim pages by, as read from one kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.allocations import PageExt
from ..model.kernel_memory import (
    BootReserved,
    MemmapPages,
    Modules,
    PercpuPages,
    Resources,
    VmapAreas,
)
from ..model.owner_memory import (
    BlockRequests,
    BpfMemory,
    KernelImage,
    PageTablePages,
    StaticMemory,
    TraceMemory,
)
from ..model.processes import Tasks


@dataclass(frozen=True, slots=True)
class Structures:
    """What was read; None for a structure that this kernel lacks or that could not be read."""

    vmap: VmapAreas | None = None
    percpu: PercpuPages | None = None
    memmap: MemmapPages | None = None
    resources: Resources | None = None
    boot: BootReserved | None = None
    modules: Modules | None = None
    tasks: Tasks | None = None
    tables: PageTablePages | None = None
    bpf: BpfMemory | None = None
    image: KernelImage | None = None
    static: StaticMemory | None = None
    trace: TraceMemory | None = None
    block: BlockRequests | None = None
    page_ext: PageExt | None = None
    callers: Mapping[int, str] = field(default_factory=dict)
    """The name of the function at each caller's address, such as "execmem_alloc" or
    "nf_tables:nft_chain_add"."""
