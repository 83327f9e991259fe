# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace --alloc` in a guest: a module takes pages in every way, under a load.

Two tracers run side by side: one counts by caller, the other one by task in each interval.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from guest_module import TAKES, insert, modules
from guest_tracer import START_TIMEOUT, Tracer, check_events, check_pages, check_vmstat

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(3600), pytest.mark.kernels("newest")]

PARAMETERS = f"/sys/module/{TAKES}/parameters"
ANONYMOUS = 4096
"""Pages that a program maps, writes and unmaps."""
PROGRAM = (
    f"import mmap; m = mmap.mmap(-1, {ANONYMOUS} << 12, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); "
    f"m.write(bytes({ANONYMOUS} << 12)); m.close()"
)
LOAD = (
    f"echo 200 > {PARAMETERS}/churn; echo 1 > {PARAMETERS}/take; python3 -c '{PROGRAM}'; "
    "dd if=/dev/zero of=/var/tmp/load bs=1M count=32; rm /var/tmp/load"
)
"""vmalloc, page_pool, anonymous memory, shmem and the page cache."""
TAKEN = {
    "leak_single": (1000, 1000, 0, 0),
    "leak_blocks": (10, 80, 0, 0),
    "leak_bulk": (100, 100, 0, 0),
    "leak_part": (1, 16, 5, 5),
}
"""Allocations, their pages, frees and their pages of each function of the module."""
AREA = 64
"""Pages of its vmalloc area, of any order."""
NUMBERS = ("allocations", "allocated_pages", "frees", "freed_pages")


@dataclass(frozen=True)
class Reports:
    """What the tracers said."""

    by_caller: dict[str, Any]
    status: int
    intervals: list[dict[str, Any]]


@pytest.fixture(scope="module")
def reports(guest: Guest, ready: Callable[[str], BuiltKernel]) -> Reports:
    built: dict[str, Path] = modules([ready(name) for name in catalogue.kernels()])
    insert(guest, built[guest.kernel.release], TAKES)
    tracers = [
        Tracer(guest, "by-caller", "--alloc"),
        Tracer(guest, "intervals", "--alloc", "--by", "comm", "-i", "1"),
    ]
    for tracer in tracers:
        tracer.started()
    guest.run(["sh", "-c", LOAD], timeout=600)
    (by_caller,) = tracers[0].end()
    intervals = tracers[1].end()
    guest.run(["rmmod", TAKES])
    return Reports(by_caller, tracers[0].status, intervals)


def test_each_function_that_takes_pages_is_counted_exactly(reports: Reports) -> None:
    suffix = f" [{TAKES}]"
    rows = {row["key"][0]: row for row in reports.by_caller["rows"]}
    found = {
        name.removesuffix(suffix): tuple(row[each] for each in NUMBERS)
        for name, row in rows.items()
        if name.endswith(suffix)
    }
    lost = reports.by_caller["lost"]
    check_events(found, TAKEN, lost)
    assert AREA - lost <= found.get("leak_area", (0, 0))[1] <= AREA


def test_pages_are_those_of_vmstat(reports: Reports) -> None:
    report = reports.by_caller
    assert report["sees_bulk"]
    assert report["vmstat"]["pgalloc"] > 200 * AREA * 2
    check_vmstat(report)


def test_rows_add_up_to_all_events(reports: Reports) -> None:
    report = reports.by_caller
    allocated, freed = report["allocated"], report["freed"]
    sums = [sum(row[name] for row in report["rows"]) for name in NUMBERS]
    assert sums == [*allocated.values(), freed["frees"], freed["pages"]]
    assert sum(freed["as"].values()) == freed["pages"]


def test_anonymous_memory_is_known_when_it_is_freed(reports: Reports) -> None:
    uses = reports.by_caller["freed"]["as"]
    assert uses["anonymous"] >= ANONYMOUS
    # shmem and the rest of the page cache have no mapping when they are freed.
    assert uses["untyped"] >= 32 << 8


def test_intervals_follow_each_other(reports: Reports) -> None:
    intervals = reports.intervals
    assert len(intervals) > 1
    assert [each["start_ns"] for each in intervals[1:]] == [e["end_ns"] for e in intervals[:-1]]
    compared = [report["vmstat"] for report in intervals]
    pages, of_vmstat = (sum(each[name] for each in compared) for name in ("allocated", "pgalloc"))
    missed = sum(report["lost_by"]["missed_allocations"] for report in intervals)
    check_pages(pages, missed, of_vmstat)


def test_what_was_lost_is_in_the_status(reports: Reports) -> None:
    report = reports.by_caller
    assert reports.status == (3 if report["lost"] else 0)
    assert report["at_least"] == bool(report["lost"])
    # An interrupt that comes during the program; stacks that share both of their places.
    causes = {cause for cause, n in report["lost_by"].items() if n}
    assert causes <= {"missed_allocations", "missed_frees", "stacks"}


@pytest.mark.kernels("6.1")
def test_an_old_verifier_takes_the_loop_of_the_bulk_allocator(shared_guest: Guest) -> None:
    argv = ["pageinspect", "trace", "--alloc", "--by", "comm", "--format", "json", "--", "true"]
    done = shared_guest.run(argv, timeout=START_TIMEOUT, check=False)
    assert json.loads(done.stdout)["sees_bulk"]
