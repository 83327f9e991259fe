# SPDX-License-Identifier: GPL-2.0-only
"""The live walk in a guest, against what its own kernel says of the same pages."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pageinspect.vm.guest import Guest

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/compare_kpageflags.py"
FILL_ZRAM = (
    "modprobe zram num_devices=1 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=32"
)
MOST_DIFFERENCES = 64


@pytest.fixture
def guest(shared_guest: Guest) -> Guest:
    return shared_guest


GIVE_BACK = (
    "echo 1 > /sys/block/zram0/reset; echo 0 > /proc/sys/vm/nr_hugepages; "
    "echo 1 > /proc/sys/vm/stat_interval"
)


@pytest.fixture(scope="module")
def filled(shared_guest: Guest) -> Iterator[Guest]:
    """Give a guest that has pages of many types, which it gives back at the end."""
    guest = shared_guest
    guest.run(["sh", "-c", FILL_ZRAM])
    guest.run(["sh", "-c", "echo 16 > /proc/sys/vm/nr_hugepages"])
    guest.balloon(guest.memory - (64 << 20))
    # Once a second CPUs give back what their lists need no longer: a batch of pages that is on a
    # list in both readings may be free in between.
    guest.run(["sh", "-c", "echo 3600 > /proc/sys/vm/stat_interval; sleep 2"])
    yield guest
    guest.run(["sh", "-c", GIVE_BACK])
    guest.balloon(guest.memory)


def compared(guest: Guest) -> dict[str, Any]:
    """Return how the walk compares with the kernel's files."""
    result: dict[str, Any] = json.loads(guest.run(["python3", PROGRAM], timeout=300).stdout)
    return result


def test_every_pfn_is_what_kpageflags_says(filled: Guest) -> None:
    result = compared(filled)
    assert result["stable"] > 0.9 * result["spanned"]
    assert result["seen"]["buddy"] > 100_000
    assert result["seen"]["slab"] > 1000
    assert result["seen"]["hugetlb"] == 16 * 512
    assert result["seen"]["offline"] == (64 << 20) // 4096
    assert result["seen"]["table"] > 20
    assert len(result["differ"]) <= MOST_DIFFERENCES, result["differ"]


def test_rows_add_up_and_count_what_was_made(filled: Guest) -> None:
    done = filled.run(["pageinspect", "summary", "--format", "json"], timeout=120)
    report = json.loads(done.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    assert sum(row["pages"] for row in report["rows"]) == report["coverage"]["spanned"]
    assert report["total"]["pages"] == report["coverage"]["spanned"]
    assert report["kernel"]["source"] == "live"
    assert report["kernel"]["release"] == filled.kernel.release
    assert rows["hugetlb"] == {
        "name": "hugetlb",
        "value": rows["hugetlb"]["value"],
        "pages": 16 * 512,
        "folios": 16,
        "bytes": 32 << 20,
    }
    assert rows["offline"]["pages"] == (64 << 20) // 4096
    untyped = rows["untyped"]
    assert sum(untyped["split"].values()) == untyped["pages"]
    # The zram that filled this guest: a type of its own, or known by its mapping before that.
    zsmalloc = rows["zsmalloc"]["pages"] if "zsmalloc" in rows else untyped["split"]["movable_ops"]
    assert zsmalloc == 8192


def test_without_root_one_line_and_a_hint(guest: Guest) -> None:
    done = guest.run(
        ["setpriv", "--reuid=65534", "--", "pageinspect", "summary"], check=False, timeout=240
    )
    assert done.status == 1
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert "needs root" in lines[0]
    assert "sudo" in lines[1]


def test_kcore_is_this_kernel_and_not_a_core(filled: Guest) -> None:
    filled.run(["ln", "-sf", "/proc/kcore", "/run/link"])
    filled.run(["sh", "-c", "mkdir -p /run/other && mount -t proc proc /run/other"])
    for name in ("/proc/kcore", "/run/link", "/run/other/kcore"):
        done = filled.run(["pageinspect", "check", "-c", name, "--format", "json"], timeout=120)
        report = json.loads(done.stdout)
        assert report["kernel"]["source"] == "live"
        assert report["violations"] == []
        assert {check["verdict"] for check in report["counters"]} <= {"verified", "explained"}


def test_check_of_the_running_kernel(guest: Guest) -> None:
    done = guest.run(["pageinspect", "check", "--format", "json"], check=False, timeout=120)
    report = json.loads(done.stdout)
    assert report["violations"] == []
    assert [b for b in report["counters"] if b["verdict"] == "differs"] == []
    assert {"buddy", "pcp", "slab", "table", "anon"} <= {b["name"] for b in report["counters"]}
    assert done.status == 0
