# SPDX-License-Identifier: GPL-2.0-only
"""Processes, their address spaces, and the kernel stacks of their threads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pfns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MmCounters:
    """The kernel's own counters of an mm; None for those that this kernel does not have."""

    file: int
    anon: int
    shmem: int
    swap: int
    """In pages, as the three above."""
    table_bytes: int | None
    """VmPTE of /proc/PID/status in bytes: page tables except those of the PGD and P4D levels."""
    hugetlb_pages: int | None

    @property
    def rss(self) -> int:
        """Resident pages, as in VmRSS of /proc/PID/status."""
        return self.file + self.anon + self.shmem


@dataclass(frozen=True, slots=True)
class Mm:
    """One address space, which several processes may share."""

    address: int
    pgd_pfn: int
    """pfn of the PGD; -1 if the pointer is invalid."""
    counters: MmCounters | None
    """None if they cannot be read."""
    exe: str
    """The path of the program: untrusted text, empty if there is none or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Process:
    """A thread group."""

    pid: int
    comm: str
    """Untrusted text."""
    mm: int | None
    """An index into Tasks.mms; None for a kernel thread, and for a process that has exited."""
    cgroup: str
    """The path in the hierarchy of the memory controller, or in the default hierarchy without one.

    Untrusted text, empty if it cannot be read.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The kernel stack of a thread, or one that a CPU caches for the next thread (pid -1)."""

    tid: int
    pid: int
    comm: str
    cpu: int | None
    """The CPU that caches the stack, or that the idle thread belongs to; otherwise None."""
    area: int
    """The address of its struct vm_struct."""
    pfns: Pfns


@dataclass(frozen=True, slots=True, eq=False)
class Tasks:
    """All tasks. `unreadable` counts tasks, mms, stacks and lists that could not be read."""

    processes: tuple[Process, ...]
    mms: tuple[Mm, ...]
    stacks: tuple[Stack, ...]
    cached_stacks: tuple[Stack, ...]
    unreadable: int
    unreadable_lists: int = 0
    """How many of `unreadable` are lists of tasks, so that tasks may be missing."""
    unreadable_cgroups: int = 0
    """How many of `unreadable` are cgroups of processes."""
    lacks: tuple[str, ...] = ()
    """Data that this kernel, or its types and symbols, do not have."""

    @property
    def whole(self) -> bool:
        """Whether everything could be read."""
        return not self.unreadable
