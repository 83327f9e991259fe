# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace` of frees that only a kernel bug makes: a module makes them in the guest.

Three tracers run side by side: two that are to tell what must not be, and one with the shortest
path of an event, which ends before the types it is to tell are freed.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guest_module import FREES, insert, modules, page_type_words
from guest_tracer import END_TIMEOUT, Tracer, check_lost, resets

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The first of all builds the module as well, against the headers of every kernel.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.kernels("newest", "6.12")]

PARAMETERS = f"/sys/module/{FREES}/parameters"
STICKY = {"offline", "zsmalloc"}
LAST = "guard"
"""The type that is freed last of all."""
IN_TAILS = "table"
TABLES = 2
"""Pages of page tables that are freed without their destructor, beside those of each type."""
LARGE, OF_POOL, TAILS = 4, 3, 2
BAD_TYPE, BAD_POOL = "nonzero mapcount", "page_pool leak"
FIRED, NEVER = "/run/fired", "/run/never"


@pytest.fixture(scope="session")
def built(ready: Callable[[str], BuiltKernel]) -> dict[str, Path]:
    """The modules for each kernel of the catalogue, by release."""
    return modules([ready(name) for name in catalogue.kernels()])


@pytest.fixture(scope="module")
def wrong(guest: Guest, built: dict[str, Path]) -> Guest:
    """A guest with the module in it."""
    insert(guest, built[guest.kernel.release], FREES)
    return guest


def bad_pages(guest: Guest, reason: str) -> int:
    """Return how many pages the kernel has found bad for this reason."""
    return guest.run(["dmesg"]).stdout.decode().count(f"page dumped because: {reason}\n")


@dataclass(frozen=True)
class Freed:
    """What was freed wrongly, and what three tracers said of it."""

    orders: dict[str, int]
    """Of the frees of each type."""
    times: dict[str, int]
    resets: bool
    looks: bool
    """Whether the kernel looks for the signature of page_pool."""
    before_last: Tracer
    """Disallows the last type, and ended before any page of it was freed."""
    unexpected: Tracer
    """Disallows whatever is unexpected, and looks at all there is."""
    chosen: Tracer
    """Disallows page_pool and the last type."""
    told_early: str
    """What `chosen` had said when neither had been freed yet."""
    log: dict[str, int]
    """Bad pages in the kernel's log by reason."""

    def rows(self, *without: str) -> dict[str, tuple[int, int, dict[str, int], bool]]:
        """Return what is to be counted: frees, pages, orders and whether they are expected."""
        return {
            name: (n, n << self.orders[name], {str(self.orders[name]): n}, self.expected(name))
            for name, n in self.times.items()
            if name not in without
        }

    def expected(self, name: str) -> bool:
        return self.resets and name in STICKY


def rows(report: dict[str, Any]) -> dict[str, tuple[int, int, dict[str, int], bool]]:
    """Return the same of a report."""
    return {
        row["type"]: (row["frees"], row["pages"], row["orders"], row["expected"])
        for row in report["typed"]
    }


def alarms(said: str) -> Counter[str]:
    """Return how often a free of each type was told."""
    found = Counter(re.findall(r"^pageinspect: DISALLOWED: (\S+) freed at ", said, re.MULTILINE))
    # What comes of one stack after the first ten is counted.
    more = r"^pageinspect: DISALLOWED: ([\d,]+) more frees? of (\S+), stack"
    for frees, name in re.findall(more, said, re.MULTILINE):
        found[name] += int(frees.replace(",", ""))
    return found


def free(guest: Guest, writes: Sequence[str]) -> None:
    guest.run(["sh", "-c", " && ".join(f"echo {each}" for each in writes)])


@pytest.fixture(scope="module")
def freed(wrong: Guest) -> Freed:
    """Trace frees with each type of the kernel, some times each, and of a page_pool's pages."""
    by_name = page_type_words(wrong)
    assert {"buddy", "offline", "table", "guard"} <= set(by_name)
    # Up to v6.1 pages of small orders are checked only when they leave the per-CPU lists.
    small = 0 if "slab" in by_name else LARGE
    orders = {name: LARGE if i % 2 else small for i, name in enumerate(by_name)}
    # Few: the kernel tells of 60 bad pages a minute, and its log holds not many more.
    times = {name: 1 + i % 4 for i, name in enumerate(by_name)}
    tables = f"{by_name['table']:#x} {orders['table']} {TABLES} > {PARAMETERS}/tables"
    tracers = (
        Tracer(wrong, "before_last", "--disallow", LAST, "--exec", "touch", NEVER),
        Tracer(
            wrong,
            "unexpected",
            *("--page-pool", "--tails", "--by", "caller", "--disallow", "unexpected"),
            *("--exec", "sh", "-c", f"echo $0 >> {FIRED}"),
        ),
        Tracer(wrong, "chosen", "--disallow", f"page_pool,{LAST}"),
    )
    for tracer in tracers:
        tracer.started()
    typed = {n: f"{by_name[n]:#x} {orders[n]} {times[n]} 0 > {PARAMETERS}/typed" for n in by_name}
    last = typed.pop(LAST)
    tails = f"{by_name[IN_TAILS]:#x} {LARGE} {TAILS} 5 > {PARAMETERS}/typed"
    free(wrong, [*typed.values(), tails, tables])
    times["table"] += TABLES
    before_last, unexpected, chosen = tracers
    before_last.end()
    told_early = chosen.said()
    free(wrong, [f"{OF_POOL} > {PARAMETERS}/page_pool", last])
    chosen.process.wait_for_output(f"DISALLOWED: {LAST}".encode(), END_TIMEOUT)
    assert chosen.process.status is None
    unexpected.end()
    chosen.end()
    log = {reason: bad_pages(wrong, reason) for reason in (BAD_TYPE, BAD_POOL)}
    looks = not wrong.kernel.release.startswith("6.1.")
    return Freed(orders, times, resets(wrong), looks, *tracers, told_early, log)


def test_every_type_of_the_kernel_is_counted_under_its_name(freed: Freed) -> None:
    (plain,), (all_of_it,) = freed.before_last.documents(), freed.unexpected.documents()
    assert rows(plain) == freed.rows(LAST)
    pool = {"page_pool": (OF_POOL, OF_POOL, {"0": OF_POOL}, False)}
    assert rows(all_of_it) == freed.rows() | pool
    assert plain["command_status"] == all_of_it["command_status"] == 0


def test_typed_tails_are_counted_apart(freed: Freed) -> None:
    (report,) = freed.unexpected.documents()
    assert report["tails"] == [{"type": IN_TAILS, "pages": TAILS}]


def test_a_kernel_that_does_not_reset_a_type_finds_the_page_bad(freed: Freed) -> None:
    # Nothing resets the type of a tail.
    typed = 0 if freed.resets else sum(freed.times.values())
    assert freed.log == {BAD_TYPE: typed + TAILS, BAD_POOL: OF_POOL if freed.looks else 0}
    (report,) = freed.unexpected.documents()
    calls = {} if freed.resets else {"bad_pages": sum(freed.log.values())}
    assert {name: n for name, n in report.items() if name == "bad_pages"} == calls


def test_only_a_disallowed_free_makes_the_status_4(freed: Freed) -> None:
    (report,) = freed.before_last.documents()
    check_lost(report, freed.before_last.status)
    assert report["disallowed"]["frees"] == 0
    assert freed.unexpected.status == 4
    assert freed.chosen.status == 4


def test_each_disallowed_free_is_reported_at_once_and_no_other(freed: Freed) -> None:
    told = {name: n for name, n in freed.times.items() if not freed.expected(name)}
    assert alarms(freed.before_last.said()) == {}
    assert alarms(freed.unexpected.said()) == told | {"page_pool": OF_POOL}
    assert alarms(freed.told_early) == {}
    assert alarms(freed.chosen.said()) == {"page_pool": OF_POOL, LAST: freed.times[LAST]}
    for tracer in (freed.unexpected, freed.chosen):
        (report,) = tracer.documents()
        assert report["disallowed"]["frees"] == alarms(tracer.said()).total()


def test_the_stack_of_a_disallowed_free_follows_it(freed: Freed) -> None:
    said = freed.chosen.said()
    for name, function in ((LAST, "free_typed"), ("page_pool", "free_from_pool")):
        alarm = rf"DISALLOWED: {name} freed at .* by sh \(pid \d+\) .*\n(?:    .*\n)*"
        assert f"    {function} [{FREES}]\n" in "".join(re.findall(alarm, said))


def test_a_page_table_without_its_destructor_is_unexpected_with_its_caller(freed: Freed) -> None:
    (report,) = freed.unexpected.documents()
    (row,) = (row for row in report["typed"] if row["type"] == "table")
    assert not row["expected"]
    assert row["disallowed"]
    caller = f"free_hotplug_pgtable_page [{FREES}]"
    of_tables = {r["key"][0]: r["frees"] for r in report["rows"] if r["type"] == "table"}
    assert of_tables == {
        caller: TABLES,
        f"free_typed [{FREES}]": freed.times["table"] - TABLES,
    }
    assert f"    {caller}\n" in freed.unexpected.said()


def test_the_program_is_run_once(freed: Freed, guest: Guest) -> None:
    assert alarms(freed.unexpected.said()).total() > 1
    assert guest.run(["cat", FIRED]).stdout.splitlines() == [b"sh"]
    assert guest.run(["test", "-e", NEVER], check=False).status == 1
