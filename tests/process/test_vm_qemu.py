# SPDX-License-Identifier: GPL-2.0-only
"""QEMU as it starts: a program in its place says what it was asked for, or ends at once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from qemu_arguments import PLAIN_GUEST, value_of

from pageinspect.vm import accel, qemu
from pageinspect.vm.qemu import command_line


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    qemu.sandbox.cache_clear()
    yield
    qemu.sandbox.cache_clear()


def _qemu_that(ends: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in QEMU's place, and a cache of its own."""
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(folder / "cache"))
    program = folder / "qemu-system-x86_64"
    program.write_text(f"#!/bin/sh\n{ends}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_qemu_runs_in_its_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _qemu_that(
        f'echo "$@" > {tmp_path}/asked; read line; [ "$line" = quit ]', tmp_path, monkeypatch
    )
    sandbox = value_of(command_line(PLAIN_GUEST), "-sandbox")
    denied = ("obsolete", "elevateprivileges", "spawn", "resourcecontrol")
    assert sandbox.split(",") == ["on", *(f"{what}=deny" for what in denied)]
    assert f"-sandbox {sandbox}" in (tmp_path / "asked").read_text()


def test_a_qemu_that_has_no_sandbox_runs_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _qemu_that("exit 1", tmp_path, monkeypatch)
    assert "-sandbox" not in command_line(PLAIN_GUEST)


def test_a_qemu_that_dies_at_once_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _qemu_that("exit 1", tmp_path, monkeypatch)
    assert not accel._starts(Path("/k"), "/i")


def test_output_of_qemu_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _qemu_that("echo first; echo cannot >&2; exit 3", tmp_path, monkeypatch)
    process = qemu.Qemu(replace(PLAIN_GUEST, agent=None, monitor=None))
    assert process.wait(20) == 3
    assert process.last_output == "first; cannot"
    process.close()
