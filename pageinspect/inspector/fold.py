"""How a walk is done: piece by piece, by this process or by what the caller hands in."""

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
    """Yields what `work` gives for the wanted pfns, piece by piece, in the order of pfns."""

    def __call__(
        self,
        inspector: "Inspector",
        wanted: Sequence[Range],
        work: "Callable[[Inspector, Sequence[Range]], Result]",
        *,
        streamed: bool = False,
    ) -> Iterator[Result]:
        """Walk; `streamed` is whether output is written between results."""


def fold_here(
    inspector: "Inspector",
    wanted: Sequence[Range],
    work: "Callable[[Inspector, Sequence[Range]], Result]",
    *,
    streamed: bool = False,  # noqa: ARG001 - no progress is shown
) -> Iterator[Result]:
    """Walk in this process, without a sign of progress."""
    for piece in ranges.cut(wanted, SECTIONS_READ * SECTION_PFNS):
        yield work(inspector, piece)
