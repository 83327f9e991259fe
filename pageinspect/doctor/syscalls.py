# SPDX-License-Identifier: GPL-2.0-only
"""Tries the system calls that tracing needs, without tracing anything.

Programs are loaded but never attached, so they do not run. The kprobe is requested at an invalid
address: the kernel checks permissions before it checks the address.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..trace import bpf_calls
from ..trace.bpf_calls import INSTRUCTION
from ..trace.kprobe import open_kprobe

_BPF_PROBE_READ_KERNEL = 113
_COUNTERS, _COUNTER_BYTES = 260, 128
"""Keys of the map `frees` in bpf/page_free.h, and bytes per key."""

NOTHING = INSTRUCTION.pack(0xB7, 0, 0, 0) + INSTRUCTION.pack(0x95, 0, 0, 0)
"""r0 = 0; exit"""

READS_KERNEL = (
    INSTRUCTION.pack(0xBF, 0xA1, 0, 0)  # r1 = r10
    + INSTRUCTION.pack(0x07, 0x01, 0, -8)  # r1 += -8
    + INSTRUCTION.pack(0xB7, 0x02, 0, 8)  # r2 = 8
    + INSTRUCTION.pack(0xB7, 0x03, 0, 0)  # r3 = 0
    + INSTRUCTION.pack(0x85, 0x00, 0, _BPF_PROBE_READ_KERNEL)
    + NOTHING
)
"""A program that would read eight bytes of kernel memory."""

READS_PAGE = (
    INSTRUCTION.pack(0x79, 0x11, 0, 0)  # r1 = *(u64 *)(r1 + 0)
    + INSTRUCTION.pack(0x79, 0x10, 0, 0)  # r0 = *(u64 *)(r1 + 0)
    + NOTHING
)
"""A program that would load the first word of the struct page that is its first argument."""

_NO_KERNEL_ADDRESS = 1


@contextlib.contextmanager
def bpf_program(kind: int, instructions: bytes) -> Iterator[int]:
    """Load a BPF program until the context ends; gives its descriptor. Raises OSError."""
    descriptor = bpf_calls.load(kind, instructions)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_program() -> None:
    """Raise OSError unless a BPF program of two instructions can be loaded."""
    with bpf_program(bpf_calls.SOCKET_FILTER, NOTHING):
        pass


def try_map() -> None:
    """Raise OSError unless a map of the size of trace's counters can be created."""
    bpf_calls.lift_memory_limit()
    shape = bpf_calls.MapShape(bpf_calls.PERCPU_ARRAY, 4, _COUNTER_BYTES, _COUNTERS)
    os.close(bpf_calls.create_map(shape))


def try_reading() -> None:
    """Raise OSError unless a BPF program may read kernel memory."""
    with bpf_program(bpf_calls.RAW_TRACEPOINT, READS_KERNEL):
        pass


def try_typed_tracepoint() -> None:
    """Raise OSError unless a program like the one that trace attaches can be loaded.

    Raises ImportError without drgn, and PageInspectError where the kernel's types cannot be read.
    """
    from ..trace.hooks import PAGE_FREE, Hook, HookedFunction, HookKind

    hook = Hook("reads_page", HookKind.TRACEPOINT, PAGE_FREE)
    HookedFunction(hook, READS_PAGE, hook.type_id()).close()


def try_kprobe(pmu: Path) -> None:
    """Raise OSError unless a kprobe could be placed; `pmu` is the kprobe PMU's file `type`."""
    try:
        os.close(open_kprobe(_NO_KERNEL_ADDRESS, pmu))
    except OSError as error:
        # The address was rejected, so kprobes are allowed; the errno depends on the kernel.
        if error.errno not in {errno.ENOENT, errno.EINVAL}:
            raise
