# SPDX-License-Identifier: GPL-2.0-only
"""Reads which boot of which machine a kernel is, and its clock."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from drgn import FaultError, Object, Program, ProgramFlags, sizeof

from ..errors import PageInspectError
from ..target import vmcoreinfo

_NAME = 65
"""Bytes of each string in struct new_utsname."""
_ID = 16
_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_RUNNING = ProgramFlags.IS_LIVE | ProgramFlags.IS_LOCAL
_FIRST_S, _LAST_S = 946_684_800, 7_258_118_400
"""The years 2000 to 2199, in seconds since 1970: a time that is not between them is damage."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Times in microseconds since 1970, UTC; None if they could not be read."""

    now: int | None = None
    """The kernel's wall clock: in a core, when memory stopped changing. It has whole seconds."""
    boot: int | None = None
    """When the kernel was booted: btime of /proc/stat has the same without fractions."""


def read_host(prog: Program, info: Mapping[str, str]) -> str:
    """Return the name of the machine, as uname -n prints it: untrusted text; empty if unreadable.

    It is that of the first UTS namespace. Containers may have others.
    """
    try:
        address = vmcoreinfo.nodename_address(info)
        return prog.read_c_string(address, max_size=_NAME).decode("utf-8", "replace")
    except (FaultError, PageInspectError):
        return ""


def read_boot_id(prog: Program) -> str | None:
    """Return /proc/sys/kernel/random/boot_id; None if it was never read, or cannot be found.

    The kernel makes it when it is first read, as systemd does at boot; until then it is zero. That
    of the kernel that runs here is read before. It is a static variable of drivers/char/random.c,
    whose symbol is enough: 16 bytes.
    """
    if prog.flags & _RUNNING == _RUNNING:
        with contextlib.suppress(OSError):
            _ID_FILE.read_bytes()
    try:
        data = prog.read(prog.symbol("sysctl_bootid").address, _ID)
    except (LookupError, FaultError):
        return None
    return str(UUID(bytes=data)) if any(data) else None


def read_clock(prog: Program) -> Clock:
    """Return the times of the kernel's timekeeper."""
    try:
        keeper = _timekeeper(prog)
        now = keeper.xtime_sec.value_() * 1_000_000
        # getboottime64() computes the same difference, in nanoseconds.
        boot = (keeper.offs_real.value_() - keeper.offs_boot.value_()) // 1000
    except (LookupError, AttributeError, FaultError):
        return Clock()
    return Clock(_plausible(now), _plausible(boot))


def crash_time(info: Mapping[str, str]) -> int | None:
    """Return when the kernel crashed, in microseconds since 1970; None if it did not.

    A kernel that crashes adds CRASHTIME to VMCOREINFO.
    """
    text = info.get("CRASHTIME", "")
    return _plausible(int(text) * 1_000_000) if text.isascii() and text.isdigit() else None


def _plausible(time: int) -> int | None:
    return time if _FIRST_S <= time // 1_000_000 < _LAST_S else None


def _timekeeper(prog: Program) -> Object:
    """Return the struct timekeeper of the machine's clock. Raises LookupError."""
    for name in ("timekeeper_data", "tk_core"):
        try:
            found = prog[name]
        except LookupError:
            continue
        return (found[0] if name == "timekeeper_data" else found).timekeeper
    # Older kernels have a struct without a name, which BTF lacks: a sequence count, and the
    # timekeeper at the next multiple of 8 bytes.
    count = sizeof(prog.type("seqcount_raw_spinlock_t"))
    address = prog.symbol("tk_core").address + -(-count // 8) * 8
    return Object(prog, "struct timekeeper", address=address)
