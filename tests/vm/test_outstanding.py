# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace --outstanding` in guests: a module takes pages in every way, under a load.

Two tracers run side by side: one ends while the module has its pages, the other one after it gave
them back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from guest_module import TAKES, insert, modules
from guest_tracer import Tracer, check_events, check_vmstat

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(3600), pytest.mark.kernels("newest")]

PARAMETERS = f"/sys/module/{TAKES}/parameters"
PROGRAMS = "/opt/pageinspect/src/tests/vm/programs"
LOAD = (
    f"echo 100 > {PARAMETERS}/churn; python3 {PROGRAMS}/free_pages.py 64 4; "
    "dd if=/dev/zero of=/var/tmp/load bs=1M count=32; rm /var/tmp/load"
)
"""vmalloc, page_pool, shmem and the page cache."""
MILLION = f"{LOAD}; python3 {PROGRAMS}/free_pages.py 64 62"
"""The same, and 62 times the 16,384 pages of 64 MiB of shmem."""
TAKEN = {
    "leak_single": (1000, 1000),
    "leak_blocks": (10, 80),
    "leak_bulk": (100, 100),
    "leak_part": (1, 11),
}
"""Allocations and pages of each function of the module."""
AREA = 64
"""Pages of its vmalloc area, of any order."""
PART = 16
"""Pages of the block of which the module gives some back."""


@dataclass(frozen=True)
class Reports:
    """What the tracer said that ended while the pages were taken, and the one that ended later."""

    taken: dict[str, Any]
    given_back: dict[str, Any]
    statuses: tuple[int, int]


Ready = Callable[[str], BuiltKernel]


def insert_module(guest: Guest, ready: Ready) -> None:
    built: dict[str, Path] = modules([ready(name) for name in catalogue.kernels()])
    insert(guest, built[guest.kernel.release], TAKES)


@pytest.fixture(scope="module")
def reports(guest: Guest, ready: Ready) -> Reports:
    insert_module(guest, ready)
    tracers = [Tracer(guest, name, "--outstanding") for name in ("taken", "given-back")]
    for tracer in tracers:
        tracer.started()
    guest.run(["sh", "-c", f"{LOAD}; echo 1 > {PARAMETERS}/take; {LOAD}"], timeout=600)
    (taken,) = tracers[0].end()
    guest.run(["rmmod", TAKES])
    (given_back,) = tracers[1].end()
    return Reports(taken, given_back, (tracers[0].status, tracers[1].status))


def rows_of_module(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = {row["key"][0]: row for row in report["rows"]}
    suffix = f" [{TAKES}]"
    return {name.removesuffix(suffix): row for name, row in rows.items() if name.endswith(suffix)}


def check_taken(report: dict[str, Any]) -> None:
    rows, lost = rows_of_module(report), report["lost"]
    assert rows.keys() == {*TAKEN, "leak_area"}
    assert AREA - lost <= rows["leak_area"]["pages"] <= AREA
    found = {name: (row["allocations"], row["pages"]) for name, row in rows.items()}
    check_events(found, TAKEN, lost)
    assert rows["leak_blocks"]["orders"] == {"3": rows["leak_blocks"]["allocations"]}
    assert rows["leak_part"]["orders"] == {"4": 1}


def test_each_way_to_take_pages_is_counted_exactly(reports: Reports) -> None:
    check_taken(reports.taken)


def test_the_walk_says_what_the_pages_are(reports: Reports) -> None:
    rows = rows_of_module(reports.taken)
    area = rows["leak_area"]
    assert area["now"] == {f"vmalloc:leak_area [{TAKES}]": area["pages"]}
    (name,) = rows["leak_single"]["now"]
    assert name.startswith("unknown")
    # The pages that were freed of it may be in use again, and be unknown as well.
    unknown = sum(n for name, n in rows["leak_part"]["now"].items() if name.startswith("unknown"))
    assert TAKEN["leak_part"][1] <= unknown <= PART


def test_pages_that_were_given_back_are_not_outstanding(reports: Reports) -> None:
    left = sum(row["allocations"] for row in rows_of_module(reports.given_back).values())
    assert left <= reports.given_back["lost_by"]["missed_frees"]


def test_pages_are_those_of_vmstat(reports: Reports) -> None:
    for report in (reports.taken, reports.given_back):
        assert report["allocated"]["bulk_pages"] > 100 * 64
        check_vmstat(report)


def test_what_was_lost_is_in_the_status(reports: Reports) -> None:
    for report, status in zip((reports.taken, reports.given_back), reports.statuses, strict=True):
        assert status == (3 if report["lost"] else 0)
        causes = {cause for cause, n in report["lost_by"].items() if n}
        assert report["at_most"] == (not causes.isdisjoint({"missed_frees", "busy"}))
        assert report["incomplete"] == (not causes.isdisjoint({"missed_allocations", "busy"}))
        # An interrupt that comes during the program, and on 6.1 one that finds the map locked.
        assert causes <= {"missed_allocations", "missed_frees", "busy", "stacks"}


@pytest.mark.whole
def test_the_same_under_a_million_other_allocations(guest: Guest, ready: Ready) -> None:
    insert_module(guest, ready)
    tracer = Tracer(guest, "million", "--outstanding")
    tracer.started()
    guest.run(["sh", "-c", f"{MILLION}; echo 1 > {PARAMETERS}/take; {LOAD}"], timeout=1800)
    (report,) = tracer.end()
    guest.run(["rmmod", TAKES])
    assert report["allocated"]["allocations"] > 1_000_000
    check_taken(report)
    check_vmstat(report)
