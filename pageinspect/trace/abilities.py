# SPDX-License-Identifier: GPL-2.0-only
"""What this kernel offers to BPF programs, and what they use in its place on older ones."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..model.arch import PAGE_SIZE
from ..target.symbols.find import LIVE_BTF
from . import bpf_calls
from .bpf_calls import MapShape

KALLSYMS = Path("/proc/kallsyms")
_PROBE_READ = " T bpf_probe_read_kernel\n"
_SRCU_FAST = b"\0init_srcu_struct_fast\0"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What programs of bpf/ may use; each has another form without it."""

    typed: bool = True
    """Arguments of tracepoints typed by BTF, since v5.5 with CONFIG_DEBUG_INFO_BTF. Without it a
    program reads the page by a helper."""
    ring_buffer: bool = True
    """Without it, events go through a buffer of perf for each CPU.

    Since Linux kernel commit 457f44363a88 ("bpf: Implement BPF ring buffer and verifier support for
    it") (in v5.8).
    """
    probe_read_kernel: bool = True
    """Without it the helper is bpf_probe_read().

    Since Linux kernel commit 6ae08ae3dea2 ("bpf: Add probe_read_{user, kernel} and
    probe_read_{user, kernel}_str helpers") (in v5.5).
    """

    def defines(self) -> dict[str, str]:
        """Return the -D that choose the other forms."""
        switches = {
            "PLAIN_TRACEPOINT": not self.typed,
            "PERF_BUFFER": not self.ring_buffer,
            "PROBE_READ": not self.probe_read_kernel,
        }
        return {name: "1" for name, on in switches.items() if on}


@cache
def abilities() -> Abilities:
    """Return what this kernel offers."""
    ring_buffer = _has_ring_buffer()
    # A ring buffer is newer than the helper; reading all symbols takes long.
    return Abilities(has_btf(), ring_buffer, ring_buffer or _PROBE_READ in _kallsyms())


def has_btf() -> bool:
    """Return whether this kernel has types of its own."""
    with suppress(OSError):
        return LIVE_BTF.stat().st_size > 0
    return False


def _has_ring_buffer() -> bool:
    try:
        os.close(bpf_calls.create_map(MapShape(bpf_calls.RINGBUF, 0, 0, PAGE_SIZE)))
    except PermissionError:
        # Whatever is missing is reported when the program is loaded.
        return True
    except OSError:
        return False
    return True


def preempts_programs() -> bool:
    """Return whether a task may be preempted within a program of a tracepoint.

    Since Linux kernel commit a46023d5616e ("tracing: Guard __DECLARE_TRACE() use of
    __DO_TRACE_CALL() with SRCU-fast") (in v7.0), in a kernel with CONFIG_PREEMPTION.
    """
    # Up to v6.12 tracepoints had an SRCU of the same name, which was not a fast one.
    with suppress(OSError):
        if _SRCU_FAST in LIVE_BTF.read_bytes():
            symbols = _kallsyms()
            return " tracepoint_srcu\n" in symbols and " preempt_schedule\n" in symbols
    return False


def _kallsyms() -> str:
    with suppress(OSError):
        return KALLSYMS.read_text("ascii", "replace")
    return _PROBE_READ
