# SPDX-License-Identifier: GPL-2.0-only
"""What a target on the command line means."""

import argparse
import os
from pathlib import Path

import pytest

from pageinspect.cli.options import add_target_arguments, names_target
from pageinspect.cli.targets import _HEADER, SnapshotName, TargetName, source_of, target_of
from pageinspect.model.snapshot import HEADER

NEWEST = SnapshotName(Path("ds"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with two datasets, whose names are parts of one another, and files."""
    monkeypatch.chdir(tmp_path)
    for name in ("ds", "ds@-1", "a@b#c", "a"):
        (tmp_path / name / "snapshots").mkdir(parents=True)
    for name in ("core", "core@2026", "qemu:file", "d@1#h"):
        (tmp_path / name).touch()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("core", TargetName(core=Path("core"))),
        ("nothing", TargetName(core=Path("nothing"))),
        ("nothing@2026#h", TargetName(core=Path("nothing@2026#h"))),
        # What exists wins over the forms.
        ("core@2026", TargetName(core=Path("core@2026"))),
        ("d@1#h", TargetName(core=Path("d@1#h"))),
        ("ds@-1", TargetName(snapshot=SnapshotName(Path("ds@-1")))),
        ("a@b#c", TargetName(snapshot=SnapshotName(Path("a@b#c")))),
        ("qemu:file", TargetName(core=Path("qemu:file"))),
        ("ds", TargetName(snapshot=NEWEST)),
        ("ds/", TargetName(snapshot=NEWEST)),
        ("ds@-2", TargetName(snapshot=SnapshotName(Path("ds"), "-2"))),
        ("ds@20261127", TargetName(snapshot=SnapshotName(Path("ds"), "20261127"))),
        ("ds#web 1", TargetName(snapshot=SnapshotName(Path("ds"), None, "web 1"))),
        ("ds@-2#web@1", TargetName(snapshot=SnapshotName(Path("ds"), "-2", "web@1"))),
        ("ds#a#b", TargetName(snapshot=SnapshotName(Path("ds"), None, "a#b"))),
        ("ds@soon", TargetName(snapshot=SnapshotName(Path("ds"), "soon"))),
        # The longest name of a folder wins.
        ("ds@-1@-3", TargetName(snapshot=SnapshotName(Path("ds@-1"), "-3"))),
        ("a@b#c@7#h", TargetName(snapshot=SnapshotName(Path("a@b#c"), "7", "h"))),
        ("a@1#h", TargetName(snapshot=SnapshotName(Path("a"), "1", "h"))),
        ("core#h", TargetName(core=Path("core#h"))),
        ("qemu:run/qmp", TargetName(qemu=Path("run/qmp"))),
        ("live", TargetName()),
        ("x" * 5000 + "@1", TargetName(core=Path("x" * 5000 + "@1"))),
        ("\0", TargetName(core=Path("\0"))),
    ],
)
def test_targets(text: str, expected: TargetName) -> None:
    assert target_of(text) == expected


def test_a_folder_that_is_no_dataset_is_reported_as_a_core() -> None:
    assert _HEADER == HEADER
    Path("folder").mkdir()
    assert target_of("folder") == TargetName(core=Path("folder"))


def test_a_file_that_is_called_live_is_a_core() -> None:
    Path("live").touch()
    assert target_of("live") == TargetName(core=Path("live"))


def test_a_text_with_many_signs_is_read_at_once() -> None:
    assert target_of("@#" * 4000).core is not None


def test_this_kernel_by_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pageinspect.target.kcore.PATH", Path("core"))
    assert target_of("core") == TargetName()


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_target_arguments(parser)
    return parser.parse_args(words)


def test_the_option_sets_one_of_three() -> None:
    args = parsed()
    assert (args.core, args.qemu, args.snapshot, source_of(args)) == (None, None, None, None)
    args = parsed("-c", "ds@-2")
    assert (args.core, args.qemu, args.snapshot) == (None, None, SnapshotName(Path("ds"), "-2"))
    assert (source_of(args), names_target(args)) == (Path("ds"), True)
    args = parsed("-c", "qemu:socket")
    assert (args.core, args.qemu, args.snapshot) == (None, Path("socket"), None)
    args = parsed("--qemu", "ds")
    assert (args.core, args.qemu, args.snapshot) == (None, Path("ds"), None)
    assert source_of(args) == Path("ds")


def test_a_link_to_itself_is_no_folder() -> None:
    os.symlink("loop", "loop")  # noqa: PTH211 - its target is its own name
    assert target_of("loop").core == Path("loop")


@pytest.mark.parametrize("words", [("core",), ("-c", "core"), ("--core", "core")])
def test_a_target_is_an_argument_or_an_option(words: tuple[str, ...]) -> None:
    args = parsed(*words)
    assert (args.core, args.snapshot, args.qemu) == (Path("core"), None, None)
    assert parsed("ds@-2").snapshot == SnapshotName(Path("ds"), "-2")


def test_without_a_target_it_is_this_kernel() -> None:
    args = parsed()
    assert (args.core, args.snapshot, args.qemu) == (None, None, None)


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "core", "-c", "ds"),
        ("core", "-c", "ds"),
        ("core", "--qemu", "socket"),
        ("--qemu", "socket", "core"),
    ],
)
def test_one_target_is_enough(words: tuple[str, ...]) -> None:
    with pytest.raises(argparse.ArgumentError, match="a target was given already"):
        parsed(*words)
