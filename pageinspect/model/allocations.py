# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel with page_owner or allocation tags knows of the allocation of each page.

A site is a key of 64 bits that stands for the code that allocated a page: the address of a struct
codetag, or the handle of a stack with ALLOCATED_AT. Other keys of owners of the same kinds are
below ALLOCATED_AT. All texts are untrusted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .kernel_memory import Pfns

Sites = npt.NDArray[np.uint64]
Records = npt.NDArray[np.void]

ALLOCATED_AT = 1 << 63
"""Set in each site."""
FIRST_TAG = ALLOCATED_AT + (1 << 32)
"""Sites below are handles of stacks."""


def is_site(key: int) -> bool:
    """Return whether the key of an owner is a site."""
    return key >= ALLOCATED_AT


def handle_of(site: int) -> int | None:
    """Return the handle of the stack that a site stands for; None if it is a tag."""
    return site - ALLOCATED_AT if site < FIRST_TAG else None


@dataclass(frozen=True, slots=True)
class CompressedTags:
    """Where the flags of struct page have the number of an allocation tag, and where tags are."""

    shift: int
    mask: int
    first: int
    """Address of the kernel's first tag."""
    count: int
    """The number of the kernel's tags, after which those of modules are counted."""
    of_modules: int
    """Address of the first tag of modules; 0 if there are none."""
    modules_end: int
    size: int
    """Size of a tag in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class PageExt:
    """The layout and place of struct page_ext, which follow each other in order of pfns."""

    record: "np.dtype[np.void]"
    """The fields that are known, at their offsets in a record: flags; order, gfp_mask, handle, pid
    and comm of page_owner; tag."""
    firsts: Pfns
    """The first pfn of each memory section, (k,) int64, sorted."""
    bases: Sites
    """Where the record of pfn 0 would be, by each section, (k,) uint64; 0 without records."""
    allocated: int = 0
    """The bit number in flags of pages that are allocated, by page_owner."""
    without_stack: tuple[int, ...] = ()
    """Handles of stacks that do not show who allocated a page."""
    compressed: CompressedTags | None = None

    def has(self, field: str) -> bool:
        """Return whether records have a field."""
        return field in (self.record.names or ())


@dataclass(frozen=True, slots=True)
class AllocationTag:
    """A place in the source code that allocates memory."""

    function: str
    file: str
    line: int
    module: str
    """Empty if it is in the kernel itself."""

    def __str__(self) -> str:
        module = f" [{self.module}]" if self.module else ""
        return f"{self.function}{module} ({self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class PageAllocation:
    """The allocation of one page, by page_owner."""

    handle: int
    order: int
    gfp_mask: int
    pid: int
    comm: str
    """Empty if this kernel does not keep it."""
