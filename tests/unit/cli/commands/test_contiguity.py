# SPDX-License-Identifier: GPL-2.0-only
"""The options of contiguity, and what it prints, without a core."""

import json

import pytest
from blocked_pages import PINNED, BlockedPages

from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.errors import Exit
from pageinspect.inspector import inspector


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--order", "2"], "order"),
        (["--order", "19"], "order"),
        (["--order", "x"], "order"),
        (["--top", "-1"], "number of rows"),
        (["--for"], "--for"),
        (["-j", "0"], "number of processes"),
        (["--pfn", "0"], "--pfn"),
    ],
)
def test_options_that_are_invalid(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["contiguity", *options]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert message in first + second
    assert second.startswith("  hint: ")


def test_defaults() -> None:
    args = build_parser().parse_args(["contiguity"])
    assert (args.order, args.wanted, args.top, args.jobs) == (None, None, None, None)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> BlockedPages:
    """Give a kernel that the command opens."""
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    monkeypatch.setattr(inspector, "inspect", lambda _: kernel.inspector())
    monkeypatch.setattr("pageinspect.inspector.source.inspect", lambda _: kernel.inspector())
    for name in ("options", "commands.contiguity"):
        monkeypatch.setattr(f"pageinspect.cli.{name}.open_target", lambda *_: None)
    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", lambda task, _core, **_: task())
    monkeypatch.setattr("pageinspect.host.startup.configure_libraries", lambda: None)
    return kernel


@pytest.mark.usefixtures("made")
def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contiguity", "-c", "core", "--order", "6", "--top", "2"]) == Exit.COMPLETE
    text = capsys.readouterr().out
    assert "Owners in the way of blocks of 256 KiB:" in text
    assert "4 more owners with fewer blocks: --top 0 shows all." in text
    assert "\nPages of the first:\n    pageinspect list -c CORE --owner 'table:bash[812]'\n" in text


@pytest.mark.usefixtures("made")
def test_json_has_all_owners_and_their_pages(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["contiguity", "-c", "core", "--order", "6", "--format", "json"]
    assert main(words) == Exit.COMPLETE
    document = json.loads(capsys.readouterr().out)
    ranges = {row["name"]: row["ranges"] for row in document["blockers"]}
    assert ranges["/c"] == [{"start": PINNED, "end": PINNED + 1}]
    assert len(ranges) == 6


@pytest.mark.usefixtures("made")
def test_what_is_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["contiguity", "-c", "core", "--for", "pfn:0xb0-0x108"]
    assert main(words) == Exit.COMPLETE
    text = capsys.readouterr().out
    assert "21 are in the way" in text
    assert "unpin" in text
    assert main([*words, "--top", "1"]) == Exit.COMPLETE
    text = capsys.readouterr().out
    assert "2 more ranges of pages: --top 0 shows all." in text
    assert "unpin" not in text
    for options, n in ((["--top", "0"], 3), (["--top", "2"], 2), ([], 3)):
        assert main([*words, *options, "--format", "json"]) == Exit.COMPLETE
        assert len(json.loads(capsys.readouterr().out)["rows"]) == n
    assert main([*words, "--order", "9"]) == Exit.USAGE
    assert "exclude each other" in capsys.readouterr().err
