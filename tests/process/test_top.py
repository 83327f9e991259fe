# SPDX-License-Identifier: GPL-2.0-only
"""`top` in a real terminal, on a snapshot; and the processes that read for it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from compared_snapshots import process, table
from saved_tables import owner, run, snapshot
from terminal import pane
from waiting import children, has_ended, until

from pageinspect.cli.reader_process import reader_process
from pageinspect.dataset.write import write_snapshot
from pageinspect.model.snapshot import Snapshot
from pageinspect.report.processes import NUMBERS
from pageinspect.screen import wire
from pageinspect.screen.reading import ScreenReading

TOP = (sys.executable, "-m", "pageinspect", "top")
HERE = {"PYTHONPATH": os.pathsep.join(sys.path)}
HOSTILE = "[red]x[/]\x1b[2J"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    runs = [
        run(0x100, 16, use="file", owner=1),
        run(0x110, 32, use="anon", owner=2),
        run(0x130, 48, use="buddy", type="buddy", owner=3),
    ]
    owners = [
        owner(1, "file", "/usr/lib/libx.so", pages=16),
        owner(2, "anon", f"{HOSTILE}[812]", pages=32),
        owner(3, "free", "buddy", pages=48),
    ]
    taken = snapshot(runs, owners, processes=())
    sizes = dict.fromkeys(NUMBERS, 0)
    row = sizes | process(812, HOSTILE, 131072, 65536)
    processes = table("processes", [row])
    write_snapshot(
        tmp_path, Snapshot(taken.host, taken.time, {**taken.tables, "processes": processes})
    )
    return tmp_path


def family(pid: int) -> Iterator[int]:
    """Yield the pids of a process and of all that it started."""
    yield pid
    for child in children(pid):
        yield from family(child)


def test_tabs_rows_and_runs(dataset: Path) -> None:
    with pane([*TOP, str(dataset)], HERE) as terminal:
        first = terminal.wait(lambda text: "buddy" in text)
        assert first[3].split() == ["use", "pages", "%", "folios", "size"]
        assert "does not change" in first[2]
        terminal.keys("2")
        owners = terminal.wait(lambda text: "libx.so" in text)
        assert any(r"anon   [red]x[/]\x1b[2J[812]" in line for line in owners)
        terminal.keys("/", "l", "i", "b", "Enter")
        terminal.wait(lambda text: "filter: lib" in text and "Owners lack" in text)
        terminal.keys("Enter")
        runs = terminal.wait(lambda text: "0x110" in text)
        assert [word for word in runs[4].split() if word != "0x110"][:2] == ["0x100", "file"]
        # A snapshot has no struct pages.
        terminal.keys("Enter")
        terminal.wait(lambda text: "needs struct pages" in text)
        terminal.keys("Escape")
        terminal.wait(lambda text: "0x110" in text)
        terminal.keys("Escape")
        terminal.wait(lambda text: "libx.so" in text and "0x110" not in text)
        terminal.keys("3")
        terminal.wait(lambda text: "812" in text and "64 KiB" in text)
        terminal.keys("6")
        terminal.wait(lambda text: "tracer" in text)
        terminal.resize(120, 40)
        terminal.wait(lambda text: "q quit" in text.rstrip("\n").split("\n")[-1])
        assert len(terminal.lines()) >= 40
        pids = [*family(terminal.pid)][1:]
        assert len(pids) == 3
        terminal.keys("q")
        terminal.wait(lambda text: "status 0" in text)
        until(lambda: all(map(has_ended, pids)))


@pytest.mark.parametrize("ignored", ["", "HUP"])
def test_they_end_with_the_terminal(dataset: Path, ignored: str) -> None:
    trap = f"trap '' {ignored}; " if ignored else ""
    command = ["sh", "-c", f'{trap}exec "$@"', "sh", *TOP, str(dataset)]
    with pane(command, HERE) as terminal:
        terminal.wait(lambda text: "buddy" in text)
        pids = [*family(terminal.pid)]
        assert len(pids) == 4
        terminal.close()
        until(lambda: all(map(has_ended, pids)))


def test_they_end_with_the_process_that_draws(dataset: Path) -> None:
    with pane([*TOP, str(dataset)], HERE) as terminal:
        terminal.wait(lambda text: "buddy" in text)
        _, drawing, *reading = family(terminal.pid)
        os.kill(drawing, signal.SIGKILL)
        assert len(reading) == 2
        until(lambda: all(map(has_ended, reading)))


def test_nothing_is_read_while_it_is_suspended(dataset: Path) -> None:
    def stopped(pid: int) -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][1] == "T"

    with pane(["bash", "--norc", "-i"], HERE) as terminal:
        terminal.keys("-l", " ".join([*TOP, str(dataset)]))
        terminal.keys("Enter")
        terminal.wait(lambda text: "buddy" in text)
        _, _, *pids = family(terminal.pid)
        terminal.keys("C-z")
        terminal.wait(lambda text: "Stopped" in text)
        assert len(pids) == 3
        until(lambda: all(map(stopped, pids)))
        terminal.keys("-l", "fg")
        terminal.keys("Enter")
        again = terminal.wait(lambda text: "buddy" in text and "q quit" in text)
        assert "Uses" in again[1]
        assert not any(map(stopped, pids))
        terminal.keys("q")
        until(lambda: all(map(has_ended, pids)))


def test_an_error_before_the_screen_is_that_of_any_command(tmp_path: Path) -> None:
    core = tmp_path / "core"
    core.write_bytes(b"no core")
    with pane([*TOP, str(core)], HERE) as terminal:
        text = "\n".join(terminal.wait(lambda text: "status" in text))
        assert "status 1" in text
        assert "pageinspect: error:" in text
        assert "hint:" in text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [(["core"], 1, "needs a terminal"), (["qemu:x", "--pause"], 2, "omit --pause")],
)
def test_without_a_terminal(words: list[str], status: int, said: str) -> None:
    done = subprocess.run([*TOP, *words], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stderr


def ask(connection: socket.socket, **question: object) -> dict[str, object]:
    connection.sendall(wire.packed(question))
    found = wire.receive(connection)
    assert found is not None
    return found


def serve(connection: socket.socket) -> None:
    while (question := wire.receive(connection)) is not None:
        if question["what"] == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if question["what"] == "fail":
            raise RuntimeError
        connection.sendall(wire.answer(question["number"], ScreenReading(about=str(os.getpid()))))


def test_a_reader_that_crashes_is_begun_again() -> None:
    with reader_process(serve, Path("some core")) as reader:
        first = ask(reader.connection, what="read", number=1)
        crashed = ask(reader.connection, what="crash", number=2)
        assert crashed["number"] is None
        reading = ScreenReading.from_json(crashed["reading"])  # type: ignore[arg-type]
        assert "the libraries that read some core crashed (SIGSEGV)" in reading.error
        assert reading.hint
        again = ask(reader.connection, what="read", number=3)
        assert again["number"] == 3
        assert again["reading"] != first["reading"]
        failed = ask(reader.connection, what="fail", number=4)
        assert failed["number"] is None
        assert "RuntimeError" in reader.messages()


def test_what_a_reader_writes_is_kept_from_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(connection: socket.socket) -> None:
        os.write(1, b"to standard output")
        os.write(2, b"to standard error")
        serve(connection)

    with reader_process(loud, None) as reader:
        ask(reader.connection, what="read", number=1)
        assert reader.messages() == "to standard error"
    assert capfd.readouterr() == ("", "")
