# SPDX-License-Identifier: GPL-2.0-only
"""The command report on a kernel made by hand: options, the file, and what is left out."""

import argparse
import re
import shlex
import sys
from pathlib import Path

import pytest
from blocked_pages import BlockedPages
from made_page import unpacked

from pageinspect.cli.commands import report as command
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.errors import Exit, PageInspectError, UsageError
from pageinspect.inspector import inspector as inspector_module
from pageinspect.kernel import boot


def test_a_page_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "core"]) == Exit.USAGE
    assert "-o" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [["core", "-c", "other"], ["-c", "other", "core"], ["core", "--qemu", "socket"]],
)
def test_two_targets_are_refused(options: list[str]) -> None:
    with pytest.raises(UsageError, match="two targets are named"):
        run(*options, "-o", "x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["a core"], ["-c", "a core"]),
        (["-c", "core", "-s", "v"], ["-c", "core", "-s", "v"]),
        (["--qemu", "s", "--btf", "b"], ["--qemu", "s", "--btf", "b"]),
        (["--symbols-from", "btf"], ["--symbols-from", "btf"]),
        ([], []),
    ],
)
def test_commands_name_the_same_target(options: list[str], words: list[str]) -> None:
    args = build_parser().parse_args(["report", *options, "-o", "x"])
    assert [*command._target_words(args)] == words


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> BlockedPages:
    """Give a kernel that the command opens."""
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    monkeypatch.setattr(command, "open_target", lambda _args: kernel.inspector().target)
    monkeypatch.setattr(inspector_module, "inspect", lambda _target: kernel.inspector())
    monkeypatch.setattr(boot, "read_host", lambda *_: "a host")
    return kernel


def run(*options: str) -> int:
    args = build_parser().parse_args(["report", *options])
    args.jobs = 1
    return command.run(args)


@pytest.mark.usefixtures("made")
def test_it_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", "report", "a core", "-o", "r.html"])
    status = run("-o", str(path), "--no-check", "--mode", "600")
    assert status in (Exit.COMPLETE, Exit.INCOMPLETE)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text(encoding="utf-8")
    assert "It was left out by --no-check." in text
    assert "pageinspect report &#39;a core&#39; -o r.html" in text
    (data,) = re.findall(r'id="data">([^<]*)', text)
    assert unpacked(data)["target"] == ""


@pytest.mark.usefixtures("made")
def test_a_trace_that_is_none_is_found_out_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_args: argparse.Namespace) -> None:
        raise AssertionError

    monkeypatch.setattr(command, "open_target", opened)
    (tmp_path / "trace").write_text("{}", encoding="utf-8")
    with pytest.raises(PageInspectError, match="is not one document of trace"):
        run("-o", str(tmp_path / "x"), "--trace", str(tmp_path / "trace"))
    assert not (tmp_path / "x").exists()


def test_why_a_report_could_not_be_made() -> None:
    def fails() -> None:
        raise PageInspectError("no audit", "hint")

    assert command._or_why(fails) == "It could not be made: no audit."


@pytest.mark.usefixtures("made")
def test_the_commands_of_a_page_can_be_parsed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    run("-o", str(path), "--no-check")
    text = path.read_text(encoding="utf-8").partition('<dl class="commands">')[2]
    lines = re.findall(r"<code[^>]*>(.*?)</code>", text)
    assert len(lines) == 10
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "pageinspect"
        build_parser().parse_args(words)
