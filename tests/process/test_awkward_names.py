# SPDX-License-Identifier: GPL-2.0-only
"""A file's name with an escape and a line feed in it: no command writes these to a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from elf_builder import X86_64, elf_core
from kdump_builder import FROM_QEMU, FULL, core, flat
from places import PACKAGE

from pageinspect.host import terminal

NAME = "a\x1b[31m\nname"
SHOWN = r"a\x1b[31m\nname"
COMMANDS = (
    ["summary"],
    ["list"],
    ["owners"],
    ["contiguity"],
    ["processes"],
    ["check"],
    ["types"],
    ["page", "0"],
    ["export", "--kpageflags", "/dev/null"],
)
CORES = {
    "sound so far": elf_core(X86_64),
    "cut off": elf_core(X86_64)[:5000],
    "flattened": flat((0, core(names=FULL))),
    "copied": core(names=FROM_QEMU),
    "a text": b"no core\n" * 1000,
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("content", CORES)
def test_the_name_of_a_core_is_escaped(command: list[str], content: str, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(CORES[content])
    argv = [sys.executable, "-m", "pageinspect", *command, "-c", path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert all(line.startswith(("pageinspect: ", "  hint: ")) for line in done.stderr.splitlines())
    assert content == "sound so far" or SHOWN in done.stderr


@pytest.mark.parametrize("option", ["-o", "-s", "--btf", "--kallsyms", "--vmcoreinfo", "--qemu"])
def test_the_names_of_other_files_are_escaped(option: str, tmp_path: Path) -> None:
    core_path = tmp_path / "core"
    core_path.write_bytes(elf_core(X86_64))
    name = tmp_path / "no folder" / NAME
    target = [] if option == "--qemu" else ["-c", core_path]
    argv = [sys.executable, "-m", "pageinspect", "types", *target, option, name]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert SHOWN in done.stderr


def test_what_is_said_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(f"wrote {NAME}")
    terminal.write_line(f"| {NAME}")
    assert capsys.readouterr().err == f"pageinspect: wrote {SHOWN}\n| {SHOWN}\n"


def test_nothing_else_writes_names_to_standard_error() -> None:
    package = PACKAGE
    writers = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "stderr.write(f" in file.read_text(encoding="utf-8")
    }
    # The last word of an error, which it escapes; the number of pages; who is in the guest.
    assert writers <= {"cli/main.py", "cli/commands/export.py"}, os.linesep.join(sorted(writers))
