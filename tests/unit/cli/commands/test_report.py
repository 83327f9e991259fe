# SPDX-License-Identifier: GPL-2.0-only
"""The command report on a kernel made by hand: options, the file, and what is left out."""

import argparse
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from blocked_pages import BlockedPages
from made_page import unpacked

from pageinspect.cli.commands import report as command
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import Exit, PageInspectError
from pageinspect.inspector import inspector as inspector_module
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.snapshot import take
from pageinspect.kernel import boot


def test_a_page_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "core"]) == Exit.USAGE
    assert "-o" in capsys.readouterr().err


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
    with pytest.raises(PageInspectError, match="is not one JSON document of trace"):
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
    assert len(lines) == 9
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "pageinspect"
        build_parser().parse_args(words)


def test_a_page_of_a_snapshot(made: BlockedPages, tmp_path: Path) -> None:
    taken = take(made.inspector(), host="lab", fold=fold_here)
    write_snapshot(tmp_path / "data", replace(taken, time="20261127T201500Z"))
    path = tmp_path / "report.html"
    run(str(tmp_path / "data"), "-o", str(path))
    text = path.read_text(encoding="utf-8")
    assert "<h1>Memory of lab</h1>" in text
    assert "A snapshot has no struct pages to check." in text
    assert 'id="audit"' not in text
    (data,) = re.findall(r'id="data">([^<]*)', text)
    target = f"{tmp_path}/data@20261127T201500Z#lab"
    assert unpacked(data)["target"] == f" -c '{target}'"
    assert not unpacked(data)["structPages"]
    lines = re.findall(r"<code[^>]*>(.*?)</code>", text.partition('<dl class="commands">')[2])
    assert [line.split()[1] for line in lines].count("check") == 0
