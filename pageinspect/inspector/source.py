# SPDX-License-Identifier: GPL-2.0-only
"""The reports of a kernel that several kinds of sources can make."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..report.listing import Listing
from ..report.selection import Request
from ..target.open import Target
from .fold import Fold
from .inspector import inspect

if TYPE_CHECKING:
    from ..report.contiguity import ContiguityReport
    from ..report.owners import OwnersReport
    from ..report.processes import ProcessesReport
    from ..report.summary import SummaryReport

Kind = TypeVar("Kind", bound=Listing)


@dataclass(frozen=True, slots=True)
class KernelSource:
    """An opened kernel as a ReportSource. Each report reads the current memory map."""

    target: Target
    fold: Fold

    def summary(
        self, by: Sequence[str], request: Request, *, counters: bool = True
    ) -> "SummaryReport":
        """See ReportSource."""
        from .summary import summarise

        return summarise(inspect(self.target), by, request, fold=self.fold, counters=counters)

    def list(self, kind: type[Kind], request: Request) -> Kind:
        """See ReportSource; the pages are read while the listing is rendered."""
        from .listing import list_pages

        return list_pages(inspect(self.target), kind, request, fold=self.fold)

    def owners(
        self, by: str, request: Request, *, top: int | None = None, name_all: bool = True
    ) -> "OwnersReport":
        """See ReportSource."""
        from .owners import count_owners

        kernel = inspect(self.target)
        return count_owners(kernel, by, request, fold=self.fold, top=top, name_all=name_all)

    def processes(self, sort: str, top: int | None = None) -> "ProcessesReport":
        """See ReportSource."""
        from .processes import list_processes

        return list_processes(partial(inspect, self.target), sort, top, fold=self.fold)

    def contiguity(
        self, order: int | None = None, top: int | None = None, *, pfns: bool = True
    ) -> "ContiguityReport":
        """See ReportSource."""
        from .contiguity import find_contiguity

        kernel = inspect(self.target)
        return find_contiguity(kernel, fold=self.fold, order=order, top=top, pfns=pfns)
