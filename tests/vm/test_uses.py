# SPDX-License-Identifier: GPL-2.0-only
"""Pages made on purpose have the use that they were made for, by the guest's own pagemap.

Of some, `page` names the cgroup, the file and the slab cache.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guest_dump import dump_unlocked
from places import DOCS

from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/make_uses.py"
EXAMPLES = DOCS / "examples"
MAKE = (
    "modprobe -a tun zram && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 && echo 5 > /proc/sys/vm/nr_hugepages"
)
BALLOON = 64 << 20


GROUP = "held by a test"
HOLD = f"""
import mmap, os, struct, sys, time
group = "/sys/fs/cgroup/{GROUP}"
with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as f: f.write("+memory")
os.mkdir(group)
with open(group + "/cgroup.procs", "w") as f: f.write(str(os.getpid()))
memory = mmap.mmap(-1, 4096)
memory[:4] = b"held"
with open("/tmp/held", "wb") as f: f.write(b"x" * 4096)
f = open("/tmp/held", "r+b")
of_file = mmap.mmap(f.fileno(), 4096)
of_file[0]
import ctypes
def pfn(m):
    address = ctypes.addressof(ctypes.c_char.from_buffer(m))
    with open("/proc/self/pagemap", "rb", 0) as pagemap:
        pagemap.seek(address // 4096 * 8)
        return struct.unpack("<Q", pagemap.read(8))[0] & (1 << 55) - 1
print(pfn(memory), pfn(of_file), flush=True)
time.sleep(1000)
"""
FLAGS = """
import struct
data = b""
with open("/proc/kpageflags", "rb", 0) as f:
    while chunk := f.read(65536): data += chunk
words = struct.unpack(f"<{len(data) // 8}Q", data)
print(next(i for i, w in enumerate(words) if w >> 17 & 1 and w >> 15 & 1))
"""


@dataclass(frozen=True)
class Made:
    core: Path
    inspector: Inspector
    pfns: dict[str, list[int]]
    tables: tuple[int, int]
    """nr_page_table_pages before and after 512 page tables were made."""
    pipes: int
    """Pipes whose buffers the kernel keeps in 64 pages of large kmalloc each."""
    page_pool: int
    """Pages that a page_pool says it has in flight."""
    uses: np.ndarray
    """The name of the use of every pfn."""
    orders: np.ndarray
    meminfo: dict[str, int]
    held: dict[str, int]
    """Pfns: a page of a memory cgroup, one of a file in it, and the head of a huge page."""


@pytest.fixture(scope="module")
def made(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Made:
    core = tmp_path_factory.mktemp("uses") / "core"
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sh", "-c", MAKE])
        guest.balloon(guest.memory - BALLOON)
        holder = guest.start(["python3", "-c", HOLD])
        holder.wait_for_output(b"\n", timeout=60)
        anon, file = map(int, holder.stdout.split())
        hugetlb = int(guest.run(["python3", "-c", FLAGS], timeout=60).stdout)
        process = guest.start(["python3", PROGRAM])
        process.wait_for_output(b"\n", timeout=120)
        told = json.loads(process.stdout)
        meminfo = guest.run(["cat", "/proc/meminfo"]).stdout.decode()
        dump_unlocked(guest, core)
    asked = inspect(open_target(core))
    end = asked.memory_map.spanned[-1][1]
    uses, orders = np.full(end, "", object), np.zeros(end, np.uint8)
    for pages in asked.pages():
        names = {use: asked.use_name(use) for use in np.unique(pages.use).tolist()}
        uses[pages.pfns] = [names[use] for use in pages.use.tolist()]
        orders[pages.pfns] = pages.order
    fields = (line.split() for line in meminfo.splitlines())
    return Made(
        core,
        asked,
        told["pfns"],
        told["tables"],
        told["pipes"],
        told["page_pool"],
        uses,
        orders,
        {f[0].rstrip(":"): int(f[1]) for f in fields},
        {"anon": anon, "file": file, "hugetlb": hugetlb},
    )


@pytest.mark.parametrize("use", ["anon", "ksm", "shmem", "file"])
def test_pages_of_a_process(made: Made, use: str) -> None:
    pfns = made.pfns[use]
    assert len(pfns) == 512
    found = {name: int((made.uses[pfns] == name).sum()) for name in set(made.uses[pfns])}
    assert found == {use: 512}
    if use == "ksm":
        assert len(set(pfns)) == 2


def test_transparent_huge_pages(made: Made) -> None:
    pfns = made.pfns["thp"]
    huge = [pfn for pfn in pfns if made.orders[pfn] == 9]
    assert len(huge) >= 512
    assert set(made.uses[huge]) == {"anon"}


def test_pages_counted_by_others(made: Made) -> None:
    counts = {name: int((made.uses == name).sum()) for name in set(made.uses)}
    zsmalloc = counts.get("zsmalloc", counts.get("movable_ops"))
    assert zsmalloc == 8192
    assert counts["hugetlb"] == made.meminfo["HugePages_Total"] * 512
    assert counts["offline"] == BALLOON // 4096
    assert counts["pcp"] == made.inspector.memory_map.pcp.counted
    assert made.inspector.memory_map.pcp.whole
    assert "conflict" not in counts
    assert sum(counts.values()) - counts.get("", 0) == made.inspector.memory_map.spanned_pages


def test_page_tables(made: Made) -> None:
    before, after = made.tables
    tables = int((made.uses == "table").sum())
    # Some are of other processes that came and went since, or of the levels above.
    assert 512 <= after - before <= 520
    assert abs(tables - after) <= 32


def test_large_kmalloc(made: Made) -> None:
    typed = made.inspector.layout.scheme.find("large_kmalloc") is not None
    use = "large_kmalloc" if typed else "kernel"
    arrays = (made.uses == use) & (made.orders == 6)
    assert made.pipes == 16
    assert int(arrays.sum()) == made.pipes * 64


def test_page_pool(made: Made) -> None:
    # The frames that the program made, a page each; no device of the guest has a pool.
    assert made.page_pool == 512
    assert int((made.uses == "page_pool").sum()) == made.page_pool


def test_examples(made: Made) -> None:
    def output(script: str, *args: str) -> str:
        command = [sys.executable, str(EXAMPLES / script), str(made.core), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    types = {
        name: int(count) for count, name in map(str.split, output("types_by_range.py").splitlines())
    }
    assert types["offline"] == BALLOON // 4096
    assert sum(types.values()) == made.inspector.memory_map.spanned_pages
    first = output("largest_runs.py", "hugetlb").splitlines()[0].split()
    assert int(first[1]) % 512 == 0
    assert made.uses[int(first[0], 16)] == "hugetlb"


def page(core: Path, *addresses: object) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pageinspect", "page", "-c", core, "--format", "json"]
    done = subprocess.run(
        [*map(str, command), *map(str, addresses)], capture_output=True, text=True, check=True
    )
    pages: list[dict[str, Any]] = json.loads(done.stdout)["pages"]
    return pages


def test_pages_that_the_guest_named(made: Made) -> None:
    core, pfns = made.core, made.held
    anon, file, head, tail = page(
        core, pfns["anon"], pfns["file"], pfns["hugetlb"], pfns["hugetlb"] + 3
    )
    # MAP_SHARED without a file is shmem, as is a file in a tmpfs.
    assert (anon["use"], anon["mapcount"]) == ("shmem", 1)
    assert anon["memcg"] == file["memcg"] == f"/{GROUP}"
    assert head.get("memcg") in (None, "/")
    assert file["file"]["path"] == "/tmp/held"  # noqa: S108 - of the guest
    assert file["mapcount"] == 1
    assert head["use"] == tail["use"] == "hugetlb"
    assert (tail["head"], tail["index_in_folio"], tail["order"]) == (pfns["hugetlb"], 3, 9)
    assert "present" in head["section_flags"]


def test_addresses_of_one_page_and_its_slab_cache(made: Made) -> None:
    core = made.core
    prog = open_target(core).prog
    members = prog.type("struct task_struct").members or ()
    tasks = next(m.offset for m in members if m.name == "tasks")
    task = prog.read_u64(prog.symbol("init_task").address + tasks)
    (slab,) = page(core, f"virt:{task:#x}")
    assert slab["use"] == "slab"
    assert slab["slab_cache"] == "task_struct"
    same = page(core, slab["pfn"], f"phys:{slab['phys']}", f"page:{slab['page']}")
    assert same == [slab] * 3
    (image,) = page(core, f"virt:{prog.symbol('init_task').address:#x}")
    assert image["use"] == "reserved"
