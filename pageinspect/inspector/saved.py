# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot of a dataset, with the methods of an Inspector that need no struct pages."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..report.selection import Request
from ..saved.opening import open_saved
from ..saved.reports import SavedReports
from .arguments import (
    FilePath,
    Names,
    Pfns,
    file_path,
    names,
    not_negative,
    owner_texts,
    pfn_texts,
)

if TYPE_CHECKING:
    from .results import (
        ContiguityResult,
        OwnersResult,
        ProcessesResult,
        RunsResult,
        SummaryResult,
    )


@dataclass(frozen=True, slots=True, repr=False)
class SavedInspector:
    """A snapshot, which can be counted and listed as the kernel that it was taken of.

    The methods are those of Inspector, without what needs struct pages.
    """

    reports: SavedReports = field(compare=False)

    def __repr__(self) -> str:
        return f"<SavedInspector: {self.reports.provenance.describe()}>"

    def summary(
        self,
        by: Names = ("type",),
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002 - the option's name
        use: Names = (),
        owner: Names = (),
        counters: bool = True,
    ) -> "SummaryResult":
        """Count pages, as Inspector.summary() does; raises PageInspectError."""
        from .results import SummaryResult, result_of

        request = Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner))
        report = self.reports.summary(names(by), request, counters=counters)
        return result_of(SummaryResult, report)

    def owners(
        self,
        by: str = "kind",
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002
        use: Names = (),
        owner: Names = (),
        top: int | None = None,
    ) -> "OwnersResult":
        """Count pages by owner, as Inspector.owners() does; raises PageInspectError.

        By cgroup only all pages can be counted.
        """
        from .results import OwnersResult, result_of

        request = Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner))
        report = self.reports.owners(by, request, top=_number(top, "a number of owners"))
        return result_of(OwnersResult, report)

    def contiguity(self, *, order: int | None = None, top: int | None = None) -> "ContiguityResult":
        """Count aligned blocks, as Inspector.contiguity() does; raises PageInspectError."""
        from ..report.contiguity_counts import check_order
        from .results import ContiguityResult, result_of

        chosen = None if order is None else check_order(order)
        report = self.reports.contiguity(chosen, _number(top, "a number of owners"))
        return result_of(ContiguityResult, report)

    def processes(self, *, sort: str = "pss", top: int | None = None) -> "ProcessesResult":
        """Return the memory use of processes, as Inspector.processes() does.

        Raises PageInspectError.
        """
        from .results import ProcessesResult, result_of

        report = self.reports.processes(sort, _number(top, "a number of processes"))
        return result_of(ProcessesResult, report)

    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002
        use: Names = (),
        owner: Names = (),
        freeing: bool = False,
    ) -> "RunsResult":
        """List runs of pages, as Inspector.list() does; raises PageInspectError."""
        from .results import RunsResult

        return self.reports.list(
            RunsResult,
            Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner), freeing),
        )


def open_snapshot(
    dataset: FilePath, *, time: str | None = None, host: str | None = None
) -> SavedInspector:
    """Open a snapshot of a dataset; raises PageInspectError, also if pyarrow is not installed.

    `time` is the beginning of a time such as 20261127T201500Z, or "-1" for the newest, "-2" for the
    one before; without it, the newest is opened. `host` may be omitted if there is one host.
    """
    return SavedInspector(open_saved(file_path(dataset), time, host))


def _number(given: int | None, what: str) -> int | None:
    return None if given is None else not_negative(given, what)
