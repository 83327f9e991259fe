"""Single pages of a dump, picked by what the guest itself said of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

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


@pytest.fixture(scope="module")
def asked(
    kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Dump a guest, and give the pfns that it told."""
    path = tmp_path_factory.mktemp("core") / "core"
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sh", "-c", "echo 4 > /proc/sys/vm/nr_hugepages"])
        held = guest.start(["python3", "-c", HOLD])
        held.wait_for_output(b"\n", timeout=60)
        anon, file = map(int, held.stdout.split())
        hugetlb = int(guest.run(["python3", "-c", FLAGS], timeout=60).stdout)
        guest.dump(path)
    yield path, {"anon": anon, "file": file, "hugetlb": hugetlb}
    path.unlink()


def page(core: Path, *addresses: object) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pageinspect", "page", "-c", core, "--format", "json"]
    done = subprocess.run(
        [*map(str, command), *map(str, addresses)], capture_output=True, text=True, check=True
    )
    pages: list[dict[str, Any]] = json.loads(done.stdout)["pages"]
    return pages


def test_pages_that_the_guest_named(asked: tuple[Path, dict[str, int]]) -> None:
    core, pfns = asked
    anon, file, head, tail = page(
        core, pfns["anon"], pfns["file"], pfns["hugetlb"], pfns["hugetlb"] + 3
    )
    # MAP_SHARED without a file is shmem, as is a file in a tmpfs.
    assert (anon["use"], anon["mapcount"]) == ("shmem", 1)
    assert anon["memcg"] == file["memcg"] == GROUP
    assert head.get("memcg") in (None, "/")
    assert file["file"]["name"] == "held"
    assert file["mapcount"] == 1
    assert head["use"] == tail["use"] == "hugetlb"
    assert (tail["head"], tail["index_in_folio"], tail["order"]) == (pfns["hugetlb"], 3, 9)
    assert "present" in head["section_flags"]


def test_addresses_of_one_page_and_its_slab_cache(asked: tuple[Path, dict[str, int]]) -> None:
    core, _ = asked
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
