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
        {"cpu": "max,la57=on,cx16=off", "nodes": 2},
        whole=False,
    ),
    Machine("no KASLR", "`nokaslr`", {"append": "nokaslr"}),
    Machine("ZONE_MOVABLE", "`movablecore=256M`", {"append": "movablecore=256M"}),
    Machine("memory plugged in", "`device_add pc-dimm`", {"room": PLUGGED}, plugged=True),
    Machine("64 possible CPUs, two present", "`-smp 2,maxcpus=64`", {"possible_cpus": 64}),
)

COLUMNS = ("live", "from outside", "ELF dump")
"""How each is looked at."""


def table(kernels: list[str]) -> list[str]:
    """Return the lines of the table in docs/kernels.md."""
    lines = [
        f"| machine | how | {' | '.join(kernels)} | run by |",
        f"|---|---|{'---|' * (len(kernels) + 1)}",
    ]
    for machine in MACHINES:
        cells = " | ".join([", ".join(COLUMNS)] * len(kernels))
        by = "make test-all" if machine.whole else "make test"
        lines.append(f"| {machine.name} | {machine.how} | {cells} | `{by}` |")
    return lines
