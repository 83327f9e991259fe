# SPDX-License-Identifier: GPL-2.0-only
"""The command diff, on snapshots made by hand and on what is no target."""

import json
from pathlib import Path

import pytest
from compared_snapshots import PAGE, process, snapshot

from pageinspect.analysis.differences import BY
from pageinspect.cli import snapshots
from pageinspect.cli.commands import diff
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.cli.targets import source_of
from pageinspect.errors import Exit
from pageinspect.report.diff import tables_for

OWNERS = ((0, "free", ""), (1, "slab", "dentry"), (2, "anon", "sh[8]"))
BEFORE = snapshot(((0x100, 64, "buddy", 0), (0x140, 32, "slab", 1)), OWNERS)
MADE = {
    "before": BEFORE,
    "after": snapshot(
        ((0x100, 48, "buddy", 0), (0x130, 48, "slab", 1)),
        OWNERS,
        processes=(process(1, "a", 9, 9),),
    ),
    "reboot": snapshot(((0x100, 96, "buddy", 0),), OWNERS[:1], boot_id="other"),
    "unread": snapshot(processes=(process(1, "a", None, None),)),
    "hole": snapshot(((0x100, 64, "buddy", 0),), OWNERS, unreadable=1),
    "16K": snapshot(page_size=4 * PAGE),
    "without": snapshot(without=("owners",)),
}


@pytest.fixture(autouse=True)
def _made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "snapshot_of", lambda _args, text, _tables: MADE[text])
    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", lambda task, _core, **_: task())
    monkeypatch.setattr("pageinspect.host.startup.configure_libraries", lambda: None)


def test_rows_and_pages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "before", "after"]) == Exit.COMPLETE
    assert capsys.readouterr().out == (
        "before: Linux 7.3.4-test, lab at 20261127T201500Z, core\n"
        "after:  Linux 7.3.4-test, lab at 20261127T201500Z, core\n"
        "\n"
        "kind      before    after    change     size\n"
        "------  --------  -------  --------  -------\n"
        "free          64       48       -16  -64 KiB\n"
        "slab          32       48       +16  +64 KiB\n"
        "total         96       96\n"
        "\n"
        "Of 96 pages, 80 have the same owner and 80 the same use as before; 16 changed.\n"
    )


def test_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "before", "before", "--pfn"]) == Exit.COMPLETE
    text = capsys.readouterr().out
    assert "Nothing changed." in text
    assert "----" not in text


def test_pages_that_changed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diff", "before", "after", "--format", "json"]
    assert main([*words, "--pfn"]) == Exit.COMPLETE
    changed = json.loads(capsys.readouterr().out)["changed"]
    assert [(run["start"], run["end"], run["owner_after"]) for run in changed] == [
        (0x130, 0x140, "slab:dentry")
    ]
    assert main([*words, "--pfn", "0x13e+8", "--pfn", "zone:normal"]) == Exit.COMPLETE
    assert json.loads(capsys.readouterr().out)["pages"]["both"] == 0x60
    assert main([*words, "--pfn", "0x13e+8"]) == Exit.COMPLETE
    document = json.loads(capsys.readouterr().out)
    assert document["pages"]["both"] == 8
    assert [(run["start"], run["end"]) for run in document["changed"]] == [(0x13E, 0x140)]


def test_the_first_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "before", "after", "--top", "1"]) == Exit.COMPLETE
    assert "1 more row with smaller changes: --top 0 shows all." in capsys.readouterr().out
    assert main(["diff", "before", "after", "--top", "1", "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "free"


def test_different_boots_are_compared_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "before", "reboot"]) == Exit.COMPLETE
    text = capsys.readouterr().out
    assert "names\nalone are compared" in text
    assert " changed." not in text
    assert main(["diff", "before", "reboot", "--pfn"]) == Exit.USAGE
    assert "different boots" in capsys.readouterr().err


def test_what_one_side_lacks_is_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "before", "hole"]) == Exit.INCOMPLETE
    text = capsys.readouterr().out
    assert "1 struct page of after could not be read." in text
    assert "The memory 0x140-0x160 is only in before: 32 pages." in text
    main(["diff", "before", "hole", "--format", "json"])
    pages = json.loads(capsys.readouterr().out)["pages"]
    assert (pages["only_before"], pages["only_after"]) == ([{"start": 0x140, "end": 0x160}], [])


def test_processes_that_could_not_be_read_are_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "unread", "unread"]) == Exit.COMPLETE
    assert main(["diff", "unread", "unread", "--by", "process"]) == Exit.INCOMPLETE
    assert "page tables could not all be read: 1." in capsys.readouterr().out


def test_a_limit_that_is_exceeded_is_status_4(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diff", "before", "after", "--fail-above", "slab:dentry:+49%"]
    assert main([*words, "--fail-above", "slab:+50%", "--fail-above", "free:-15"]) == Exit.FINDING
    assert capsys.readouterr().err.splitlines() == [
        "pageinspect: limit slab:dentry:+49% exceeded: 128 KiB before, 192 KiB after, +64 KiB",
        "pageinspect: limit free:-15 exceeded: 256 KiB before, 192 KiB after, -64 KiB",
    ]
    assert main([*words[:3], "--fail-above", "slab:+50%"]) == Exit.COMPLETE
    assert main(["diff", "before", "hole", "--fail-above", "slab:-0"]) == Exit.FINDING


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["before", "16K"], 2, "pages of 16 KiB"),
        (["before", "without"], 1, "has no table owners"),
        (["before", "after", "--fail-above", "slap:+1"], 2, "did you mean slab?"),
        (["before", "after", "--fail-above", "slab"], 2, "is not a limit"),
        (["before", "after", "--by", "kind"], 2, "there is no 'kind'"),
        (["before", "after", "--pfn", "x"], 2, "is not a pfn range"),
        (["before", "after", "--pfn", "0x500"], 2, "no pfn of 0x500 has a struct page"),
        (["before"], 2, "after"),
    ],
)
def test_errors(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", *words]) == status
    first, second = capsys.readouterr().err.splitlines()
    assert message.lower() in (first + second).lower()


def test_the_option_has_what_snapshots_can_be_compared_by() -> None:
    assert tuple(BY) == diff._BY
    assert tables_for("process") == ("runs", "owners", "processes")
    assert tables_for("use") == ("runs", "owners")


def test_what_is_taken_of_a_kernel_and_what_is_read_of_a_dataset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken, saved = [], []
    monkeypatch.setattr(
        snapshots, "_take", lambda args, tables: taken.append((args.core, args.qemu, tables))
    )
    monkeypatch.setattr("pageinspect.saved.opening.snapshot_in", lambda *name: saved.append(name))
    args = build_parser().parse_args(["diff", "x", "y"])
    for text in ("live", "/nowhere", "qemu:/qmp", f"{tmp_path}@-2#b"):
        snapshots.snapshot_of(args, text, ("runs",))
    assert taken == [
        (None, None, ("runs",)),
        (Path("/nowhere"), None, ("runs",)),
        (None, Path("/qmp"), ("runs",)),
    ]
    assert saved == [(tmp_path, "-2", "b")]


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (("live", "live"), None),
        (("live", "a"), Path("a")),
        (("a", "b"), Path("a and b")),
    ],
)
def test_what_is_read_in_a_process_of_its_own(texts: tuple[str, str], named: Path | None) -> None:
    assert source_of(build_parser().parse_args(["diff", *texts])) == named
