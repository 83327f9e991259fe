"""The table of what is needed, and for what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import bpf_probes, probes
from .finding import Finding

WALKING, TRACING, GUESTS = "walking", "tracing", "guests"
KERNEL = (WALKING, TRACING)
"""What is done with this kernel; doctor is content when these work."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that this machine may offer, what it is needed for, and how that is found out."""

    name: str
    needed_for: tuple[str, ...]
    probe: Callable[[Path], Finding]


ITEMS = (
    Item("root or capabilities", KERNEL, probes.privilege),
    Item("lockdown", KERNEL, probes.lockdown),
    Item("kcore", KERNEL, probes.kcore),
    Item("BTF", KERNEL, probes.btf),
    Item("kallsyms", KERNEL, probes.kallsyms),
    Item("BPF capabilities", (TRACING,), bpf_probes.capabilities),
    Item("bpf()", (TRACING,), bpf_probes.bpf),
    Item("BPF reads", (TRACING,), bpf_probes.reads),
    Item("raw tracepoints", (TRACING,), bpf_probes.raw_tracepoints),
    Item("kprobes", ("bad page counts",), bpf_probes.kprobes),
    Item("bcc", (TRACING,), probes.bcc),
    Item("drgn", KERNEL, probes.drgn),
    Item("numpy", KERNEL, probes.numpy),
    Item("QEMU", (GUESTS,), probes.emulator),
    Item("KVM", ("fast guests",), probes.kvm),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """An item and what was found."""

    item: Item
    finding: Finding


def examine(items: Sequence[Item] = ITEMS, root: Path = Path("/")) -> tuple[Examined, ...]:
    """Try every item; `root` is where the files are that are looked at."""
    return tuple(Examined(item, item.probe(root)) for item in items)


def works(examined: Sequence[Examined], what: str) -> bool:
    """Return whether all that `what` needs is there."""
    return all(each.finding.ok for each in examined if what in each.item.needed_for)
