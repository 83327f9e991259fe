# SPDX-License-Identifier: GPL-2.0-only
"""The readings of -i: until Ctrl-C, on a terminal and elsewhere."""

import io
import json
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic import MODERN

from pageinspect.cli import intervals
from pageinspect.cli.intervals import write_readings
from pageinspect.cli.parser import build_parser
from pageinspect.cli.targets import SnapshotName
from pageinspect.errors import Exit, PageInspectError, UsageError
from pageinspect.model.provenance import GuestState, Provenance
from pageinspect.report import Coverage
from pageinspect.report.owners import OwnerRow, OwnersReport
from pageinspect.report.since import Measured

LIVE = Provenance("7.3.4-test", "live", "btf")
MEASURED = Measured(("kind", "name", "filesystem"), "pages", "pages")


def report(pages: int, unreadable: int = 0, provenance: Provenance = LIVE) -> OwnersReport:
    rows = (OwnerRow("slab", "dentry", pages), OwnerRow("anon", "sh[8]", 1))
    return OwnersReport(provenance, MODERN, Coverage(100, unreadable), "name", rows, top=0)


def arguments(**given: Any) -> Namespace:
    plain = {"interval": 0.01, "format": "jsonl", "output": None, "mode": None, "top": None}
    return Namespace(**(plain | given))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals._Ticks, "wait", lambda _: None)


def readings(*pages: int, at_end: Callable[[], object]) -> Callable[[bool], OwnersReport]:
    """Return a function that reads these numbers of pages, and then does `at_end`."""
    left: Iterator[int] = iter(pages)

    def read(whole: bool) -> OwnersReport:
        assert whole
        found = next(left, None)
        if found is None:
            at_end()
        return report(found or 0)

    return read


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_readings_until_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert write_readings(arguments(), readings(5, 8, 6, at_end=interrupt), MEASURED) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["pages"], row["change"]) for row in rows if row["name"] == "dentry"] == [
        (5, None), (8, 3), (6, -2),
    ]  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is before


def test_json_is_a_document_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    read = readings(5, 8, at_end=interrupt)
    assert write_readings(arguments(format="json"), read, MEASURED) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["rows"][0]["change"] for document in documents] == [None, 3]


def test_csv_has_one_header(capsys: pytest.CaptureFixture[str]) -> None:
    read = readings(5, 8, at_end=interrupt)
    assert write_readings(arguments(format="csv", top=1), read, MEASURED) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("time,kind,name")
    assert ["slab" in line for line in lines] == [False, True, False, True, False]
    assert ["more owner" in line for line in lines] == [False, False, True, False, True]


def test_an_interrupt_while_a_report_is_written_does_not_cut_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = intervals.IntervalOutput.write

    def interrupted(self: Any, found: Any, *, redrawn: bool) -> None:
        interrupt()
        write(self, found, redrawn=redrawn)

    monkeypatch.setattr(intervals.IntervalOutput, "write", interrupted)
    read = readings(5, at_end=lambda: pytest.fail("read again"))
    assert write_readings(arguments(format="json"), read, MEASURED) == 0
    assert json.loads(capsys.readouterr().out)["rows"]


def test_a_process_that_walks_ends_at_the_interrupt_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def end() -> None:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        raise PageInspectError("a process ended", "try again")

    assert write_readings(arguments(), readings(5, at_end=end), MEASURED) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_error_of_a_reading_is_an_error() -> None:
    def fail() -> None:
        raise PageInspectError("the kernel is gone", "look for it")

    with pytest.raises(PageInspectError, match="gone"):
        write_readings(arguments(), readings(5, at_end=fail), MEASURED)


def test_an_incomplete_reading_is_the_exit_status() -> None:
    parts = iter((3, 0))

    def read(_whole: bool) -> OwnersReport:
        unreadable = next(parts, None)
        if unreadable is None:
            interrupt()
        return report(5, unreadable or 0)

    assert write_readings(arguments(), read, MEASURED) == Exit.INCOMPLETE


def test_a_terminal_is_redrawn_and_the_first_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "6")
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", screen)
    read = readings(5, 8, at_end=interrupt)
    assert write_readings(arguments(format="table"), read, MEASURED) == 0
    _, *screens = screen.getvalue().split("\x1b[H\x1b[2J")
    assert len(screens) == 2
    assert all(text.count("\n") == 5 for text in screens)
    assert "change" in screens[0]


def test_a_file_has_all_readings(tmp_path: Path) -> None:
    file = tmp_path / "out"
    read = readings(5, 8, at_end=interrupt)
    assert write_readings(arguments(output=file, mode=0o640), read, MEASURED) == 0
    assert len(file.read_text().splitlines()) == 4
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_end_of_the_reader_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        read = readings(5, at_end=lambda: pytest.fail("read again"))
        assert write_readings(arguments(), read, MEASURED) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"core": Path("core")}, "a core does not change"),
        ({"snapshot": SnapshotName(Path("set"))}, "a snapshot does not change"),
        ({"qemu": Path("qmp"), "pause": True}, "a paused guest does not change"),
    ],
)
def test_a_target_that_does_not_change(given: dict[str, Any], message: str) -> None:
    read = readings(at_end=lambda: pytest.fail("read"))
    with pytest.raises(UsageError, match=message):
        write_readings(arguments(**given), read, MEASURED)


def test_memory_that_does_not_change() -> None:
    for provenance in (
        Provenance("7.3", "core", "btf"),
        Provenance("7.3", "qemu", "btf", guest=GuestState(paused=True, denied="")),
    ):
        found = report(5, provenance=provenance)
        with pytest.raises(UsageError, match="does not change"):
            write_readings(arguments(), lambda _, found=found: found, MEASURED)


def test_without_an_interval_there_is_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    def read(whole: bool) -> OwnersReport:
        assert not whole
        return report(5, 1)

    args = arguments(interval=None)
    assert write_readings(args, read, MEASURED) == Exit.INCOMPLETE
    assert "change" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["summary", "owners", "processes"])
def test_the_commands_that_have_it(command: str) -> None:
    args = build_parser().parse_args([command, "-i", "0.5"])
    assert args.interval == 0.5
    assert build_parser().parse_args([command]).interval is None


def test_ticks_that_passed_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now, slept = [100.0], list[float]()
    monkeypatch.setattr(intervals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(intervals.time, "sleep", slept.append)
    ticks = intervals._Ticks(5)
    for at in (101.0, 105.5, 118.0):
        now[0] = at
        ticks.wait()
    assert slept == [4.0, 4.5, 2.0]
