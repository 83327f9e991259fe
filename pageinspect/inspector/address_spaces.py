# SPDX-License-Identifier: GPL-2.0-only
"""Reads the processes of a kernel and the page tables of their address spaces."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..analysis.processes import Mappings, mapped_by
from ..kernel.mm_tables import MmTables
from ..kernel.swap_types import read_swap_types
from ..kernel.tasks import read_tasks
from ..model.processes import Process, Tasks
from ..units import counted, number, printable
from .inspector import Inspector

_MOST_NAMED = 4
_MOST_MAPPINGS = 16
"""Mappings that are listed of one page."""


@dataclass(frozen=True, slots=True)
class AddressSpaces:
    """All processes, and the page tables of their mms, which are numbered as in `tasks`."""

    tasks: Tasks
    tables: MmTables
    ended: frozenset[int] = frozenset()
    """The pids of processes that have ended since."""

    @property
    def whole(self) -> bool:
        """Whether everything could be read, among tables whose entries were read so far."""
        return not self.problems()

    def incomplete(self) -> list[Process]:
        """Return the processes with an unreadable page table, without those that have ended.

        The kernel may have used the memory of their page tables for something else.
        """
        whole = self.tables.whole
        return [
            process
            for process in self.tasks.processes
            if process.mm is not None and not whole[process.mm] and process.pid not in self.ended
        ]

    def problems(self) -> tuple[str, ...]:
        """Return sentences on what could not be read, among tables that were read so far."""
        tasks, sentences = self.tasks, []
        if tasks.lacks and not tasks.processes:
            sentences.append(f"Processes could not be read: {printable(tasks.lacks[0])}.")
        elif tasks.unreadable_lists:
            lists = counted(tasks.unreadable_lists, "list")
            sentences.append(
                f"{lists} of tasks could not be followed to the end: processes may be missing."
            )
        incomplete = self.incomplete()
        if incomplete:
            named = ", ".join(f"{p.pid} ({printable(p.comm)})" for p in incomplete[:_MOST_NAMED])
            if len(incomplete) > _MOST_NAMED:
                named += f" and {number(len(incomplete) - _MOST_NAMED)} more"
            sentences.append(f"Some page tables could not be read, of pid {named}.")
        return tuple(sentences)


def read_address_spaces(inspector: Inspector, *, deposited: bool = False) -> AddressSpaces:
    """Read the processes, and the upper levels of their page tables; raises no errors.

    With `deposited`, the page tables that the kernel keeps for huge pages are read as well.
    """
    target, layout = inspector.target, inspector.layout
    tasks = read_tasks(target.prog, layout)
    tables = MmTables(
        target.prog,
        target.vmcoreinfo,
        [mm.pgd_pfn for mm in tasks.mms],
        read_swap_types(target.prog),
        layout if deposited else None,
    )
    return AddressSpaces(tasks, tables)


def mappings_of(
    inspector: Inspector, pfns: Iterable[int]
) -> tuple[dict[int, Mappings], tuple[str, ...]]:
    """Return the Mappings of each page, and sentences on what could not be read; no errors."""
    spaces = read_address_spaces(inspector)
    found = mapped_by(spaces.tables, spaces.tasks.processes, pfns, _MOST_MAPPINGS)
    return found, spaces.problems()
