# SPDX-License-Identifier: GPL-2.0-only
"""The ordered table of kinds. Of two kinds that claim a page, the first in the table has it."""

from functools import cache

import numpy as np
import numpy.typing as npt

from ..classify import CODES, use_name
from ..classify.uses import USE, USE_CODES
from ..model.layout import PageLayout
from .anon import ANON
from .block import BLOCK
from .boot import BOOT
from .bpf import BPF
from .crashkernel import CRASHKERNEL
from .damaged import DAMAGED
from .device import DEVICE
from .file import FILE
from .firmware import FIRMWARE
from .free import FREE
from .hugetlb import HUGETLB
from .kernel_image import KERNEL_IMAGE
from .kind import Kind
from .large_kmalloc import LARGE_KMALLOC
from .memmap import MEMMAP
from .module import MODULE
from .offline import OFFLINE
from .page_pool import PAGE_POOL
from .page_table import TABLE
from .percpu import PERCPU
from .shmem import SHMEM
from .slab import SLAB
from .stack import STACK
from .static import STATIC
from .tracing import TRACING
from .typed import TYPED
from .unknown import UNKNOWN
from .unreadable import UNREADABLE
from .vmalloc import VMALLOC
from .zsmalloc import ZSMALLOC

KINDS: tuple[Kind, ...] = (
    UNREADABLE,
    DAMAGED,
    DEVICE,
    FREE,
    OFFLINE,
    FILE,
    SHMEM,
    ANON,
    HUGETLB,
    SLAB,
    LARGE_KMALLOC,
    TABLE,
    PAGE_POOL,
    ZSMALLOC,
    TYPED,
    STACK,
    MODULE,
    BPF,
    VMALLOC,
    PERCPU,
    MEMMAP,
    KERNEL_IMAGE,
    CRASHKERNEL,
    FIRMWARE,
    STATIC,
    TRACING,
    BLOCK,
    BOOT,
    UNKNOWN,
)
NUMBER = {kind.name: i for i, kind in enumerate(KINDS)}
NOBODY = -1
"""In place of the number of a kind: no kind owns the pages of this use without claiming them."""

Kinds = npt.NDArray[np.int16]


@cache
def kinds_of_uses(layout: PageLayout) -> Kinds:
    """Return for each code of a use the number of the kind that owns its pages, or NOBODY.

    The result is (USE_CODES,) int16.
    """
    found = np.full(USE_CODES, NOBODY, np.int16)
    owners = {use: NUMBER[kind.name] for kind in KINDS for use in kind.owns}
    found[:CODES] = NUMBER[TYPED.name]
    names = _names(layout)
    for code in names:
        kinds = [owners[name] for name in names[code] if name in owners]
        if kinds:
            found[code] = min(kinds)
    return found


@cache
def may_claim(layout: PageLayout, number: int) -> npt.NDArray[np.bool_]:
    """Return which uses' pages a kind may claim by the kernel's structures, (USE_CODES,) bool."""
    uses = {*KINDS[number].may_claim, *KINDS[number].owns}
    found = np.zeros(USE_CODES, np.bool_)
    for code, names in _names(layout).items():
        found[code] = not uses.isdisjoint(names)
    return found


@cache
def _names(layout: PageLayout) -> dict[int, list[str]]:
    """Return the names of each code of a use.

    The types of old kernels are bits, of which several may be set.
    """
    return {code: use_name(layout, code).split("+") for code in (*range(CODES), *USE.values())}
