import argparse
import csv
import io
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from pageinspect.cli.commands import vm_dump, vm_run
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.cli.vm_options import kernel_of
from pageinspect.errors import UsageError
from pageinspect.vm import crash_dump, session


def _parse(text: str) -> argparse.Namespace:
    return build_parser().parse_args(text.split())


@pytest.mark.parametrize(
    ("line", "name", "command"),
    [
        ("vm run 6.12", "6.12", []),
        ("vm run 6.12 -- ls -l", "6.12", ["ls", "-l"]),
        ("vm run 6.12 --memory 1G -- ls --memory -- x", "6.12", ["ls", "--memory", "--", "x"]),
        ("vm run --memory 1G 6.12 --", "6.12", []),
        ("vm run --kernel bzImage -- uname", None, ["uname"]),
        ("vm dump 6.12 -o core -- sync", "6.12", ["sync"]),
    ],
)
def test_what_follows_the_dashes_is_the_command(
    line: str, name: str | None, command: list[str]
) -> None:
    args = _parse(line)
    assert (args.name, args.command) == (name, command)


@pytest.mark.parametrize(
    "line",
    ["vm run", "vm run 6.1 --kernel k", "vm run 6.1 --modules m", "vm run --modules m", "vm run x"],
)
def test_it_must_be_clear_which_kernel(line: str) -> None:
    with pytest.raises(UsageError) as error:
        kernel_of(_parse(line), print)
    assert "6.1, 6.12, newest" in error.value.hint


def test_a_shell_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr(vm_run, "in_guest", lambda _: nullcontext("guest"))
    monkeypatch.setattr(session, "run_command", lambda guest, command, *_: (guest, command))
    assert vm_run.run(_parse("vm run 6.12")) == ("guest", ["/bin/sh"])


def test_a_kernel_that_is_no_file_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vm", "run", "--kernel", str(tmp_path / "none"), "--", "true"]) == 2
    assert "is not a kernel" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["vm build --suite x", "vm build 6.1 --suite x --series 6.1"])
def test_suite_and_series_go_together(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "--suite and --series go together" in capsys.readouterr().err


def test_run_without_tools_is_125_and_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pageinspect.vm.tools._SEARCH", (str(tmp_path),))
    assert main(["vm", "run", "6.12", "--", "true"]) == 125
    said = capsys.readouterr().err
    assert "qemu-system-x86_64" in said
    assert "apt-get install" in said


def test_list_shows_the_catalogue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    assert main(["vm", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ["6.1", "bookworm", "not", "built", "no"],
        ["6.12", "trixie", "not", "built", "no"],
        ["newest", "trixie-backports", "not", "built", "no"],
    ]
    assert main(["vm", "list", "--format", "json"]) == 0
    kernels = json.loads(capsys.readouterr().out)["kernels"]
    assert [(k["name"], k["series"], k["release"]) for k in kernels] == [
        ("6.1", "6.1", None),
        ("6.12", "6.12", None),
        ("newest", "newest", None),
    ]
    assert main(["vm", "list", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{**k, "release": "", "bytes": "", "debuginfo": "false"} for k in kernels] == rows


def test_every_form_of_a_kdump_can_be_asked_for() -> None:
    assert tuple(crash_dump.FORMS) == vm_dump._FORMS
