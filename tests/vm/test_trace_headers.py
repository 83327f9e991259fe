# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace` without kernel headers, on a kernel that the archive is about to drop.

Backports keep the images of older kernels for a while, but not their headers and debug packages.
"""

import json
from collections.abc import Callable

import pytest
from guest_tracer import START_TIMEOUT, check_lost

from pageinspect.errors import PageInspectError
from pageinspect.vm import catalogue
from pageinspect.vm.debian import Archive
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.packages import releases, series_of

SUITE = "trixie-backports"
ZRAM_PAGES = (32 << 20) // 4096
FILL = """
modprobe zram num_devices=1
echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=32
"""
# Should the archive have headers of it after all, they are out of sight.
TRACE = """
mount -t tmpfs none /usr/src
exec pageinspect trace --format json -- sh -c 'echo 1 > /sys/block/zram0/reset'
"""


@pytest.fixture(scope="module")
def oldest(ready: Callable[[str], BuiltKernel]) -> BuiltKernel:
    """The oldest kernel of the backports, built."""
    flavour = catalogue.kernel(f"{SUITE}-newest").flavour
    try:
        known = releases(Archive(SUITE).names("linux-image-"), flavour)
    except PageInspectError as error:
        pytest.skip(f"no index of {SUITE}: {error.message}")
    return ready(f"{SUITE}-{series_of(known[0])}")


def test_typed_frees_are_counted_without_kernel_headers(oldest: BuiltKernel) -> None:
    with Guest(oldest) as guest:
        guest.run(["sh", "-c", FILL])
        done = guest.run(
            ["unshare", "--mount", "sh", "-c", TRACE], timeout=START_TIMEOUT, check=False
        )
    report = json.loads(done.stdout)
    typed = {row["type"]: row["pages"] for row in report["typed"]}
    resets = tuple(map(int, series_of(oldest.release).split("."))) >= (6, 17)
    assert typed == ({"zsmalloc": ZRAM_PAGES} if resets else {})
    assert sum(typed.values()) + report["untyped"]["pages"] >= ZRAM_PAGES
    check_lost(report, done.status)
