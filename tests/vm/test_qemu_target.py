# SPDX-License-Identifier: GPL-2.0-only
"""Guests looked at from outside, through QEMU's monitor, against their dumps."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.sched import cpu_curr

from pageinspect.kernel import marking
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# What is read through a monitor differs in none of the kernels.
pytestmark = pytest.mark.kernels("newest")

FILL = "head -c 40000000 /dev/urandom > /tmp/file; echo 3 > /proc/sys/vm/nr_hugepages; sleep 900 &"
DENIED = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
"""As this user, but without the right to look into QEMU's memory, which has more capabilities."""

REGISTERS = """
import json, pathlib, sys
from pageinspect.target.qemu.open import open_guest
with open_guest(pathlib.Path(sys.argv[1]), pause=True) as target:
    print(json.dumps(target.registers()))
"""


@pytest.fixture(scope="module")
def guest(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    path = tmp_path_factory.mktemp("qmp") / "socket"
    with Guest(kernel, memory="512M", qmp_socket=path) as running:
        running.run(["sh", "-c", FILL])
        running.socket = path
        yield running


def report(*args: object, before: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [*before, sys.executable, "-m", "pageinspect", *map(str, args), "--format", "json"]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    took = time.monotonic() - begin
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    kernel = answer["kernel"]
    sys.stdout.write(f"{took:.2f} s: {args[0]} from {kernel.get('reading', 'its dump')}\n")
    return answer


def test_a_paused_guest_reads_as_its_dump(guest: Guest, tmp_path: Path) -> None:
    core = tmp_path / "core"
    guest.dump(core)  # leaves it paused
    try:
        # A monitor would mix up the answers to several processes.
        for command in (["summary", "--by", "use"], ["list"], ["list", "-j", "3"]):
            dumped = report(*command, "-c", core)
            assert dumped["kernel"].pop("source") == "core"
            for before, reading in (((), "memory"), (DENIED, "monitor")):
                outside = report(*command, "--qemu", guest.socket, "--pause", before=before)
                assert outside["kernel"].pop("source") == "qemu"
                assert outside["kernel"].pop("state") == "paused"
                assert outside["kernel"].pop("reading") == reading
                assert outside == dumped
        assert dumped["coverage"]["spanned"] >= guest.memory // 4096
        prog = open_target(core).prog
        cpus = list(for_each_online_cpu(prog))
        # drgn keeps the connection for as long as there is the Program.
        command = [sys.executable, "-c", REGISTERS, guest.socket]
        said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        expected = {str(c): [*marking._registers(prog, cpu_curr(prog, c))] for c in cpus}
        assert said == expected
        assert len(said) == 2
    finally:
        guest.resume()


def test_the_api_pauses_a_guest_until_it_is_closed(guest: Guest) -> None:
    program = (
        "import json, sys, pageinspect\n"
        "with pageinspect.open_guest(sys.argv[1], pause=True) as kernel:\n"
        "    print(json.dumps([kernel.summary('use').to_dict(), kernel.check().to_dict()]))\n"
    )
    command = [sys.executable, "-c", program, str(guest.socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary, check = json.loads(done.stdout)
    assert summary["kernel"]["state"] == "paused"
    assert sum(row["pages"] for row in summary["rows"]) == summary["coverage"]["spanned"]
    assert check["violations"] == []
    assert guest.qmp("query-status")["running"]


def test_a_guest_that_runs_balances_its_checks(guest: Guest) -> None:
    for before in ((), DENIED):
        answer = report("check", "--qemu", guest.socket, before=before)
        assert answer["kernel"]["state"] == "running"
        assert answer["violations"] == []
        assert {check["verdict"] for check in answer["counters"]} <= {"verified", "explained"}
    assert guest.qmp("query-status")["running"]


def test_dwarf_and_the_rest_of_the_commands(guest: Guest, tmp_path: Path) -> None:
    assert guest.kernel.vmlinux is not None
    target = ("--qemu", guest.socket, "--pause")
    assert report("types", *target, "-s", guest.kernel.vmlinux)["kernel"]["symbols"] == "dwarf"
    (page,) = report("page", "0x1000", *target)["pages"]
    assert page["pfn"] == 0x1000
    flags = tmp_path / "kpageflags"
    command = [sys.executable, "-m", "pageinspect", "export", "--kpageflags", flags, *target]
    subprocess.run(command, check=True)
    assert flags.stat().st_size >= 8 * guest.memory // 4096
