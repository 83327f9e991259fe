# SPDX-License-Identifier: GPL-2.0-only
"""What is said of a program or a map that the kernel refuses."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.host import capabilities
from pageinspect.trace.compile import compile_program
from pageinspect.trace.kernel_errors import kernel_error

if TYPE_CHECKING:
    from types import ModuleType


@pytest.mark.parametrize(
    ("number", "lockdown", "hint"),
    [
        (errno.EPERM, "", "CAP_BPF and CAP_PERFMON"),
        (errno.EPERM, "none [integrity] confidentiality", "CAP_BPF and CAP_PERFMON"),
        (errno.EPERM, "none integrity [confidentiality]", "locked down"),
        (errno.ENOENT, "", "no tracepoint mm_page_free"),
        (errno.EINVAL, "", "Linux 5.8"),
        (errno.ENOSYS, "", "CONFIG_BPF_SYSCALL"),
    ],
)
def test_a_kernel_that_refuses_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, lockdown: str, hint: str
) -> None:
    monkeypatch.setattr(capabilities, "lacking", lambda needed, _root: needed)
    if lockdown:
        file = tmp_path / "sys/kernel/security/lockdown"
        file.parent.mkdir(parents=True)
        file.write_text(lockdown, encoding="ascii")
    error = kernel_error(number, "the BPF program", "tracepoint mm_page_free", tmp_path)
    assert error.message.startswith("the kernel refuses the BPF program: ")
    assert hint in error.hint


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.ENOMEM, errno.EINVAL])
def test_a_map_that_the_kernel_refuses_is_reported_with_its_errno(number: int) -> None:
    class Library:
        __version__ = "0"

        @staticmethod
        def BPF(**_: object) -> None:  # noqa: N802 - bcc's own name
            line = f"could not open bpf map: frees, error: {os.strerror(number)}\n"
            os.write(2, line.encode())
            raise Exception("Failed to compile BPF module")  # noqa: TRY002 - as bcc does

    with pytest.raises(PageInspectError, match=f"(?m)refuses a map .*: {os.strerror(number)}$"):
        compile_program(cast("ModuleType", Library), Path("x.c"), {}, ["f"])
