# SPDX-License-Identifier: GPL-2.0-only
"""Which pages of vmalloc areas are stacks, modules, BPF, or vmalloc memory."""

from dataclasses import replace

import numpy as np
import pytest

from pageinspect.model.kernel_memory import (
    VM_ALLOC,
    Module,
    ModuleRange,
    Modules,
    VmapArea,
    VmapAreas,
)
from pageinspect.model.owner_memory import BpfMemory, BpfPart
from pageinspect.model.processes import Stack, Tasks
from pageinspect.owners.bpf import BPF
from pageinspect.owners.kind import Kind
from pageinspect.owners.module import MODULE
from pageinspect.owners.stack import STACK
from pageinspect.owners.structures import Structures
from pageinspect.owners.vmalloc import VMALLOC
from pageinspect.owners.vmap_parts import split_areas

PAGE = 4096
START = 0xFFFFC90000000000
CLONE, EXECMEM, PROGRAM, DRIVER, NOBODY = 0x10, 0x20, 0x30, 0x40, 0x50
CALLERS = {
    CLONE: "kernel_clone",
    EXECMEM: "execmem_alloc",
    PROGRAM: "bpf_prog_alloc_no_stats",
    DRIVER: "take [driver]",
}
Named = dict[tuple[str, str], list[int]]


def area(at: int, caller: int, *pfns: int, vm: int = 0) -> VmapArea:
    start = START + at * PAGE
    end = start + (len(pfns) + 1) * PAGE
    return VmapArea(start, end, VM_ALLOC, caller, vm or at + 1, np.array(pfns, np.int64))


def stack(area: int, comm: str = "", tid: int = -1) -> Stack:
    return Stack(tid, tid, comm, None, area, np.empty(0, np.int64))


def tasks(stacks: tuple[Stack, ...], cached: tuple[Stack, ...] = ()) -> Tasks:
    return Tasks((), (), stacks, cached, 0)


def module(name: str, *ranges: tuple[int, int]) -> Module:
    parts = (ModuleRange("text", START + start, START + end) for start, end in ranges)
    return Module(name, 0, tuple(parts))


def part(name: str, start: int, end: int) -> BpfPart:
    return BpfPart(name, START + start, START + end)


def structures(*areas: VmapArea) -> Structures:
    return Structures(
        vmap=VmapAreas(areas),
        modules=Modules(),
        tasks=tasks(()),
        bpf=BpfMemory(),
        callers=CALLERS,
    )


def named(kind: Kind, given: Structures) -> Named:
    """Return the pfns by name and caller."""
    assert kind.claims is not None
    claims = kind.claims(given)
    found: Named = {}
    rows = zip(claims.starts.tolist(), claims.ends.tolist(), claims.owners.tolist(), strict=True)
    for start, end, owner in rows:
        found.setdefault(tuple(claims.labels[owner]), []).extend(range(start, end))
    return found


def test_memory_of_no_other_kind_has_the_name_of_its_caller() -> None:
    given = structures(area(0, DRIVER, 7, 5), area(9, NOBODY, 6), area(20, 0, 8))
    assert named(VMALLOC, given) == {
        ("take [driver]", "take [driver]"): [5, 7],
        ("0x50", "0x50"): [6],
        ("(no caller)", ""): [8],
    }
    for kind in (STACK, MODULE, BPF):
        assert named(kind, given) == {}


def test_stacks_have_the_name_of_their_task() -> None:
    given = structures(area(0, CLONE, 10, 11), area(9, CLONE, 12), area(20, CLONE, 13))
    given = replace(given, tasks=tasks((stack(1, "bash", 812),), (stack(10),)))
    assert named(STACK, given) == {
        ("bash[812]", "kernel_clone"): [10, 11],
        ("(cached)", "kernel_clone"): [12],
        ("(no task)", "kernel_clone"): [13],
    }
    assert named(VMALLOC, given) == {}


def test_a_task_says_more_than_the_caller() -> None:
    given = replace(structures(area(0, NOBODY, 10)), tasks=tasks((stack(1, "init", 1),)))
    assert named(STACK, given) == {("init[1]", "0x50"): [10]}


def test_a_stack_is_found_without_its_area() -> None:
    lost = replace(stack(99, "bash", 812), pfns=np.array([30, 31]))
    kept = replace(stack(1, "init", 1), pfns=np.array([10]))
    given = replace(structures(area(0, CLONE, 10)), tasks=tasks((lost, kept)))
    assert named(STACK, given) == {
        ("init[1]", "kernel_clone"): [10],
        ("bash[812]", ""): [30, 31],
    }
    assert named(STACK, replace(given, vmap=None)) == {
        ("init[1]", ""): [10],
        ("bash[812]", ""): [30, 31],
    }


def test_modules_and_packs_share_an_area() -> None:
    given = replace(
        structures(area(0, EXECMEM, *range(20, 30))),
        modules=Modules((module("second", (5 * PAGE, 7 * PAGE)), module("first", (PAGE, 9000)))),
        bpf=BpfMemory((part("program packs", 8 * PAGE, 20 * PAGE),)),
    )
    assert named(MODULE, given) == {
        ("first", "execmem_alloc"): [21, 22],
        ("second", "execmem_alloc"): [25, 26],
    }
    assert named(BPF, given) == {("program packs", "execmem_alloc"): [28, 29]}
    assert named(VMALLOC, given) == {("execmem_alloc", "execmem_alloc"): [20, 23, 24, 27]}


def test_a_program_in_a_pack_is_a_part_of_the_pack() -> None:
    parts = (
        part("program p", 0, 64),
        part("program packs", 0, 2 * PAGE),
        part("program q", 99, 999),
    )
    given = replace(structures(area(0, EXECMEM, 20, 21)), bpf=BpfMemory(parts))
    assert named(BPF, given) == {("program packs", "execmem_alloc"): [20, 21]}


def test_programs_that_no_list_has_are_known_by_their_caller() -> None:
    given = replace(
        structures(area(0, PROGRAM, 20), area(9, PROGRAM, 21)),
        bpf=BpfMemory((part("program p", 0, 2 * PAGE),)),
    )
    assert named(BPF, given) == {
        ("program p", "bpf_prog_alloc_no_stats"): [20],
        ("programs", "bpf_prog_alloc_no_stats"): [21],
    }


@pytest.mark.parametrize("seed", range(20))
def test_every_page_belongs_to_one_part(seed: int) -> None:
    random = np.random.default_rng(seed)
    areas, at, pfn = [], 0, 0
    for _ in range(12):
        size = int(random.integers(0, 9))
        caller = int(random.choice([*CALLERS, NOBODY]))
        areas.append(area(at, caller, *range(pfn, pfn + size)))
        at, pfn = at + size + int(random.integers(1, 4)), pfn + size
    edges = random.integers(0, at * PAGE, (14, 2)).tolist()
    ranges = [(min(pair), max(pair)) for pair in edges]
    given = replace(
        structures(*areas),
        modules=Modules(tuple(module(str(i), r) for i, r in enumerate(ranges[:7]))),
        bpf=BpfMemory(tuple(part(str(i), *r) for i, r in enumerate(ranges[7:]))),
    )
    pieces = [piece.pfns for piece in split_areas(given)]
    assert sorted(np.concatenate(pieces).tolist()) == list(range(pfn))


def test_unreadable_pages_are_left_out() -> None:
    given = structures(area(0, DRIVER, 7, -1, 5))
    assert named(VMALLOC, given) == {("take [driver]", "take [driver]"): [5, 7]}
