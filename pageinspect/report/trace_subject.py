"""What is the same in all reports of a run of the tracer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..trace.kinds import kind_name
from ..trace.options import TraceOptions

if TYPE_CHECKING:
    from ..trace.stacks import Stacks


@dataclass(frozen=True)
class TraceSubject:
    """What is the same in all reports of a run."""

    provenance: Provenance
    layout: PageLayout
    options: TraceOptions = field(default_factory=TraceOptions)
    types: tuple[str, ...] | None = None
    """Names that were asked for; None for all types."""
    zones: Sequence[str] = ()
    """Names of the zones by number."""
    stacks: "Stacks | None" = None
    top: int | None = None
    interval: bool = False
    """Reports are of one stretch of several, not of a whole run."""
    redrawn: bool = False
    """Each report takes the place of the last."""

    def kind(self, kind: int) -> str:
        """Return the name of a kind of free."""
        return kind_name(self.layout, kind)

    @cached_property
    def disallowed(self) -> frozenset[str]:
        """The names of what must not be freed."""
        return frozenset(map(self.kind, self.options.disallowed))
