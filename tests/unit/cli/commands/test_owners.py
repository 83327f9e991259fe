# SPDX-License-Identifier: GPL-2.0-only
"""The options of owners, and its errors, without a core."""

import json
from pathlib import Path
from typing import Any

import pytest
from owned_pages import FREE_PAGES, PAGES, OwnedPages

from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.errors import Exit
from pageinspect.inspector import owner_finder


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "owner"], "kind, name, cache, file, cgroup, caller, task, module"),
        (["--by", "kind,name"], "--by"),
        (["--by"], "--by"),
        (["--top", "-1"], "number of rows"),
        (["--top", "ten"], "number of rows"),
        (["--top", str(1 << 31)], "number of rows"),
        (["--top"], "--top"),
        (["--owner"], "--owner"),
        (["--type", ","], "list of names"),
        (["--use", ""], "list of names"),
        (["-j", "0"], "number of processes"),
        (["--freeing"], "--freeing"),
        (["-c", "a", "--qemu", "b"], "--qemu"),
    ],
)
def test_options_that_are_invalid(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["owners", *options]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert message in first + second
    assert second.startswith("  hint: ")


def test_defaults() -> None:
    args = build_parser().parse_args(["owners"])
    assert (args.by, args.top, args.owner, args.pfn) == ("kind", None, [], [])
    args = build_parser().parse_args(
        ["owners", "--owner", "file:/a,b", "--owner", "slab", "--top", "0"]
    )
    # A name may contain a comma.
    assert (args.owner, args.top) == (["file:/a,b", "slab"], 0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> OwnedPages:
    """Give a kernel that the commands open."""
    kernel = OwnedPages()
    monkeypatch.setattr(owner_finder, "read_structures", kernel.read_structures)
    monkeypatch.setattr("pageinspect.inspector.source.inspect", lambda _: kernel.inspector())
    monkeypatch.setattr("pageinspect.cli.options.open_target", lambda _: None)
    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", lambda task, _core, **_: task())
    monkeypatch.setattr("pageinspect.host.startup.configure_libraries", lambda: None)
    for i in range(14):
        kernel.file(f"a,{i}", 20 - i)
    kernel.slab("dentry", 7)
    return kernel


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main([*words])
    done = capsys.readouterr()
    return status, done.out, done.err


def document(*words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    status, out, err = run(*words, "--format", "json", capsys=capsys)
    assert (status, err) == (Exit.COMPLETE, "")
    return json.loads(out)


@pytest.mark.usefixtures("made")
def test_ten_rows_for_people_and_all_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "markdown"):
        status, out, _ = run("owners", "--by", "file", "--format", form, capsys=capsys)
        assert status == Exit.COMPLETE
        assert out.count("/a,") == 10
        assert "4 more owners" in out
    found = document("owners", "--by", "file", capsys=capsys)
    named = [row["name"] for row in found["rows"] if row["kind"]]
    assert named == [f"/a,{i}" for i in range(14)]
    assert found["total"]["pages"] == PAGES
    few = document("owners", "--by", "file", "--top", "3", capsys=capsys)
    assert [row["name"] for row in few["rows"][3:]] == ["(11 more owners)", "(other kinds)"]
    status, out, _ = run("owners", "--by", "file", "--top", "0", capsys=capsys)
    assert (status, out.count("/a,")) == (Exit.COMPLETE, 14)


@pytest.mark.usefixtures("made")
def test_pages_of_an_owner(capsys: pytest.CaptureFixture[str]) -> None:
    owner = ["--owner", "file:/a,3"]
    assert document("owners", *owner, capsys=capsys)["total"]["pages"] == 17
    assert document("summary", *owner, capsys=capsys)["total"]["pages"] == 17
    listed = document("list", *owner, capsys=capsys)
    assert sum(run["pages"] for run in listed["runs"]) == 17
    both = ["--owner", "slab:dentry", "--owner", "file:/a,3"]
    assert document("owners", *both, capsys=capsys)["total"]["pages"] == 24


@pytest.mark.usefixtures("made")
def test_summary_by_owner(capsys: pytest.CaptureFixture[str]) -> None:
    rows = document("summary", "--by", "owner", capsys=capsys)["rows"]
    counted = {row["name"]: row["pages"] for row in rows}
    files = sum(20 - i for i in range(14))
    assert counted == {
        "free": FREE_PAGES,
        "file": files,
        "slab": 7,
        "unknown": PAGES - FREE_PAGES - files - 7,
    }
    kinds = document("owners", capsys=capsys)["rows"]
    assert {row["kind"]: row["pages"] for row in kinds} == counted


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("command", ["owners", "summary", "list"])
@pytest.mark.parametrize(
    ("owner", "message", "hint"),
    [
        ("slap", "kind of owner 'slap'", "slab"),
        ("slab:dentri", "'dentri'", "dentry"),
        ("\x1b", r"'\x1b'", ""),
        ("slab:\x1b[1m" + "x" * 10000, "of kind slab", "owners --by name"),
    ],
)
def test_an_owner_that_does_not_exist(
    command: str, owner: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(command, "--owner", owner, capsys=capsys)
    assert (status, out) == (Exit.USAGE, "")
    first, second = err.splitlines()
    assert message in first
    assert hint in second
    assert (first + second).isprintable()
    assert len(first) < 12000


def test_what_is_missing_is_exit_status_3(
    made: OwnedPages, capsys: pytest.CaptureFixture[str]
) -> None:
    made.problems = ("modules: 1 item could not be read or is invalid",)
    for words in (["owners"], ["summary", "--by", "owner"], ["list", "--owner", "slab"]):
        status, out, _ = run(*words, capsys=capsys)
        assert status == Exit.INCOMPLETE, words
        assert "modules: 1 item could not be read or is invalid." in out
    assert run("summary", capsys=capsys)[0] == Exit.COMPLETE


def test_output_to_a_file(
    made: OwnedPages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made.structures.vmap is not None
    path = tmp_path / "out"
    status, out, _ = run("owners", "--format", "csv", "-o", str(path), capsys=capsys)
    assert (status, out) == (Exit.COMPLETE, "")
    assert path.read_text().startswith("kind,name,filesystem,pages,percent,bytes\n")
