# SPDX-License-Identifier: GPL-2.0-only
"""Turns names and ranges into a Selection of pages, and checks the names."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .. import classify
from ..errors import PageInspectError, no_such_name
from ..model import ranges
from ..model.ranges import Range
from ..report.selection import Selection
from .fold import Fold, fold_here
from .inspector import Inspector


def select(
    inspector: Inspector,
    pfn: Sequence[str] = (),
    types: Sequence[str] = (),
    uses: Sequence[str] = (),
    *,
    freeing: bool = False,
    owners: Sequence[str] = (),
    fold: Fold = fold_here,
) -> tuple[list[Range], Selection]:
    """Return the pfns of the ranges that have a struct page, and the Selection of their pages.

    With `owners`, given as KIND or KIND:NAME, only the pfns that they own, for which memory is
    walked. Raises UsageError for a name that this kernel does not have, and PageInspectError for one that
    needs the kernel's types.
    """
    layout = inspector.layout
    check_available(inspector, *types, *uses, *(("freeing",) if freeing else ()))
    wanted, missing = inspector.ranges(*pfn), ()
    if owners:
        # Imported here: to find owners takes many modules.
        from .owned import owned_ranges

        wanted, missing = owned_ranges(inspector, wanted, owners, fold)
    selection = Selection(
        ranges.count(wanted),
        wanted[-1][1] if wanted else 0,
        _codes(
            types,
            "page type",
            classify.type_names(layout),
            lambda name: classify.codes_of(layout, name),
        ),
        _codes(
            uses, "use", classify.use_names(layout), lambda name: classify.uses_of(layout, name)
        ),
        freeing,
        tuple(owners),
        missing,
    )
    return wanted, selection


def check_available(inspector: Inspector, *names: str) -> None:
    """Raise PageInspectError for names that cannot be determined without the kernel's types."""
    for name in names:
        if name in inspector.layout.unavailable:
            raise PageInspectError(
                f"{name} is not available from VMCOREINFO alone",
                "give a file with this kernel's types: -s VMLINUX or --btf FILE",
            )


def _codes(
    names: Sequence[str],
    what: str,
    known: Sequence[str],
    codes_of: Callable[[str], npt.NDArray[np.bool_]],
) -> npt.NDArray[np.bool_] | None:
    """Return the codes of these names, None without names; raises UsageError for an unknown one."""
    selected = None
    for name in names:
        codes = codes_of(name)
        if not codes.any():
            raise no_such_name(what, name, known)
        selected = codes if selected is None else selected | codes
    return selected
