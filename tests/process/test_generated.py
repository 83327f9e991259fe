# SPDX-License-Identifier: GPL-2.0-only
"""The files that packaging/generate.py writes, as bash and groff take them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

MAN_PAGE = "share/man/man1/pageinspect.1"
BASH = "share/bash-completion/completions/pageinspect"
ZSH = "share/zsh/site-functions/_pageinspect"


def run(*command: object, given: str | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), input=given, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    run(sys.executable, ROOT / "packaging/generate.py", folder)
    return folder


def completed(script: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    program = f"""
set -- {" ".join(f"'{word}'" for word in words)}
source {script}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_shtab_pageinspect
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return run("bash", "-c", program).split()


def test_bash_completes_commands_options_and_choices(folder: Path) -> None:
    script = folder / BASH
    assert completed(script, "pageinspect", "su") == ["summary"]
    assert completed(script, "pageinspect", "vm", "du") == ["dump"]
    assert completed(script, "pageinspect", "check", "--qe") == ["--qemu"]
    assert "json" in completed(script, "pageinspect", "list", "--format", "j")
    assert completed(script, "pageinspect", "vm", "run", "--accel", "k") == ["kvm"]
    assert completed(script, "pageinspect", "summary", "--by", "z") == ["zone"]
    assert completed(script, "pageinspect", "trace", "--by", "ca") == ["caller"]
    assert completed(script, "pageinspect", "vm", "run", "6.1") == ["6.1", "6.12"]
    assert completed(script, "pageinspect", "vm", "dump", "n") == ["newest"]


def test_bash_completes_names_of_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "vmcore").touch()
    found = completed(folder / BASH, "pageinspect", "page", "--core", f"{tmp_path}/vm")
    assert found == [f"{tmp_path}/vmcore"]


def test_the_generator_needs_neither_drgn_nor_numpy(tmp_path: Path) -> None:
    program = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(('drgn', 'numpy', 'tabulate', 'tqdm',"
        " 'bcc', 'qemu'))); sys.path.insert(0, sys.argv[2]); sys.argv[:] = sys.argv[1:2] * 2;"
        " runpy.run_path(sys.path[0] + '/generate.py', run_name='__main__')"
    )
    run(sys.executable, "-c", program, tmp_path, ROOT / "packaging")
    assert (tmp_path / MAN_PAGE).exists()


# make test installs neither: where they are not, tests/unit/test_packaging.py stands for them.
if shutil.which("groff"):

    def test_groff_formats_the_page_without_a_warning(folder: Path) -> None:
        page = (folder / MAN_PAGE).read_text(encoding="utf-8")
        text = run("groff", "-ww", "-man", "-Kutf8", "-Tutf8", "-P-c", "-P-bou", given=page)
        assert "pageinspect vm dump [KERNEL | --kernel FILE]" in text
        assert "EXIT STATUS" in text


if shutil.which("zsh"):

    def test_zsh_parses_its_script(folder: Path) -> None:
        run("zsh", "-n", folder / ZSH)
