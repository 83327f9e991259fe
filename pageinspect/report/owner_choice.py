# SPDX-License-Identifier: GPL-2.0-only
"""Which owners a text of --owner means."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt

from ..errors import PageInspectError, UsageError, did_you_mean
from ..model.layout import PageLayout
from ..model.owner_names import NAMED_BY_VALUE, RESERVED
from ..owners.counts import OwnerRanges
from ..owners.kind import Keys
from ..owners.table import KINDS, NUMBER
from ..units import printable
from .owner_rows import OwnerNaming


def asked_owners(layout: PageLayout, owners: Sequence[str]) -> dict[int, list[str]]:
    """Return the names that are asked for by number of a kind, * for all.

    Owners are given as KIND or KIND:NAME, where * in NAME stands for any text. Raises UsageError
    for a kind that does not exist, and PageInspectError for names that are not available.
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
        if name and layout.unavailable and kind not in NAMED_BY_VALUE:
            raise PageInspectError(
                f"names of {kind} are not available from VMCOREINFO alone",
                "give a file with this kernel's types: -s VMLINUX or --btf FILE",
            )
        asked.setdefault(NUMBER[kind], []).append(name or "*")
    return asked


def choose(
    found: OwnerRanges, asked: Mapping[int, Sequence[str]], names: OwnerNaming
) -> tuple[npt.NDArray[np.bool_], dict[int, Keys]]:
    """Return which ranges belong to the owners asked for, and their keys by number of the kind.

    Raises UsageError if no range belongs to one of them.
    """
    mask = np.zeros(len(found.starts), np.bool_)
    keys: dict[int, Keys] = {}
    for number, texts in asked.items():
        of_owners = _matching(names, found, number, texts)
        keys[number] = np.unique(found.keys[of_owners])
        mask |= of_owners
    return mask, keys


def _matching(
    naming: OwnerNaming, found: OwnerRanges, number: int, wanted: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Return which ranges belong to the owners of a kind with one of these names."""
    of_kind = found.kinds == number
    if "*" in wanted:
        return of_kind
    kind = KINDS[number].name
    keys = np.unique(found.keys[of_kind])
    names = [name.name for name in naming.names(kind, keys.tolist())]
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
