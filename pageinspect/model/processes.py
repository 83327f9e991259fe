"""Processes, their address spaces, and the kernel stacks of their threads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pfns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MmCounters:
    """The kernel's own counters of an mm; None for what this kernel does not count."""

    file: int
    anon: int
    shmem: int
    swap: int
    """In pages, these four."""
    table_bytes: int | None
    """VmPTE of /proc/PID/status: all page tables but those of the PGD and P4D levels."""
    hugetlb_pages: int | None

    @property
    def rss(self) -> int:
        """Pages in memory, as VmRSS of /proc/PID/status."""
        return self.file + self.anon + self.shmem


@dataclass(frozen=True, slots=True)
class Mm:
    """One address space, which several processes may share."""

    address: int
    pgd_pfn: int
    """The table of the first level; -1 where it cannot be."""
    counters: MmCounters | None
    """None where they cannot be read."""
    exe: str
    """The path of the program; untrusted text, empty for none or what cannot be read."""


@dataclass(frozen=True, slots=True)
class Process:
    """A thread group."""

    pid: int
    comm: str
    """Untrusted text."""
    mm: int | None
    """An index into Tasks.mms; None for a kernel thread, and for a process that has exited."""
    cgroup: str
    """The path in the default hierarchy, or in that of the memory controller where this is another.

    Untrusted text, empty for what cannot be read.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The kernel stack of one thread, or one that a CPU keeps for the next thread (pid -1)."""

    tid: int
    pid: int
    comm: str
    cpu: int | None
    """The CPU that keeps it, or whose idle thread it is."""
    area: int
    """The address of its struct vm_struct."""
    pfns: Pfns


@dataclass(frozen=True, slots=True, eq=False)
class Tasks:
    """All of them. `unreadable` counts tasks, mms, stacks and lists that could not be read."""

    processes: tuple[Process, ...]
    mms: tuple[Mm, ...]
    stacks: tuple[Stack, ...]
    cached_stacks: tuple[Stack, ...]
    unreadable: int
    lacks: tuple[str, ...] = ()
    """What this kernel has not, or its types and symbols do not show."""

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.unreadable
