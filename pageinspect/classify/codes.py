# SPDX-License-Identifier: GPL-2.0-only
"""The codes of the type column, and their names."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ..model.layout import Marker, PageLayout
from ..model.page_types import SLOTS, Scheme


class Code:
    """Codes of the type column from 256 on; the codes below 256 are the slots of page types.

    They are plain ints, as those of `page_types.Reading` are.
    """

    MAPPED: Final = SLOTS
    RESET: Final = SLOTS + 1
    MOVABLE_OPS: Final = SLOTS + 2
    ODD: Final = SLOTS + 3
    SLAB: Final = SLOTS + 4
    HUGETLB: Final = SLOTS + 5
    UNREADABLE: Final = SLOTS + 6


UNTYPED = {
    Code.MAPPED: "mapped",
    Code.RESET: "reset",
    Code.MOVABLE_OPS: "movable_ops",
    Code.ODD: "odd",
}
"""Names for the words of untyped pages."""

_NAMES = {Code.SLAB: "slab", Code.HUGETLB: "hugetlb", Code.UNREADABLE: "unreadable"}

CODES = SLOTS + len(UNTYPED) + len(_NAMES)


def code_name(scheme: Scheme, code: int) -> str:
    """Return the type name of a code; all codes of untyped pages have the name "untyped"."""
    code = int(code)
    return scheme.slot_name(code) if code < SLOTS else _NAMES.get(code, "untyped")


def type_names(layout: PageLayout) -> list[str]:
    """Return the names of all types that pages of this kernel can have, "untyped" last."""
    names = [page_type.name for page_type in layout.scheme.types]
    return [*names, *layout.markers, "unreadable", "untyped"]


def marker_of(layout: PageLayout, code: int) -> Marker | None:
    """Return the mark of pages with this code; None if it is not that of a marker."""
    return layout.markers.get(_NAMES.get(int(code), ""))


@cache
def codes_of(layout: PageLayout, name: str) -> npt.NDArray[np.bool_]:
    """Return which codes have this type name, (CODES,) bool; all False for an unknown name."""
    page_type = layout.scheme.find(name)
    codes = np.arange(CODES)
    if page_type is not None and not layout.scheme.one_of:
        has_bit: npt.NDArray[np.bool_] = (codes < SLOTS) & ((codes & page_type.slot) != 0)
        return has_bit
    return np.array([code_name(layout.scheme, code) == name for code in range(CODES)])
