# SPDX-License-Identifier: GPL-2.0-only
"""A kernel for which there are no debug packages and no headers: BTF is all there is of it.

Backports of older series are such kernels. The archive drops them in time: one that has none left
is no failure.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guest_dump import dump_unlocked
from guest_quiet import QUIET

from pageinspect.errors import PageInspectError
from pageinspect.vm import catalogue, packages
from pageinspect.vm.debian import Archive
from pageinspect.vm.errors import BuildError
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

SUITE = "trixie-backports"
COMPARE = "/opt/pageinspect/src/tests/vm/programs/compare_kpageflags.py"
MAKE_TYPES = (
    "modprobe zram num_devices=1 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=16 && echo 4 > /proc/sys/vm/nr_hugepages"
)
MOST_DIFFERENCES = 64


def bare_series() -> str | None:
    """Return the newest series of the suite without headers and debug package, or None."""
    archive = Archive(SUITE)
    flavour = catalogue.kernel_of(SUITE, catalogue.NEWEST).flavour
    known = packages.releases(archive.names("linux-image-"), flavour)
    for series in dict.fromkeys(map(packages.series_of, reversed(known))):
        try:
            resolved = packages.resolve(catalogue.kernel_of(SUITE, series), archive)
        except BuildError:
            continue
        if not resolved.has_headers and resolved.debuginfo is None:
            return series
    return None


@pytest.fixture(scope="module")
def guest(ready: Callable[[str], BuiltKernel]) -> Iterator[Guest]:
    try:
        series = bare_series()
    except PageInspectError as error:
        pytest.skip(f"{error.message} ({error.hint})")
    if series is None:
        pytest.skip(f"the archive has no such kernel: none in {SUITE} lacks headers")
    kernel = ready(f"{SUITE}-{series}")
    assert (kernel.has_headers, kernel.vmlinux) == (False, None)
    with Guest(kernel, memory="1G") as running:
        # A walk that is slow would see pages on CPU lists that neither reading of the kernel has.
        running.run(["sh", "-c", f"{MAKE_TYPES}{QUIET}"])
        yield running


def test_live_and_dumped_by_btf_alone(guest: Guest, tmp_path: Path) -> None:
    compared = json.loads(guest.run(["python3", COMPARE], timeout=300).stdout)
    assert compared["stable"] > 0.9 * compared["spanned"]
    assert compared["seen"]["hugetlb"] == 4 * 512
    assert compared["seen"]["slab"] > 1000
    assert len(compared["differ"]) <= MOST_DIFFERENCES, compared["differ"]

    core = tmp_path / "core"
    dump_unlocked(guest, core)
    command = [sys.executable, "-m", "pageinspect", "summary", "-c", str(core), "--format", "json"]
    done = subprocess.run([*command, "--by", "use"], capture_output=True, text=True, check=False)
    core.unlink()
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kernel"]["symbols"] == "btf"
    assert report["kernel"]["release"] == guest.kernel.release
    uses = {row["name"]: row["pages"] for row in report["rows"]}
    assert (uses["hugetlb"], uses["zsmalloc"]) == (4 * 512, 4096)
    verdicts = {check["name"]: check["verdict"] for check in report["counters"]}
    assert {verdicts[name] for name in ("buddy", "pcp", "zsmalloc", "hugetlb")} == {"verified"}
    assert "differs" not in verdicts.values(), report["counters"]
