# SPDX-License-Identifier: GPL-2.0-only
"""The wheel, installed in an empty environment, away from the source tree."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from places import ROOT

from pageinspect.vm.guest import Guest


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """Return the Python of an environment that has the wheel and what it depends on."""
    folder = wheel.parent
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=folder)
    return python


def test_the_wheel_has_all_of_the_package_its_license_and_what_is_generated(wheel: Path) -> None:
    """py.typed and other data files of the package included."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "pageinspect").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert package <= names
    assert {name.partition("/")[2] for name in names if ".dist-info/licenses/" in name} == {
        "licenses/LICENSE"
    }
    assert {name.partition("/")[2] for name in names if ".data/" in name} == {
        "data/share/man/man1/pageinspect.1",
        "data/share/bash-completion/completions/pageinspect",
        "data/share/zsh/site-functions/_pageinspect",
    }


def test_the_source_archive_has_what_the_wheel_is_made_from(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "again", archive,
        cwd=tmp_path)  # fmt: skip
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(again) as second, zipfile.ZipFile(wheel) as first:
        assert sorted(second.namelist()) == sorted(first.namelist())


def test_help_and_data_folders(python: Path, tmp_path: Path) -> None:
    text = run(python.with_name("pageinspect"), "--help", cwd=tmp_path)
    assert "summary" in text
    program = (
        "from pageinspect.paths import data_folder as d; print(d('bpf')); print(d('vm-images'))"
    )
    for line in run(python, "-c", program, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(python.parents[1])
        assert list(Path(line).iterdir())
    assert "newest" in run(python.with_name("pageinspect"), "vm", "list", cwd=tmp_path)


def test_types_of_a_core(python: Path, ready, tmp_path: Path) -> None:
    with Guest(ready("newest"), memory="512M") as guest:
        guest.dump(tmp_path / "core")
    out = run(
        python.with_name("pageinspect"), "types", "-c", "core", "--format", "json", cwd=tmp_path
    )
    types = {t["name"]: t["value"] for t in json.loads(out)["types"]}
    assert types["zsmalloc"] == "0xf6"
    assert types["buddy"] == "0xf0"
