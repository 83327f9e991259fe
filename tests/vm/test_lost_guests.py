# SPDX-License-Identifier: GPL-2.0-only
"""Guests that are lost, and how that is said."""

import os
import signal
import subprocess
import sys

import pytest
from guest_process import ONE, SOON_S, Ready, ends, runs

from pageinspect.vm.errors import GuestLostError, GuestTimeoutError
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel


@pytest.mark.parametrize(
    "kernel",
    [ONE, *(pytest.param(name, marks=pytest.mark.whole) for name in ("6.1", "6.12"))],
    indirect=True,
)
def test_a_panic_is_noticed_at_once_and_said(kernel: BuiltKernel) -> None:
    with Guest(kernel, memory="512M") as guest:
        process = guest.start(["sh", "-c", "echo c > /proc/sysrq-trigger"])
        with pytest.raises(GuestLostError, match="sysrq triggered crash") as lost:
            process.wait(SOON_S)
    assert not isinstance(lost.value, GuestTimeoutError)
    assert lost.value.exit_code == 125
    assert any("RIP" in line for line in lost.value.console)
    assert "sysrq triggered crash" in lost.value.log.read_text(errors="replace")


def test_a_killed_qemu_is_said(ready: Ready) -> None:
    with Guest(ready(ONE), memory="512M") as guest:
        process = guest.start(["sleep", "1000"])
        os.kill(guest.pid, signal.SIGKILL)
        with pytest.raises(GuestLostError, match="QEMU was killed by SIGKILL"):
            process.wait(SOON_S)


def test_a_guest_that_powers_off_is_lost(ready: Ready) -> None:
    with Guest(ready(ONE), memory="512M") as guest:
        process = guest.start(["sh", "-c", "echo o > /proc/sysrq-trigger; sleep 1000"])
        with pytest.raises(GuestLostError, match="it shut down"):
            process.wait(SOON_S)


def test_a_guest_that_hangs_at_boot_is_booted_once_more(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageinspect.vm.guest._FIRST_BOOT_S", 0.2)
    said: list[str] = []
    with Guest(ready(ONE), memory="512M", progress=said.append) as guest:
        assert guest.run(["echo", "up"]).stdout == b"up\n"
    assert said == ["the guest did not boot within 0.2 s; trying once more"]


_PAUSED = """
import sys, time
from pageinspect.vm.guest import Guest

with Guest(sys.argv[1], memory="512M") as guest:
    guest.pause()
    print(guest.pid, flush=True)
    time.sleep(1000)
"""


def test_a_killed_parent_leaves_no_paused_guest(ready: Ready) -> None:
    # A guest that runs powers off by itself when the host is gone; this one cannot.
    ready(ONE)
    with subprocess.Popen(
        [sys.executable, "-c", _PAUSED, ONE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        qemu = int(process.stdout.readline())
        assert runs(qemu)
        process.kill()
        try:
            assert ends(qemu)
        finally:
            if runs(qemu):
                os.kill(qemu, signal.SIGKILL)
