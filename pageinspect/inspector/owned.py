# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages of given owners, for --owner."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from ..errors import PageInspectError, UsageError, did_you_mean
from ..model.ranges import Range
from ..owners.assign import Assigned
from ..owners.counts import OwnerRanges, ranges_of
from ..owners.kind import Keys
from ..owners.table import KINDS, NUMBER
from ..units import printable
from .fold import Fold
from .inspector import Inspector
from .owner_finder import OwnerFinder, owner_finder
from .owner_names import NAMED_BY_VALUE, RESERVED


def owned_ranges(
    inspector: Inspector, wanted: Sequence[Range], owners: Sequence[str], fold: Fold
) -> tuple[list[Range], dict[int, Keys], tuple[str, ...]]:
    """Return the wanted pfns that belong to the owners, and sentences about what is missing.

    The dictionary has the keys of the owners by the number of their kind.

    Owners are given as KIND or KIND:NAME, where * in NAME stands for any text. Raises UsageError
    for one that does not exist, and PageInspectError.
    """
    asked: dict[int, list[str]] = {}
    for owner in owners:
        kind, _, name = owner.partition(":")
        if kind not in NUMBER:
            known = [kind.name for kind in KINDS]
            advice = did_you_mean(kind, known, f"the kinds are {', '.join(known)}")
            if "," in kind:
                advice = "repeat --owner for each owner"
            raise UsageError(f"there is no kind of owner {kind!r}", advice)
        if name and inspector.layout.unavailable and kind not in NAMED_BY_VALUE:
            raise PageInspectError(
                f"names of {kind} are not available from VMCOREINFO alone",
                "give a file with this kernel's types: -s VMLINUX or --btf FILE",
            )
        asked.setdefault(NUMBER[kind], []).append(name or "*")
    finder = owner_finder(inspector)

    def work(copy: Inspector, piece: Sequence[Range]) -> list[Assigned]:
        assigner = finder.assigner(copy.layout)
        parts = (pieces for _, pieces in finder.walk(copy, piece, assigner))
        return [pieces.where(np.isin(pieces.kinds, list(asked))) for pieces in parts]

    found = ranges_of(part for parts in fold(inspector, wanted, work) for part in parts)
    mask = np.zeros(len(found.starts), np.bool_)
    keys: dict[int, Keys] = {}
    for number, names in asked.items():
        of_owners = _matching(finder, found, number, names)
        keys[number] = np.unique(found.keys[of_owners])
        mask |= of_owners
    return found.of(mask), keys, finder.problems


def _matching(
    finder: OwnerFinder, found: OwnerRanges, number: int, wanted: Sequence[str]
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Return which ranges belong to the owners of a kind with one of these names."""
    of_kind = found.kinds == number
    if "*" in wanted:
        return of_kind
    kind = KINDS[number].name
    keys = np.unique(found.keys[of_kind])
    names = [name.name for name in finder.names.names(kind, keys.tolist())]
    chosen = np.zeros(len(keys), np.bool_)
    for text in wanted:
        matches = np.array([_matches(name, text) for name in names], np.bool_)
        if not matches.any() and kind == "hugetlb" and text.endswith(RESERVED):
            raise UsageError(
                f"no page is {text!r}: reservations are a number of free huge pages",
                f"hugetlb:{text.removesuffix(RESERVED)}free has these pages",
            )
        if not matches.any():
            raise UsageError(
                f"none of the pages belongs to an owner of kind {kind} {text!r}",
                did_you_mean(text, names, "pageinspect owners --by name shows the names"),
            )
        chosen |= matches
    return of_kind & np.isin(found.keys, keys[chosen])


def _matches(name: str, text: str) -> bool:
    # Only * is special: brackets are part of names such as "bash[812]".
    plain = text.replace("[", "[[]").replace("?", "[?]")
    # Reports show names with escapes.
    forms = (name, printable(name))
    return text in forms or ("*" in text and any(fnmatchcase(form, plain) for form in forms))
