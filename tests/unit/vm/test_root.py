# SPDX-License-Identifier: GPL-2.0-only
"""What goes into guests comes from where it should: wheels by their hashes, modules from no cwd."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from pageinspect.vm import catalogue, crash_dump, root, tools

RECIPES = ROOT / "vm-images"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def names(lines: list[str]) -> set[str]:
    found = (_NAME.match(line) for line in lines)
    return {match[0].replace(".", "-").lower() for match in found if match}


def requirements() -> list[str]:
    text = (RECIPES / "wheels.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_each_wheel_has_one_version_and_hashes() -> None:
    for line in requirements():
        wanted, *hashes = line.split()
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wanted), line
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), line


def test_the_wheels_are_what_pageinspect_needs() -> None:
    asked = (RECIPES / "wheels.in").read_text().splitlines()
    assert names(asked) <= names(requirements())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # numpy is the suite's.
    assert names(asked) == names(project["dependencies"]) - {"numpy"}


def test_pip_takes_them_by_their_hashes_and_no_module_of_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(tools, "run", lambda argv, **_: ran.append([str(word) for word in argv]))
    root._install_wheels(catalogue.root_recipe(), tmp_path)
    ((_, *words),) = ran
    assert words[:3] == ["-P", "-m", "pip"]
    assert "--require-hashes" in words
    assert words[words.index("-r") + 1] == str(RECIPES / "wheels.txt")


def test_a_changed_lock_makes_another_root(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Any] = []
    monkeypatch.setattr(catalogue, "recipe_digest", lambda *parts: hashed.extend(parts) or "x")
    monkeypatch.setattr(root.cache, "folder", lambda *_: ROOT)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    root.root()
    assert "wheels.txt" in hashed


@pytest.mark.parametrize("options", [root.SMALL_SQUASHFS, root.FAST_SQUASHFS])
def test_a_kernel_needs_one_decompressor_for_all_disks(options: tuple[str, ...]) -> None:
    # The superblock names one of mksquashfs, gzip if it is not asked for, even if nothing is
    # compressed; a kernel without it refuses the disk.
    assert options[options.index("-comp") + 1] == "zstd"


def test_guests_take_no_module_from_the_folder_one_stands_in() -> None:
    lines = (RECIPES / "init").read_text().splitlines()
    commands = [shlex.split(line) for line in lines if re.search(r"python3 .*-m ", line)]
    assert len(commands) == 2
    for words in (*commands, list(crash_dump._PROGRAM)):
        python = next(i for i, word in enumerate(words) if word.endswith("python3"))
        assert "-P" in words[python : words.index("-m")], words
