# SPDX-License-Identifier: GPL-2.0-only
"""Processes, mms and kernel stacks, followed in memory made by hand."""

from dataclasses import replace

import pytest
from drgn import FaultError
from synthetic import MODERN
from task_builder import BASE, KTHREAD, VMEMMAP, Kernel

from pageinspect.kernel import tasks as tasks_module
from pageinspect.kernel.tasks import read_tasks
from pageinspect.model.processes import Process, Tasks

LAYOUT = replace(MODERN, vmemmap=VMEMMAP)


def read(kernel: Kernel) -> Tasks:
    return read_tasks(kernel.prog, LAYOUT)


def pids(found: Tasks) -> list[int]:
    return [process.pid for process in found.processes]


def test_processes_share_mms_and_have_names_and_cgroups() -> None:
    kernel = Kernel()
    cgroup = kernel.cgroup("system.slice", "a.service")
    css_set = kernel.css_set(cgroup, 0)
    first = kernel.mm(0x55, [10, 20, 30, 40], [[1, -2, 3, 4], [10, 0, 0, -40]])
    second = kernel.mm(0x66, [0] * 4, [[0] * 4] * 2, kernel.file("usr", "bin", "x"))
    kernel.tasks(
        kernel.task(9, comm=b"kworker/0:1\0junk", mm=second, flags=KTHREAD),
        kernel.task(7, comm=b"sh", mm=first, cgroups=css_set),
        kernel.task(8, comm=b"vfork\xff\x1b", mm=first),
        kernel.task(1, comm=b"0123456789abcdef", mm=second),
    )
    found = read(kernel)
    assert found.processes == (
        Process(1, "0123456789abcdef", 1, ""),
        Process(7, "sh", 0, "/system.slice/a.service"),
        Process(8, "vfork\ufffd\x1b", 0, ""),
        Process(9, "kworker/0:1", None, ""),
    )
    assert [(mm.address, mm.pgd_pfn, mm.exe) for mm in found.mms] == [
        (first, 0x55, ""),
        (second, 0x66, "/usr/bin/x"),
    ]
    counters = found.mms[0].counters
    assert counters is not None
    assert (counters.file, counters.anon, counters.swap, counters.shmem) == (21, 18, 33, 4)
    assert (counters.rss, counters.table_bytes, counters.hugetlb_pages) == (43, 0x5000, 512)
    assert (found.whole, found.lacks) == (True, ())


def test_counters_before_v6_2_with_what_threads_keep_back() -> None:
    kernel = Kernel(percpu_counters=False, parent="parent")
    mm, signal = kernel.mm(1, [100, 200, 300, 400], []), kernel.place(16)
    cgroup = kernel.cgroup("a")
    leader = kernel.task(
        5, mm=mm, signal=signal, rss_deltas=[1, 2, 3, 4], cgroups=kernel.css_set(cgroup, 0)
    )
    thread = kernel.task(6, 5, mm=mm, signal=signal, rss_deltas=[-50, 0, 0, 0])
    kernel.threads(signal, leader, thread)
    kernel.tasks(leader, kernel.task(9, mm=mm, rss_deltas=[7, 0, 0, 0]))
    found = read(kernel)
    counters = found.mms[0].counters
    assert counters is not None
    assert (counters.file, counters.anon, counters.swap, counters.shmem) == (58, 202, 303, 404)
    assert found.processes[0].cgroup == "/a"


def test_the_mm_of_a_process_whose_leader_has_exited() -> None:
    kernel = Kernel()
    mm, signal = kernel.mm(1, [0] * 4, [[0] * 4] * 2), kernel.place(16)
    leader = kernel.task(5, comm=b"gone", signal=signal)
    threads = [kernel.task(pid, 5, mm=mm, signal=signal) for pid in (6, 7)]
    kernel.threads(signal, leader, *threads)
    kernel.tasks(leader)
    assert read(kernel).processes == (Process(5, "gone", 0, ""),)


def test_a_dump_that_lacks_a_part_of_a_task() -> None:
    kernel = Kernel()
    task = kernel.task(7, comm=b"sh", cgroups=kernel.css_set(kernel.cgroup("a"), 0))
    other = kernel.task(8, comm=b"other")
    kernel.tasks(task, other)
    kernel.prog.add_memory_segment(task + 80, 16, lacking)
    found = read(kernel)
    assert pids(found) == [7, 8]
    assert found.processes[0] == Process(7, "sh", None, "")
    # Of its stack and its cgroup.
    assert (found.unreadable, found.unreadable_cgroups, found.unreadable_lists) == (2, 1, 0)
    kernel.prog.add_memory_segment(task + 64, 8, lacking)
    found = read(kernel)
    assert pids(found) == [8]
    assert (found.unreadable_lists, found.unreadable_cgroups) == (1, 0)


def lacking(address: int, _count: int, _offset: int, _physical: bool) -> bytes:
    raise FaultError("not there", address)


def test_stacks_of_all_threads_of_idle_threads_and_those_kept() -> None:
    kernel = Kernel()
    signal = kernel.place(16)
    area = kernel.stack(10, 11, 12, 13)
    leader = kernel.task(5, comm=b"a", signal=signal, stack=area)
    thread = kernel.task(6, 5, comm=b"b", signal=signal, stack=kernel.stack(20, 21, 22, 23))
    kernel.threads(signal, leader, thread)
    kernel.tasks(leader)
    idle = kernel.task(0, comm=b"swapper/1", stack=kernel.stack(30, 31))
    kernel.write(BASE + 0x100, kernel.variables["init_task"][1])
    kernel.write(BASE + 0x1100, idle)
    # A stack has one owner: what a damaged core has twice counts once.
    kernel.write(BASE + 0x200, area)
    kernel.write(BASE + 0x208, kernel.stack(40, 41))
    found = read(kernel)
    assert [(s.tid, s.pid, s.comm, s.cpu, s.pfns.tolist()) for s in found.stacks] == [
        (5, 5, "a", None, [10, 11, 12, 13]),
        (6, 5, "b", None, [20, 21, 22, 23]),
        (0, 0, "swapper/1", 1, [30, 31]),
    ]
    assert [(s.tid, s.cpu, s.pfns.tolist()) for s in found.cached_stacks] == [(-1, 0, [40, 41])]
    assert found.whole


def test_a_task_that_cannot_be_read_is_passed_from_behind() -> None:
    kernel = Kernel()
    leaders = [kernel.task(pid) for pid in (1, 2, 3, 4)]
    kernel.tasks(*leaders)
    kernel.lost = {leaders[1]}
    found = read(kernel)
    assert pids(found) == [1, 3, 4]
    assert (found.whole, found.unreadable) == (False, 1)


@pytest.mark.parametrize("pid", [0, -3, (1 << 22) + 1])
def test_what_is_no_task_ends_a_list(pid: int) -> None:
    kernel = Kernel()
    kernel.tasks(kernel.task(1), kernel.task(pid, 1), kernel.task(3))
    assert pids(read(kernel)) == [1, 3]


def test_a_list_that_leads_round_has_each_task_once() -> None:
    kernel = Kernel()
    leaders = [kernel.task(pid) for pid in (1, 2, 3)]
    kernel.tasks(*leaders)
    kernel.write(leaders[2] + 32, leaders[0] + 32)
    found = read(kernel)
    assert sorted(pids(found)) == [1, 2, 3]
    assert not found.whole


def test_no_more_tasks_than_there_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "_MAX_TASKS", 3)
    kernel = Kernel()
    kernel.tasks(*(kernel.task(pid) for pid in (1, 2, 3, 3, 3)))
    found = read(kernel)
    assert pids(found) == [1, 2, 3]
    assert not found.whole


def test_threads_whose_list_cannot_be_read_leave_the_leader() -> None:
    kernel = Kernel()
    leader = kernel.task(5, comm=b"a")
    kernel.write(leader + 48, 0xDEAD)
    kernel.write(leader + 24, BASE - 0x1000)
    kernel.tasks(leader)
    found = read(kernel)
    assert pids(found) == [5]
    assert not found.whole


def test_mms_and_stacks_that_cannot_be_read() -> None:
    kernel = Kernel()
    kernel.tasks(
        kernel.task(1, mm=BASE - 0x1000, stack=BASE - 0x2000),
        kernel.task(2, mm=kernel.mm(1, [0] * 4, [[0] * 4] * 2, BASE - 0x3000)),
    )
    found = read(kernel)
    assert [(mm.pgd_pfn, mm.counters is None, mm.exe) for mm in found.mms] == [
        (-1, True, ""),
        (1, False, ""),
    ]
    assert [s.pfns.tolist() for s in found.stacks] == [[]]
    assert found.unreadable == 3


def test_pages_of_a_stack_that_are_none_are_counted() -> None:
    kernel = Kernel()
    area = kernel.stack(10, 11)
    kernel.write(int.from_bytes(kernel.memory[area - BASE : area - BASE + 8], "little"), 0x1234)
    kernel.tasks(kernel.task(1, stack=area))
    found = read(kernel)
    assert (found.stacks[0].pfns.tolist(), found.unreadable) == ([11], 1)


@pytest.mark.parametrize(
    ("memory_root", "path"), [(1, "/user.slice"), (2, "/docker/abc"), (0, "/user.slice")]
)
def test_the_cgroup_is_that_of_the_memory_controller_where_it_has_a_hierarchy(
    memory_root: int, path: str
) -> None:
    kernel = Kernel()
    memory = kernel.cgroup("docker", "abc", root=memory_root) if memory_root else 0
    css_set = kernel.css_set(kernel.cgroup("user.slice"), memory)
    kernel.tasks(kernel.task(1, cgroups=css_set), kernel.task(2, cgroups=css_set))
    assert [process.cgroup for process in read(kernel).processes] == [path] * 2


def test_the_root_cgroup_and_one_that_leads_round() -> None:
    kernel = Kernel()
    round_ = kernel.cgroup("a")
    node = int.from_bytes(kernel.memory[round_ - BASE : round_ - BASE + 8], "little")
    kernel.write(node, node)
    kernel.tasks(
        kernel.task(1, cgroups=kernel.css_set(kernel.cgroup(), 0)),
        kernel.task(2, cgroups=kernel.css_set(round_, 0)),
    )
    found = read(kernel)
    assert [process.cgroup for process in found.processes] == ["/", ""]
    assert found.unreadable == 1


def test_a_path_crosses_mounts() -> None:
    kernel = Kernel()
    exe = kernel.file("mnt", "usb", mounted=("bin", "x"))
    kernel.tasks(kernel.task(1, mm=kernel.mm(1, [0] * 4, [[0] * 4] * 2, exe)))
    assert read(kernel).mms[0].exe == "/mnt/usb/bin/x"


@pytest.mark.parametrize("lacking", ["init_task", "page_offset_base", "__per_cpu_offset"])
def test_a_kernel_whose_tasks_are_not_known(lacking: str) -> None:
    kernel = Kernel()
    kernel.tasks(kernel.task(1))
    del kernel.variables[lacking]
    found = read(kernel)
    assert (found.processes, found.whole) == ((), False)
    assert found.lacks[0].startswith("list of tasks: ")


@pytest.mark.parametrize("lacking", ["runqueues", "cached_stacks"])
def test_a_kernel_that_keeps_no_stacks(lacking: str) -> None:
    kernel = Kernel()
    kernel.tasks(kernel.task(1))
    del kernel.variables[lacking]
    found = read(kernel)
    assert (pids(found), found.whole) == ([1], True)
    assert len(found.lacks) == 1
