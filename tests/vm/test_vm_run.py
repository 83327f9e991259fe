# SPDX-License-Identifier: GPL-2.0-only
"""vm run and vm dump as commands: streams, statuses, signals, terminals, and what stays behind."""

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guest_process import ONE, SOON_S, Ready, ends, runs

from pageinspect.cli.main import main
from pageinspect.vm import crash_dump
from pageinspect.vm.guest import Guest
from pageinspect.vm.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN = (sys.executable, "-m", "pageinspect", "vm", "run")


def test_a_kernel_that_does_not_boot_says_so(tmp_path: Path, ready: Ready) -> None:
    vmlinuz = tmp_path / "bzImage"
    vmlinuz.write_bytes(b"no kernel")
    done = _vm_run("--kernel", str(vmlinuz), "--accel", "tcg", "--", "true")
    assert done.returncode == 125
    assert "the guest did not boot: QEMU failed" in done.stderr


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
    ready(ONE)
    done = _vm_run(ONE, "--", "sh", "-c", "cat; echo err >&2; exit 7", stdin="in and out\n")
    assert (done.stdout, done.stderr, done.returncode) == ("in and out\n", "err\n", 7)


def test_run_without_a_command_or_a_terminal_is_a_shell_on_stdin(ready: Ready) -> None:
    ready(ONE)
    done = _vm_run(ONE, stdin="uname -r\nexit 5\n")
    assert (done.stdout, done.returncode) == (f"{ready(ONE).release}\n", 5)


def test_run_ends_after_its_timeout(ready: Ready) -> None:
    ready(ONE)
    done = _vm_run(ONE, "--timeout", "0.5", "--", "sleep", "1000")
    assert done.returncode == 125
    assert "sleep in the guest did not end within 0.5 s" in done.stderr


def test_run_of_a_panic_shows_the_console_and_its_log(ready: Ready) -> None:
    ready(ONE)
    done = _vm_run(ONE, "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 1000")
    assert done.returncode == 125
    assert "| " in done.stderr
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stderr
    log = Path(done.stderr.split("its whole console is in ")[1].strip())
    assert "sysrq: Trigger a crash" in log.read_text(errors="replace")


@contextmanager
def _running(*command: str) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """Run a command in a guest up to its first line of output; give the process and QEMU's pid."""
    with subprocess.Popen(
        [*_RUN, ONE, "--memory", "512M", "--", *command],
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


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.whole)],
)
def test_a_killed_parent_leaves_no_qemu(ready: Ready, number: signal.Signals) -> None:
    ready(ONE)
    with _running("sh", "-c", "echo ready; sleep 1000") as (process, qemu):
        assert runs(qemu)
        process.send_signal(number)
        assert process.wait(SOON_S) in (-number, 128 + number)
        assert ends(qemu)


def test_ctrl_c_interrupts_the_command_and_leaves_no_qemu(ready: Ready) -> None:
    ready(ONE)
    trap = "trap 'echo interrupted; exit 9' INT; sleep 1000 & echo ready; wait"
    with _running("bash", "-c", trap) as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate(timeout=SOON_S)
        assert (out, process.returncode) == ("interrupted\n", 9)
        assert "Ctrl-C again ends the guest" in said
        assert ends(qemu)


def test_ctrl_c_that_ends_the_command_is_128_and_its_number(ready: Ready) -> None:
    ready(ONE)
    with _running("sh", "-c", "echo ready; exec sleep 1000") as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SOON_S) == 128 + signal.SIGINT
        assert ends(qemu)


def test_a_second_ctrl_c_ends_the_guest(ready: Ready) -> None:
    ready(ONE)
    with _running("bash", "-c", "trap '' INT; echo ready; sleep 1000") as (process, qemu):
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert "Ctrl-C again" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SOON_S) == 130
        assert ends(qemu)


def test_a_shell_on_a_terminal(ready: Ready) -> None:
    ready(ONE)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(_RUN[0], [*_RUN, ONE, "--memory", "512M"])  # noqa: S606
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


def test_run_takes_a_kernel_that_the_user_built(ready: Ready, tmp_path: Path) -> None:
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
    ready(ONE)
    core = tmp_path / "core"
    command = [*_RUN[:-1], "dump", ONE, "--memory", "512M", "-o", str(core)]
    command += ["--", "sh", "-c", "echo mark-$((6*7))-mark > /dev/shm/mark; exit 3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "dumping anyway" in done.stderr
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
