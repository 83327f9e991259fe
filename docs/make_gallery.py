# SPDX-License-Identifier: GPL-2.0-only
"""Make the pictures of gallery.md and of README, from guests of the newest kernel.

python docs/make_gallery.py [--cores FOLDER]

Each guest of GUESTS is brought into its state and dumped. Then each command of the two documents
that draws a map into a file is run where the cores are. With --cores they are kept in a folder;
those that it has already are not made again.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from guest_module import SPREADS, insert, modules  # noqa: E402
from guest_quiet import NO_DAMON  # noqa: E402
from owned_guest import formatted_disk  # noqa: E402

from pageinspect.vm.guest import Guest  # noqa: E402

KERNEL, MEMORY = "newest", "512M"
PICTURES = DOCS / "gallery"
DOCUMENTS = (DOCS / "gallery.md", ROOT / "README.md")
COMMAND = re.compile(r"^\$ (pageinspect map .*-o \S+)$", re.MULTILINE)
SOURCE = "/opt/pageinspect/src"
"""Where a guest has the project."""
_TIMEOUT_S = 900.0

BEFORE_FRAGMENTING = f"""
{NO_DAMON}
# Compaction would fill the holes that are left for the module.
echo never > /sys/kernel/mm/transparent_hugepage/enabled
echo 0 > /proc/sys/vm/compaction_proactiveness
echo 0 > /proc/sys/vm/watermark_boost_factor
echo 2048 > /proc/sys/vm/min_free_kbytes
# The module gets nothing of what the lists of CPUs have for processes.
echo 1000000 > /proc/sys/vm/percpu_pagelist_high_fraction
"""
FRAGMENTING = ("8", "1024")
"""Holes in every 8 pages, and pages that the module leaves."""
LEAK = """
import ctypes
from pathlib import Path

Path("/proc/sys/kernel/msgmax").write_text("65536")
Path("/proc/sys/kernel/msgmnb").write_text(str(1 << 30))
libc = ctypes.CDLL(None, use_errno=True)
queue = libc.msgget(0, 0o1600)
size = 60000
message = ctypes.create_string_buffer(b"\\1", 8 + size)
for _ in range(3000):
    if libc.msgsnd(queue, message, size, 0o4000):
        raise OSError(ctypes.get_errno(), "msgsnd")
"""
"""Sends messages that nobody receives: the kernel keeps them when the process has ended."""
FILL_PAGE_CACHE = """
device=$(basename $(dirname $(grep -lx data /sys/block/*/serial)))
mount -t ext4 /dev/$device /mnt
# Files of holes: reading fills the page cache without a read from the disk.
for number in $(seq 8); do
    truncate -s 64M /mnt/$number
    dd if=/mnt/$number of=/dev/null bs=1M
done
"""
HUGE_PAGES = """
echo 96 > /proc/sys/vm/nr_hugepages
test $(cat /proc/sys/vm/nr_hugepages) = 96
"""


def shell(guest: Guest, script: str) -> None:
    """Run a script in a guest."""
    guest.run(["bash", "-ec", script], timeout=_TIMEOUT_S)


def dump(guest: Guest, name: str, core: Path) -> None:
    """Name a guest, dump it, and let it run on."""
    shell(guest, f"hostname {name}")
    guest.dump(core)
    guest.resume()


def idle(folder: Path) -> None:
    """Dump a guest that has only booted, and after it was given huge pages."""
    with Guest(KERNEL, memory=MEMORY) as guest:
        dump(guest, "idle", folder / "idle.core")
        shell(guest, HUGE_PAGES)
        dump(guest, "hugetlb", folder / "hugetlb.core")


def fragmented(folder: Path) -> None:
    """Dump a guest before and after a module keeps a page in nearly every second 2 MiB."""
    with Guest(KERNEL, memory=MEMORY) as guest:
        dump(guest, "fragmented", folder / "fresh.core")
        insert(guest, modules([guest.kernel])[guest.kernel.release], SPREADS)
        shell(guest, BEFORE_FRAGMENTING)
        argv = ["python3", f"{SOURCE}/tests/vm/programs/fragment.py", *FRAGMENTING]
        program = guest.start(argv)
        program.wait_for_output(b"filled", _TIMEOUT_S)
        program.write(b"\n")
        program.wait_for_output(b"kept", _TIMEOUT_S)
        dump(guest, "fragmented", folder / "fragmented.core")


def leak(folder: Path) -> None:
    """Dump a guest before and after a leak of the kernel's memory."""
    with Guest(KERNEL, memory=MEMORY) as guest:
        dump(guest, "leak", folder / "before.core")
        guest.run(["python3", "-c", LEAK], timeout=_TIMEOUT_S)
        dump(guest, "leak", folder / "after.core")


def cache(folder: Path) -> None:
    """Dump a guest that has read more files than its memory has room for."""
    with formatted_disk() as disk, Guest(KERNEL, memory=MEMORY, scratch={"data": disk}) as guest:
        shell(guest, FILL_PAGE_CACHE)
        dump(guest, "cache", folder / "cache.core")


def demo(folder: Path) -> None:
    """Dump the guest of make demo."""
    with Guest(KERNEL) as guest:
        shell(guest, f"sh {SOURCE}/vm-images/demo.sh")
        dump(guest, "demo", folder / "vmcore")


GUESTS: dict[Callable[[Path], None], tuple[str, ...]] = {
    idle: ("idle.core", "hugetlb.core"),
    fragmented: ("fresh.core", "fragmented.core"),
    leak: ("before.core", "after.core"),
    cache: ("cache.core",),
    demo: ("vmcore",),
}
"""The cores that each makes."""


def commands() -> list[str]:
    """Return the command lines that draw the pictures."""
    return [line for document in DOCUMENTS for line in COMMAND.findall(document.read_text("utf-8"))]


def make(folder: Path) -> None:
    """Make the cores that are not in a folder, and draw the pictures of all."""
    for begin, names in GUESTS.items():
        if not all((folder / name).exists() for name in names):
            start = time.monotonic()
            begin(folder)
            print(f"{', '.join(names)}: {time.monotonic() - start:.0f} s")
    PICTURES.mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), *sys.path])
    for line in commands():
        words = shlex.split(line)
        picture = PICTURES / words.pop()
        argv = [sys.executable, "-m", *words, str(picture)]
        subprocess.run(argv, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
        print(f"{picture.name}: {picture.stat().st_size:,} bytes")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=Path, metavar="FOLDER", help="keep the cores there")
    cores = parser.parse_args().cores
    if cores is not None:
        make(cores.absolute())
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))


if __name__ == "__main__":
    main()
