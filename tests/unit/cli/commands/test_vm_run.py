# SPDX-License-Identifier: GPL-2.0-only
"""The command line of vm run, and its errors before a guest boots."""

from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

import pytest

from pageinspect.cli.commands import vm_run
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.errors import Exit, PageInspectError
from pageinspect.vm import session


def test_a_shell_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.setattr(vm_run, "in_guest", lambda _: nullcontext("guest"))
    monkeypatch.setattr(session, "run_command", lambda guest, command, *_: (guest, command))
    assert vm_run.run(build_parser().parse_args(["vm", "run", "6.12"])) == ("guest", ["/bin/sh"])


def test_a_kernel_that_is_no_file_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vm", "run", "--kernel", str(tmp_path / "none"), "--", "true"]) == 2
    assert "is not a kernel" in capsys.readouterr().err


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


def test_what_the_system_refuses_before_the_command_runs_exits_with_125(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "modules")

    monkeypatch.setattr(vm_run, "guest_of", refuse)
    with (
        pytest.raises(PageInspectError, match="modules: Permission denied") as caught,
        vm_run.in_guest(Namespace()),
    ):
        pass
    assert caught.value.exit_code == Exit.GUEST_LOST
