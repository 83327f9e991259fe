# SPDX-License-Identifier: GPL-2.0-only
"""A kernel older than those of the catalogue: 5.10, when BPF had just got what tracing needs.

Its BTF tells of no per-CPU variables, its per-CPU lists and counters are in one structure, and it
has no symbols in VMCOREINFO.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest_dump import dump_unlocked
from guest_tracer import check_lost

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

pytestmark = pytest.mark.whole

KERNEL = "bullseye-5.10"
COMPARE = "/opt/pageinspect/src/tests/vm/programs/compare_kpageflags.py"
OLDER = "/opt/pageinspect/src/tests/vm/programs/older_trace.py"
FILL = (
    "modprobe zram num_devices=1 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=16 && echo 4 > /proc/sys/vm/nr_hugepages"
)
ZRAM_PAGES = (16 << 20) // 4096
HUGE_PAGES = 4 * 512
MOST_DIFFERENCES = 64


@pytest.fixture(scope="module")
def guest(ready: Callable[[str], BuiltKernel]) -> Iterator[Guest]:
    with Guest(ready(KERNEL), memory="1G") as running:
        running.run(["sh", "-c", FILL])
        yield running


def reported(guest: Guest, *arguments: str) -> tuple[dict[str, Any], int]:
    argv = ["pageinspect", arguments[0], "--format", "json", *arguments[1:]]
    done = guest.run(argv, timeout=300, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report, done.status


def test_each_page_is_what_the_kernel_says_it_is(guest: Guest) -> None:
    compared = json.loads(guest.run(["python3", COMPARE], timeout=300).stdout)
    assert compared["stable"] > 0.9 * compared["spanned"]
    assert compared["seen"]["hugetlb"] == HUGE_PAGES
    assert len(compared["differ"]) <= MOST_DIFFERENCES, compared["differ"]


def test_the_checks_of_the_running_kernel_agree(guest: Guest) -> None:
    report, status = reported(guest, "check")
    verdicts = {check["name"]: check["verdict"] for check in report["counters"]}
    assert "differs" not in verdicts.values(), report["counters"]
    assert (verdicts["movable_ops"], verdicts["hugetlb"]) == ("verified", "verified")
    assert status == 0


def test_frees_are_traced_to_who_freed(guest: Guest) -> None:
    """Each of the tracer's keys, and events, are compiled in, and loaded by an older verifier."""
    keys = [word for key in ("caller", "comm", "cpu", "zone") for word in ("--by", key)]
    reset = ["--", "sh", "-c", "echo 1 > /sys/block/zram0/reset"]
    watched = ["--type", "untyped", "--stacks", "--tails", "--disallow", "buddy"]
    report, status = reported(guest, "trace", *keys, *watched, *reset)
    check_lost(report, status, "stacks")
    caller = report["by"].index("caller")
    pages = sum(
        row["pages"] for row in report["rows"] if row["key"][caller].startswith("__free_zspage")
    )
    assert ZRAM_PAGES - report["lost_by"]["stacks"] <= pages <= ZRAM_PAGES
    assert report["bad_pages"] == 0


def test_frees_are_traced_without_types_and_ring_buffer(guest: Guest) -> None:
    """As on a kernel before 5.5: all that trace uses on later ones is hidden from it."""
    script = f"""
    echo 64M > /sys/block/zram0/disksize
    dd if=/dev/urandom of=/dev/zram0 bs=1M count=16 2> /dev/null
    python3 {OLDER} --by caller --type untyped --events --format jsonl -o /run/older.jsonl -- \\
        sh -c 'echo 1 > /sys/block/zram0/reset'
    """
    done = guest.run(["sh", "-c", script], timeout=300, check=False)
    assert done.status == 0, done.stderr
    rows = [json.loads(line) for line in guest.run(["cat", "/run/older.jsonl"]).stdout.splitlines()]
    events = [row for row in rows if row["table"] == "events"]
    assert [row["time_ns"] for row in events] == sorted(row["time_ns"] for row in events)
    frees = [row for row in rows if row["table"] == "frees" and row["type"] == "untyped"]
    assert sum(row["frees"] for row in frees) == len(events)
    of_zram = [row for row in frees if row["caller"].startswith("__free_zspage")]
    assert sum(row["pages"] for row in of_zram) == ZRAM_PAGES
    assert len({row["pfn"] for row in events}) >= ZRAM_PAGES


def test_the_checks_of_its_dump_balance_with_its_vmlinux(guest: Guest, tmp_path: Path) -> None:
    """The last of this file: under emulation this kernel's clocks stand still after a dump."""
    vmlinux = guest.kernel.vmlinux
    if vmlinux is None:
        pytest.skip("no vmlinux: pageinspect vm build bullseye-5.10 --debuginfo")
    core = tmp_path / "core"
    dump_unlocked(guest, core)
    command = [sys.executable, "-m", "pageinspect", "check", "-c", str(core), "-s", str(vmlinux)]
    done = subprocess.run(
        [*command, "--format", "json"], capture_output=True, text=True, check=False
    )
    core.unlink()
    assert done.returncode == 0, done.stderr
    verdicts = {check["name"]: check["verdict"] for check in json.loads(done.stdout)["counters"]}
    assert {verdicts[name] for name in ("buddy", "pcp", "table", "hugetlb")} == {"verified"}
