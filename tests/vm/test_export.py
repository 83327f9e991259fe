# SPDX-License-Identifier: GPL-2.0-only
"""What export says of a dump, against what the guest's kernel said before it and after."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from guest_capture import (
    Capture,
    Entries,
    Mask,
    capture,
    check_counts,
    check_flags,
    check_sizes,
    pageinspect,
)

from pageinspect.inspector.inspector import inspect
from pageinspect.model.kpageflags import Kpf
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

READ_AHEAD = "/opt/pageinspect/src/tests/vm/programs/read_ahead.py"
SWAP = 64 << 20
FILL = """
modprobe zram num_devices=1
echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=16
echo 5 > /proc/sys/vm/nr_hugepages
echo always > /sys/kernel/mm/transparent_hugepage/enabled
disk=/dev/$(basename $(dirname $(grep -lx swap /sys/block/vd*/serial)))
mkswap $disk && swapon $disk
find /usr/lib -type f -size -64k -exec cat {} + > /dev/null
"""
# Keeps a file, shared memory, small pages and huge ones, mapped and shared with a child; huge ones
# that are read alone; and pages that are all the same.
HOLD = """
import mmap, os, time
small = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
small.madvise(mmap.MADV_NOHUGEPAGE)
small.write(b"x" * (8 << 20))
huge = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
huge.madvise(mmap.MADV_HUGEPAGE)
huge.write(b"x" * (24 << 20))
huge[28 << 20]
same = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
same.madvise(mmap.MADV_NOHUGEPAGE)
same.madvise(mmap.MADV_MERGEABLE)
same.write(b"s" * (4 << 20))
shared = mmap.mmap(-1, 4 << 20)
shared.write(b"x" * (4 << 20))
hugetlb = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x40000)
hugetlb.write(b"x" * (4 << 20))
file = open("/usr/bin/python3", "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(mapped[::4096])
if os.fork() == 0:
    time.sleep(1e6)
print("held", flush=True)
time.sleep(1e6)
"""
# The hardware is said to have lost a page, for which the kernel kills this, where it can do that.
POISON = """
import mmap
lost = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
lost.write(b"x")
lost.madvise(mmap.MADV_HWPOISON)
"""
# Two full scans of what may be merged, the second of which merges.
MERGE = """
cd /sys/kernel/mm/ksm
echo 10000 > pages_to_scan
echo 1 > run
for i in $(seq 1000); do [ $(cat pages_sharing) -gt 500 ] && break; sleep 0.1; done
echo 0 > run
"""
LIVE_JOBS = (1, 2, 1)


@dataclass(frozen=True)
class WithLive(Capture):
    """A capture, and what export says in the guest itself."""

    live: tuple[Entries, ...]
    """kpageflags, a little later, by LIVE_JOBS."""


def export_live(guest: Guest, jobs: int) -> Entries:
    command = ["pageinspect", "export", "--kpageflags", "/run/live", "-j", str(jobs)]
    # It takes 50 s in the guest of a busy host.
    guest.run(command, timeout=300)
    return np.frombuffer(guest.run(["cat", "/run/live"]).stdout, np.uint64)


@pytest.fixture(scope="module")
def captured(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithLive]:
    """A capture of each kernel, with pages of many kinds, idle."""
    disk = os.memfd_create("swap")
    os.truncate(disk, SWAP)
    with Guest(kernel, memory="1G", scratch={"swap": disk}) as guest:
        guest.run(["sh", "-c", FILL])
        guest.start(["python3", READ_AHEAD]).wait_for_output(b"\n", 60)
        guest.run(["python3", "-c", POISON], check=False)
        holder = guest.start(["python3", "-c", HOLD])
        holder.wait_for_output(b"held", 60)
        guest.run(["sh", "-c", MERGE])
        taken = capture(guest, tmp_path_factory.mktemp("export"))
        live = tuple(export_live(guest, jobs) for jobs in LIVE_JOBS)
        assert holder.status is None, holder.stderr
    os.close(disk)
    yield WithLive(taken.core, taken.flags, taken.counts, live)
    taken.core.unlink()


def test_both_files_are_as_long_as_the_kernels(captured: WithLive) -> None:
    check_sizes(captured)


def test_the_guest_had_pages_of_many_kinds(captured: WithLive) -> None:
    flags = captured.flags.before[captured.flags.stable]
    for bit, least in {
        Kpf.BUDDY: 50_000,
        Kpf.SLAB: 1000,
        Kpf.ANON: 4000,
        Kpf.MMAP: 4000,
        Kpf.HUGE: 5 * 512,
        Kpf.THP: 4 * 512,
        Kpf.SWAPBACKED: 1000,
        Kpf.ZERO_PAGE: 1 + 512,
        Kpf.KSM: 1,
        # Reclaim takes most of them again: how many is up to the host.
        Kpf.SWAPCACHE: 1,
        Kpf.PGTABLE: 20,
        Kpf.RESERVED: 100,
    }.items():
        assert int((flags >> np.uint64(bit) & np.uint64(1)).sum()) >= least, bit.name
    counts = captured.counts.before[captured.counts.stable]
    assert int((counts > 1).sum()) > 1000
    # 256 pages at most are merged into one.
    assert int(counts.max()) >= 256


def test_what_the_kernel_has_in_the_swap_cache_without_a_mapping(captured: WithLive) -> None:
    held = captured.flags

    def flagged(*bits: Kpf) -> Mask:
        mask = np.uint64(sum(1 << bit for bit in bits))
        return held.before & mask == mask

    expected = held.stable & flagged(Kpf.SWAPCACHE) & ~flagged(Kpf.ANON)
    opened = inspect(open_target(captured.core))
    uses = np.full(len(held.ours), "", object)
    for pages in opened.pages():
        names = {use: opened.use_name(use) for use in np.unique(pages.use).tolist()}
        uses[pages.pfns] = [names[use] for use in pages.use.tolist()]
    assert int(expected.sum()) >= 1
    assert set(uses[expected]) == {"swapcache"}
    assert (uses[held.stable] == "swapcache").sum() == expected.sum()


def test_the_poisoned_page(captured: WithLive, kernel: BuiltKernel) -> None:
    # Debian's cloud kernels have CONFIG_MEMORY_FAILURE from 6.12 on.
    poisoned = captured.flags.ours >> np.uint64(Kpf.HWPOISON) & np.uint64(1)
    assert int(poisoned.sum()) == (0 if kernel.name == "6.1" else 1)


def test_kpageflags(captured: WithLive) -> None:
    check_flags(captured)


def test_kpagecount(captured: WithLive) -> None:
    check_counts(captured)


def test_live_is_the_same_but_for_what_changed_since(captured: WithLive) -> None:
    live = captured.live[0]
    assert len(live) == len(captured.flags.after)
    assert (live == captured.flags.after).mean() > 0.7


def test_live_two_processes_say_what_one_says(captured: WithLive) -> None:
    one, two, one_again = captured.live
    stable = one == one_again
    assert stable.mean() > 0.8
    # The second process's own memory is what differs; a section in another's place would be more.
    assert (two == one)[stable].mean() > 0.9


def test_one_file_alone_has_the_same_bytes(captured: WithLive, tmp_path: Path) -> None:
    path = tmp_path / "file"
    done = pageinspect("export", "-c", captured.core, "--kpagecount", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert path.read_bytes() == captured.counts.ours.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing(captured: WithLive, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "missing" / "bad"
    done = pageinspect("export", "-c", captured.core, "--kpageflags", good, "--kpagecount", bad)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert f"cannot write {bad}" in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def with_hvo(ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:  # type: ignore[no-untyped-def]
    """A capture with HVO on: of a huge page, seven of eight pages of struct pages are its first."""
    with Guest(ready("6.12"), memory="1G", append="hugetlb_free_vmemmap=on") as guest:
        guest.run(["sh", "-c", "echo 32 > /proc/sys/vm/nr_hugepages"])
        taken = capture(guest, tmp_path_factory.mktemp("hvo"))
    yield taken
    taken.core.unlink()


def test_hvo_fake_heads_count_once(with_hvo: Capture) -> None:
    done = pageinspect("summary", "-c", with_hvo.core, "--format", "json")
    (row,) = (r for r in json.loads(done.stdout)["rows"] if r["name"] == "hugetlb")
    assert (row["pages"], row["folios"]) == (32 * 512, 32)
    ours = with_hvo.flags.ours
    heads = ours[ours >> np.uint64(Kpf.HUGE) & np.uint64(1) == 1]
    assert len(heads) == 32 * 512
    assert int((heads >> np.uint64(Kpf.COMPOUND_HEAD) & np.uint64(1)).sum()) == 32
    check_sizes(with_hvo)
    check_flags(with_hvo)
    check_counts(with_hvo)
