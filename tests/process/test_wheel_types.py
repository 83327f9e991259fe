# SPDX-License-Identifier: GPL-2.0-only
"""Scripts are checked by mypy against the wheel, as those of a user are."""

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from places import DOCS, PACKAGE, ROOT

EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
MISUSE = """
import pageinspect

with pageinspect.open_core("core") as kernel:
    reveal_type(kernel.list(each=True))
    reveal_type(kernel.summary("use").rows)
    kernel.summary(by=5)
    kernel.lists()
"""


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the wheel, and with what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--no-index")
    built = run(*pip, "wheel", "-q", *options, "-w", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    (place,) = (folder / "venv/lib").glob("python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    installed = run(
        *pip, "install", "-q", "--no-deps", "--no-index", "--target", place, wheel, cwd=folder
    )
    assert installed.returncode == 0, installed.stderr
    # After the wheel, and without the .pth files there, which lead to the source tree.
    (place / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "venv/bin/python"


def test_the_wheel_has_the_parts_of_the_html_report(python: Path) -> None:
    (there,) = python.parents[1].glob("lib/python*/site-packages/pageinspect/html_report/parts")
    parts = {path.name: path.read_bytes() for path in (PACKAGE / "html_report/parts").iterdir()}
    assert {path.name: path.read_bytes() for path in there.iterdir()} == parts
    assert {Path(name).suffix for name in parts} == {".css", ".html", ".js"}


def mypy(python: Path, request: pytest.FixtureRequest, *scripts: Path) -> tuple[int, str]:
    cache = request.config.cache
    assert cache is not None
    done = run(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--scripts-are-modules"),
        *("--python-executable", python, "--cache-dir", cache.mkdir("mypy")),
        *scripts,
        cwd=python.parent,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_wheel_has_types_and_the_plugin(python: Path) -> None:
    done = run(
        *(python, "-c"),
        "import pageinspect; from importlib.metadata import distribution as d; print("
        "pageinspect.__file__, [e.value for e in d('pageinspect').entry_points if e.group == "
        "'drgn.plugins'], d('pageinspect').metadata.get_all('Provides-Extra'))",
        cwd=python.parent,
    )
    assert str(python.parents[1]) in done.stdout, done.stderr
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert f"['pageinspect.cli.drgn_plugin'] {sorted(extras)}" in done.stdout
    (marker,) = python.parents[1].glob("lib/python*/site-packages/pageinspect/py.typed")
    assert marker.read_bytes() == b""


def test_the_examples_pass_strict_mypy(
    python: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    assert len(EXAMPLES) == 2
    status, said = mypy(python, request, *EXAMPLES)
    assert status == 0, said
    misuse = tmp_path / "misuse.py"
    misuse.write_text(MISUSE, encoding="utf-8")
    status, said = mypy(python, request, misuse)
    assert status == 1
    assert 'Revealed type is "pageinspect.inspector.results.PagesResult"' in said
    assert 'tuple[pageinspect.report.summary.SummaryRow, ...]"' in said
    assert said.count(": error: ") == 2, said
