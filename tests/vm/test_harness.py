"""The guests themselves: commands in them, how they are lost, and what stays behind."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pageinspect.cli.main import main
from pageinspect.target.qemu.monitor import RefusedError
from pageinspect.vm import crash_dump
from pageinspect.vm.errors import GuestLostError, GuestTimeoutError
from pageinspect.vm.guest import Guest, GuestCommandError
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.progress import Progress

Ready = Callable[[str], BuiltKernel]

_RUN = (sys.executable, "-m", "pageinspect", "vm", "run")
_ONE = "newest"
_SOON_S = 60.0


# In a guest that all tests share, for each kernel.


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
        echo.wait_for_output(b"%d" % number, _SOON_S)
        assert echo.status is None
    for echo in echoes:
        echo.close_stdin()
        assert echo.wait(_SOON_S) == 0


def test_a_signal_reaches_the_whole_command(guest: Guest) -> None:
    # All of it runs when it says so: what bash starts after a signal never hears of it.
    trap = "trap 'echo got it; exit 4' INT; sleep 1000 | { echo ready; cat; }"
    process = guest.start(["bash", "-c", trap])
    process.wait_for_output(b"ready", _SOON_S)
    process.send_signal(signal.SIGINT)
    assert process.wait(_SOON_S) == 4
    assert process.stdout == b"ready\ngot it\n"


def test_a_command_may_leave_a_process_behind(guest: Guest) -> None:
    start = time.monotonic()
    assert guest.run(["sh", "-c", "sleep 1000 & echo left"]).stdout == b"left\n"
    assert time.monotonic() - start < 100


def test_a_terminal_has_its_size_and_is_the_controlling_one(guest: Guest) -> None:
    process = guest.start(["sh", "-c", "stty size; echo to-tty >/dev/tty"], tty=(33, 101))
    assert process.wait(_SOON_S) == 0
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


# Guests that are lost.


def test_a_panic_is_noticed_at_once_and_said(kernel: BuiltKernel) -> None:
    with Guest(kernel, memory="512M") as guest:
        process = guest.start(["sh", "-c", "echo c > /proc/sysrq-trigger"])
        start = time.monotonic()
        with pytest.raises(GuestLostError, match="sysrq triggered crash") as lost:
            process.wait(_SOON_S)
    assert not isinstance(lost.value, GuestTimeoutError)
    assert time.monotonic() - start < 20
    assert lost.value.exit_code == 125
    assert any("RIP" in line for line in lost.value.console)
    assert "sysrq triggered crash" in lost.value.log.read_text(errors="replace")


def test_a_killed_qemu_is_said(ready: Ready) -> None:
    with Guest(ready(_ONE), memory="512M") as guest:
        process = guest.start(["sleep", "1000"])
        os.kill(guest.pid, signal.SIGKILL)
        with pytest.raises(GuestLostError, match="QEMU was killed by SIGKILL"):
            process.wait(_SOON_S)


def test_a_guest_that_powers_off_is_lost(ready: Ready) -> None:
    with Guest(ready(_ONE), memory="512M") as guest:
        process = guest.start(["sh", "-c", "echo o > /proc/sysrq-trigger; sleep 1000"])
        with pytest.raises(GuestLostError, match="it shut down"):
            process.wait(_SOON_S)


def test_a_kernel_that_does_not_boot_says_so(tmp_path: Path, ready: Ready) -> None:
    vmlinuz = tmp_path / "bzImage"
    vmlinuz.write_bytes(b"no kernel")
    done = _vm_run("--kernel", str(vmlinuz), "--accel", "tcg", "--", "true")
    assert done.returncode == 125
    assert "the guest did not boot: QEMU failed" in done.stderr


def test_a_guest_that_hangs_at_boot_is_booted_once_more(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageinspect.vm.guest._FIRST_BOOT_S", 0.2)
    said: list[str] = []
    with Guest(ready(_ONE), memory="512M", progress=said.append) as guest:
        assert guest.run(["echo", "up"]).stdout == b"up\n"
    assert said == ["the guest did not boot within 0.2 s; trying once more"]


# By the command line.


def _vm_run(*arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*_RUN, "--memory", "512M", *arguments],
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_run_passes_streams_and_status(ready: Ready) -> None:
    ready(_ONE)
    done = _vm_run(_ONE, "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin="in and out\n")
    assert (done.stdout, done.stderr, done.returncode) == ("in and out\n", "err\n", 7)


def test_run_without_a_command_or_a_terminal_is_a_shell_on_stdin(ready: Ready) -> None:
    ready(_ONE)
    done = _vm_run(_ONE, stdin="uname -r\nexit 5\n")
    assert (done.stdout, done.returncode) == (f"{ready(_ONE).release}\n", 5)


def test_run_ends_after_its_timeout(ready: Ready) -> None:
    ready(_ONE)
    done = _vm_run(_ONE, "--timeout", "0.5", "--", "sleep", "1000")
    assert done.returncode == 125
    assert "sleep in the guest did not end within 0.5 s" in done.stderr


def test_run_of_a_panic_shows_the_console_and_its_log(ready: Ready) -> None:
    ready(_ONE)
    done = _vm_run(_ONE, "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 1000")
    assert done.returncode == 125
    assert "| " in done.stderr
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr
    log = Path(done.stderr.split("its whole console is in ")[1].strip())
    assert "sysrq: Trigger a crash" in log.read_text(errors="replace")


@contextmanager
def _running(*command: str) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """Run a command in a guest up to its first line of output; give the process and QEMU's pid."""
    with subprocess.Popen(
        [*_RUN, _ONE, "--memory", "512M", "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            (qemu,) = _children(process.pid)
            yield process, qemu
        finally:
            process.kill()


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, task.read_text().split())
    return children


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _ends(pid: int) -> bool:
    """Wait for a process to end."""
    end = time.monotonic() + _SOON_S
    while _runs(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not _runs(pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_parent_leaves_no_qemu(ready: Ready, number: signal.Signals) -> None:
    ready(_ONE)
    with _running("sh", "-c", "echo ready; sleep 1000") as (process, qemu):
        assert _runs(qemu)
        process.send_signal(number)
        assert process.wait(_SOON_S) in (-number, 128 + number)
        assert _ends(qemu)


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
    ready(_ONE)
    with subprocess.Popen(
        [sys.executable, "-c", _PAUSED, _ONE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        qemu = int(process.stdout.readline())
        assert _runs(qemu)
        process.kill()
        try:
            assert _ends(qemu)
        finally:
            if _runs(qemu):
                os.kill(qemu, signal.SIGKILL)


def test_ctrl_c_interrupts_the_command_and_leaves_no_qemu(ready: Ready) -> None:
    ready(_ONE)
    trap = "trap 'echo interrupted; exit 9' INT; sleep 1000 & echo ready; wait"
    with _running("bash", "-c", trap) as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate(timeout=_SOON_S)
        assert (out, process.returncode) == ("interrupted\n", 9)
        assert "Ctrl-C again ends the guest" in said
        assert _ends(qemu)


def test_ctrl_c_that_ends_the_command_is_128_and_its_number(ready: Ready) -> None:
    ready(_ONE)
    with _running("sh", "-c", "echo ready; exec sleep 1000") as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(_SOON_S) == 128 + signal.SIGINT
        assert _ends(qemu)


def test_a_second_ctrl_c_ends_the_guest(ready: Ready) -> None:
    ready(_ONE)
    with _running("bash", "-c", "trap '' INT; echo ready; sleep 1000") as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert "Ctrl-C again" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(_SOON_S) == 130
        assert _ends(qemu)


def test_a_shell_on_a_terminal(ready: Ready) -> None:
    ready(_ONE)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(_RUN[0], [*_RUN, _ONE, "--memory", "512M"])  # noqa: S606
    seen = bytearray()
    try:
        # Each step waits for what answers it, and takes no output of a step before for it.
        for awaited, typed in (
            (b"# ", b"echo $((6*7))-; tty\r"),
            (b"42-\r\n/dev/pts/", b""),
            # What the shell starts is in the foreground when it speaks itself.
            (b"# ", b"sh -c 'echo s-$((6*8)); exec sleep 1000'\r"),
            (b"s-48\r\n", b"\x03"),
            (b"# ", b"exit 6\r"),
        ):
            while (at := seen.find(awaited)) < 0:
                seen += os.read(terminal, 1 << 16)
            del seen[: at + len(awaited)]
            os.write(terminal, typed)
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while os.read(terminal, 1 << 16):
                pass
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 6


def test_a_kernel_of_ones_own(ready: Ready, tmp_path: Path) -> None:
    kernel = ready("6.12")
    unpacked = tmp_path / "unpacked"
    assert kernel.disk is not None
    subprocess.run(
        ["unsquashfs", "-quiet", "-no-progress", "-dest", unpacked, kernel.disk, "usr/lib/modules"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    vmlinuz = shutil.copy(kernel.vmlinuz, tmp_path / "bzImage")
    release = unpacked / "usr/lib/modules" / kernel.release
    command = ("--", "sh", "-c", "uname -r; modprobe zram && ls /dev/zram0")
    for modules in (unpacked, release):
        done = _vm_run("--kernel", str(vmlinuz), "--modules", str(modules), *command)
        assert (done.stdout, done.returncode) == (f"{kernel.release}\n/dev/zram0\n", 0), done.stderr


def test_dump_runs_its_command_first_and_keeps_its_status(ready: Ready, tmp_path: Path) -> None:
    ready(_ONE)
    core = tmp_path / "core"
    command = [*_RUN[:-1], "dump", _ONE, "--memory", "512M", "-o", str(core)]
    command += ["--", "sh", "-c", "echo mark-$((6*7))-mark > /dev/shm/mark; exit 3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "dumping all the same" in done.stderr
    data = core.read_bytes()
    core.unlink()
    assert b"mark-42-mark" in data


@pytest.mark.whole
def test_a_guest_that_hangs_while_it_dumps_itself_is_tried_once_more(
    ready: Ready,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ready("newest")
    load, captures = crash_dump._load, iter(["rdinit=/bin/busybox -- sleep 100000"])

    def load_what_hangs(
        guest: Guest, made: crash_dump.Disks, capture: str, progress: Progress
    ) -> None:
        load(guest, made, next(captures, capture), progress)

    monkeypatch.setattr(crash_dump, "_load", load_what_hangs)
    monkeypatch.setattr(crash_dump, "_SILENCE_S", 20.0)
    monkeypatch.setattr(crash_dump, "_SILENCE_PER_GIB_S", 0.0)
    core = tmp_path / "core"
    command = ["vm", "dump", "newest", "--memory", "512M", "--kdump", "-o", str(core)]
    assert main([*command, "--", "echo", "ran"]) == 0
    said = capfd.readouterr()
    assert "wrote nothing for 20 s" in said.err
    assert "trying once more" in said.err
    assert said.out.count("ran\n") == 2
    assert core.stat().st_size > 1 << 20
