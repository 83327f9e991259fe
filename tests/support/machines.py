# SPDX-License-Identifier: GPL-2.0-only
"""Machines that each kernel of the catalogue is tried on, and the table of docs/kernels.md."""

from dataclasses import dataclass, field
from typing import Any

PLUGGED = 256 << 20


@dataclass(frozen=True)
class Machine:
    """How one machine differs from the default guest."""

    name: str
    how: str
    """As QEMU or the kernel is asked for it."""
    options: dict[str, Any] = field(default_factory=dict)
    """For Guest."""
    plugged: bool = False
    """PLUGGED bytes of memory come after boot."""
    whole: bool = True
    """In `make test-all` alone."""


MACHINES = (
    Machine(
        "5-level paging, two NUMA nodes",
        "`-cpu max,la57=on`, `-numa node` twice",
        {"cpu": "max,la57=on,cx16=off,avx2=off", "nodes": 2},
        whole=False,
    ),
    Machine("no KASLR", "`nokaslr`", {"append": "nokaslr"}),
    Machine("ZONE_MOVABLE", "`movablecore=256M`", {"append": "movablecore=256M"}),
    Machine("memory plugged in", "`device_add pc-dimm`", {"room": PLUGGED}, plugged=True),
    Machine("64 possible CPUs, two present", "`-smp 2,maxcpus=64`", {"possible_cpus": 64}),
)

LA57 = MACHINES[0].options["cpu"]

LOOKS = "live, from outside, ELF dump"
"""How each is looked at."""

DUMPS = (
    ("5-level paging", "`-cpu max,la57=on`", "kdump, ELF dump with paging", "make test-all"),
    (
        "memory encryption (SME)",
        "bit 47 set in the page tables of a dump",
        "ELF dump",
        "make test",
    ),
)
"""What is tried of dumps alone: the machine, how, in which forms, and by what."""


def table(kernels: list[str]) -> list[str]:
    """Return the lines of the table in docs/kernels.md."""
    rows = [(m.name, m.how, LOOKS, "make test-all" if m.whole else "make test") for m in MACHINES]
    lines = [
        f"| machine | how | {' | '.join(kernels)} | run by |",
        f"|---|---|{'---|' * (len(kernels) + 1)}",
    ]
    for name, how, looks, by in (*rows, *DUMPS):
        lines.append(f"| {name} | {how} | {' | '.join([looks] * len(kernels))} | `{by}` |")
    return lines
