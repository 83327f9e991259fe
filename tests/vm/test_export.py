"""What export says of a dump, against what the guest's kernel said just before."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pageinspect.kpageflags import Kpf
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/capture_kpageflags.py"
FILES = ("/run/flags", "/run/counts", "/run/again")
FILL = """
modprobe zram num_devices=1
echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=16
echo 5 > /proc/sys/vm/nr_hugepages
echo always > /sys/kernel/mm/transparent_hugepage/enabled
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
for i in $(seq 100); do [ $(cat pages_sharing) -gt 500 ] && break; sleep 0.1; done
echo 0 > run
"""
MOST_DIFFERENCES = 64
MOST_OF_A_BIT = 16

Entries = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Capture:
    """A core, what the guest's kernel said just before, and what export makes of the core."""

    core: Path
    flags: Entries
    counts: Entries
    again: Entries
    our_flags: Entries
    our_counts: Entries
    live: Entries
    """kpageflags as export gives them in the guest itself, a little later."""

    @property
    def stable(self) -> npt.NDArray[np.bool_]:
        return self.flags == self.again


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def capture(guest: Guest, folder: Path) -> Capture:
    """Read the guest's files, dump it in the same moment, and export the dump."""
    guest.run(["sh", "-c", "sleep 3; sync"])
    program = guest.start(["python3", PROGRAM, *FILES])
    program.wait_for_output(b"captured\n", 120)
    guest.dump(folder / "core")
    guest.resume()
    program.close_stdin()
    assert program.wait(120) == 0, program.stderr
    said = [np.frombuffer(guest.run(["cat", name]).stdout, np.uint64) for name in FILES]
    paths = folder / "flags", folder / "counts"
    done = pageinspect(
        "export", "-c", folder / "core", "--kpageflags", paths[0], "--kpagecount", paths[1]
    )
    assert done.returncode == 0, done.stderr
    ours = [np.fromfile(path, np.uint64) for path in paths]
    guest.run(["pageinspect", "export", "--kpageflags", "/run/live"])
    live = np.frombuffer(guest.run(["cat", "/run/live"]).stdout, np.uint64)
    return Capture(folder / "core", *said, *ours, live)


@pytest.fixture(scope="module")
def captured(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """A capture of each kernel, with pages of many kinds, idle."""
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sh", "-c", FILL])
        guest.run(["python3", "-c", POISON], check=False)
        holder = guest.start(["python3", "-c", HOLD])
        holder.wait_for_output(b"held", 60)
        guest.run(["sh", "-c", MERGE])
        taken = capture(guest, tmp_path_factory.mktemp("export"))
        assert holder.status is None, holder.stderr
    yield taken
    taken.core.unlink()


KPF_NAMES = {bit.value: bit.name for bit in Kpf}


def names(bits: int) -> str:
    return "|".join(KPF_NAMES.get(bit, str(bit)) for bit in range(64) if bits >> bit & 1)


def given_back(taken: Capture) -> npt.NDArray[np.bool_]:
    """Return the pages that a CPU's free list gave back to the buddy just before the dump.

    The kernel does that when it likes, with hundreds at once; they had no flag on the list. That
    they are free then is what its own number of free pages says.
    """
    moved = taken.stable & (taken.flags == 0) & (taken.our_flags == 1 << Kpf.BUDDY)
    if moved.any():
        done = pageinspect("check", "-c", taken.core, "--format", "json")
        books = {book["name"]: book for book in json.loads(done.stdout)["counters"]}
        assert books["buddy"]["counted"] == books["buddy"]["kernel"]
    return moved


def check_flags(taken: Capture) -> None:
    differ = np.flatnonzero((taken.flags != taken.our_flags) & taken.stable & ~given_back(taken))
    lines = [
        f"{pfn:#x}: kernel {names(int(taken.flags[pfn]))}, we {names(int(taken.our_flags[pfn]))}"
        for pfn in differ[: 4 * MOST_DIFFERENCES]
    ]
    print(f"kpageflags: {len(differ)} differ", *lines, sep="\n")  # noqa: T201 - shown on failure
    assert len(differ) <= MOST_DIFFERENCES
    wrong = (taken.flags ^ taken.our_flags)[differ]
    for bit in range(64):
        assert int((wrong >> np.uint64(bit) & np.uint64(1)).sum()) <= MOST_OF_A_BIT, names(1 << bit)


def check_counts(taken: Capture) -> None:
    differ = np.flatnonzero((taken.counts != taken.our_counts) & taken.stable)
    lines = [
        f"{pfn:#x}: kernel {taken.counts[pfn]}, we {taken.our_counts[pfn]}, "
        f"{names(int(taken.flags[pfn]))}"
        for pfn in differ[: 4 * MOST_DIFFERENCES]
    ]
    print(f"kpagecount: {len(differ)} differ", *lines, sep="\n")  # noqa: T201 - shown on failure
    assert len(differ) <= MOST_DIFFERENCES


def test_both_files_are_as_long_as_the_kernels(captured: Capture) -> None:
    sizes = {len(captured.flags), len(captured.counts), len(captured.again)}
    assert sizes == {len(captured.our_flags)} == {len(captured.our_counts)}
    assert captured.stable.mean() > 0.99


def test_the_guest_had_pages_of_many_kinds(captured: Capture) -> None:
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
        Kpf.PGTABLE: 20,
        Kpf.RESERVED: 100,
    }.items():
        assert int((captured.flags >> np.uint64(bit) & np.uint64(1)).sum()) >= least, bit.name
    assert int((captured.counts > 1).sum()) > 1000
    # 256 pages at most are merged into one.
    assert int(captured.counts.max()) >= 256


def test_the_poisoned_page(captured: Capture, kernel: BuiltKernel) -> None:
    # Debian's cloud kernels have CONFIG_MEMORY_FAILURE from 6.12 on.
    poisoned = captured.our_flags >> np.uint64(Kpf.HWPOISON) & np.uint64(1)
    assert int(poisoned.sum()) == (0 if kernel.name == "6.1" else 1)


def test_kpageflags(captured: Capture) -> None:
    check_flags(captured)


def test_kpagecount(captured: Capture) -> None:
    check_counts(captured)


def test_live_is_the_same_but_for_what_changed_since(captured: Capture) -> None:
    assert len(captured.live) == len(captured.again)
    # DAMON, on by default in 7.3, marks pages idle at any time.
    changed = (captured.live ^ captured.again) & ~np.uint64(1 << Kpf.IDLE)
    assert (changed == 0).mean() > 0.7


def test_one_file_alone_has_the_same_bytes(captured: Capture, tmp_path: Path) -> None:
    path = tmp_path / "file"
    done = pageinspect("export", "-c", captured.core, "--kpagecount", path)
    assert (done.returncode, done.stdout) == (0, "")
    assert path.read_bytes() == captured.our_counts.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing(captured: Capture, tmp_path: Path) -> None:
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
    heads = with_hvo.our_flags[with_hvo.our_flags >> np.uint64(Kpf.HUGE) & np.uint64(1) == 1]
    assert len(heads) == 32 * 512
    assert int((heads >> np.uint64(Kpf.COMPOUND_HEAD) & np.uint64(1)).sum()) == 32
    check_flags(with_hvo)
    check_counts(with_hvo)
