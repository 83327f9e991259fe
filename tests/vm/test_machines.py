# SPDX-License-Identifier: GPL-2.0-only
"""Machines unlike the default guest: the answers are the kernel's own on each of them."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guest_capture import (
    MOST_DIFFERENCES,
    Capture,
    capture,
    check_counts,
    check_flags,
    check_sizes,
    pageinspect,
)
from guest_process import ONE
from guest_quiet import QUIET
from machines import LA57, MACHINES, PLUGGED, Machine
from places import PROGRAMS

from pageinspect.classify import uses_of
from pageinspect.inspector.inspector import inspect
from pageinspect.target.open import open_target
from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

sys.path.insert(0, str(PROGRAMS))
from lru_uses import USES, by_kernel

# The first of a machine boots it, dumps it and looks at it in three ways.
pytestmark = pytest.mark.timeout(1800)

SHMEM, ANON = 40 << 20, 16 << 20
LOAD = f"""
echo 5 > /proc/sys/vm/nr_hugepages
head -c {SHMEM} /dev/urandom > /dev/shm/file
find /usr/lib -type f -size -64k -exec cat {{}} + > /dev/null
"""
HOLD = f"""
import mmap, time
held = mmap.mmap(-1, {ANON}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.write(b"x" * {ANON})
print("held", flush=True)
time.sleep(1e6)
"""
LOAD_IN_SHELL = ("sh", "-c")
WAIT = "until grep -q held /run/held; do sleep 0.1; done"
HELD = re.compile(r"locks? (is|are) held|tasks? (is|are) in ")
"""What explains a difference in a dump: a CPU was between a page and its counter just then."""
BLOCKS = "/sys/devices/system/memory"
LIVE_COMPARISON = "/opt/pageinspect/src/tests/vm/programs/compare_kpageflags.py"


@dataclass(frozen=True)
class Tried:
    """One machine with one kernel: what was seen of it live and from outside, and its dump."""

    machine: Machine
    guest_pages: int
    taken: Capture
    managed: dict[tuple[str, str], int]
    """Pages of each zone of each node, by /proc/zoneinfo."""
    compared: dict[str, Any]
    """What the live walk and /proc/kpageflags say, pfn by pfn."""
    live: dict[str, Any]
    """Report of `check` in the guest."""
    outside: dict[str, Any]
    """Report of `check` of the paused guest, through its monitor."""


def plug(guest: Guest) -> None:
    guest.run(["sh", "-c", f"echo online > {BLOCKS}/auto_online_blocks"])
    count = ["sh", "-c", f"grep -l online {BLOCKS}/memory*/state | wc -l"]
    before = int(guest.run(count).stdout)
    guest.plug("extra", PLUGGED)
    end = time.monotonic() + 120
    while int(guest.run(count).stdout) < before + (PLUGGED >> 27):
        assert time.monotonic() < end
        time.sleep(0.2)


def managed(guest: Guest) -> dict[tuple[str, str], int]:
    said = guest.run(["cat", "/proc/zoneinfo"]).stdout.decode()
    zones = re.findall(r"Node (\d+), zone +(\S+)\n(?:(?!Node).*\n)*? +managed +(\d+)", said)
    return {(node, zone): int(n) for node, zone, n in zones if int(n)}


def try_on(machine: Machine, kernel: BuiltKernel, folder: Path) -> Tried:
    socket = folder / "qmp"
    with Guest(kernel, memory="1G", qmp_socket=socket, **machine.options) as guest:
        if machine.plugged:
            plug(guest)
        guest.run(["sh", "-c", LOAD])
        holder = guest.start(["python3", "-c", HOLD])
        holder.wait_for_output(b"held", 240)
        taken = capture(guest, folder)
        compared = json.loads(guest.run(["python3", LIVE_COMPARISON], timeout=300).stdout)
        check = ["pageinspect", "check", "--format", "json"]
        live = json.loads(guest.run(check, timeout=300, check=False).stdout)
        zones = managed(guest)
        done = pageinspect("check", "--qemu", socket, "--pause", "--format", "json")
        assert done.stdout, done.stderr
        pages = (guest.memory + PLUGGED * machine.plugged) >> 12
        return Tried(machine, pages, taken, zones, compared, live, json.loads(done.stdout))


def case(machine: Machine, kernel: str) -> Any:
    whole = machine.whole or kernel != ONE
    marks = [pytest.mark.whole] if whole else []
    return pytest.param((machine, kernel), id=f"{machine.name}-{kernel}", marks=marks)


@pytest.fixture(
    scope="module", params=[case(m, kernel) for m in MACHINES for kernel in catalogue.kernels()]
)
def tried(
    request: pytest.FixtureRequest,
    ready: Callable[[str], BuiltKernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tried]:
    machine, kernel = request.param
    seen = try_on(machine, ready(kernel), tmp_path_factory.mktemp("machine"))
    yield seen
    seen.taken.core.unlink()


def report(core: Path, *arguments: str) -> dict[str, Any]:
    done = pageinspect(*arguments, "-c", core, "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def sound(checked: dict[str, Any], exact: tuple[str, ...] = ()) -> dict[str, Any]:
    """Assert that a check found nothing; return its counters by name."""
    assert checked["violations"] == []
    checks = {check["name"]: check for check in checked["counters"]}
    for name, check in checks.items():
        assert check["verdict"] in ("verified", "explained"), check
        if name in exact:
            assert check["verdict"] == "verified" or HELD.search(check["why"]), check
    assert checks["hugetlb"]["counted"] == 5 * 512
    assert checks["anon"]["counted"] >= ANON >> 12
    assert checks["shmem"]["counted"] >= SHMEM >> 12
    assert checks["file"]["counted"] > 1000
    return checks


def test_the_dump_against_kpageflags_and_kpagecount(tried: Tried) -> None:
    check_sizes(tried.taken)
    check_flags(tried.taken)
    check_counts(tried.taken)


def test_uses_in_the_dump_against_kpageflags(tried: Tried) -> None:
    opened = inspect(open_target(tried.taken.core))
    flags = tried.taken.flags
    uses = np.zeros(len(flags.before), np.uint16)
    for pages in opened.pages():
        uses[pages.pfns] = pages.use
    for name, kernel in by_kernel(flags.before).items():
        held = kernel & flags.stable
        mine = np.any([uses_of(opened.layout, use)[uses] for use in USES[name]], axis=0)
        assert int(held.sum()) > 1000, name
        assert int((held & ~mine).sum()) <= MOST_DIFFERENCES, name


def test_counters_in_the_dump(tried: Tried) -> None:
    exact = ("buddy", "pcp", "table", "shmem", "file", "hugetlb")
    anon = sound(report(tried.taken.core, "check"), exact)["anon"]
    # Not mapped are those that are about to be freed, and parts of huge pages.
    assert abs(anon["counted"] - anon["kernel"]) < 1024, anon


def test_zones_and_nodes_in_the_dump(tried: Tried) -> None:
    answer = report(tried.taken.core, "summary", "--by", "node", "--by", "zone", "--by", "use")
    counts: Counter[tuple[str, str]] = Counter()
    for row in answer["rows"]:
        node, zone, use = row["key"]
        if use != "reserved":
            counts[node, zone] += row["pages"]
    assert counts == tried.managed
    assert len({node for node, _ in counts}) == tried.machine.options.get("nodes", 1)
    assert answer["coverage"]["spanned"] >= tried.guest_pages


def test_the_live_walk_against_kpageflags(tried: Tried) -> None:
    compared = tried.compared
    assert compared["stable"] > 0.9 * compared["spanned"]
    assert compared["seen"]["hugetlb"] == 5 * 512
    assert compared["seen"]["anon"] >= 0.9 * (ANON >> 12)
    assert compared["seen"]["shmem"] >= 0.9 * (SHMEM >> 12)
    assert compared["seen"]["file"] > 1000
    assert len(compared["differ"]) <= MOST_DIFFERENCES, compared["differ"]


def test_counters_live_and_from_outside(tried: Tried) -> None:
    sound(tried.live)
    sound(tried.outside, ("buddy", "pcp", "table", "shmem", "file", "hugetlb"))


@pytest.mark.whole
@pytest.mark.parametrize("name", list(catalogue.kernels()))
def test_other_dumps_of_five_levels_of_page_tables(
    name: str, ready: Callable[[str], BuiltKernel], tmp_path: Path
) -> None:
    paging, kdump = tmp_path / "paging", tmp_path / "kdump"
    with Guest(ready(name), memory="512M", cpu=LA57) as guest:
        guest.run(["sh", "-c", LOAD])
        holder = guest.start(["python3", "-c", HOLD])
        holder.wait_for_output(b"held", 240)
        guest.run(["sh", "-c", QUIET])
        guest.pause()
        guest.qmp("dump-guest-memory", paging=True, protocol=f"file:{paging}", timeout=600)
    sound(report(paging, "check"), ("shmem", "file", "hugetlb"))
    command = [*LOAD_IN_SHELL, f"{LOAD}\npython3 -c '{HOLD}' > /run/held &\n{WAIT}"]
    cpu = ("--cpu", LA57, "--memory", "512M")
    done = pageinspect("vm", "dump", name, *cpu, "--kdump", "-o", kdump, "--", *command)
    assert done.returncode == 0, done.stderr
    sound(report(kdump, "check"), ("shmem", "file", "hugetlb"))
