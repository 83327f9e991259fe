# SPDX-License-Identifier: GPL-2.0-only
"""Every option of every command, with values that make no sense: one line, a hint, no traceback."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import MODERN

from pageinspect.cli.main import main
from pageinspect.cli.parser import CommandParser, build_parser
from pageinspect.cli.trace_frees import check_types
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector import address
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.range_text import resolve

JUNK = (
    "",
    "-",
    "-1",
    "foo",
    "0",
    "1e9",
    "9" * 30,
    "0x" + "f" * 5000,
    "1.5G",
    os.fsdecode(b"\xff\xfe"),
    "\x1b[31mred\a\n",
    "/dev/null/file",
    ".",
    "=",
    "=1+1",
    ",",
    "%s{}",
    "phys:",
    "None",
    "loop",
)
MEMORY_MAP = MemoryMap(((0x1000, 0x1004), (0x8000, 0x9000)), ())
CORE = ["-c", "core"]
BEFORE = {
    "page": [*CORE, "0x1000"],
    "export": [*CORE, "--kpageflags", "out"],
    "diff": ["core", "core"],
    "snapshot": [*CORE, "-o", "out"],
    "report": [*CORE, "-o", "out"],
    "fleet": [".", "hosts"],
    "vm run": ["newest"],
    "vm dump": ["newest", "-o", "out"],
} | dict.fromkeys(
    (
        "owners",
        "contiguity",
        "map",
        "summary",
        "list",
        "processes",
        "check",
        "audit",
        "types",
        "top",
    ),
    CORE,
)
"""With what a command gets as far as opening something that is not there."""
ENDS_WELL = {"doctor", "vm list"}
"""What does its work here, where the value is one that it takes."""


def parsers(parser: CommandParser, name: str = "") -> Iterator[tuple[str, CommandParser]]:
    parser.load()
    if parser._subparsers is None:
        yield name, parser
        return
    for word, child in parser._subparsers._group_actions[0].choices.items():
        yield from parsers(child, f"{name} {word}".strip())


PARSER = build_parser()
COMMANDS = dict(parsers(PARSER))


def command_lines(name: str) -> Iterator[list[str]]:
    for action in COMMANDS[name]._actions:
        before = BEFORE.get(name, [])
        if not action.option_strings:
            options = before[: before.index("0x1000")] if "0x1000" in before else []
            yield from ([*options, value] for value in JUNK)
            continue
        option = action.option_strings[-1]
        if option == "--help":
            continue
        if option in {"--core", "--qemu"}:
            before = before[2:]
        if action.nargs == 0:
            yield [*before, option]
            yield [*before, f"{option}=foo"]
        elif action.nargs == argparse.REMAINDER:
            yield from ([*before, option, value] for value in JUNK)
        else:
            yield [*before, option]
            yield from ([*before, f"{option}={value}"] for value in JUNK)


MORE_STATUSES = {"vm run": (125,), "vm dump": (125,), "audit": (3,)}


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """See that nothing is asked of this machine's kernel, and that no guest is made."""

    def refuse(*_: object, **__: object) -> None:
        raise PageInspectError("this is as far as it goes", "stop here")

    monkeypatch.chdir(tmp_path)
    # A snapshot would hide pandas.
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    (tmp_path / "core").write_bytes(b"not a core" * 1000)
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pageinspect.vm.tools._SEARCH", (str(tmp_path),))
    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", lambda task, _core, **_: task())
    monkeypatch.setattr("pageinspect.host.startup.configure_libraries", lambda: None)
    monkeypatch.setattr("pageinspect.target.open._open_live", refuse)
    # Building it takes longer than all else that is tested.
    monkeypatch.setattr("pageinspect.cli.parser.build_parser", lambda: PARSER)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr("pageinspect.trace.find_bcc.find_bcc", lambda: tmp_path)
    monkeypatch.setattr("pageinspect.trace.compile.preload", lambda: None)
    monkeypatch.setattr("pageinspect.doctor.items.examine", lambda: ())


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("name", COMMANDS)
def test_nonsense_on_the_command_line_is_one_line_and_a_hint(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses = set()
    for words in command_lines(name):
        status = main([*name.split(), *words])
        told = capsys.readouterr().err
        statuses.add(status)
        if status == 0 and name in ENDS_WELL:
            assert told == "", words
            continue
        assert status in {1, 2, *MORE_STATUSES.get(name, ())}, words
        first, second = told.splitlines()
        assert first.startswith("pageinspect: error: "), words
        assert second.startswith("  hint: "), words
        assert len(second) > len("  hint: "), words
        assert (first + second).isprintable(), words
        # That is what becomes of an error that nobody thought of.
        assert "made sense of" not in told, words
        assert "report this line" not in told, words
    assert 2 in statuses


@pytest.mark.usefixtures("harmless")
def test_two_links_that_lead_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").symlink_to("other")
    assert main(["export", *CORE, "--kpageflags", "loop", "--kpagecount", "other"]) == 1
    assert "cannot write loop: " in capsys.readouterr().err


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("value", ["", "foo", "5-5", "16M", "phys:"])
def test_the_form_of_a_range_is_looked_at_before_bcc(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pageinspect.trace.find_bcc.find_bcc", lambda: pytest.fail("too late"))
    assert main(["trace", f"--pfn={value}"]) == 2


@pytest.mark.parametrize("text", JUNK)
def test_junk_where_a_kernel_is_at_hand(text: str) -> None:
    for ask in (
        lambda: resolve([text], MEMORY_MAP, 12),
        lambda: resolve([f"phys:{text}+{text}"], MEMORY_MAP, 12),
        lambda: check_types((text,), MODERN),
        lambda: address.resolve_addresses([text], None, MODERN, MEMORY_MAP),
        lambda: address.resolve_addresses([f"page:{text}"], None, MODERN, MEMORY_MAP),
    ):
        with pytest.raises(UsageError) as caught:
            ask()
        assert caught.value.hint


def test_the_test_sees_every_command() -> None:
    assert len(COMMANDS) == 18 + 4
    assert all(len(list(command_lines(name))) > len(JUNK) for name in COMMANDS)
