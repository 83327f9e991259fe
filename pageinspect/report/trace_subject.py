# SPDX-License-Identifier: GPL-2.0-only
"""The properties that all reports of one run of the tracer have in common."""

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
    """The kernel, options and names of one run, for all of its reports."""

    provenance: Provenance
    layout: PageLayout
    options: TraceOptions = field(default_factory=TraceOptions)
    types: tuple[str, ...] | None = None
    """The names of the requested types; None: all types."""
    zones: Sequence[str] = ()
    """The names of zones, by number."""
    stacks: "Stacks | None" = None
    top: int | None = None
    interval: bool = False
    """Whether a report is about one of several intervals and not the whole run."""
    since_start: bool = False
    """Whether each of several reports is about all frees since the start, so that numbers grow."""
    redrawn: bool = False
    """Whether each report replaces the last one on the terminal."""

    def kind(self, kind: int) -> str:
        """Return the name of a kind of free."""
        return kind_name(self.layout, kind)

    @cached_property
    def disallowed(self) -> frozenset[str]:
        """The names of the types whose frees are disallowed."""
        return frozenset(map(self.kind, self.options.disallowed))
