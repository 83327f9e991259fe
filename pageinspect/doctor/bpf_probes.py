# SPDX-License-Identifier: GPL-2.0-only
"""Probes of what only tracing needs from the kernel; each tries one requirement."""

from collections.abc import Callable
from pathlib import Path

from ..errors import PageInspectError
from ..host import capabilities as held
from ..trace.bpf_calls import KERNEL_REQUIREMENT, VerifierError
from . import syscalls
from .error_findings import error_finding
from .finding import Finding

_KPROBES = (held.BPF, held.KPROBES)


def capabilities(root: Path) -> Finding:
    """Check the capabilities that BPF programs need."""
    lacks = held.lacking(held.BPF, root)
    if lacks:
        fix = held.advice(held.BPF, root=root)
        return Finding(ok=False, found=f"without {' and '.join(lacks)}", fix=fix)
    return Finding(ok=True, found=" and ".join(held.BPF))


def bpf(root: Path) -> Finding:
    """Load a BPF program of two instructions, and make a map."""
    finding = _try(root, syscalls.try_program, "")
    if not finding.ok:
        return finding
    return _try(root, syscalls.try_map, "loaded a program, made a map")


def reads(root: Path) -> Finding:
    """Load a BPF program that would read kernel memory."""
    return _try(root, syscalls.try_reading, "may read kernel memory")


def raw_tracepoints(root: Path) -> Finding:
    """Load a program like the one that trace attaches to the raw tracepoint mm_page_free."""
    try:
        return _try(root, syscalls.try_typed_tracepoint, "may be at mm_page_free")
    except ImportError:
        return Finding(ok=False, found="not tried without drgn")
    except PageInspectError:
        return _try(root, syscalls.try_reading, "may be at mm_page_free, without types")


def kprobes(root: Path) -> Finding:
    """Check whether the kernel would accept a kprobe, without placing one."""
    try:
        syscalls.try_kprobe(root / "sys/bus/event_source/devices/kprobe/type")
    except OSError as error:
        return error_finding(error, root, "a kernel with CONFIG_KPROBE_EVENTS", *_KPROBES)
    return Finding(ok=True, found="would be placed")


def _try(root: Path, attempt: Callable[[], None], found: str) -> Finding:
    try:
        attempt()
    except VerifierError as error:
        return error_finding(error, root, f"the verifier says: {error.line}", held.BPF)
    except OSError as error:
        return error_finding(error, root, KERNEL_REQUIREMENT, held.BPF, held.MAPS)
    return Finding(ok=True, found=found)
