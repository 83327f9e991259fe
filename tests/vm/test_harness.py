# SPDX-License-Identifier: GPL-2.0-only
"""The guests themselves: commands in them, the balloon, the monitor and dumps."""

import os
import signal
import time
from pathlib import Path

import pytest
from guest_process import SOON_S

from pageinspect.target.qemu.monitor import RefusedError
from pageinspect.vm.errors import GuestTimeoutError
from pageinspect.vm.guest import Guest, GuestCommandError

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")


@pytest.fixture
def guest(shared_guest: Guest) -> Guest:
    return shared_guest


@pytest.mark.parametrize("status", [0, 1, 125, 255])
def test_the_status_of_a_command_is_its_own(guest: Guest, status: int) -> None:
    assert guest.run(["sh", "-c", f"exit {status}"], check=False).status == status


def test_a_signal_is_a_negative_status(guest: Guest) -> None:
    assert guest.run(["sh", "-c", "kill -9 $$"], check=False).status == -9


def test_a_failed_command_is_an_error_that_says_what_it_said(guest: Guest) -> None:
    with pytest.raises(GuestCommandError, match="status 3: no luck"):
        guest.run(["sh", "-c", "echo no luck >&2; exit 3"])


def test_a_command_that_is_not_there_ends_as_in_a_shell(guest: Guest) -> None:
    done = guest.run(["no-such-command"], check=False)
    assert done.status == 127
    assert b"no-such-command" in done.stderr


def test_stdout_and_stderr_come_apart(guest: Guest) -> None:
    done = guest.run(["sh", "-c", "printf out; printf err >&2"])
    assert (done.stdout, done.stderr) == (b"out", b"err")


def test_the_guest_runs_the_release_it_was_built_from(guest: Guest) -> None:
    assert guest.run(["uname", "-r"]).stdout.decode().strip() == guest.kernel.release


def test_stdin_of_any_bytes_and_size_arrives(guest: Guest) -> None:
    data = os.urandom(3_000_001)
    assert guest.run(["cat"], input=data).stdout == data


def test_stdin_that_nobody_reads_does_not_block(guest: Guest) -> None:
    assert guest.run(["true"], input=bytes(2_000_000)).status == 0


def test_several_processes_run_at_once(guest: Guest) -> None:
    echoes = [guest.start(["cat"]) for _ in range(3)]
    for number, echo in enumerate(echoes):
        echo.write(b"%d" % number)
    for number, echo in enumerate(echoes):
        echo.wait_for_output(b"%d" % number, SOON_S)
        assert echo.status is None
    for echo in echoes:
        echo.close_stdin()
        assert echo.wait(SOON_S) == 0


def test_a_signal_reaches_the_whole_command(guest: Guest) -> None:
    # All of it runs when it says so: what bash starts after a signal never hears of it.
    trap = "trap 'echo got it; exit 4' INT; sleep 1000 | { echo ready; cat; }"
    process = guest.start(["bash", "-c", trap])
    process.wait_for_output(b"ready", SOON_S)
    process.send_signal(signal.SIGINT)
    assert process.wait(SOON_S) == 4
    assert process.stdout == b"ready\ngot it\n"


def test_a_command_may_leave_a_process_behind(guest: Guest) -> None:
    start = time.monotonic()
    assert guest.run(["sh", "-c", "sleep 1000 & echo left"]).stdout == b"left\n"
    assert time.monotonic() - start < 100


def test_a_terminal_has_its_size_and_is_the_controlling_one(guest: Guest) -> None:
    process = guest.start(["sh", "-c", "stty size; echo to-tty >/dev/tty"], tty=(33, 101))
    assert process.wait(SOON_S) == 0
    assert process.stdout == b"33 101\r\nto-tty\r\n"


def test_a_late_command_is_an_error_but_the_guest_goes_on(guest: Guest) -> None:
    with pytest.raises(GuestTimeoutError, match="did not end within"):
        guest.run(["sleep", "1000"], timeout=0.2)
    assert guest.run(["true"]).status == 0


def test_pageinspect_and_its_libraries_are_there(guest: Guest) -> None:
    program = (
        "import drgn, numpy, sys; sys.path.append('/usr/lib/python3/dist-packages'); import bcc"
    )
    guest.run(["python3", "-c", program])
    assert b"usage: pageinspect" in guest.run(["pageinspect", "--help"]).stdout


def test_modules_load_and_headers_are_there(guest: Guest) -> None:
    guest.run(["modprobe", "zram"])
    if guest.kernel.has_headers:
        guest.run(["sh", "-c", "test -f /lib/modules/$(uname -r)/build/Makefile"])


def test_the_balloon_takes_and_gives_back(guest: Guest) -> None:
    def total() -> int:
        text = guest.run(["grep", "MemTotal", "/proc/meminfo"]).stdout
        return int(text.split()[1]) << 10

    before = total()
    guest.balloon(guest.memory - (128 << 20))
    assert total() == before - (128 << 20)
    guest.balloon(guest.memory)
    assert total() == before


def test_a_refused_monitor_command_is_an_error(guest: Guest) -> None:
    with pytest.raises(RefusedError, match="no-such-command"):
        guest.qmp("no-such-command")


def test_a_dump_is_an_elf_core_with_vmcoreinfo(guest: Guest, tmp_path: Path) -> None:
    core = tmp_path / "core"
    guest.dump(core)
    assert guest.qmp("query-status")["status"] == "paused"
    guest.resume()
    with core.open("rb") as file:
        head = file.read(1 << 16)
    core.unlink()
    assert head.startswith(b"\x7fELF")
    assert b"VMCOREINFO\0" in head
    assert f"OSRELEASE={guest.kernel.release}\n".encode() in head
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_cannot_be_written_leaves_the_guest_usable(guest: Guest) -> None:
    with pytest.raises(Exception, match="cannot write /proc/no-such-place"):
        guest.dump(Path("/proc/no-such-place"))
    guest.resume()
    assert guest.run(["true"]).status == 0


SORTS = """
import numpy as np
for length in (64, 256, 700, 1000):
    values = np.random.default_rng(length).permutation(length)
    assert (values[np.argsort(values)] == np.arange(length)).all(), length
"""


def test_the_processor_sorts(guest: Guest) -> None:
    # numpy sorts indices by AVX2 where a processor has it, and an emulator may get it wrong.
    assert guest.run(["python3", "-c", SORTS]).stderr == b""
