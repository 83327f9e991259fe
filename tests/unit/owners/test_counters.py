# SPDX-License-Identifier: GPL-2.0-only
"""The pages of kinds against the kernel's counters."""

from dataclasses import replace

import numpy as np
import pytest
from counted import COUNTERS

from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.analysis.totals import Totals
from pageinspect.model.counters import Counters
from pageinspect.model.kernel_memory import (
    VM_ALLOC,
    VM_MAP_PUT_PAGES,
    VM_UNINITIALIZED,
    MemmapPages,
    PercpuPages,
    VmapArea,
    VmapAreas,
)
from pageinspect.model.processes import Stack, Tasks
from pageinspect.owners.counters import compare_owners
from pageinspect.owners.structures import Structures

NONE = np.empty(0, np.int64)
PAGES = {"vmalloc": 100, "stack": 28, "module": 20, "bpf": 5, "percpu": 40, "memmap": 512}
NEW = replace(
    COUNTERS,
    items={**COUNTERS.items, "NR_VMALLOC": 153, "NR_KERNEL_STACK_KB": 96},
    percpu=40,
    memmap=512,
)
OLD = replace(COUNTERS, vmalloc=153)


def area(start: int, pages: int, flags: int, caller: int = 0) -> VmapArea:
    return VmapArea(start, start + 4096 * (pages + 1), flags, caller, start, np.arange(pages))


def structures(*areas: VmapArea, cached: int = 4) -> Structures:
    stack = Stack(-1, -1, "", 0, 1, np.arange(cached))
    return Structures(
        vmap=VmapAreas(areas),
        tasks=Tasks((), (), (), (stack,), 0),
        percpu=PercpuPages(populated=10, units=4, cpus=4),
        memmap=MemmapPages(),
        callers={7: "kernel_clone"},
    )


def checks(given: Structures, counters: Counters = NEW, **pages: int) -> dict[str, CounterCheck]:
    totals = Totals({}, frozenset())
    found = compare_owners(totals, PAGES | pages, given, counters, counters)
    return {check.name: check for check in found if check.name in (*PAGES, "stack")}


def test_equal_pages_are_verified() -> None:
    found = checks(structures())
    assert {name: check.counted for name, check in found.items()} == {
        "vmalloc": 153,
        "stack": 24,
        "percpu": 40,
        "memmap": 512,
    }
    assert {check.verdict for check in found.values()} == {"verified"}
    assert found["vmalloc"].counter == "NR_VMALLOC"


def test_older_kernels_have_other_counters() -> None:
    found = checks(structures(), OLD)
    assert list(found) == ["vmalloc"]
    assert (found["vmalloc"].counter, found["vmalloc"].verdict) == ("nr_vmalloc_pages", "verified")
    assert checks(structures(), COUNTERS) == {}


def test_structures_that_were_not_read_are_not_compared() -> None:
    assert checks(Structures()) == {}
    assert list(checks(replace(structures(), tasks=None))) == ["vmalloc", "percpu", "memmap"]
    assert list(checks(replace(structures(), vmap=None))) == ["stack", "percpu", "memmap"]


def test_structures_that_were_read_in_part_explain_missing_pages() -> None:
    whole = structures()
    assert whole.tasks
    for name, damaged in (
        ("vmalloc", replace(whole, vmap=VmapAreas(whole=False))),
        ("stack", replace(whole, tasks=replace(whole.tasks, unreadable=1))),
        ("percpu", replace(whole, percpu=PercpuPages((), (), 10, 4, 4, unreadable=1))),
        ("memmap", replace(whole, memmap=MemmapPages(whole=False))),
    ):
        fewer = checks(damaged, **{name: PAGES[name] - 7})
        assert {n for n, check in fewer.items() if check.verdict == "explained"} == {name}
        assert "could not be read" in fewer[name].why
        assert checks(damaged, **{name: PAGES[name] + 7})[name].verdict == "differs"


@pytest.mark.parametrize("name", ["vmalloc", "stack", "percpu", "memmap"])
@pytest.mark.parametrize("by", [-1, 1])
def test_any_difference_is_reported(name: str, by: int) -> None:
    assert checks(structures(), **{name: PAGES[name] + by})[name].verdict == "differs"


def test_areas_that_the_kernel_does_not_count_explain_their_pages() -> None:
    given = structures(area(0, 3, VM_MAP_PUT_PAGES | VM_ALLOC), area(1 << 20, 9, VM_ALLOC))
    assert checks(given, vmalloc=103)["vmalloc"].verdict == "explained"
    assert checks(given, vmalloc=102)["vmalloc"].verdict == "differs"
    assert checks(given, vmalloc=104)["vmalloc"].verdict == "differs"


def test_areas_that_are_being_made_explain_up_to_their_pages() -> None:
    given = structures(area(0, 3, VM_ALLOC | VM_UNINITIALIZED))
    assert [checks(given, vmalloc=100 + n)["vmalloc"].verdict for n in (1, 3, 4)] == [
        "explained",
        "explained",
        "differs",
    ]


def test_stacks_without_a_task_explain_up_to_their_pages() -> None:
    given = structures(area(0, 4, VM_ALLOC, caller=7))
    assert [checks(given, stack=28 + n)["stack"].verdict for n in (0, 4, 5, -1)] == [
        "verified",
        "explained",
        "differs",
        "differs",
    ]


def test_units_of_no_cpu_have_no_pages() -> None:
    given = replace(structures(), percpu=PercpuPages(populated=10, units=4, cpus=3))
    assert checks(given, percpu=30)["percpu"].verdict == "explained"
    assert checks(given, percpu=31)["percpu"].verdict == "differs"
