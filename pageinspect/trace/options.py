# SPDX-License-Identifier: GPL-2.0-only
"""Options of a trace, and the -D that compile them into bpf/page_free.bpf.c."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PageInspectError, UsageError
from ..model.arch import MAX_ORDER
from ..model.layout import PageLayout
from ..model.page_types import WordScheme
from ..model.ranges import Range
from ..units import counted, number
from .kinds import TYPED, mask

_COMM_BYTES = 16
"""TASK_COMM_LEN: a task's name with its terminating NUL."""

RANGE = np.dtype([("first", np.uint64), ("end", np.uint64), ("zero", np.uint64)])
"""struct range of bpf/page_free.h."""
MOST_RANGES = 1 << 16
_MOST_SHOWN = 8
"""Ranges listed by describe(); the others are only counted."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters that run in the kernel. A free that does not pass is not counted at all."""

    orders: tuple[int, ...] = ()
    pfns: tuple[Range, ...] = ()
    """Pass frees with at least one page in one of these ranges."""
    pid: int | None = None
    comm: str | None = None

    def defines(self, layout: PageLayout) -> dict[str, str]:
        """Return the -D of bpf/page_filter.h."""
        found = {}
        if self.orders:
            found["ONLY_ORDERS"] = f"{sum(1 << order for order in set(self.orders)):#x}"
        if self.pfns:
            found["ONLY_PAGES"] = str(len(self.ranges(layout)))
        if self.pid is not None:
            found["ONLY_PID"] = str(self.pid)
        if self.comm is not None:
            name = os.fsencode(self.comm)[: _COMM_BYTES - 1].ljust(_COMM_BYTES, b"\0")
            words = (int.from_bytes(name[i : i + 8], "little") for i in (0, 8))
            found["ONLY_COMM"] = ",".join(f"{word:#x}ULL" for word in words)
        return found

    def ranges(self, layout: PageLayout) -> npt.NDArray[np.void]:
        """Return the content of the map `ranges`, padded to a power of two.

        Raises UsageError when there are too many.
        """
        n = len(self.pfns)
        if n > MOST_RANGES:
            raise UsageError(
                f"--pfn selects {number(n)} separate ranges; the limit is {number(MOST_RANGES)}",
                "use fewer, larger ranges",
            )
        entries = np.zeros(1 << max(n - 1, 0).bit_length(), RANGE)
        entries["first"][n:] = entries["end"][n:] = (1 << 64) - 1
        pfns = np.array(self.pfns, np.uint64).reshape(n, 2)
        pages = pfns * np.uint64(layout.struct_size) + np.uint64(layout.vmemmap)
        entries["first"][:n], entries["end"][:n] = pages.T
        return entries

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: only the filters that are set."""
        found = {
            "order": sorted(set(self.orders)),
            "pfn": [list(pfns) for pfns in self.pfns],
            "pid": self.pid,
            "comm": self.comm,
        }
        return {name: value for name, value in found.items() if value not in (None, [])}

    def describe(self) -> str:
        """Return the filters as text; empty when there are none."""
        words = []
        if self.orders:
            words.append("order " + ", ".join(map(str, sorted(set(self.orders)))))
        if self.pfns:
            shown = ", ".join(f"{start:#x}-{end:#x}" for start, end in self.pfns[:_MOST_SHOWN])
            more = len(self.pfns) - _MOST_SHOWN
            words.append(
                f"pfn {shown}" + (f" and {counted(more, 'range')} more" if more > 0 else "")
            )
        if self.pid is not None:
            words.append(f"pid {self.pid}")
        if self.comm is not None:
            words.append(f"comm {self.comm}")
        return "; ".join(words)


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What a trace records besides counts by kind and order; options that are off cost nothing."""

    filters: Filters = Filters()
    kinds: frozenset[int] = TYPED
    """Kinds whose frees are recorded in detail, not only counted."""
    by: tuple[str, ...] = ()
    """Keys to group frees by, from keys.KEYS."""
    stacks: bool = False
    events: bool = False
    disallowed: frozenset[int] = frozenset()
    page_pool: bool = False
    """Count pages with the signature of page_pool as a kind of their own."""
    tails: bool = False

    @property
    def counts_who(self) -> bool:
        """Whether frees are counted by who freed them."""
        return bool(self.by) or self.stacks

    @property
    def event_kinds(self) -> frozenset[int]:
        """The kinds of which each free is an event."""
        return self.disallowed | (self.kinds if self.events else frozenset())

    @property
    def with_stacks(self) -> bool:
        """Whether kernel stacks are taken."""
        return bool(self._stack_kinds)

    @property
    def _counts_stacks(self) -> bool:
        """Whether frees are grouped by stack, or by the caller found on it."""
        return self.stacks or "caller" in self.by

    @property
    def _stack_kinds(self) -> frozenset[int]:
        """The kinds whose frees have their stack recorded; disallowed ones always do."""
        return self.disallowed | (self.kinds if self._counts_stacks else frozenset())

    def defines(self, layout: PageLayout) -> dict[str, str]:
        """Return the -D of bpf/page_free.bpf.c, except those of layout_defines()."""
        found = self.filters.defines(layout)
        if self.page_pool and layout.page_pool is not None:
            page_pool_mask, value = layout.page_pool
            found["PAGE_POOL_OFFSET"] = str(layout.compound)
            found["PAGE_POOL_MASK"] = f"{page_pool_mask:#x}ULL"
            found["PAGE_POOL_VALUE"] = f"{value:#x}ULL"
        if self.counts_who:
            found["WHO_SET"] = mask(self.kinds)
        if self.event_kinds:
            found["EVENT_SET"] = mask(self.event_kinds)
        if self.with_stacks:
            found["STACK_SET"] = mask(self._stack_kinds)
        switches = {
            "BY_STACK": self._counts_stacks,
            "BY_COMM": "comm" in self.by,
            "BY_PID": "pid" in self.by,
            "BY_CPU": "cpu" in self.by,
            "BY_PLACE": not {"zone", "node"}.isdisjoint(self.by),
            "COUNT_TAILS": self.tails,
            "BAD_PAGES": not layout.resets,
        }
        return found | {name: "1" for name, on in switches.items() if on}


def layout_defines(layout: PageLayout) -> dict[str, str]:
    """Return the -D with the offsets and constants of this kernel."""
    scheme = layout.scheme
    if not isinstance(scheme, WordScheme):
        raise PageInspectError(
            f"tracing does not support page types of the scheme {scheme.name}",
            "this kernel is newer than pageinspect: update it",
        )
    numbers = {
        "PAGE_TYPE_OFFSET": layout.page_type,
        "PAGE_TYPE_INVERT": scheme.invert,
        "PAGE_TYPE_SHIFT": scheme.shift,
        "PAGE_TYPE_BASE": scheme.base,
        "PAGE_TYPE_BIAS": scheme.typed_bias,
        "PAGE_TYPE_BELOW": scheme.typed_below,
        "STRUCT_PAGE_SIZE": layout.struct_size,
        "FLAGS_OFFSET": layout.flags,
        "HEAD_BIT": layout.flag("head"),
        "HWPOISON_BIT": layout.flag("hwpoison"),
        "ZONE_NODE_SHIFT": layout.zone_bits.shift,
        "MAX_ORDER": MAX_ORDER,
    }
    # A kernel without CONFIG_MEMORY_FAILURE has no such bit.
    return {name: f"({value})" for name, value in numbers.items() if value is not None}
