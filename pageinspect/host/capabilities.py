# SPDX-License-Identifier: GPL-2.0-only
"""Capabilities of this process, and those that pageinspect needs."""

import os
from pathlib import Path

_BITS = {
    "DAC_READ_SEARCH": 2,
    "SYS_RAWIO": 17,
    "SYS_ADMIN": 21,
    "SYS_RESOURCE": 24,
    "SYSLOG": 34,
    "PERFMON": 38,
    "BPF": 39,
}

SYMBOLS = ("SYSLOG",)
"""Needed for the addresses in /proc/kallsyms."""
BPF = ("BPF", "PERFMON")
"""Needed for BPF programs that read the kernel; SYS_ADMIN includes both."""
MAPS = ("SYS_RESOURCE",)
"""Needed for maps above RLIMIT_MEMLOCK, on kernels that apply this limit to them (up to v5.10)."""
KPROBES = ("SYS_ADMIN",)
"""Needed for kprobes in addition to PERFMON if kernel.perf_event_paranoid is 3, as on Debian."""

_KCORE = ("SYS_RAWIO",)
_FIRST_USER_NAMESPACE = "user:[4026531837]"


def is_contained(root: Path = Path("/")) -> bool:
    """Return whether this is a user namespace, whose capabilities have no effect outside of it."""
    try:
        return str((root / "proc/self/ns/user").readlink()) != _FIRST_USER_NAMESPACE
    except OSError:
        return False


def kcore(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the capabilities that /proc/kcore needs: one more if its permissions deny access."""
    file = root / "proc/kcore"
    if file.exists() and not os.access(file, os.R_OK, effective_ids=True):
        return (*_KCORE, "DAC_READ_SEARCH")
    return _KCORE


def lockdown(root: Path = Path("/")) -> str:
    """Return the lockdown level: none, integrity, confidentiality; empty when unavailable."""
    try:
        text = (root / "sys/kernel/security/lockdown").read_text(encoding="ascii")
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0]


def effective(root: Path = Path("/")) -> int:
    """Return the effective capabilities of this process, as bits."""
    status = (root / "proc/self/status").read_text(encoding="utf-8", errors="replace")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(fields.get("CapEff", "0"), 16)


def lacking(needed: tuple[str, ...], root: Path = Path("/")) -> tuple[str, ...]:
    """Return those of the needed capabilities that the process lacks."""
    bits = 0 if is_contained(root) else effective(root)
    held = {name for name, bit in _BITS.items() if bits >> bit & 1}
    if "SYS_ADMIN" in held:
        held.update(BPF)
    return tuple(name for name in needed if name not in held)


def advice(*needs: tuple[str, ...], root: Path = Path("/")) -> str:
    """Return a hint for the first of these sets of capabilities that the process lacks."""
    if is_contained(root):
        return "run outside of this user namespace: its root has no capabilities over the kernel"
    missing = next(filter(None, (lacking(needed, root) for needed in needs)), ())
    if not missing:
        return "a security module, or a system call filter as in containers, forbids it"
    named = " and ".join(f"CAP_{name}" for name in missing)
    if os.geteuid() == 0:
        return f"run outside of the container, or with {named}"
    return f"run as root (sudo), or with {named}"
