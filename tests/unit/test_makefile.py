"""`make install` and `make uninstall` in folders of this test, with a stand-in for Python."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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


def make(target: str, prefix: Path) -> subprocess.CompletedProcess[str]:
    folder = prefix.parent
    variables = [f"PREFIX={prefix}", f"BINDIR={folder}/bin", f"PYTHON={folder}/python"]
    # What Debian packages are there is no matter here.
    command = ["make", "-C", str(ROOT), "-o", "packages", target, *variables]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_install_and_uninstall_leave_nothing(prefix: Path) -> None:
    link = prefix.parent / "bin/pageinspect"
    for _ in range(2):
        done = make("install", prefix)
        assert done.returncode == 0, done.stderr
        assert "pip install -q ." in done.stdout
        assert done.stdout.splitlines()[-2] == "pageinspect --version"
        assert link.readlink() == prefix / "bin/pageinspect"
    assert make("uninstall", prefix).returncode == 0
    assert not prefix.exists()
    assert not link.is_symlink()
    assert make("uninstall", prefix).returncode != 0


def test_neither_takes_a_folder_of_others(prefix: Path) -> None:
    (prefix / "bin").mkdir(parents=True)
    (prefix / "precious").touch()
    for target, said in (("install", "PREFIX=FOLDER"), ("uninstall", "is not in")):
        done = make(target, prefix)
        assert done.returncode != 0
        assert said in done.stdout
        assert [path.name for path in sorted(prefix.iterdir())] == ["bin", "precious"]


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
