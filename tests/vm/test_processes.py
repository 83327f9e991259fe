# SPDX-License-Identifier: GPL-2.0-only
"""The memory of processes by their page tables, against smaps_rollup of the same moment."""

import json
import re
from typing import Any

import pytest
from owned_guest import PAGE, Owned, pageinspect

from pageinspect.vm.guest import Guest

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

NUMBERS = ("rss", "pss", "uss", "anon", "file", "shmem", "swap", "huge", "tables")
KILOBYTE = 1024
FAULTS_KEPT, FAULTED = 64, 16
"""Page faults after which a thread adds what it kept, and the most pages that a fault maps."""
NO_HUGE_PAGES = 41
"""PR_SET_THP_DISABLE: khugepaged maps no huge page in place of small ones, by which rss grows."""
STOPPED = f"""
import ctypes, mmap, os, signal
assert ctypes.CDLL(None).prctl({NO_HUGE_PAGES}, 1, 0, 0, 0) == 0
memory = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, 3 << 20, 4096):
    memory[at] = 1
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def kilobytes(text: str) -> dict[str, int]:
    """Return bytes by name of the lines that end in kB."""
    return {name: int(n) * KILOBYTE for name, n in re.findall(r"(\w+):\s+(\d+) kB", text)}


def kept(owned: Owned) -> int:
    """Return the most bytes that a thread keeps from the counters that status shows.

    It is none since Linux kernel commit f1a7941243c1 ("mm: convert mm's rss stats into
    percpu_counter") (in v6.2).
    """
    return FAULTS_KEPT * FAULTED * PAGE if owned.kernel.name == "6.1" else 0


def rows(owned: Owned) -> dict[int, dict[str, Any]]:
    return {row["pid"]: row for row in owned.said_by("processes")["rows"]}


def test_every_process_is_there(owned: Owned) -> None:
    found, rollups = rows(owned), owned.of_processes("smaps_rollup")
    assert set(found) == set(rollups)
    assert len(found) > 20
    for pid, text in owned.of_processes("status").items():
        if pid in found:
            assert found[pid]["comm"] == re.findall(r"Name:\t(.*)", text)[0]
    groups = owned.of_processes("cgroup")
    for pid, row in found.items():
        assert row["cgroup"] == groups[pid].strip().rpartition("::")[2]
    assert {row["cgroup"] for row in found.values()} == {"/", "/first", "/second/inner", "/with ü"}


@pytest.mark.parametrize("name", ["rss", "pss", "uss", "swap", "huge"])
def test_memory_is_what_smaps_rollup_says(owned: Owned, name: str) -> None:
    expected = {}
    for pid, text in owned.of_processes("smaps_rollup").items():
        said = kilobytes(text)
        expected[pid] = {
            "rss": said["Rss"],
            # It is cut off to a kilobyte.
            "pss": said["Pss"],
            "uss": said["Private_Clean"] + said["Private_Dirty"],
            "swap": said["Swap"],
            "huge": said["AnonHugePages"] + said["ShmemPmdMapped"] + said["FilePmdMapped"],
        }[name]
    found = {
        pid: row[name] // KILOBYTE * KILOBYTE if name == "pss" else row[name]
        for pid, row in rows(owned).items()
    }
    assert found == expected
    assert any(found.values())


def test_memory_is_what_status_says(owned: Owned) -> None:
    names = {"anon": "RssAnon", "file": "RssFile", "shmem": "RssShmem", "swap": "VmSwap"}
    for pid, row in rows(owned).items():
        text = owned.of_processes("status")[pid]
        said, threads = kilobytes(text), int(re.findall(r"Threads:\t(\d+)", text)[0])
        for name, of_status in names.items():
            assert abs(row[name] - said[of_status]) <= kept(owned) * threads, (pid, name)
        assert row["tables"] == said["VmPTE"]
        assert row["rss"] == row["anon"] + row["file"] + row["shmem"]


def test_mm_s_own_counters_are_beside_them(owned: Owned) -> None:
    for row in rows(owned).values():
        counters = row["counters"]
        for name in ("anon", "file", "shmem", "swap", "tables"):
            assert counters[name] == row[name], row["pid"]


def test_two_processes_with_one_address_space(owned: Owned) -> None:
    found, pids = rows(owned), owned.witness["pids"]
    first, second = (found[pids[name]] for name in ("mm first", "mm second"))
    assert [first[name] for name in NUMBERS] == [second[name] for name in NUMBERS]
    # Each page of theirs counts once.
    assert 0 < first["uss"] < first["pss"] < first["rss"]


def test_memory_that_is_not_a_process_s(owned: Owned) -> None:
    """Huge pages of hugetlb, zero pages and devices are mapped, and are not in rss."""
    pid = owned.witness["pids"]["main"]
    row, said = rows(owned)[pid], kilobytes(owned.of_processes("status")[pid])
    assert row["hugetlb"] == said["HugetlbPages"] > 0
    rollups = owned.of_processes("smaps_rollup")
    assert row["rss"] == kilobytes(rollups[pid])["Rss"]
    devices = owned.witness["pids"]["devices"]
    assert rows(owned)[devices]["rss"] == kilobytes(rollups[devices])["Rss"]


@pytest.fixture(scope="module")
def mapped(owned: Owned) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return places that pagemap has a page for, each with what page says of that page."""
    places = [m for m in owned.witness["mapped"] if m["pfn"] is not None and m["what"] != "zero"]
    pfns = sorted({place["pfn"] for place in places})
    pages = {page["pfn"]: page for page in owned.said_by("page", *pfns)["pages"]}
    return [(place, pages[place["pfn"]]) for place in places]


def test_page_names_those_that_map_it(
    owned: Owned, mapped: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert {place["what"] for place, _ in mapped} >= {"private", "thp", "ksm", "shared", "hugetlb"}
    by_pagemap = {(m["pid"], m["address"]): m["pfn"] for m in owned.witness["mapped"]}
    for place, page in mapped:
        found = {(by["pid"], int(by["address"], 0)) for by in page["mapped_by"]}
        assert (place["pid"], place["address"]) in found
        # Those that have another page there, or none, are not among them.
        for at in found & set(by_pagemap):
            assert by_pagemap[at] == page["pfn"], place
        comms = {by["pid"]: by["comm"] for by in page["mapped_by"]}
        assert comms == {pid: rows(owned)[pid]["comm"] for pid in comms}


def test_page_names_the_place_in_a_file(
    owned: Owned, mapped: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    inodes = {file["path"]: file["ino"] for file in owned.witness["files"]["open"]}
    of_files = [(place, page) for place, page in mapped if place["what"].startswith("files/")]
    assert len({place["what"] for place, _ in of_files}) == 3
    for place, page in of_files:
        assert page["owner"]["kind"] == "file"
        assert page["owner"]["name"].endswith(f"/{place['what']}")
        assert page["file"]["inode"] == inodes[f"/{place['what']}"]
        # All were mapped from their start.
        assert int(str(page["file_offset"]), 0) == 0


def test_order_and_number_of_rows(owned: Owned) -> None:
    for key in ("pss", "rss", "uss"):
        numbers = [row[key] for row in owned.said_by("processes", "--sort", key)["rows"]]
        assert numbers == sorted(numbers, reverse=True)
    shown = pageinspect("processes", "-c", owned.core, "--top", 3)
    assert shown.returncode == 0, shown.stderr
    assert sum(bool(re.match(r"\s*\d+  \S", line)) for line in shown.stdout.splitlines()) == 3


def test_debug_information_changes_nothing(owned: Owned) -> None:
    if owned.kernel.vmlinux is None:
        pytest.skip(f"no vmlinux of {owned.kernel.release}: pageinspect vm build --debuginfo")
    found = owned.said_by("processes", "-s", owned.kernel.vmlinux)
    assert found["rows"] == owned.said_by("processes")["rows"]


def test_a_dump_without_the_memory_of_processes(owned: Owned) -> None:
    """Page tables are in it, but not all structures that lead to them where tails are lost."""
    done = pageinspect("processes", "-c", owned.refiltered(31), "--format", "json")
    assert done.returncode in {0, 3}, done.stderr
    answer, whole = json.loads(done.stdout), rows(owned)
    found = {row["pid"]: row for row in answer["rows"]}
    assert len(found) > len(whole) // 2
    if done.returncode == 0:
        assert found == whole
    else:
        assert answer["coverage"]["missing"]
    for pid, row in found.items():
        if row["complete"]:
            assert row["rss"] == whole[pid]["rss"]


def test_a_stopped_process_of_a_live_kernel(shared_guest: Guest) -> None:
    process = shared_guest.start(["python3", "-c", STOPPED])
    process.wait_for_output(b"\n", 240)
    pid = int(process.stdout)
    stopped = f"until grep -q 'State:.*T' /proc/{pid}/status; do sleep 0.1; done"
    shared_guest.run(["sh", "-c", stopped])
    rollup = ["cat", f"/proc/{pid}/smaps_rollup"]
    said = kilobytes(shared_guest.run(rollup).stdout.decode())
    done = shared_guest.run(["pageinspect", "processes", "--format", "json"], check=False)
    later = kilobytes(shared_guest.run(rollup).stdout.decode())
    (row,) = (row for row in json.loads(done.stdout)["rows"] if row["pid"] == pid)
    process.send_signal(9)
    # The kernel may reclaim or fill in what it maps.
    least, most = sorted((said["Rss"], later["Rss"]))
    assert least <= row["rss"] <= most
    assert row["anon"] >= 3 << 20
    # What it shares with this very command is divided by one more.
    assert abs(row["pss"] - said["Pss"]) < said["Pss"] // 2
    assert abs(row["uss"] - said["Private_Clean"] - said["Private_Dirty"]) < said["Rss"] // 2
