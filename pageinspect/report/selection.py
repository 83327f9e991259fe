# SPDX-License-Identifier: GPL-2.0-only
"""Selects the pages of a report: by pfn range, type, use, and whether they are being freed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import classify
from ..classify import CountedPages
from ..errors import PageInspectError, no_such_name
from ..model import ranges
from ..model.layout import PageLayout
from ..model.ranges import Range


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


@dataclass(frozen=True)
class Selection:
    """The selected pages. `types`, (CODES,), and `uses`, (USE_CODES,), are bool; None is all."""

    spanned: int
    """The number of requested pfns that have a struct page."""
    last: int = 0
    """The end of the last requested range, a pfn."""
    types: npt.NDArray[np.bool_] | None = None
    uses: npt.NDArray[np.bool_] | None = None
    freeing: bool = False
    missing: tuple[str, ...] = ()
    """Sentences about what was missing to find requested owners."""
    owned: Mapping[int, npt.NDArray[np.uint64]] | None = None
    """The keys of requested owners by the number of their kind; None is all owners."""

    @property
    def everything(self) -> bool:
        """Whether all pages of the ranges are selected."""
        return self.types is None and self.uses is None and not self.freeing

    def of(self, pages: CountedPages) -> npt.NDArray[np.bool_] | None:
        """Return which pages of a batch are selected, (n,) bool; None is all."""
        mask = pages.wanted
        if self.types is not None:
            mask = _and(mask, self.types[pages.code])
        if self.uses is not None:
            mask = _and(mask, self.uses[pages.use])
        if self.freeing:
            mask = _and(mask, pages.freeing)
        return mask


def _and(left: npt.NDArray[np.bool_] | None, right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return right if left is None else left & right


def selection_of(
    layout: PageLayout,
    request: Request,
    wanted: Sequence[Range],
    owned: "OwnedPages | None" = None,
) -> tuple[Sequence[Range], Selection]:
    """Return the pfns to read and the Selection of their pages.

    `wanted` are the pfns of the requested ranges with a struct page, `owned` those that requested
    owners have of them. Raises UsageError for a name that this kernel does not have.
    """
    read = wanted if owned is None else owned.ranges
    selection = Selection(
        ranges.count(wanted),
        read[-1][1] if read else 0,
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
        () if owned is None else owned.missing,
        None if owned is None else owned.keys,
    )
    return read, selection


@dataclass(frozen=True, slots=True)
class OwnedPages:
    """The pages of requested owners."""

    ranges: Sequence[Range]
    keys: Mapping[int, npt.NDArray[np.uint64]]
    """The keys of the owners by the number of their kind."""
    missing: tuple[str, ...]
    """Sentences about what was missing to find them."""


def check_available(layout: PageLayout, *names: str) -> None:
    """Raise PageInspectError for names that cannot be determined without the kernel's types."""
    for name in names:
        if name in layout.unavailable:
            raise PageInspectError(
                f"{name} is not available from VMCOREINFO alone",
                "give a file with this kernel's types: -s VMLINUX or --btf FILE",
            )


def check_request(layout: PageLayout, request: Request) -> None:
    """Raise PageInspectError if a type or use cannot be determined without the kernel's types."""
    freeing = ("freeing",) if request.freeing else ()
    check_available(layout, *request.types, *request.uses, *freeing)


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
