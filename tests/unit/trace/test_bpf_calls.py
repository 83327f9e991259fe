# SPDX-License-Identifier: GPL-2.0-only
"""What is given to bpf(), against the kernel's own header, and how an error of it is reported."""

import ctypes
import errno
import os
from collections.abc import Callable

import pytest

from pageinspect.doctor import syscalls
from pageinspect.errors import PageInspectError
from pageinspect.trace import bpf_calls as module
from pageinspect.trace.bpf_calls import VerifierError, rejection_line
from pageinspect.trace.kernel_errors import kernel_errors
from pageinspect.trace.kinds import KINDS
from pageinspect.trace.records import ORDERS


def test_the_map_that_is_tried_is_as_large_as_that_of_trace() -> None:
    assert (syscalls._COUNTERS, syscalls._COUNTER_BYTES) == (KINDS, 8 * ORDERS)


LOG = """\
0: R1=ctx() R10=fp0
0: (79) r0 = *(u64 *)(r2 +0)
R2 !read_ok
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
# As v7.3 goes on.
EXPLAINED = """\
Verification failed: Register Type Safety: Unreadable register

Reason:
  R2 has never been initialized on this path, so the verifier cannot use it as an input.

Suggestion:
  Initialize R2 on every path before this instruction.

processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (LOG, "R2 !read_ok"),
        (f"{LOG}verification time 12 usec\nstack depth 0\n", "R2 !read_ok"),
        (f"{LOG.partition('processed')[0]}\n{EXPLAINED}", "R2 !read_ok"),
        ("func 'x' has no args\n", "func 'x' has no args"),
        ("", ""),
        ("processed 0 insns (limit 1000000)\n\n", ""),
    ],
)
def test_the_line_that_tells_is_the_last_that_counts_nothing(log: str, line: str) -> None:
    assert rejection_line(log) == line


def kernel(number: int, log: str) -> Callable[..., int]:
    """Make a kernel that refuses every program, and says why when it is given room for that."""

    def refuse(_command: int, attr: module.Load) -> int:
        if attr.log_level:
            assert len(log) < attr.log_size
            ctypes.memmove(attr.log_buf, log.encode() + b"\0", len(log) + 1)
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.E2BIG, errno.ENOSPC])
def test_a_refusal_of_the_verifier_is_reported_as_one(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(module, "_bpf", kernel(number, LOG))
    with pytest.raises(PageInspectError) as caught, kernel_errors("the BPF program"):
        module.load(module.TRACING, syscalls.NOTHING)
    assert caught.value.message == "the kernel's verifier refuses the BPF program: R2 !read_ok"
    assert "defect" in caught.value.hint
    assert os.uname().release in caught.value.hint


@pytest.mark.parametrize(("number", "log"), [(errno.EPERM, LOG), (errno.EINVAL, "")])
def test_other_refusals_are_none_of_the_verifier(
    monkeypatch: pytest.MonkeyPatch, number: int, log: str
) -> None:
    monkeypatch.setattr(module, "_bpf", kernel(number, log))
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        module.load(module.TRACING, syscalls.NOTHING)
    assert not isinstance(caught.value, VerifierError)
