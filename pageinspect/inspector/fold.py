# SPDX-License-Identifier: GPL-2.0-only
"""Walks pages piece by piece: in this process, or as the caller provides."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..model import ranges
from ..model.arch import SECTION_PFNS
from ..model.ranges import Range

if TYPE_CHECKING:
    from .inspector import Inspector

Result = TypeVar("Result")

SECTIONS_READ = 4
"""Memory sections in a piece that one process reads through drgn."""


class Fold(Protocol):
    """Yields the result of `work` for each piece of the wanted pfns, in pfn order."""

    def __call__(
        self,
        inspector: "Inspector",
        wanted: Sequence[Range],
        work: "Callable[[Inspector, Sequence[Range]], Result]",
        *,
        streamed: bool = False,
    ) -> Iterator[Result]:
        """Walk the pages; `streamed` is whether output is written between results."""


def fold_here(
    inspector: "Inspector",
    wanted: Sequence[Range],
    work: "Callable[[Inspector, Sequence[Range]], Result]",
    *,
    streamed: bool = False,  # noqa: ARG001 - no progress is shown
) -> Iterator[Result]:
    """Walk in this process, without showing progress."""
    for piece in ranges.cut(wanted, SECTIONS_READ * SECTION_PFNS):
        yield work(inspector, piece)
