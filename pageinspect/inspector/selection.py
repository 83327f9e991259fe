# SPDX-License-Identifier: GPL-2.0-only
"""Turns names and ranges into a Selection of pages, and checks the names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import classify
from ..errors import PageInspectError, no_such_name
from ..model import ranges
from ..model.ranges import Range
from ..report.selection import Selection
from .fold import Fold, fold_here
from .inspector import Inspector


@dataclass(frozen=True, slots=True)
class Request:
    """The pages that a command is asked for, as texts of the command line; empty is all pages."""

    pfn: Sequence[str] = ()
    types: Sequence[str] = ()
    uses: Sequence[str] = ()
    owners: Sequence[str] = ()
    """KIND or KIND:NAME."""
    freeing: bool = False

    @property
    def everything(self) -> bool:
        """Whether all pages are asked for."""
        return not (self.pfn or self.types or self.uses or self.owners or self.freeing)


def select(
    inspector: Inspector, request: Request, fold: Fold = fold_here
) -> tuple[list[Range], Selection]:
    """Return the pfns of the ranges that have a struct page, and the Selection of their pages.

    If owners are requested, memory is walked for the pfns that they own. Raises UsageError for a
    name that this kernel does not have, and PageInspectError for one that needs the kernel's types.
    """
    layout = inspector.layout
    freeing = ("freeing",) if request.freeing else ()
    check_available(inspector, *request.types, *request.uses, *freeing)
    wanted = inspector.ranges(*request.pfn)
    spanned = ranges.count(wanted)
    missing: tuple[str, ...] = ()
    owned = None
    if request.owners:
        # Imported here: to find owners takes many modules.
        from .lost_pages import pointed
        from .owned import owned_ranges

        wanted, owned, problems = owned_ranges(inspector, wanted, request.owners, fold)
        missing = pointed(inspector, problems)
    selection = Selection(
        spanned,
        wanted[-1][1] if wanted else 0,
        _codes(
            request.types,
            "page type",
            classify.type_names(layout),
            lambda name: classify.codes_of(layout, name),
        ),
        _codes(
            request.uses,
            "use",
            classify.use_names(layout),
            lambda name: classify.uses_of(layout, name),
        ),
        request.freeing,
        missing,
        owned,
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
