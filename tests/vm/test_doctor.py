# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect doctor` in guests, and whether tracing and walking do there what it says."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from guest_tracer import START_TIMEOUT

from pageinspect.vm.guest import Guest

TRACE = ("pageinspect", "trace", "-d", "0.1")
SUMMARY = ("pageinspect", "summary")
NOT_IN_A_GUEST = {"QEMU", "KVM"}
NEEDS_RIGHTS = {"BPF capabilities", "bpf()", "BPF reads", "raw tracepoints", "kprobes"}

OWN_CACHE = "set PAGEINSPECT_CACHE to a folder of your own"

AS_USER = ("setpriv", "--reuid", "65534", "--clear-groups")
_HELD = "+sys_rawio,+dac_read_search,+syslog,+bpf,+perfmon"
WITH_RIGHTS = (*AS_USER, "--inh-caps", _HELD, "--ambient-caps", _HELD)
CONTAINED = ("unshare", "--user", "--map-root-user")
_RIGHTS = "-bpf,-perfmon,-sys_admin"
WITHOUT_RIGHTS = ("setpriv", "--bounding-set", _RIGHTS, "--inh-caps", _RIGHTS)
_HIDE = 'mount -t tmpfs none /usr/lib/python3/dist-packages/bcc && exec "$@"'
WITHOUT_BCC = ("unshare", "--mount", "sh", "-c", _HIDE, "-")


def doctor(guest: Guest, argv: Sequence[str] = ("pageinspect", "doctor")) -> dict[str, Any]:
    """Return doctor's json, whose exit status is that it documents."""
    done = guest.run([*argv, "--format", "json"], timeout=START_TIMEOUT, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    works = report["works"]
    assert done.status == (0 if works["walking"] and works["tracing"] else 1)
    return report


def missing(report: dict[str, Any]) -> set[str]:
    return {item["name"] for item in report["items"] if not item["ok"]} - NOT_IN_A_GUEST


def fix(report: dict[str, Any], name: str) -> str:
    (text,) = (item["fix"] for item in report["items"] if item["name"] == name)
    return str(text)


def happens(guest: Guest, command: Sequence[str]) -> bool:
    """Return whether a command of pageinspect works in the guest; if not, it says so in a line."""
    done = guest.run(command, timeout=START_TIMEOUT, check=False)
    # A tracer that missed a free in an interrupt works all the same.
    works = done.status in {0, 3}
    assert bool(done.stdout) == works
    assert works or b"pageinspect: error: " in done.stderr
    return works


def test_root_has_all_but_what_a_guest_has_not(shared_guest: Guest) -> None:
    guest = shared_guest
    report = doctor(guest)
    assert report["kernel"]["release"] == guest.kernel.release
    assert missing(report) == set()
    assert report["works"] == {"walking": True, "tracing": True, "guests": False}
    assert happens(guest, TRACE)


# What the rest is about differs in none of the kernels.
of_one_kernel = pytest.mark.parametrize("kernel", ["newest"], indirect=True)


@of_one_kernel
def test_a_user_without_rights_is_asked_to_run_as_root(guest: Guest) -> None:
    report = doctor(guest, [*AS_USER, "pageinspect", "doctor"])
    assert missing(report) == NEEDS_RIGHTS | {
        *("root or capabilities", "kcore", "kallsyms", "compiled programs")
    }
    assert {fix(report, name) for name in missing(report)} == {
        OWN_CACHE,
        "run as root (sudo), or with CAP_SYS_RAWIO and CAP_DAC_READ_SEARCH",
        "run as root (sudo), or with CAP_SYSLOG",
        "run as root (sudo), or with CAP_BPF and CAP_PERFMON",
    }
    for command in (TRACE, SUMMARY):
        assert not happens(guest, [*AS_USER, *command])


@of_one_kernel
def test_a_user_with_capabilities_can_do_both(guest: Guest) -> None:
    report = doctor(guest, [*WITH_RIGHTS, "pageinspect", "doctor"])
    # Debian's kernels want more for these.
    assert missing(report) == {"kprobes"}
    assert fix(report, "kprobes") == "run as root (sudo), or with CAP_SYS_ADMIN"
    for command in (TRACE, SUMMARY):
        assert happens(guest, [*WITH_RIGHTS, *command])


@of_one_kernel
def test_root_of_a_user_namespace_can_do_neither(guest: Guest) -> None:
    report = doctor(guest, [*CONTAINED, "pageinspect", "doctor"])
    assert missing(report) == NEEDS_RIGHTS | {"root or capabilities", "kcore", "kallsyms"}
    assert {"user namespace" in fix(report, name) for name in missing(report)} == {True}
    for command in (TRACE, SUMMARY):
        assert not happens(guest, [*CONTAINED, *command])


@of_one_kernel
def test_root_without_the_right_to_bpf_can_walk(guest: Guest) -> None:
    report = doctor(guest, [*WITHOUT_RIGHTS, "pageinspect", "doctor"])
    assert missing(report) == NEEDS_RIGHTS
    assert {fix(report, name) for name in NEEDS_RIGHTS} == {
        "run outside of the container, or with CAP_BPF and CAP_PERFMON"
    }
    assert report["works"]["walking"]
    assert happens(guest, [*WITHOUT_RIGHTS, *SUMMARY])
    assert not happens(guest, [*WITHOUT_RIGHTS, *TRACE])


@of_one_kernel
def test_without_bcc_it_says_what_to_install(guest: Guest) -> None:
    report = doctor(guest, [*WITHOUT_BCC, "pageinspect", "doctor"])
    assert missing(report) == {"bcc"}
    assert fix(report, "bcc").endswith("apt install python3-bpfcc")
    assert not happens(guest, [*WITHOUT_BCC, *TRACE])


@of_one_kernel
def test_lockdown_for_confidentiality_forbids_both(guest: Guest) -> None:
    lock = "mount -t securityfs none /sys/kernel/security && echo confidentiality >"
    # The last of this guest: no level is ever left.
    guest.run(["sh", "-c", f"{lock} /sys/kernel/security/lockdown"])
    report = doctor(guest)
    assert missing(report) == {"lockdown", "kcore", "BPF reads", "kprobes"}
    assert report["works"] == {"walking": False, "tracing": False, "guests": False}
    for command in (TRACE, SUMMARY):
        assert not happens(guest, command)
