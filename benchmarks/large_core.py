# SPDX-License-Identifier: GPL-2.0-only
"""Make the core of a machine with much memory, half of it filled: large_core.py FILE [SIZE].

A guest of the newest kernel gets SIZE of memory (128G), of which the host gives only what the guest
touches: the struct pages, 1/64 of it. A quarter of the memory becomes huge pages; a quarter becomes
single pages of tmpfs, of files that two writers grow in turn and of which every fourth is then
removed. Neither is cleared by the guest, so the host allocates memory only for their struct pages.

QEMU writes kdump-zlib, which makedumpfile turns into LZO with nothing left out (-d 0). It takes
8 GiB of memory, and 4 GiB of disk beside the core, for a few minutes.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pageinspect.target import core_formats
from pageinspect.units import size as shown
from pageinspect.vm.guest import Guest

FILL = """
set -e
total=$(awk '/MemTotal/ {print $2}' /proc/meminfo)
echo $((total / 4 / 2048)) > /proc/sys/vm/nr_hugepages
mount -t tmpfs -o size=100%,huge=never none /mnt
files=$((total / 3 / 8192))
grow() {
    for file in $(seq $1 2 $files); do fallocate -l 8M /mnt/$file; done
}
grow 1 & grow 2 & wait
for file in $(seq 4 4 $files); do rm /mnt/$file; done
grep -E 'MemTotal|MemFree|Shmem:|HugePages_Total' /proc/meminfo
"""


def dump(memory: str, core: Path) -> None:
    """Boot a guest, fill half of its memory, and have QEMU dump it."""
    # Debian's kernels clear what they allocate, which would take the host's memory.
    with Guest("newest", memory=memory, append="init_on_alloc=0") as guest:
        print(guest.run(["bash", "-c", FILL], timeout=None).stdout.decode().strip())
        guest.pause()
        guest.qmp(
            "dump-guest-memory",
            timeout=3600,
            paging=False,
            protocol=f"file:{core}",
            format="kdump-zlib",
        )


def to_lzo(core: Path, target: Path) -> None:
    """Write a core in the format of most distributions' kdump."""
    # makedumpfile takes neither QEMU's flattened form nor its header.
    source = core_formats.prepare(core).source
    place = f"/dev/fd/{source}" if isinstance(source, int) else str(source)
    command = ["makedumpfile", "--message-level", "4", "-l", "-d", "0", place, str(target)]
    descriptors = (source,) if isinstance(source, int) else ()
    try:
        subprocess.run(command, pass_fds=descriptors, check=True)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def main() -> None:
    """Boot, fill, dump and convert."""
    core = Path(sys.argv[1]).absolute()
    memory = sys.argv[2] if len(sys.argv) > 2 else "128G"
    if shutil.which("makedumpfile") is None:
        sys.exit("this needs makedumpfile: apt-get install --no-install-recommends makedumpfile")
    start = time.monotonic()
    zlib = core.with_name(f"{core.name}.zlib")
    try:
        dump(memory, zlib)
        print(f"dumped after {time.monotonic() - start:.0f} s")
        to_lzo(zlib, core)
    finally:
        zlib.unlink(missing_ok=True)
    print(f"{core}: {shown(core.stat().st_size)} after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
