"""Make the core of a machine with much memory, most of it never touched: large_core.py FILE [SIZE].

A guest of the newest kernel gets SIZE of memory (128G), of which the host gives only what the guest
touches: the struct pages, 1/64 of it, and what the guest fills. Half of the memory is then taken by
huge pages, which are typed and mapped by nobody; the guest does not clear them until they are used.
QEMU writes a compressed kdump file, in which pages of zeros are stored once.
"""

import sys
import time
from pathlib import Path

from pageinspect.units import size as shown
from pageinspect.vm.guest import Guest

FORMATS = ("kdump-lzo", "kdump-snappy", "kdump-zlib")
"""By preference: not every QEMU is built with all."""
FILL = """
half=$(awk '/MemTotal/ {print int($2 / 2 / 2048)}' /proc/meminfo)
echo $half > /proc/sys/vm/nr_hugepages
grep HugePages_Total /proc/meminfo
"""


def main() -> None:
    """Boot, fill and dump."""
    core = Path(sys.argv[1]).absolute()
    memory = sys.argv[2] if len(sys.argv) > 2 else "128G"
    start = time.monotonic()
    # Debian's kernels clear what they allocate, which would take the host's memory.
    with Guest("newest", memory=memory, append="init_on_alloc=0") as guest:
        print(f"booted after {time.monotonic() - start:.0f} s")
        print(guest.run(["sh", "-c", FILL], timeout=1800).stdout.decode().strip())
        print(f"filled after {time.monotonic() - start:.0f} s")
        known = guest.qmp("query-dump-guest-memory-capability")["formats"]
        chosen = next(name for name in FORMATS if name in known)
        print(f"writing {chosen}")
        guest.pause()
        guest.qmp(
            "dump-guest-memory",
            timeout=3600,
            paging=False,
            protocol=f"file:{core}",
            format=chosen,
        )
    print(f"{core}: {shown(core.stat().st_size)} after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
