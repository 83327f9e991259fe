# SPDX-License-Identifier: GPL-2.0-only
"""Converts arguments of Python scripts to the texts that the command line takes."""

from collections.abc import Sequence
from typing import SupportsIndex, TypeAlias, TypeGuard

from drgn import Object, Type, TypeKind

from ..errors import UsageError
from ..model.ranges import Range

Names: TypeAlias = str | Sequence[str]
"""Names, or one text with commas between them, as on the command line."""
Pfn: TypeAlias = str | SupportsIndex | Range
"""A text as for --pfn, a pfn, or (start, end) with the end exclusive."""
Pfns: TypeAlias = Pfn | Sequence[Pfn]
"""One Pfn or a list of several; a tuple of two numbers is (start, end)."""
Address: TypeAlias = str | SupportsIndex | Object
"""A text as `pageinspect page` takes it, a pfn, or a drgn Object that is a struct page or folio."""

_PAGES = ("page", "folio")


def names(given: Names) -> tuple[str, ...]:
    """Return the names as a tuple, which may be empty."""
    return tuple(filter(None, given.split(","))) if isinstance(given, str) else tuple(given)


def pfn_texts(given: Pfns) -> list[str]:
    """Return the ranges as texts of --pfn."""
    if isinstance(given, str | SupportsIndex) or _is_range(given):
        return [_pfn_text(given)]
    return [_pfn_text(each) for each in given]


def _is_range(given: object) -> TypeGuard[Range]:
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and all(isinstance(number, SupportsIndex) for number in given)
    )


def _pfn_text(given: Pfn) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, SupportsIndex):
        return f"{given.__index__():#x}"
    start, end = given
    return f"{start:#x}-{end:#x}"


def address_text(given: Address) -> str:
    """Return an address as text; raises UsageError for an Object of an unsuitable type."""
    if isinstance(given, Object):
        return _of_object(given)
    return given if isinstance(given, str) else f"{given.__index__():#x}"


def _of_object(given: Object) -> str:
    type_ = _plain(given.type_)
    if type_.kind in (TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM):
        return f"{given.value_():#x}"
    if type_.kind == TypeKind.POINTER and _is_page(_plain(type_.type)):
        return f"page:{given.value_():#x}"
    if _is_page(type_) and given.address_ is not None:
        return f"page:{given.address_:#x}"
    raise UsageError(
        f"an object of type {given.type_.type_name()} is not a page",
        "give a struct page *, a struct folio *, a pfn or a text",
    )


def _plain(type_: Type) -> Type:
    while type_.kind == TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def _is_page(type_: Type) -> bool:
    return type_.kind == TypeKind.STRUCT and type_.tag in _PAGES
