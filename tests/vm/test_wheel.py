"""The wheel, installed in an empty environment, away from the source tree."""

import json
import subprocess
import sys
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
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    (wheel,) = folder.glob("*.whl")
    run(python, "-m", "pip", "install", "-q", wheel, cwd=folder)
    return python


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
