# SPDX-License-Identifier: GPL-2.0-only
"""The swap cache of a guest that swaps to a slow disk, against the kernel's own NR_SWAPCACHE."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

pytestmark = pytest.mark.whole

BYTES_A_SECOND = 1_500_000
SWAP = 1 << 30
# More than there is room for: what is to be swapped waits in the swap cache for the disk. Pages of
# zeros would not be written.
FILL = """
disk=/dev/$(basename $(dirname $(grep -lx swap /sys/block/vd*/serial)))
mkswap $disk && swapon $disk
mkdir /run/full && mount -t tmpfs -o size=600M none /run/full
yes | head -c 450M > /run/full/file
"""
LEAST = 10_000


@pytest.fixture(scope="module")
def swapping(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    core = tmp_path_factory.mktemp("swap") / "core"
    disk = os.memfd_create("swap")
    os.truncate(disk, SWAP)
    try:
        with Guest(
            kernel, memory="512M", scratch={"swap": disk}, write_limit=BYTES_A_SECOND
        ) as guest:
            guest.start(["sh", "-c", FILL])
            end = time.monotonic() + 120
            while cached(guest) < LEAST:
                assert time.monotonic() < end
                time.sleep(1)
            guest.dump(core)
    finally:
        os.close(disk)
    yield core
    core.unlink()


def cached(guest: Guest) -> int:
    """Return the pages in the swap cache, as the kernel has them in kB."""
    meminfo = guest.run(["cat", "/proc/meminfo"]).stdout.decode()
    (kilobytes,) = (line.split()[1] for line in meminfo.splitlines() if "SwapCached" in line)
    return int(kilobytes) // 4


def reported(*args: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_its_pages_have_a_use_and_a_total(swapping: Path) -> None:
    checks = {check["name"]: check for check in reported("check", "-c", swapping)["counters"]}
    check = checks["swapcache"]
    assert (check["verdict"], check["counted"]) == ("verified", check["kernel"])
    uses = {
        row["name"]: row["pages"]
        for row in reported("summary", "--by", "use", "-c", swapping)["rows"]
    }
    print(check, uses)  # noqa: T201 - shown on failure
    assert LEAST < uses["swapcache"] <= check["counted"]
    # The others are anonymous.
    assert check["counted"] - uses["swapcache"] <= uses["anon"] + uses.get("ksm", 0)
    assert uses["kernel"] < LEAST


def test_vmcoreinfo_alone_gives_the_swap_cache(swapping: Path) -> None:
    def pages(*args: str) -> int:
        command = [sys.executable, "-m", "pageinspect", "summary", "--use", "swapcache", *args]
        done = subprocess.run(
            [*command, "-c", str(swapping), "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
        total: int = json.loads(done.stdout)["total"]["pages"]
        return total

    assert pages("--symbols-from", "vmcoreinfo") == pages() > LEAST
