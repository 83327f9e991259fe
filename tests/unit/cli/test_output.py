# SPDX-License-Identifier: GPL-2.0-only
"""Where -o writes: files whole or not at all; links, devices and FIFOs as they are."""

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest

from pageinspect.cli.output import check_output, is_same_output, open_output
from pageinspect.errors import PageInspectError, UsageError


def write(output: Path, text: str) -> None:
    with open_output(output) as stream:
        stream.write(text)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    output = tmp_path / "report"
    write(output, "first")
    with contextlib.suppress(KeyError), open_output(output) as stream:
        stream.write("half")
        raise KeyError
    assert output.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"


def test_a_fifo_stays_one(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write(fifo, "text")
    reader.join(10)
    assert read == ["text"]
    assert fifo.is_fifo()


def test_an_output_that_cannot_be_written_is_reported_before_the_work(tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "no" / "report", Path("/")):
        with pytest.raises(PageInspectError, match="cannot write"):
            check_output(output)
    check_output(None)
    check_output(tmp_path / "new")


def test_a_dash_is_no_file() -> None:
    with pytest.raises(UsageError, match="is not a file name"):
        check_output(Path("-"))


def test_a_closed_standard_output_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(PageInspectError, match="is closed") as caught:
        check_output(None)
    assert "-o FILE" in caught.value.hint
    check_output(Path("report"))


def test_a_closed_pipe_is_not_a_failure_to_write(tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    with pytest.raises(BrokenPipeError):
        write(Path(f"/dev/fd/{written}"), "text")
    os.close(written)


def test_a_mode_is_for_a_file_that_is_made(tmp_path: Path) -> None:
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo)
    with plain.open("w") as stream:
        for output in (fifo, Path("/dev/null"), Path(f"/dev/fd/{stream.fileno()}")):
            with pytest.raises(UsageError, match="--mode is for a file"):
                check_output(output, 0o640)
            check_output(output)
    check_output(plain, 0o640)
    check_output(tmp_path / "new", 0o640)


def test_one_output_under_two_names(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(".")
    (tmp_path / "link").symlink_to("new")
    new = tmp_path / "new"
    for other in ("new", "folder/new", "link", "folder/folder/link"):
        assert is_same_output(new, tmp_path / other)
    assert not is_same_output(new, tmp_path / "other")


def test_an_output_that_cannot_be_written_is_reported_before_tracing() -> None:
    check_output(None)
    check_output(Path("report"))
    with pytest.raises(PageInspectError, match="cannot write /no/such/folder/report"):
        check_output(Path("/no/such/folder/report"))
