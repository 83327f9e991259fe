# SPDX-License-Identifier: GPL-2.0-only
"""A guest as QEMU is started for it, and its command line."""

from pathlib import Path

from pageinspect.vm.qemu import Machine

PLAIN_GUEST = Machine(
    accelerator="tcg",
    kernel=Path("/k"),
    initrd="/dev/fd/7",
    console=Path("/logs/a,b.log"),
    memory=2 << 30,
    disks=(("root", "/r"),),
    agent=5,
    monitor=6,
)


def value_of(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]
