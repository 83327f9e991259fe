# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace` in a guest, started and ended by a test."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pageinspect.vm.guest import Guest

if TYPE_CHECKING:
    from pageinspect.vm.process import GuestProcess

START_TIMEOUT = 400.0
END_TIMEOUT = 120.0
HUGE_PAGE = 512
CPUS = 2
MISSED_PAGES = 16
"""The most pages of a missed event, on average: nearly all of the loads are of single pages."""
Counts = Mapping[str, tuple[int, ...]]
RESETS = "7."
"""Of the kernels tried, those of this release let the buddy reset types."""


def resets(guest: Guest) -> bool:
    return guest.kernel.release.startswith(RESETS)


def check_lost(report: dict[str, Any], status: int, *others: str) -> None:
    """Nothing is lost but what the kernel itself kept from the program, and `others`.

    It does not run a program inside itself: how much is missed depends on how busy the host is, and
    test_trace_preempted.py is about it.
    """
    assert status == (3 if report["lost"] else 0)
    assert {cause for cause, n in report["lost_by"].items() if n} <= {"missed", *others}


def check_pages(counted: int, missed: int, of_kernel: int) -> None:
    """Pages are as many as the kernel counts, but for events that were missed.

    A huge page that a CPU clears at the start or the end is counted, and not yet at its tracepoint.
    """
    of_missed = missed * MISSED_PAGES + (HUGE_PAGE if missed else 0)
    least, most = of_kernel * 0.999 - of_missed, of_kernel * 1.001
    in_flight = (n * HUGE_PAGE for n in range(-CPUS, CPUS + 1))
    assert any(least <= counted + n <= most for n in in_flight), (counted, missed, of_kernel)


def check_vmstat(report: dict[str, Any]) -> None:
    """Pages on both sides are as many as the kernel counts, as check_pages() says."""
    compared, lost = report["vmstat"], report["lost_by"]
    check_pages(compared["allocated"], lost["missed_allocations"], compared["pgalloc"])
    check_pages(compared["freed"], lost["missed_frees"], compared["pgfree"])


def check_events(found: Counts, expected: Counts, lost: int) -> None:
    """Each function's events are those expected, but for as many as were lost.

    Counts are numbers of events, each followed by the number of their pages.
    """
    wrong = {name for name, counts in expected.items() if found.get(name) != counts}
    apart = sum(
        abs(n - m)
        for name in wrong
        for n, m in zip(found.get(name, (0,) * 4)[::2], expected[name][::2], strict=False)
    )
    # Of those that lack no event, pages are exact as well.
    assert len(wrong) <= apart <= lost, {name: found.get(name) for name in wrong}


class Tracer:
    """A tracer in the guest that counts until it is told to end."""

    def __init__(self, guest: Guest, name: str, *arguments: str) -> None:
        self._guest = guest
        self._name = name
        argv = ["pageinspect", "trace", "--format", "json", "-o", f"/run/{name}.json", *arguments]
        wait = ["--", "sh", "-c", "echo started; read line"]
        self.process: GuestProcess = guest.start(["sh", "-c", 'exec "$@" 2>&1', "-", *argv, *wait])

    def started(self) -> None:
        """Wait until it counts."""
        self.process.wait_for_output(b"started", timeout=START_TIMEOUT)
        assert self.process.status is None, self.said()

    def end(self, timeout: float = END_TIMEOUT) -> list[dict[str, Any]]:
        """End its command and return the documents that it wrote."""
        self.process.write(b"\n")
        assert self.process.wait(timeout) in {0, 3, 4}, self.said()
        return self.documents()

    @property
    def status(self) -> int:
        return self.process.completed().status

    def said(self) -> str:
        return self.process.stdout.decode()

    def documents(self) -> list[dict[str, Any]]:
        written = self._guest.run(["cat", f"/run/{self._name}.json"]).stdout
        return [json.loads(line) for line in written.splitlines()]
