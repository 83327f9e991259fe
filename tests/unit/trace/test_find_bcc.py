# SPDX-License-Identifier: GPL-2.0-only
"""Finding and loading bcc, without one."""

import sys
from pathlib import Path

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.trace import find_bcc as module
from pageinspect.trace.find_bcc import (
    find_bcc,
    fingerprint,
    install_hint,
    is_bcc,
    load_bcc,
)


def distribution(root: Path, folder: str, init: str = "VALUE = 1\n") -> Path:
    """Make a bcc as distributions package it."""
    package = root / folder / "bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"from .libbcc import lib\n{init}")
    (package / "libbcc.py").write_text("lib = object()\n")
    return package


def namesake(root: Path) -> Path:
    """Make a bcc as the Python package index has it."""
    package = root / "venv/lib/python3.13/site-packages/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "bcc.py").write_text("")
    return package


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    "folder",
    [
        "usr/lib/python3/dist-packages",
        "usr/lib/python3.13/site-packages",
        "usr/lib64/python3.11/site-packages",
        "usr/local/lib/python3.12/dist-packages",
    ],
)
def test_it_is_found_where_distributions_put_it(tmp_path: Path, folder: str) -> None:
    package = distribution(tmp_path, folder)
    assert find_bcc(tmp_path, nothing) == package


def test_of_two_pythons_the_newest_has_it(tmp_path: Path) -> None:
    distribution(tmp_path, "usr/lib/python3.9/site-packages")
    newest = distribution(tmp_path, "usr/lib/python3.13/site-packages")
    assert find_bcc(tmp_path, nothing) == newest


def test_what_python_finds_by_itself_comes_first(tmp_path: Path) -> None:
    distribution(tmp_path, "usr/lib/python3/dist-packages")
    own = distribution(tmp_path, "opt/own")
    assert find_bcc(tmp_path, lambda: own) == own


def test_the_namesake_is_passed_over(tmp_path: Path) -> None:
    other = namesake(tmp_path)
    assert not is_bcc(other)
    package = distribution(tmp_path, "usr/lib/python3/dist-packages")
    assert find_bcc(tmp_path, lambda: other) == package


def test_the_namesake_alone_is_refused_and_named(tmp_path: Path) -> None:
    other = namesake(tmp_path)
    with pytest.raises(PageInspectError) as caught:
        find_bcc(tmp_path, lambda: other)
    assert f"({other} is another package of that name)" in caught.value.message


def test_missing_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=ubuntu\nID_LIKE="debian"\n')
    with pytest.raises(PageInspectError) as caught:
        find_bcc(tmp_path, nothing)
    assert caught.value.message == "tracing needs bcc, which is not installed"
    assert caught.value.hint == "as root: apt install python3-bpfcc"


@pytest.mark.parametrize(
    ("os_release", "hint"),
    [
        ("ID=debian", "as root: apt install python3-bpfcc"),
        ("ID=fedora", "as root: dnf install python3-bcc"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "as root: dnf install python3-bcc"),
        ("ID=arch", "as root: pacman -S python-bcc"),
        ('ID="opensuse-tumbleweed"', "as root: zypper install python3-bcc"),
    ],
)
def test_the_hint_is_of_the_distribution(os_release: str, hint: str) -> None:
    assert install_hint(os_release) == hint


def test_an_unknown_distribution_gets_all_hints() -> None:
    hint = install_hint("")
    for name in ("python3-bpfcc (Debian)", "(Fedora)", "(Arch)", "(Suse)"):
        assert name in hint


@pytest.fixture
def not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module._MODULE, raising=False)


@pytest.mark.usefixtures("not_loaded")
def test_it_is_loaded_by_its_path_alone(tmp_path: Path) -> None:
    package = distribution(tmp_path, "dist-packages")
    path = list(sys.path)
    bcc = load_bcc(package)
    assert bcc.VALUE == 1
    assert bcc.__file__ == str(package / "__init__.py")
    assert sys.path == path
    assert "bcc" not in sys.modules
    assert not (package / "__pycache__").exists()
    assert load_bcc(package) is bcc
    del sys.modules[module._MODULE]


@pytest.mark.usefixtures("not_loaded")
def test_one_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    package = distribution(tmp_path, "dist-packages", init='raise OSError("libbcc.so.0: absent")\n')
    with pytest.raises(PageInspectError) as caught:
        load_bcc(package)
    assert "libbcc.so.0: absent" in caught.value.message
    assert module._MODULE not in sys.modules


@pytest.mark.usefixtures("not_loaded")
def test_warnings_of_old_releases_are_not_shown(tmp_path: Path) -> None:
    package = distribution(tmp_path, "dist-packages", init='PATTERN = "\\d"\n')
    assert load_bcc(package).PATTERN == "\\d"
    del sys.modules[module._MODULE]


def test_another_bcc_has_another_fingerprint(tmp_path: Path) -> None:
    package = distribution(tmp_path, "usr/lib/python3/dist-packages")
    library = tmp_path / "usr/lib/x86_64-linux-gnu/libbcc.so.0.31.0"
    library.parent.mkdir()
    library.write_bytes(b"library")
    (library.parent / "libbcc.so.0").symlink_to(library.name)
    found = [fingerprint(package, tmp_path)]
    assert fingerprint(package, tmp_path) == found[0]
    for path in (library, package / "__init__.py"):
        path.write_bytes(b"longer than before")
        found.append(fingerprint(package, tmp_path))
    other = distribution(tmp_path, "usr/local/lib/python3.13/dist-packages")
    found.append(fingerprint(other, tmp_path))
    assert len(set(found)) == len(found)
