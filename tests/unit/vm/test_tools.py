# SPDX-License-Identifier: GPL-2.0-only
from pathlib import Path

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.vm import tools


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing on its PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_SEARCH", (str(tmp_path),))


@pytest.mark.usefixtures("bare")
def test_missing_programs_are_named_with_what_installs_them() -> None:
    with pytest.raises(PageInspectError) as error:
        tools.require(["mksquashfs", "busybox", "apt-get", "apt-cache"])
    assert error.value.message == (
        "this needs apt-cache, apt-get, busybox, mksquashfs, which this machine does not have"
    )
    assert error.value.hint == "apt-get install apt busybox-static squashfs-tools"


@pytest.mark.usefixtures("bare")
def test_running_a_missing_program_says_the_same() -> None:
    with pytest.raises(PageInspectError, match="this needs cpio"):
        tools.run(["cpio"], why="-", hint="-")


def test_a_program_that_only_roots_path_has_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "depmod"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(tools, "_SEARCH", (str(tmp_path),))
    assert tools.find("depmod") == str(program)


def test_every_program_has_its_package() -> None:
    assert {*tools.BUILD_PROGRAMS, *tools.RUN_PROGRAMS} == set(tools.PACKAGE_OF)
