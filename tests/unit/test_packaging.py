# SPDX-License-Identifier: GPL-2.0-only
"""The man page and the completion scripts say what the parsers say."""

import argparse
import re
import tomllib

import pytest
from completions import completion
from man_page import ENVIRONMENT, EXIT_STATUSES, man_page
from parsers import command_line, commands, shown
from places import PACKAGE, ROOT

from pageinspect.errors import Exit

MACROS = (".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I", ".RS", ".RE", ".nf", ".fi")
"""Requests of the man macros that the page uses."""


@pytest.fixture(scope="module")
def every() -> list[argparse.ArgumentParser]:
    return list(commands(command_line()))


@pytest.fixture(scope="module")
def page() -> str:
    return man_page(command_line())


def options(command: argparse.ArgumentParser) -> set[str]:
    return {name for action in shown(command._actions) for name in action.option_strings}


def test_the_page_has_every_command_and_option(
    every: list[argparse.ArgumentParser], page: str
) -> None:
    text = page.replace(r"\-", "-")
    assert len(every) > 10
    for command in every:
        assert f".SS {command.prog}\n" in text
        for name in options(command):
            assert re.search(rf"^\.B(.*,)? {name}([ ,=[]|$)", text, re.MULTILINE), name


def test_shared_options_are_there_once(page: str) -> None:
    assert len(re.findall(r"^\.B .*\\-\\-core TARGET$", page, re.MULTILINE)) == 1
    commands = (
        "summary, list, owners, contiguity, map, page, processes, check, audit, snapshot, report, "
        "export, types, top"
    )
    assert f"Of {commands}.\n" in page


def test_a_line_is_text_or_a_known_request(page: str) -> None:
    for line in page.splitlines():
        assert not line.startswith("'"), line
        if line.startswith("."):
            assert line.split()[0] in MACROS, line
        # An escape is one of those that _text() and the page write.
        assert not re.search(r"\\(?![-e&]|\(aq|f[BR])", line), line
        assert line.count(r"\fB") == line.count(r"\fR"), line


def test_the_page_has_every_exit_status_and_variable(page: str) -> None:
    assert list(EXIT_STATUSES) == [status.name for status in Exit]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    ours = set(re.findall(r"PAGEINSPECT_[A-Z_]+", sources))
    # Between pageinspect and the init script of its own guests.
    ours -= {"PAGEINSPECT_CAPTURE"}
    assert ours == {name for name in ENVIRONMENT if name.startswith("PAGEINSPECT_")}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_option(every: list[argparse.ArgumentParser], shell: str) -> None:
    script = completion(command_line(), shell)
    for command in every:
        variable = "_".join(["_shtab", *command.prog.split()])
        if shell == "bash":
            (known,) = re.findall(rf"^{variable}_option_strings=\((.*)\)$", script, re.MULTILINE)
        else:
            (known,) = re.findall(
                rf"^{variable}_options=\((.*?)^\)$", script, re.MULTILINE | re.DOTALL
            )
        missing = options(command) - set(re.findall(r"--?[\w-]+", known))
        assert not missing, (command.prog, missing)


def test_pre_commit_runs_what_make_lint_runs_and_downloads_nothing() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (lint,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    programs = re.findall(r"^\t\$\(BIN\)/([\w-]+)", lint, re.MULTILINE)
    assert re.findall(r"entry: \.venv/bin/([\w-]+)", hooks) == programs
    assert re.findall(r"repo: (.*)", hooks) == ["local"]


def test_the_license_is_that_of_the_metadata() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991" in text
    assert text.rstrip().endswith("Public License instead of this License.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("GPL-2.0-only", ["LICENSE"])


def test_every_source_file_begins_with_its_licence() -> None:
    """An SPDX line is the first line, or the second one of a script."""
    folders = ("pageinspect", "packaging", "benchmarks", "docs", "tests", "bpf", "vm-images", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {"Makefile", "Kbuild", "init", "root-hook", "run"}
    sources = [
        path
        for path in [*found, ROOT / "Makefile"]
        if (path.suffix in {".py", ".c", ".h", ".sh"} and not path.name.endswith(".mod.c"))
        or path.name in names
    ]
    assert len(sources) > 300
    for path in sources:
        lines = path.read_text(encoding="utf-8").split("\n", 2)
        line = lines[1] if lines[0].startswith("#!") else lines[0]
        assert "SPDX-License-Identifier: GPL-2.0-only" in line, path.relative_to(ROOT)
