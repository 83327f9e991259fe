# SPDX-License-Identifier: GPL-2.0-only
"""The dimensions of `summary --by`: each maps pages to small integers, and these to names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..classify import (
    CODES,
    UNTYPED,
    USE_CODES,
    CountedPages,
    code_name,
    marker_of,
    use_name,
    use_rank,
)
from ..errors import UsageError, did_you_mean
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.page_types import SLOTS

if TYPE_CHECKING:
    from ..owners.kind import Kind

_ORDERS = 32

Owners = Callable[[Any], npt.NDArray[np.integer]]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension to count pages by."""

    name: str
    keys: Callable[[CountedPages], npt.NDArray[np.integer]]
    """Returns (n,) integers from 0 to `size` - 1."""
    size: Callable[[PageLayout], int]
    label: Callable[[PageLayout, MemoryMap, int], str]
    """Returns the name of a key."""
    rank: Callable[[PageLayout, int], int] = lambda _layout, key: key
    """Returns the sort key of a key."""


def _zones(layout: PageLayout) -> int:
    return layout.zone_bits.mask + 1


def _zone_name(layout: PageLayout, memory_map: MemoryMap, zone: int) -> str:
    if zone == _zones(layout):
        return "unreadable"
    return memory_map.zone_name(zone)


def _node_name(layout: PageLayout, _memory_map: MemoryMap, node: int) -> str:
    return "unreadable" if node > layout.node_field.mask else str(node)


def _kinds() -> "tuple[Kind, ...]":
    # Imported here: it has a module for each kind, and a summary seldom needs them.
    from ..owners.table import KINDS

    return KINDS


def _no_owners(_pages: CountedPages) -> npt.NDArray[np.integer]:
    raise ValueError("the owners of pages depend on structures that were not read")


def _where_read(
    pages: CountedPages, keys: npt.NDArray[np.integer], otherwise: int
) -> npt.NDArray[np.integer]:
    """Return the keys, with `otherwise` for pages whose struct page could not be read."""
    readable = pages.readable
    return keys if readable is None else np.where(readable, keys, otherwise)


DIMENSIONS = {
    dimension.name: dimension
    for dimension in (
        Dimension(
            "type",
            lambda pages: pages.code,
            lambda _layout: CODES,
            lambda layout, _memory_map, code: code_name(layout.scheme, code),
            lambda _layout, code: CODES if code in UNTYPED else code,
        ),
        Dimension(
            "use",
            lambda pages: pages.use,
            lambda _layout: USE_CODES,
            lambda layout, _memory_map, use: use_name(layout, use),
            lambda _layout, use: use_rank(use),
        ),
        Dimension(
            "zone",
            lambda pages: _where_read(pages, pages.zone, _zones(pages.layout)),
            lambda layout: _zones(layout) + 1,
            _zone_name,
        ),
        Dimension(
            "node",
            lambda pages: _where_read(pages, pages.node, pages.layout.node_field.mask + 1),
            lambda layout: layout.node_field.mask + 2,
            _node_name,
        ),
        Dimension(
            "order",
            lambda pages: pages.order,
            lambda _layout: _ORDERS,
            lambda _layout, _memory_map, order: str(order),
        ),
        Dimension(
            "owner",
            _no_owners,
            lambda _layout: len(_kinds()),
            lambda _layout, _memory_map, number: _kinds()[number].name,
        ),
    )
}


def dimensions_of(by: Sequence[str], owners: Owners | None = None) -> list[Dimension]:
    """Return the dimensions with these names; `owners` returns the kind of owner of each row."""
    found = [DIMENSIONS[name] for name in by]
    return [replace(d, keys=owners) if d.name == "owner" and owners else d for d in found]


def check_dimensions(by: Sequence[str]) -> None:
    """Raise UsageError if pages cannot be counted by these dimensions."""
    choices = ", ".join(DIMENSIONS)
    for name in by:
        if name not in DIMENSIONS:
            advice = did_you_mean(name, DIMENSIONS, f"choose from {choices}")
            raise UsageError(f"pages cannot be counted by {name!r}", advice)
    if not by:
        raise UsageError("no dimension to count by was given", f"choose from {choices}")
    if len(set(by)) != len(by):
        raise UsageError(
            "the same dimension was given twice", "give each of type, use, zone, … once"
        )


def type_value(layout: PageLayout, code: int) -> str | None:
    """Return the kernel's value of a type; "flag" or "dtor" if it is not a page type."""
    if code < SLOTS:
        return layout.scheme.slot_value(code)
    marker = marker_of(layout, code)
    return marker.kind if marker else None
