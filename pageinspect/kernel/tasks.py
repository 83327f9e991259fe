# SPDX-License-Identifier: GPL-2.0-only
"""Reads all processes with their mms and cgroups, and the kernel stacks of all threads.

Each struct task_struct is read once. A list that cannot be followed forwards to its end is followed
backwards from its head as well.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.percpu import per_cpu

from ..host.progress import paced
from ..model.arch import PAGE_SHIFT, SECTION_PFNS
from ..model.layout import PageLayout
from ..model.processes import Mm, Pfns, Process, Stack, Tasks
from ..target.vmcoreinfo import MAX_SECTIONS
from .dentry_paths import DentryPaths
from .members import Members
from .mm_counters import OTHER_COUNTERS, RSS_COUNTERS, RSS_DELTAS, MmCounterReader
from .name_paths import CgroupPaths, memory_cgroup
from .page_owners import UNREADABLE, page_offset_base
from .structures import add_offset

_MAX_TASKS = 1 << 22
"""PID_MAX_LIMIT: the largest pid and the maximum number of threads."""
_MAX_STACK_PAGES = 64
_MAX_PFNS = MAX_SECTIONS * SECTION_PFNS
_COMM = 16
_PF_KTHREAD = 0x00200000
_FORWARDS, _BACKWARDS = 0, 8

Task = tuple[int, bytes]
"""Address and bytes of a struct task_struct."""


def read_tasks(prog: Program, layout: PageLayout) -> Tasks:
    """Read all processes and the stacks of all threads. Raises no errors for missing data.

    Tasks.lacks lists what this kernel does not have, Tasks.unreadable counts unreadable items.
    """
    try:
        reader = _Reader(prog, layout)
    except (LookupError, FaultError) as error:
        return Tasks((), (), (), (), 1, 1, lacks=(f"list of tasks: {error}",))
    reader.follow()
    lacks = []
    cached: list[Stack] = []
    try:
        for cpu in for_each_possible_cpu(prog):
            reader.add_idle_thread(cpu)
            cached += reader.cached_stacks(cpu)
    except (LookupError, AttributeError) as error:
        lacks.append(f"stacks of idle threads and of threads that ended: {error}")
    if "stack_vm_area" not in reader.task:
        lacks.append("stacks in vmalloc areas (CONFIG_VMAP_STACK)")
    return Tasks(
        processes=tuple(sorted(reader.processes, key=lambda process: process.pid)),
        mms=reader.mms(),
        stacks=tuple(reader.stacks),
        cached_stacks=tuple(cached),
        unreadable=reader.unreadable + reader.unreadable_lists + reader.unreadable_cgroups,
        unreadable_lists=reader.unreadable_lists,
        unreadable_cgroups=reader.unreadable_cgroups,
        lacks=tuple(lacks),
    )


class _Reader:
    def __init__(self, prog: Program, layout: PageLayout) -> None:
        self._prog = prog
        self._layout = layout
        self.task = Members(
            prog,
            "struct task_struct",
            *("pid", "tgid", "flags", "mm", "signal", "tasks", "thread_node", "comm"),
            optional=("stack_vm_area", "cgroups", RSS_DELTAS),
        )
        self._signal = Members(prog, "struct signal_struct", "thread_head")
        self._mm = Members(
            prog, "struct mm_struct", "pgd", RSS_COUNTERS, optional=("exe_file", *OTHER_COUNTERS)
        )
        self._area = Members(prog, "struct vm_struct", "pages", "nr_pages")
        self._counters = MmCounterReader(prog, self._mm, self.task)
        self._direct = page_offset_base(prog)
        self._head = prog["init_task"].address_ + self.task.at["tasks"]
        self._left = _MAX_TASKS
        self._mm_numbers: dict[int, int] = {}
        self._rss_deltas: dict[int, Counter[int]] = {}
        self._paths: dict[int, str | None] = {}
        self._areas: set[int] = set()
        self.processes: list[Process] = []
        self.stacks: list[Stack] = []
        self.unreadable = self.unreadable_lists = self.unreadable_cgroups = 0

    def follow(self) -> None:
        """Read all processes and their threads."""
        for leader in paced(self._listed(self._head, "tasks"), 64):
            self._add_process(leader)

    def _listed(self, head: int, member: str) -> Iterator[Task]:
        """Yield the tasks of a list, each once."""
        link = self.task.at[member]
        seen = {head}
        for way in (_FORWARDS, _BACKWARDS):
            try:
                node = self._prog.read_u64(add_offset(head, way))
                while node not in seen and self._left:
                    data = self._read_task(node - link)
                    if not 0 < self.task.of(data, "pid") <= _MAX_TASKS:
                        break
                    seen.add(node)
                    self._left -= 1
                    yield node - link, data
                    (node,) = struct.unpack_from("<Q", data, link + way)
            except FaultError:
                node = 0
            if node == head:
                return
            if way == _FORWARDS:
                self.unreadable_lists += 1

    def _read_task(self, address: int) -> bytes:
        """Return the bytes of a task; a dump may lack one of the pages that it lies in."""
        data, missing = self.task.read_partly(address)
        of_cgroups = "cgroups" in missing
        self.unreadable_cgroups += of_cgroups
        self.unreadable += len(missing) - of_cgroups
        return data

    def _add_process(self, leader: Task) -> None:
        address, data = leader
        head = add_offset(self.task.of(data, "signal"), self._signal.at["thread_head"])
        alone = struct.pack("<QQ", head, head)
        if self.task.bytes_of(data, "thread_node", len(alone)) == alone:
            threads = [leader]
        else:
            threads = list(self._listed(head, "thread_node"))
        if all(thread != address for thread, _ in threads):
            # The list is unreadable, or another thread has just become the leader.
            threads.insert(0, leader)
        mm = 0
        for _, thread in threads:
            self._add_stack(thread)
            # A leader that has exited has no mm, but its remaining threads have it.
            mm = self._add_mm(thread) or mm
        number = self._mm_numbers.setdefault(mm, len(self._mm_numbers)) if mm else None
        process = Process(self.task.of(data, "tgid"), self._comm(data), number, self._cgroup(data))
        self.processes.append(process)

    def _add_mm(self, thread: bytes) -> int:
        """Return the address of a thread's mm (0 for none), and add the thread's RSS deltas to it.

        A kernel thread has none: it may only borrow an mm.
        """
        mm = self.task.of(thread, "mm")
        if not mm or self.task.of(thread, "flags") & _PF_KTHREAD:
            return 0
        kept = self._rss_deltas.setdefault(mm, Counter())
        kept.update(dict(enumerate(self._counters.rss_deltas(thread))))
        return mm

    def _comm(self, task: bytes) -> str:
        text = self.task.bytes_of(task, "comm", _COMM).partition(b"\0")[0]
        return text.decode("utf-8", "replace")

    def _cgroup(self, task: bytes) -> str:
        if "cgroups" not in self.task:
            return ""

        def read(address: int) -> str:
            css_set = Object(self._prog, "struct css_set *", address)
            return self._cgroup_paths.path(memory_cgroup(css_set).kn.value_())

        path = self._path(self.task.of(task, "cgroups"), read)
        self.unreadable_cgroups += path is None
        return path or ""

    def _exe(self, mm: bytes) -> str:
        if "exe_file" not in self._mm:
            return ""

        def read(address: int) -> str:
            return self._file_paths.of_file(Object(self._prog, "struct file *", address))

        path = self._path(self._mm.of(mm, "exe_file"), read)
        self.unreadable += path is None
        return path or ""

    @cached_property
    def _cgroup_paths(self) -> CgroupPaths:
        return CgroupPaths(self._prog)

    @cached_property
    def _file_paths(self) -> DentryPaths:
        return DentryPaths(self._prog)

    def _path(self, address: int, read: Callable[[int], str]) -> str | None:
        """Return a path, cached by address; empty without one, None if it is unreadable."""
        if not address:
            return ""
        if address not in self._paths:
            try:
                self._paths[address] = read(address)
            except UNREADABLE:
                self._paths[address] = None
        return self._paths[address]

    def mms(self) -> tuple[Mm, ...]:
        """Return the mms of all processes, ordered by number."""
        return tuple(self._read_mm(address) for address in paced(self._mm_numbers, 64))

    def _read_mm(self, address: int) -> Mm:
        try:
            data = self._mm.read(address)
            kept = self._rss_deltas[address]
            counters = self._counters.read(data, kept)
        except FaultError:
            self.unreadable += 1
            return Mm(address, -1, None, "")
        pfn = (self._mm.of(data, "pgd") - self._direct) >> PAGE_SHIFT
        sound = 0 <= pfn < _MAX_PFNS
        return Mm(address, pfn if sound else -1, counters, self._exe(data))

    def add_idle_thread(self, cpu: int) -> None:
        """Add the stack of a CPU's idle thread, which is on no list of tasks.

        The stack of the first CPU's idle thread is in the kernel image, and not added.
        """
        try:
            task = per_cpu(self._prog["runqueues"], cpu).idle.value_()
            if task:
                self._add_stack(self._read_task(task), cpu)
        except FaultError:
            self.unreadable += 1

    def cached_stacks(self, cpu: int) -> list[Stack]:
        """Return the stacks of ended threads that a CPU caches for new threads."""
        try:
            areas = [area.value_() for area in per_cpu(self._prog["cached_stacks"], cpu)]
        except FaultError:
            self.unreadable += 1
            return []
        stacks = (self._stack(area, -1, -1, "", cpu) for area in areas)
        return [stack for stack in stacks if stack is not None]

    def _add_stack(self, task: bytes, cpu: int | None = None) -> None:
        if "stack_vm_area" not in self.task:
            return
        tid, pid = self.task.of(task, "pid"), self.task.of(task, "tgid")
        area = self.task.of(task, "stack_vm_area")
        stack = self._stack(area, tid, pid, self._comm(task), cpu)
        if stack is not None:
            self.stacks.append(stack)

    def _stack(self, area: int, tid: int, pid: int, comm: str, cpu: int | None) -> Stack | None:
        """Return the stack in a vmalloc area; None without an area, or if it was added already."""
        if not area or area in self._areas:
            return None
        self._areas.add(area)
        try:
            data = self._area.read(area)
            number = min(self._area.of(data, "nr_pages"), _MAX_STACK_PAGES)
            pages = self._prog.read(self._area.of(data, "pages"), 8 * number)
        except FaultError:
            self.unreadable += 1
            return Stack(tid, pid, comm, cpu, area, np.empty(0, np.int64))
        return Stack(tid, pid, comm, cpu, area, self._pfns(np.frombuffer(pages, np.uint64)))

    def _pfns(self, pages: npt.NDArray[np.uint64]) -> Pfns:
        """Return the pfns of struct page addresses; invalid ones are counted and left out."""
        offsets = pages - np.uint64(self._layout.vmemmap)
        pfns, rest = np.divmod(offsets, np.uint64(self._layout.struct_size))
        sound = (rest == 0) & (pfns < np.uint64(_MAX_PFNS))
        self.unreadable += int(np.count_nonzero(~sound))
        found: Pfns = pfns[sound].astype(np.int64)
        return found
