# SPDX-License-Identifier: GPL-2.0-only
"""What contiguity says of a guest that a module has fragmented, against what the guest can do.

The module spread_pages and a process (programs/fragment.py) have memory in turns, and each step is
looked at from outside: gigantic pages and CMA before, CMA while memory is full, and what the module
leaves behind.
"""

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huge_pages
import pytest
from guest_module import SPREADS, insert, modules
from guest_process import ONE
from guest_quiet import NO_DAMON
from owned_guest import pageinspect

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The first of all builds the module as well, against the headers of every kernel.
pytestmark = pytest.mark.timeout(1800)

Answer = dict[str, Any]
PROGRAM = "/opt/pageinspect/src/tests/vm/programs/fragment.py"
MEMORY, CMA = "2752M", 64 << 20
APPEND = f"nokaslr cma={CMA >> 20}M"
"""Nothing that is allocated at boot is in the second GiB."""
MOVABLE_MEMORY, MOVABLE_APPEND = "2560M", "nokaslr movablecore=1600M"
"""ZONE_MOVABLE has the whole second GiB."""
GIGANTIC_KIB = 1 << 20
HUGE = 200
SECOND_GIB = range(1 << 18, 2 << 18)
PAGE, PER_BLOCK = 4096, 512
MOVABLE = 1
"""A migratetype, as the kernel's trace event has it."""
EVENT = "/sys/kernel/tracing/events/kmem/mm_page_alloc_extfrag"
PREPARE = f"""
{NO_DAMON}
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
# Compaction would fill the holes that are left for the module.
echo never > /sys/kernel/mm/transparent_hugepage/enabled
echo 0 > /proc/sys/vm/compaction_proactiveness
echo 0 > /proc/sys/vm/watermark_boost_factor
echo 8192 > /proc/sys/vm/min_free_kbytes
# Lists of CPUs are short then: the module gets nothing of what is on them for processes.
echo 1000000 > /proc/sys/vm/percpu_pagelist_high_fraction
echo 16384 > /sys/kernel/tracing/buffer_size_kb
"""


@dataclass(frozen=True)
class Verdict:
    """What --for gigantic said, and how many gigantic pages of one the guest then made."""

    answer: Answer
    made: int


@dataclass(frozen=True)
class OfCma:
    """What --for cma said, and what the guest has."""

    status: int
    answer: Answer
    error: str
    meminfo: dict[str, int]
    """Pages; empty if the kernel has no CMA."""


@dataclass(frozen=True)
class Fragmented:
    """A guest from its start to its end."""

    fresh: Verdict
    beside_huge: Verdict
    """While there are huge pages of 2 MiB."""
    cma_fresh: OfCma
    cma_full: OfCma
    pagetypeinfo: str
    trace: str
    pfns: list[int]
    """The module's pages."""
    kept: list[int]
    """The pages that the process keeps, in other blocks."""
    dumped: Answer
    outside: Answer
    by_dwarf: Answer
    gigantic: Verdict
    least: int
    most: int
    with_module: int
    without_module: int
    """Huge pages that the guest made, with the module and after it was removed."""
    ended: Verdict

    @property
    def first(self) -> Answer:
        first: Answer = self.dumped["blockers"][0]
        return first


@dataclass(frozen=True)
class Steps:
    """Asks about a guest from outside, paused."""

    guest: Guest
    socket: Path

    def shell(self, script: str) -> bytes:
        return self.guest.run(["sh", "-ec", script]).stdout

    def said(self, *arguments: object, core: Path | None = None) -> Answer:
        target = ("--qemu", self.socket, "--pause") if core is None else ("-c", core)
        done = pageinspect("contiguity", *target, *arguments, "--format", "json")
        assert done.returncode == 0, done.stderr
        answer: Answer = json.loads(done.stdout)
        return answer

    def verdict(self) -> Verdict:
        answer = self.said("--for", "gigantic")
        return Verdict(answer, huge_pages.made(self.guest, 1, GIGANTIC_KIB))

    def of_cma(self) -> OfCma:
        meminfo = self.shell("cat /proc/meminfo").decode()
        found = re.findall(r"^(Cma\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)
        target = ("--qemu", self.socket, "--pause", "--format", "json")
        done = pageinspect("contiguity", "--for", "cma", *target)
        numbers = {name: int(kib) * 1024 // PAGE for name, kib in found}
        answer = json.loads(done.stdout) if done.stdout else {}
        return OfCma(done.returncode, answer, done.stderr, numbers)


def fragmented(steps: Steps, folder: Path, core: Path) -> Fragmented:
    guest = steps.guest
    insert(guest, folder, SPREADS)
    steps.shell(PREPARE)
    fresh, cma_fresh = steps.verdict(), steps.of_cma()
    steps.shell(f"echo {HUGE} > /proc/sys/vm/nr_hugepages")
    beside_huge = steps.verdict()
    steps.shell("echo 0 > /proc/sys/vm/nr_hugepages")
    steps.shell(f"echo 1 > {EVENT}/enable")
    program = guest.start(["python3", PROGRAM])
    program.wait_for_output(b"filled", huge_pages.TIMEOUT_S)
    cma_full = steps.of_cma()
    program.write(b"\n")
    program.wait_for_output(b"kept", huge_pages.TIMEOUT_S)
    steps.shell(f"echo 0 > {EVENT}/enable")
    trace = steps.shell("cat /sys/kernel/tracing/trace").decode()
    data = steps.shell("cat /sys/kernel/debug/spread_pages")
    pagetypeinfo = steps.shell("cat /proc/pagetypeinfo").decode()
    guest.dump(core)  # leaves it paused
    vmlinux = guest.kernel.vmlinux
    assert vmlinux is not None
    dumped, outside = steps.said(core=core), steps.said()
    by_dwarf = steps.said("-s", vmlinux, core=core)
    guest.resume()
    gigantic = steps.verdict()
    least, most = huge_pages.foretold(guest, dumped)
    huge_pages.compact(guest)
    with_module = huge_pages.made(guest, most + 100)
    steps.shell(f"rmmod {SPREADS}")
    huge_pages.compact(guest)
    without_module = huge_pages.made(guest, 2 * most)
    program.close_stdin()
    assert program.wait(60) == 0, program.stderr
    return Fragmented(
        *(fresh, beside_huge, cma_fresh, cma_full, pagetypeinfo, trace),
        [*struct.unpack(f"<{len(data) // 8}Q", data)],
        json.loads(program.stdout.splitlines()[-1])["kept"],
        *(dumped, outside, by_dwarf, gigantic, least, most, with_module, without_module),
        steps.verdict(),
    )


KERNELS = [
    ONE,
    *(pytest.param(name, marks=pytest.mark.whole) for name in catalogue.kernels() if name != ONE),
]


@pytest.fixture(scope="module", params=KERNELS)
def seen(
    request: pytest.FixtureRequest,
    ready: Callable[[str], BuiltKernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fragmented]:
    kernel = ready(request.param)
    built = modules([ready(name) for name in catalogue.kernels()])
    folder = tmp_path_factory.mktemp("fragmented")
    core, socket = folder / "core", folder / "qmp"
    with Guest(kernel, memory=MEMORY, append=APPEND, qmp_socket=socket) as guest:
        yield fragmented(Steps(guest, socket), built[kernel.release], core)
    core.unlink()


def covered(row: Answer) -> list[int]:
    return [pfn for run in row["ranges"] for pfn in range(run["start"], run["end"])]


def test_the_module_is_the_first_blocker(seen: Fragmented) -> None:
    second = seen.dumped["blockers"][1]
    assert (seen.first["kind"], seen.first["name"]) == ("vmalloc", f"spread [{SPREADS}]")
    assert seen.first["blocks_alone"] > 100 > second["blocks_alone"]
    assert covered(seen.first) == sorted(seen.pfns)
    assert seen.first["pages"] == seen.first["blocks"] == len(seen.pfns)


def types_of_blocks(trace: str) -> dict[int, int]:
    """Return the migratetypes of pageblocks that pages were taken from for another migratetype.

    The kernel's event of that has both types, and whether the pageblock has the new one from then.
    """
    match = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+) ", trace)
    assert match is not None
    assert match[1] == match[2], "events were lost"
    types: dict[int, int] = {}
    for words in re.findall(
        r"pfn=(\w+) .* fallback_order=(\d+) .* alloc_migratetype=(\d+) fallback_migratetype=(\d+) "
        r".* change_ownership=(\d)",
        trace,
    ):
        pfn, order, wanted, had, changed = (int(word, 0) for word in words)
        blocks = range(pfn // PER_BLOCK, (pfn + (1 << order) - 1) // PER_BLOCK + 1)
        types |= dict.fromkeys(blocks, wanted if changed else had)
    return types


def test_its_pages_are_in_pageblocks_for_movable_pages(seen: Fragmented) -> None:
    types = types_of_blocks(seen.trace)
    found = [types.get(pfn // PER_BLOCK) for pfn in seen.pfns]
    misplaced, unknown = found.count(MOVABLE), found.count(None)
    # What became of a few pageblocks is from before the trace.
    assert unknown < 32 < misplaced
    assert misplaced <= seen.first["misplaced_pages"] <= misplaced + unknown
    # There are more blocks with its pages than pageblocks of any other type.
    counts = seen.pagetypeinfo.partition("Number of blocks type")[2]
    heading, *lines = counts.splitlines()
    place = heading.split().index("Movable")
    zones = [[int(n) for n in line.split()[4:]] for line in lines if "zone" in line]
    others = sum(sum(zone) - zone[place] for zone in zones)
    assert seen.first["misplaced_pages"] >= len(seen.pfns) - others > 0


def test_huge_pages_are_as_many_as_foretold(seen: Fragmented) -> None:
    assert 0 < seen.least < seen.most
    assert seen.least <= seen.with_module <= seen.most
    # And without the module the blocks that it alone is in the way of.
    alone = seen.first["blocks_alone"]
    assert seen.with_module + alone // 2 < seen.without_module <= seen.most + alone


def test_a_gigantic_page_can_be_had_if_it_is_called_possible(seen: Fragmented) -> None:
    assert (seen.fresh.answer["possible"], seen.fresh.made) == (True, 1)
    assert (seen.gigantic.answer["possible"], seen.gigantic.made) == (False, 0)
    assert seen.ended.made == seen.ended.answer["possible"]
    listed = {
        pfn
        for row in seen.gigantic.answer["rows"]
        if row["block"] == SECOND_GIB.start and row["name"] == seen.first["name"]
        for pfn in range(row["start"], row["end"])
    }
    assert listed == {pfn for pfn in seen.pfns if pfn in SECOND_GIB} != set()


def test_huge_pages_of_2_mib_may_be_in_the_way_of_a_gigantic_one(seen: Fragmented) -> None:
    """Newer kernels move them."""
    assert seen.beside_huge.made == seen.beside_huge.answer["possible"]


@pytest.mark.parametrize("name", KERNELS)
def test_a_gigantic_page_in_zone_movable(
    ready: Callable[[str], BuiltKernel], name: str, tmp_path: Path
) -> None:
    option = "/proc/sys/vm/movable_gigantic_pages"
    with Guest(
        ready(name), memory=MOVABLE_MEMORY, append=MOVABLE_APPEND, qmp_socket=tmp_path / "qmp"
    ) as guest:
        steps = Steps(guest, tmp_path / "qmp")
        verdict = steps.verdict()
        assert (verdict.made, verdict.answer["possible"]) == (0, False)
        if guest.run(["test", "-e", option], check=False).status == 0:
            steps.shell(f"echo 1 > {option}")
            verdict = steps.verdict()
            assert (verdict.made, verdict.answer["possible"]) == (1, True)


def test_pages_of_a_process_are_not_in_the_way(seen: Fragmented) -> None:
    blocked = {n for row in seen.dumped["blockers"] for n in covered(row)}
    assert not blocked & set(seen.kept)


def test_movable_pages_are_not_in_the_way_of_cma(seen: Fragmented) -> None:
    if not seen.cma_fresh.meminfo:
        for cma in (seen.cma_fresh, seen.cma_full):
            assert (cma.status, cma.answer) == (1, {})
            assert "this kernel has no CMA\n" in cma.error
        return
    for cma in (seen.cma_fresh, seen.cma_full):
        assert cma.status == 0, cma.error
        assert sum(cma.answer["pages"].values()) == cma.meminfo["CmaTotal"] == CMA // PAGE
    # Only what is allocated from CMA itself is in the way.
    taken = seen.cma_fresh.meminfo["CmaTotal"] - seen.cma_fresh.meminfo["CmaFree"]
    assert seen.cma_fresh.answer["pages"]["movable"] == 0
    for cma in (seen.cma_fresh, seen.cma_full):
        assert sum(row["pages"] for row in cma.answer["rows"]) == taken
        assert all(row["name"].startswith("atomic DMA pool") for row in cma.answer["rows"])
        assert cma.answer["pages"]["free"] == pytest.approx(cma.meminfo["CmaFree"], abs=512)
    assert seen.cma_full.answer["pages"]["movable"] > taken


def test_outside_and_by_dwarf_it_is_the_same(seen: Fragmented) -> None:
    kernels = [answer["kernel"] for answer in (seen.dumped, seen.outside, seen.by_dwarf)]
    assert [(kernel["source"], kernel["symbols"]) for kernel in kernels] == [
        ("core", "btf"),
        ("qemu", "btf"),
        ("core", "dwarf"),
    ]
    tables = ("blocks", "indexes", "migratetypes", "blockers", "uses")
    for answer in (seen.outside, seen.by_dwarf):
        for table in (*tables, "coverage", "order", "pageblock_order"):
            assert answer[table] == seen.dumped[table], table
