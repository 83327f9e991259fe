# SPDX-License-Identifier: GPL-2.0-only
"""`make install` and `make uninstall` in folders of this test, with a stand-in for Python."""

import re
import subprocess
from pathlib import Path

import pytest
from places import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYTHON = """#!/bin/sh
# -m venv FOLDER
mkdir -p "$3/bin" && touch "$3/pyvenv.cfg"
printf '#!/bin/sh\\necho pip "$@"\\n' > "$3/bin/pip"
printf '#!/bin/sh\\necho pageinspect "$@"\\n' > "$3/bin/pageinspect"
chmod +x "$3/bin/pip" "$3/bin/pageinspect"
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path / "app"


def make(target: str, prefix: Path, *more: str) -> subprocess.CompletedProcess[str]:
    folder = prefix.parent
    variables = [f"PREFIX={prefix}", f"BINDIR={folder}/bin", f"PYTHON={folder}/python", *more]
    # What Debian packages are there is no matter here.
    command = ["make", "-C", str(ROOT), "-o", "packages", target, *variables]
    return subprocess.run(command, capture_output=True, text=True, check=False)


SHARED = (
    "share/man/man1/pageinspect.1",
    "share/bash-completion/completions/pageinspect",
    "share/zsh/site-functions/_pageinspect",
)


def test_install_and_uninstall_leave_nothing(prefix: Path) -> None:
    link = prefix.parent / "bin/pageinspect"
    links = {prefix.parent / file: prefix / file for file in SHARED}
    others = prefix.parent / "share/man/man1/other.1"
    for _ in range(2):
        done = make("install", prefix)
        assert done.returncode == 0, done.stderr
        assert "pip install -q '.'" in done.stdout
        assert done.stdout.splitlines()[-2] == "pageinspect --version"
        assert link.readlink() == prefix / "bin/pageinspect"
        assert (prefix / ".pageinspect").exists()
        assert {path: path.readlink() for path in links} == links
    others.touch()
    assert make("uninstall", prefix).returncode == 0
    assert not any(path.is_symlink() for path in links)
    assert others.exists()
    assert not prefix.exists()
    assert not link.is_symlink()
    assert make("uninstall", prefix).returncode != 0


@pytest.mark.parametrize("there", ["precious", "pyvenv.cfg"])
def test_neither_takes_a_folder_of_others(prefix: Path, there: str) -> None:
    (prefix / "bin").mkdir(parents=True)
    (prefix / there).touch()
    # As where BINDIR is PREFIX/bin, and has the link of another installation.
    (prefix / "bin/pageinspect").symlink_to("/usr/bin/true")
    for target, said in (("install", "PREFIX=FOLDER"), ("uninstall", "has not put")):
        done = make(target, prefix)
        assert done.returncode != 0
        assert said in done.stdout
        assert sorted(path.name for path in prefix.iterdir()) == sorted(["bin", there])


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize(
    "path", ["/", "//", "", "/opt", "/opt/", "opt/app", "{}/app/../app", "{} {}/app", "~/app", "{}"]
)
def test_a_path_of_no_folder_of_its_own(prefix: Path, target: str, path: str) -> None:
    """Nothing is run here: make says what it would run, and that the first step refuses."""
    done = make(target, prefix, f"PREFIX={path.replace('{}', str(prefix.parent))}", "-n")
    assert done.returncode == 0
    assert re.match(r'if \[ -n "[^"]+" \]; then', done.stdout.splitlines()[1]), done.stdout


def test_a_folder_with_bindir_in_it_is_refused(prefix: Path) -> None:
    prefix.mkdir()
    (prefix / ".pageinspect").touch()
    for target in ("install", "uninstall"):
        done = make(target, prefix, f"BINDIR={prefix}/bin")
        assert done.returncode != 0
        assert "without BINDIR in it" in done.stdout
        assert [path.name for path in prefix.iterdir()] == [".pageinspect"]


def test_a_bindir_that_cannot_be_made_leaves_nothing(prefix: Path) -> None:
    done = make("install", prefix, f"BINDIR={prefix.parent}/python/bin")
    assert done.returncode != 0
    assert "sudo make install" in done.stdout
    assert not prefix.exists()


def test_an_empty_folder_is_taken(prefix: Path) -> None:
    prefix.mkdir()
    assert make("install", prefix).returncode == 0
    assert make("uninstall", prefix, f"PREFIX={prefix}/").returncode == 0
    assert not prefix.exists()


def test_an_installation_that_broke_off_can_be_repeated_and_removed(prefix: Path) -> None:
    assert make("install", prefix, "PYTHON=false").returncode != 0
    assert make("install", prefix).returncode == 0
    assert make("install", prefix, "PYTHON=false").returncode != 0
    assert make("uninstall", prefix).returncode == 0
    assert not prefix.exists()


def test_a_command_of_others_stays(prefix: Path) -> None:
    assert make("install", prefix).returncode == 0
    link = prefix.parent / "bin/pageinspect"
    link.unlink()
    link.symlink_to("/usr/bin/true")
    assert make("uninstall", prefix).returncode == 0
    assert link.is_symlink()


def test_the_demo_has_no_tools_for_development() -> None:
    (demo,) = re.findall(r"^demo: (.*)$", MAKEFILE, re.MULTILINE)
    assert demo.split() == ["packages", "$(VENV)/installed"]
    (rule,) = re.findall(r"^\$\(VENV\)/installed: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert "[dev]" not in rule
    (packages,) = re.findall(r"^PACKAGES := (.*?)(?<!\\)$", MAKEFILE, re.MULTILINE | re.DOTALL)
    assert not {"gcc", "libc6-dev"} & set(packages.split())
