# SPDX-License-Identifier: GPL-2.0-only
"""A machine of two NUMA nodes with movable, device and hot-added memory, and some that is offline.

The kernel's own word is /proc/zoneinfo, the state of its memory blocks, and numa_maps.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_dump import dump_unlocked
from guest_quiet import NO_DAMON

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# Of the first, the memory section is shared with other memory; the second has one of its own.
APPEND = "movablecore=512M memmap=62M!1056M,30M!32G"
DEVICE_PAGES = (62 + 30) << 8
OWN_SECTION = 30 << 8
SECTION = 32768
HUGE = 4
# Memory is online where it is put: the first block of what is plugged in stays offline.
PREPARE = f"""
modprobe -a nd_e820 nd_pmem
echo {HUGE} > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages
echo offline > /sys/devices/system/memory/auto_online_blocks
"""
PLUGGED = 256 << 20
BLOCKS = "/sys/devices/system/memory"
HOLD = "/opt/pageinspect/src/tests/vm/programs/hold_on_node.py"


@pytest.fixture(
    scope="module",
    params=[
        "newest",
        pytest.param("6.12", marks=pytest.mark.whole),
        pytest.param("6.1", marks=pytest.mark.whole),
    ],
)
def guest(request: pytest.FixtureRequest, ready: Callable[[str], BuiltKernel]) -> Iterator[Guest]:
    with Guest(
        ready(request.param), memory="3G", nodes=2, hotplug_memory=PLUGGED, append=APPEND
    ) as running:
        running.run(["sh", "-c", PREPARE])
        before = set(states(running))
        running.plug("extra", PLUGGED)
        until(lambda: len(states(running)) == len(before) + PLUGGED // SECTION // 4096)
        first, second = sorted(set(states(running)) - before)
        running.blocks = first, second
        put(running, second, "online_movable")
        yield running


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def states(guest: Guest) -> dict[int, str]:
    """Return the state of each memory block, of a section each, by its number."""
    said = guest.run(["sh", "-c", f"grep . {BLOCKS}/memory*/state"]).stdout.decode()
    return {int(n): state for n, state in re.findall(r"/memory(\d+)/state:(\S+)", said)}


def put(guest: Guest, block: int, state: str) -> None:
    guest.run(["sh", "-c", f"echo {state} > {BLOCKS}/memory{block}/state"])


def spanned(guest: Guest) -> int:
    """Return the struct pages in use: those of blocks that are online, and of devices."""
    return list(states(guest).values()).count("online") * SECTION + OWN_SECTION


def managed(guest: Guest) -> dict[tuple[str, str], int]:
    """Return the pages that each zone gave to the buddy allocator at some time."""
    said = guest.run(["cat", "/proc/zoneinfo"]).stdout.decode()
    zones = re.findall(r"Node (\d+), zone +(\S+)\n(?:(?!Node).*\n)*? +managed +(\d+)", said)
    return {(node, zone): int(n) for node, zone, n in zones if int(n)}


def reported(guest: Guest, *arguments: str) -> dict[str, Any]:
    argv = ["pageinspect", arguments[0], "--format", "json", *arguments[1:]]
    report: dict[str, Any] = json.loads(guest.run(argv, timeout=300).stdout)
    return report


def outside(core: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "pageinspect", *arguments, "-c", core, "--format", "json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def in_zones(report: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Return the pages by node and zone that are not reserved."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in report["rows"]:
        node, zone, use = row["key"]
        if use != "reserved":
            counts[node, zone] += row["pages"]
    return counts


EVERYTHING = ("summary", "--by", "node", "--by", "zone", "--by", "use")


def test_each_zone_of_each_node_has_the_pages_that_it_manages(guest: Guest) -> None:
    report = reported(guest, *EVERYTHING)
    counts = in_zones(report)
    assert counts.pop(("0", "Device")) == DEVICE_PAGES
    assert counts == managed(guest)
    assert {("0", "Movable"), ("1", "Movable"), ("1", "Normal")} <= set(counts)
    devices = {tuple(r["key"]): r["pages"] for r in report["rows"] if "zone_device" in r["key"]}
    assert devices == {("0", "Device", "zone_device"): DEVICE_PAGES}
    assert "conflict" not in {row["key"][2] for row in report["rows"]}


def test_a_node_and_a_zone_are_ranges(guest: Guest) -> None:
    for node, pages in (("0", 0), ("1", HUGE * 512)):
        runs = reported(guest, "list", "--type", "hugetlb", "--pfn", f"node:{node}")["runs"]
        assert sum(run["pages"] for run in runs) == pages
    # The kernel's zone of devices spans all that is between them.
    runs = reported(guest, "list", "--pfn", "zone:Device")["runs"]
    assert {run["use"] for run in runs} == {"zone_device"}
    assert sum(run["pages"] for run in runs) == DEVICE_PAGES


def test_struct_pages_of_memory_that_is_offline_are_left_out(guest: Guest) -> None:
    offline, online = guest.blocks
    assert (states(guest)[offline], states(guest)[online]) == ("offline", "online")
    command = ["pageinspect", "page", "--format", "json"]
    refused = guest.run([*command, str(offline * SECTION + 5)], check=False)
    assert refused.status == 2
    assert b"has a struct page in use" in refused.stderr
    told = json.loads(guest.run([*command, str(online * SECTION + 5)]).stdout)
    (page,) = told["pages"]
    assert (page["node"], page["zone"]) == (0, "Movable")


def test_frees_are_counted_by_node_and_zone(guest: Guest) -> None:
    guest.run(["sh", "-c", NO_DAMON])
    pages = 4096
    argv = ["pageinspect", "trace", "--type", "untyped", "--by", "node", "--by", "zone"]
    argv += ["--by", "comm", "--comm", "holder", "--format", "json"]
    argv += ["--", "python3", HOLD, "1", str(pages)]
    done = guest.run(argv, timeout=300, check=False)
    (held,) = re.findall(rb"held (\d+)", done.stderr)
    report = json.loads(done.stdout)
    freed = sum(row["pages"] for row in report["rows"] if row["key"][0] == 1)
    assert pages <= int(held)
    # Who looks at a page just then is the one who frees it.
    assert int(held) - pages // 100 <= freed + report["lost"]


def test_the_checks_balance_live_and_in_a_dump(guest: Guest, tmp_path: Path) -> None:
    report = reported(guest, "check")
    assert report["coverage"]["spanned"] == spanned(guest)
    expected = managed(guest)
    core = tmp_path / "core"
    dump_unlocked(guest, core)
    guest.resume()
    sources: list[tuple[object, ...]] = [()]
    if guest.kernel.vmlinux is not None:
        sources.append(("-s", guest.kernel.vmlinux))
    for source in sources:
        checks = {check["name"]: check for check in outside(core, "check", *source)["counters"]}
        assert {checks[n]["verdict"] for n in ("buddy", "pcp", "hugetlb")} == {"verified"}
        assert checks["hugetlb"]["counted"] == HUGE * 512
    counts = in_zones(outside(core, *EVERYTHING))
    core.unlink()
    assert counts == expected | {("0", "Device"): DEVICE_PAGES}


def test_memory_that_goes_is_not_missed(guest: Guest) -> None:
    """The last of this file: it takes the memory away."""
    first, second = guest.blocks
    for block, state in ((second, "offline"), (first, "online_movable"), (first, "offline")):
        put(guest, block, state)
        assert reported(guest, "check")["coverage"]["spanned"] == spanned(guest)
    guest.unplug("extra")
    until(lambda: second not in states(guest))
    assert reported(guest, "check")["coverage"]["spanned"] == spanned(guest)
