# SPDX-License-Identifier: GPL-2.0-only
"""Checks arguments of Python scripts, and converts them to the texts of the command line."""

import os
from collections.abc import Iterable, Sequence
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias, TypeGuard, TypeVar

from drgn import Object, Type, TypeKind

from ..classify.details import DETAILS, Detail
from ..errors import UsageError, did_you_mean
from ..model.ranges import Range, merge

T = TypeVar("T")

Names: TypeAlias = str | Sequence[str]
"""Names, or one text with commas between them, as on the command line."""
Pfn: TypeAlias = str | SupportsIndex | Range
"""A text as for --pfn, a pfn, or (start, end) with the end exclusive."""
Pfns: TypeAlias = Pfn | Sequence[Pfn]
"""One Pfn or a list of several; a tuple of two numbers is (start, end)."""
Address: TypeAlias = str | SupportsIndex | Object
"""A text as `pageinspect page` takes it, a pfn, or a drgn Object that is a struct page or folio."""

FilePath: TypeAlias = str | os.PathLike[str]

_PAGES = ("page", "folio")
_PFN_HINT = "give a pfn, (start, end), a text as for --pfn, or a list of these"
_NAMES_HINT = "give a list of names, or one text with commas between them"
_ADDRESS_HINT = "give a struct page *, a struct folio *, a pfn or a text"


def names(given: Names) -> tuple[str, ...]:
    """Return the names as a tuple, which may be empty."""
    if isinstance(given, str):
        return tuple(filter(None, given.split(",")))
    if not isinstance(given, Iterable):
        raise _unsuitable(given, "a list of names", _NAMES_HINT)
    return all_texts(given, "a name", _NAMES_HINT)


def pfn_texts(given: Pfns) -> list[str]:
    """Return the ranges as texts of --pfn; raises UsageError for other objects."""
    if isinstance(given, str | SupportsIndex) or _is_range(given):
        return [_pfn_text(given)]
    if not isinstance(given, Iterable):
        raise _unsuitable(given, "a pfn or a range of pfns", _PFN_HINT)
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
        return f"{index(given):#x}"
    if not _is_range(given):
        raise _unsuitable(given, "a pfn or a range of pfns", _PFN_HINT)
    start, end = given
    return f"{start:#x}-{end:#x}"


def wanted_ranges(given: Iterable[Range]) -> list[Range]:
    """Return pairs of pfns as sorted disjoint ranges; raises UsageError for other objects."""
    hint = "give (start, end) pairs with the end exclusive, as ranges() returns them"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _unsuitable(given, "a list of pfn ranges", hint)
    return merge(_pair(each, hint) for each in given)


def _pair(given: Any, hint: str) -> Range:
    try:
        start, end = map(index, given)
    except (TypeError, ValueError):
        raise _unsuitable(given, "a range of pfns", hint) from None
    if not 0 <= start <= end:
        raise UsageError(f"({start}, {end}) is not a range of pfns", hint)
    return start, end


def address_text(given: Address) -> str:
    """Return an address as text; raises UsageError for an Object of an unsuitable type."""
    if isinstance(given, Object):
        return _of_object(given)
    if isinstance(given, str):
        return given
    if not isinstance(given, SupportsIndex):
        raise _unsuitable(given, "a page", _ADDRESS_HINT)
    return f"{index(given):#x}"


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
        _ADDRESS_HINT,
    )


def all_texts(given: Iterable[str], what: str, hint: str) -> tuple[str, ...]:
    """Return the texts as a tuple; raises UsageError if one is not a text."""
    found = tuple(given)
    for each in found:
        if not isinstance(each, str):
            raise _unsuitable(each, what, hint)
    return found


def file_path(given: FilePath) -> Path:
    """Return a path; raises UsageError for what cannot be the path of a file."""
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str):
        raise _unsuitable(given, "a path", "give a text or a pathlib.Path")
    if "\0" in text:
        raise UsageError("a path has a null character in it", "no file has such a name")
    return Path(text)


def known_detail(given: Detail) -> Detail:
    """Return the detail of runs; raises UsageError for an unknown one."""
    return one_of(given, "detail of runs", tuple(DETAILS))


def one_of(given: T, what: str, known: Sequence[T]) -> T:
    """Return the argument; raises UsageError if it is not one of these texts."""
    if given not in known:
        choices = [str(each) for each in known]
        advice = did_you_mean(str(given), choices, f"choose from {', '.join(choices)}")
        raise UsageError(f"there is no {what} {given!r}", advice)
    return given


def not_negative(given: SupportsIndex, what: str) -> int:
    """Return an integer; raises UsageError for a negative one, and for other objects."""
    hint = "give 0 or more"
    if not isinstance(given, SupportsIndex):
        raise _unsuitable(given, what, hint)
    if index(given) < 0:
        raise UsageError(f"{index(given)} is not {what}", hint)
    return index(given)


def _unsuitable(given: object, what: str, hint: str) -> UsageError:
    return UsageError(f"an object of type {type(given).__name__} is not {what}", hint)


def _plain(type_: Type) -> Type:
    while type_.kind == TypeKind.TYPEDEF:
        type_ = type_.type
    return type_


def _is_page(type_: Type) -> bool:
    return type_.kind == TypeKind.STRUCT and type_.tag in _PAGES
