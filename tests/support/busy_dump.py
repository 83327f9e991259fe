# SPDX-License-Identifier: GPL-2.0-only
"""The dump of a busy guest: how it is filled, and what is known of it beside the core."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from drgn import Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu_ptr

FILL_ZRAM = (
    "modprobe zram num_devices=1 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 && echo 5 > /proc/sys/vm/nr_hugepages"
)
BUSY = "while :; do head -c 3000000 /dev/urandom > /tmp/$1; ls -R /usr/lib > /dev/null; done"


@dataclass(frozen=True)
class Core:
    """A core, and what the guest's kernel said just before."""

    path: Path
    vmlinux: Path
    meminfo: dict[str, int]
    kallsyms: Path
    btf: Path


# What the uses are called, or are among, when VMCOREINFO alone is known. A type is told by its
# number there; that of table, zsmalloc and large_kmalloc is what the kernel's own enum has.
COARSER = {
    "pcp": {"idle"},
    "reserved": {"kernel", "mapped"},
    "page_pool": {"kernel", "file"},
    "zone_device": {"kernel", "file"},
    "table": {"type_0x200", "type_0xf2"},
    "zsmalloc": {"type_0xf6"},
    "large_kmalloc": {"type_0xf8"},
}


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def counter_with_remainders(prog: Program, item: int) -> int:
    """Return a zone counter as the kernel's zone_page_state_snapshot() sums it."""
    total = 0
    for pgdat in for_each_online_pgdat(prog):
        for zone in pgdat.node_zones:
            if zone.spanned_pages:
                total += zone.vm_stat[item].counter.value_()
                total += sum(
                    per_cpu_ptr(zone.per_cpu_zonestats, cpu).vm_stat_diff[item].value_()
                    for cpu in for_each_possible_cpu(prog)
                )
    return total
