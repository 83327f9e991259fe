# SPDX-License-Identifier: GPL-2.0-only
"""Table of the requirements, and what needs each of them."""

from collections.abc import Sequence
from pathlib import Path

from . import bpf_probes, probes
from .finding import GUESTS, KERNEL, TRACING, CheckedItem, Item

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
    Item("compiled programs", ("fast starts of trace",), probes.compiled_programs),
    Item("drgn", KERNEL, probes.drgn),
    Item("numpy", KERNEL, probes.numpy),
    Item("QEMU", (GUESTS,), probes.emulator),
    Item("KVM", ("fast guests",), probes.kvm),
)


def examine(items: Sequence[Item] = ITEMS, root: Path = Path("/")) -> tuple[CheckedItem, ...]:
    """Probe every item, with /proc, /sys and /dev below `root`."""
    return tuple(CheckedItem(item, item.probe(root)) for item in items)
