# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's answers to bpf() and perf_event_open() are taken for."""

import errno
import os
from pathlib import Path

import pytest
from examined import BPF, PERFMON, holds, put, refuse

from pageinspect.doctor import bpf_probes, syscalls
from pageinspect.trace import bpf_calls
from pageinspect.trace.bpf_calls import VerifierError


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("number", "level", "fix"),
    [
        (errno.EPERM, "none", "run outside of the container, or with CAP_BPF and CAP_PERFMON"),
        (errno.EINVAL, "[confidentiality]", "the lockdown forbids it"),
        (errno.ENOSYS, "none", "it takes Linux 4.17 or later"),
    ],
)
def test_the_fix_depends_on_the_errno(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, level: str, fix: str
) -> None:
    holds(tmp_path)
    put(tmp_path, "sys/kernel/security/lockdown", level)
    monkeypatch.setattr(bpf_calls, "system_call", refuse(number))
    finding = bpf_probes.reads(tmp_path)
    assert (finding.ok, finding.found) == (False, os.strerror(number))
    assert finding.fix.startswith(fix)


@pytest.mark.parametrize(("number", "ok"), [(errno.ENOENT, True), (errno.EPERM, False)])
def test_a_kprobe_that_cannot_be_placed_for_its_address_alone_could_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, ok: bool
) -> None:
    holds(tmp_path)
    put(tmp_path, "sys/bus/event_source/devices/kprobe/type", "8\n")
    monkeypatch.setattr(bpf_calls, "system_call", refuse(number))
    assert bpf_probes.kprobes(tmp_path).ok == ok


def test_a_refusal_of_the_verifier_is_not_a_missing_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing() -> None:
        raise VerifierError(errno.EACCES, "R2 !read_ok")

    monkeypatch.setattr(syscalls, "try_reading", refusing)
    finding = bpf_probes.reads(tmp_path)
    assert (finding.ok, finding.fix) == (False, "the verifier says: R2 !read_ok")


def test_a_map_that_cannot_be_made_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(tmp_path, BPF, PERFMON)
    monkeypatch.setattr(syscalls, "try_program", lambda: None)
    monkeypatch.setattr(syscalls, "try_map", refuse(errno.EPERM))
    assert bpf_probes.bpf(tmp_path).fix.endswith("CAP_SYS_RESOURCE")
