# SPDX-License-Identifier: GPL-2.0-only
"""What reports are made from: a kernel, or a snapshot of one."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from .contiguity import ContiguityReport
from .listing import Listing
from .owners import OwnersReport
from .processes import ProcessesReport
from .selection import Request
from .summary import SummaryReport

Kind = TypeVar("Kind", bound=Listing)


class ReportSource(Protocol):
    """Makes reports. All methods raise PageInspectError."""

    def summary(
        self, by: Sequence[str], request: Request, *, counters: bool = True
    ) -> SummaryReport:
        """Count the selected pages by the dimensions named.

        With `counters`, totals of all pages by type or by use are compared with the kernel's
        counters.
        """

    def list(self, kind: type[Kind], request: Request) -> Kind:
        """Return a listing of the selected pages."""

    def owners(
        self, by: str, request: Request, *, top: int | None = None, name_all: bool = True
    ) -> OwnersReport:
        """Count the selected pages by owner.

        `by` is one of BY, `top` the number of owners to show: see OwnersReport. Without `name_all`,
        of kinds with many owners only those with most pages are named, which is faster.
        """

    def processes(self, sort: str, top: int | None = None) -> ProcessesReport:
        """Return the memory use of every process; `sort` and `top` are as in ProcessesReport."""

    def contiguity(
        self, order: int | None = None, top: int | None = None, *, pfns: bool = True
    ) -> ContiguityReport:
        """Count the blocks of each zone by what is in them, and rank what is in the way.

        Without `order`, blocks are pageblocks and 1 GiB. `top` is the number of blockers to show,
        and `pfns` whether their pages are listed.
        """
