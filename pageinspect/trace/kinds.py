# SPDX-License-Identifier: GPL-2.0-only
"""Kinds of frees: the slot of the page type, or one of four others, as in bpf/page_free.h."""

from collections.abc import Iterable

from ..errors import UsageError
from ..model.layout import PageLayout
from ..model.page_types import SLOTS

UNTYPED = SLOTS
PAGE_POOL = SLOTS + 1
UNREAD = SLOTS + 2
HWPOISON = SLOTS + 3
"""A poisoned page, which free_pages_prepare() does not give to the buddy allocator."""
KINDS = SLOTS + 4

TYPED = frozenset(range(SLOTS))
OTHER_NAMES = {"untyped": UNTYPED, "page_pool": PAGE_POOL}
"""Kinds that are not page types, by their names on the command line and in reports."""

UNEXPECTED = "unexpected"
"""For --disallow: all kinds that owners do not normally leave set."""


def kind_name(layout: PageLayout, kind: int) -> str:
    """Return the name of a kind: `zsmalloc`, `table+kmemcg`, `untyped`, `page_pool`."""
    if kind < SLOTS:
        return layout.scheme.slot_name(kind)
    return next(name for name, other in OTHER_NAMES.items() if other == kind)


def kinds_of(layout: PageLayout, names: Iterable[str]) -> frozenset[int]:
    """Return the kinds that these names select; a slot of several types has several names."""
    wanted = frozenset(names)
    slots = {s for s in TYPED if not wanted.isdisjoint(layout.scheme.slot_name(s).split("+"))}
    return frozenset(slots | {kind for name, kind in OTHER_NAMES.items() if name in wanted})


def unexpected(layout: PageLayout) -> frozenset[int]:
    """Return the kinds that owners do not normally leave set, with page_pool if it is detected."""
    kinds = {s for s in TYPED if not layout.is_sticky(layout.scheme.slot_name(s))}
    return frozenset(kinds | ({PAGE_POOL} if layout.page_pool else set()))


def check_page_pool(layout: PageLayout) -> None:
    """Raise UsageError where page_pool leaves no signature in struct page."""
    if layout.page_pool is None:
        raise UsageError("page_pool pages cannot be recognised on this kernel", "omit page_pool")


def mask(kinds: Iterable[int]) -> str:
    """Return a set of kinds as the five masks of in_set() in bpf/page_filter.h."""
    words = [0] * 5
    for kind in kinds:
        words[kind // 64] |= 1 << kind % 64
    return ",".join(f"{word:#x}ULL" for word in words)
