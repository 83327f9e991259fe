# SPDX-License-Identifier: GPL-2.0-only
"""The command snapshot on a kernel made by hand: options, several targets, repeating."""

import argparse
import importlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blocked_pages import BlockedPages
from owned_pages import PAGES

from pageinspect.cli import snapshot_readings, take_snapshot
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.dataset.compact import compact
from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.errors import Exit, PageInspectError
from pageinspect.inspector import inspector, lost_pages
from pageinspect.inspector import snapshot as snapshot_module
from pageinspect.inspector import snapshot_header as header_module
from pageinspect.model.snapshot import HEADER, TABLES, Snapshot, SnapshotTable

US = 1_000_000
START = 1_764_439_274


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no dataset is named"),
        (["core"], "no dataset is named"),
        (["-o", "d", "--host", ""], "the name of the host is empty"),
        (["-o", "d", "--every", "0"], "number of seconds"),
        (["-o", "d", "--keep", "0"], "number of snapshots"),
        (["-o", "d", "core", "--every", "5"], "the memory of a core does not change"),
        (["-o", "d", "-c", "core", "--every", "5"], "the memory of a core does not change"),
        (["--compact"], "no dataset is named"),
        (["-o", "d", "--compact", "core"], "--compact takes no snapshot"),
        (["-o", "d", "--compact", "--host", "h"], "--compact takes no snapshot"),
        (["-o", "d", "--compact", "--every", "5"], "--compact takes no snapshot"),
        (["-o", "d", "--compact", "--dask", "local"], "--compact takes no snapshot"),
        (["-o", "d", "--dask", "local"], "--dask is for cores"),
        (["-o", "d", "core", "--dask", "local", "--trace", "f"], "--trace is of one snapshot"),
        (["-o", "d", "--replace"], "--replace is for cores"),
        (["-o", "d", "--dask", "local", "--qemu", "socket"], "--dask is for cores"),
        (["-o", "d", "--dask", "local", "--every", "5"], "--dask is for cores"),
        (["-o", "d", "core", "--dask", "local:0"], "is not local, local:N, or the address"),
        (["-o", "d", "core", "--dask", "host"], "is not local, local:N, or the address"),
    ],
)
def test_options_that_are_invalid(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["snapshot", *options]) == Exit.USAGE
    first, second = capsys.readouterr().err.splitlines()
    assert message in first
    assert second.startswith("  hint: ")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BlockedPages:
    """Give a kernel that the command opens, a second later each time; the folder is empty."""
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    times = iter(range(START, START + 100))
    of_cores: dict[Path | str, int] = {}

    def open_target(args: argparse.Namespace) -> None:
        if args.core == Path("broken"):
            raise PageInspectError("broken is not a core", "name a core")
        of_cores["opened"] = of_cores.setdefault(args.core, next(times))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(inspector, "inspect", lambda _: kernel.inspector())
    monkeypatch.setattr(take_snapshot, "open_target", open_target)
    monkeypatch.setattr(snapshot_module, "host_of", lambda _: "made/by\x1bhand")
    monkeypatch.setattr(snapshot_module, "time_of", lambda _: of_cores["opened"] * US)
    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", lambda task, _core, **_: task())
    monkeypatch.setattr("pageinspect.host.startup.configure_libraries", lambda: None)
    return kernel


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("lost", [False, True])
def test_a_core_with_lost_pages_points_to_audit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    monkeypatch.setattr(lost_pages, "_has_lost_pages", lambda _: lost)
    assert main(["snapshot", "core", "-o", "data"]) == Exit.INCOMPLETE
    assert ("pageinspect audit" in capsys.readouterr().err) == lost


@pytest.mark.usefixtures("made")
def test_a_line_for_each_snapshot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "core", "-o", "data"]) == Exit.INCOMPLETE
    (line,) = capsys.readouterr().out.splitlines()
    head, _, rest = line.partition(": ")
    assert head == r"made/by\x1bhand 20251129T180114Z"
    _release, pages, size, seconds = rest.split(", ")
    assert pages == f"{PAGES:,} pages"
    files = sum(path.stat().st_size for path in Path("data").rglob("*.parquet"))
    assert size == f"{-(-files // 1000)} KB"
    assert seconds.endswith(" s")
    (entry,) = snapshots(Path("data"))
    assert (entry.host, entry.time) == ("made/by\x1bhand", "20251129T180114Z")
    snapshot = read_snapshot(Path("data"), entry.host, entry.time)
    assert snapshot.tables["runs"]["pages"].sum() == PAGES


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("release", "shown"),
    [
        ("6.12.117+deb13-cloud-amd64", "6.12.117+deb13"),
        ("6.8.0-45-generic", "6.8.0-45"),
        ("5.14.0-503.15.1.el9_5.x86_64", "5.14.0-503.15.1.el9_5.x86_64"),
        ("7.3.0-rc2+", "7.3.0-rc2+"),
    ],
)
def test_the_release_in_a_line(
    release: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = snapshot_module.take
    monkeypatch.setattr(
        snapshot_module, "take", lambda *a, **k: header_with(real(*a, **k), release=release)
    )
    main(["snapshot", "core", "-o", "data", "--host", "h"])
    assert capsys.readouterr().out.startswith(f"h 20251129T180114Z: {shown}, {PAGES:,} pages, ")


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("notes", "cannot write notes: Not a directory"),
        ("notes/under", "cannot write notes/under: Not a directory"),
        ("notes/far/under", "cannot write notes/far/under: Not a directory"),
        ("locked", "cannot write locked: Permission denied"),
        ("sealed", "cannot write sealed: Permission denied"),
        ("locked/new/folder", "cannot write locked/new/folder: Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_written_is_found_out_first(
    folder: str,
    why: str,
    made: BlockedPages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["snapshot", "core", "-o", "sealed"]) == Exit.INCOMPLETE
    Path("notes").touch()
    Path("locked").mkdir()
    denied = {Path("locked").stat().st_ino, Path("sealed").stat().st_ino}
    denied |= {path.stat().st_ino for path in Path("sealed").iterdir() if path.is_file()}
    access = os.access

    def as_user(path: Any, mode: int, *, dir_fd: int | None = None) -> bool:
        if mode & os.W_OK and os.stat(path, dir_fd=dir_fd).st_ino in denied:
            return False
        return access(path, mode, dir_fd=dir_fd)

    # Root may write everywhere.
    monkeypatch.setattr(os, "access", as_user)
    monkeypatch.setattr(made, "inspector", lambda: pytest.fail("too late"))
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["snapshot", "core", "-o", folder]) == Exit.ERROR
    assert capsys.readouterr().err.startswith(f"pageinspect: error: {why}\n")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("made")
def test_a_folder_of_other_things_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    Path("data/notes").touch()
    Path("core").touch()
    assert main(["snapshot", "core", "-o", "data"]) == Exit.ERROR
    assert capsys.readouterr().err.count("not a dataset") == 1


@pytest.mark.usefixtures("made")
def test_a_core_that_fails_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["snapshot", "-c", "one", "broken", "two", "-o", "data", "--host", "h"]
    assert main(words) == Exit.ERROR
    written = capsys.readouterr()
    assert [line.split(": ")[:2] for line in written.out.splitlines()] == [
        ["two", "h 20251129T180114Z"],
        ["one", "h 20251129T180115Z"],
    ]
    main([*words, "--replace"])
    assert capsys.readouterr().out.startswith("two: h 20251129T180114Z: already in data")
    assert written.err.startswith("pageinspect: error: broken is not a core\n")
    assert len(snapshots(Path("data"))) == 2


@pytest.mark.usefixtures("made")
def test_a_core_that_fails_has_a_row_until_it_can_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken").write_text("no core")
    os.utime("broken", (START, START))
    words = ["snapshot", "broken", "-o", "data"]
    for _ in range(2):
        assert main(words) == Exit.ERROR
        (entry,) = snapshots(Path("data"))
        assert (entry.host, entry.time) == ("broken", "20251129T180114Z")
    error = read_snapshot(Path("data"), entry.host, entry.time).header("error")
    assert error == f"{Path.cwd()}/broken: broken is not a core"
    monkeypatch.setattr(take_snapshot, "open_target", lambda _: None)
    monkeypatch.setattr(snapshot_module, "time_of", lambda _: START * US)
    assert main(words) == Exit.INCOMPLETE
    (entry,) = snapshots(Path("data"))
    assert entry.host == "made/by\x1bhand"
    assert capsys.readouterr().err.count("error: broken is not a core") == 2


@pytest.mark.usefixtures("made")
def test_a_core_that_the_reader_crashes_on_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("core").write_text("damaged")
    ends = iter((PageInspectError("the libraries that read core crashed", "no hint"), None))

    def crash(task: Callable[[], int], _: Path) -> int:
        if (error := next(ends)) is not None:
            raise error
        return task()

    monkeypatch.setattr("pageinspect.cli.isolation.run_isolated", crash)
    assert main(["snapshot", "core", "-o", "data", "--host", "h"]) == Exit.ERROR
    (entry,) = snapshots(Path("data"))
    error = read_snapshot(Path("data"), "h", entry.time).header("error")
    assert "the libraries that read core crashed" in error


@pytest.mark.usefixtures("made")
def test_what_is_in_the_dataset_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["snapshot", "one", "-o", "data", "--host", "h"]
    main(words)
    capsys.readouterr()
    monkeypatch.setattr(snapshot_module, "take", lambda *_, **__: pytest.fail("too late"))
    assert main(words) == Exit.INCOMPLETE
    assert capsys.readouterr().out == (
        "h 20251129T180114Z: already in data, incomplete; --replace reads it again\n"
    )
    monkeypatch.setattr(snapshot_module, "is_whole", lambda _: True)
    for options in ([], ["--replace"]):
        assert main([*words, *options]) == Exit.COMPLETE
        assert capsys.readouterr().out == "h 20251129T180114Z: already in data\n"


def header_with(snapshot: Snapshot, **values: Any) -> Snapshot:
    """Return a snapshot with other values in its row of the table snapshots."""
    table = snapshot.tables[HEADER]
    row = {name: column.tolist() if hasattr(column, "tolist") else [*column]
           for name, column in table.columns.items()}  # fmt: skip
    cells = [values.get(field.name, row[field.name][0]) for field in TABLES[HEADER]]
    made = SnapshotTable.of_rows(HEADER, [cells])
    return Snapshot(snapshot.host, snapshot.time, {**snapshot.tables, HEADER: made})


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("merged", [False, True])
def test_an_incomplete_snapshot_is_replaced_by_one_with_more_pages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, merged: bool
) -> None:
    words, data = ["snapshot", "one", "-o", "data", "--host", "h"], Path("data")
    real, lost = snapshot_module.take, 7
    monkeypatch.setattr(
        snapshot_module, "take", lambda *a, **k: header_with(real(*a, **k), unreadable=lost)
    )
    main(words)
    if merged:
        compact(data)

    def unreadable() -> int:
        (entry,) = snapshots(data)
        return int(read_snapshot(data, "h", entry.time).header("unreadable"))

    lost = 8
    capsys.readouterr()
    assert main([*words, "--replace"]) == Exit.INCOMPLETE
    assert capsys.readouterr().out.endswith("incomplete; what is read now is not more complete\n")
    assert unreadable() == 7
    lost = 6
    main(words)
    assert unreadable() == 7
    main([*words, "--replace"])
    assert unreadable() == 6


@pytest.mark.usefixtures("made")
def test_a_snapshot_that_replaces_another_has_its_frees(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["snapshot", "one", "-o", "data", "--host", "h"]
    real, lost = snapshot_module.take, 7
    monkeypatch.setattr(
        snapshot_module, "take", lambda *a, **k: header_with(real(*a, **k), unreadable=lost)
    )
    free = {"type": "slab", "frees": 5, "pages": 5, "expected": False, "disallowed": False}
    trace = {"schema": 1, "duration_ns": 1, "typed": [free]}
    Path("trace.json").write_text(json.dumps(trace))
    main([*words, "--trace", "trace.json"])
    lost = 6
    main([*words, "--replace"])
    (entry,) = snapshots(Path("data"))
    found = read_snapshot(Path("data"), "h", entry.time)
    assert found.header("unreadable") == 6
    assert found.tables["frees"]["pages"].tolist() == [5]


@pytest.mark.usefixtures("made")
def test_another_boot_at_the_same_moment_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (snapshot_module, header_module):
        monkeypatch.setattr(module, "read_boot_id", lambda _: "first")
    main(["snapshot", "one", "-o", "data", "--host", "h"])
    for module in (snapshot_module, header_module):
        monkeypatch.setattr(module, "read_boot_id", lambda _: "second")
    assert main(["snapshot", "one", "-o", "data", "--host", "h"]) == Exit.ERROR
    assert "has a snapshot of h at 20251129T180114Z already" in capsys.readouterr().err


@pytest.mark.usefixtures("made")
def test_a_kernel_without_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot_module, "host_of", lambda _: "")
    assert main(["snapshot", "core", "-o", "data"]) == Exit.ERROR
    assert "--host NAME" in capsys.readouterr().err
    assert not Path("data").exists()


@pytest.mark.usefixtures("made")
def test_the_latest_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    main(["snapshot", "a", "b", "c", "-o", "data", "--keep", "2", "--host", "h"])
    assert [entry.time[-3:] for entry in snapshots(Path("data"))] == ["15Z", "16Z"]
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.usefixtures("made")
def test_the_latest_are_kept_also_if_nothing_is_taken() -> None:
    words = ["-o", "data", "--host", "h"]
    main(["snapshot", "a", "b", "c", *words])
    main(["snapshot", "b", *words, "--keep", "2"])
    assert [entry.time[-3:] for entry in snapshots(Path("data"))] == ["15Z", "16Z"]


@pytest.mark.usefixtures("made")
def test_days_are_merged(capsys: pytest.CaptureFixture[str]) -> None:
    main(["snapshot", "a", "b", "-o", "data", "--host", "h"])
    capsys.readouterr()
    assert main(["snapshot", "--compact", "-o", "data"]) == Exit.COMPLETE
    assert capsys.readouterr().out == "2 snapshots of 1 day merged\n"
    assert len(snapshots(Path("data"))) == 2
    assert not [*Path("data").rglob("part.parquet")]


def test_without_pyarrow_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pageinspect.dataset import schema

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(take_snapshot, "open_target", lambda _: pytest.fail("too late"))
    schema.arrow.cache_clear()
    try:
        assert main(["snapshot", "core", "-o", "data"]) == Exit.ERROR
    finally:
        schema.arrow.cache_clear()
    assert "pageinspect[snapshot]" in capsys.readouterr().err


@pytest.mark.usefixtures("made")
def test_pandas_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    main(["snapshot", "core", "-o", "data"])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pandas")


class Repeating:
    """Takes snapshots of no kernel, with these statuses; a signal comes during the last one."""

    def __init__(self, statuses: list[int], by: signal.Signals = signal.SIGINT) -> None:
        self._statuses = iter(statuses)
        self._last = len(statuses)
        self._by = by
        self.kept: list[int | None] = []

    def __call__(self, args: argparse.Namespace, _core: Path | None) -> int:
        self.kept.append(args.keep)
        if len(self.kept) == self._last:
            signal.raise_signal(self._by)
        return next(self._statuses)


@pytest.fixture
def default_signals() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in snapshot_readings.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def repeated(
    monkeypatch: pytest.MonkeyPatch,
    takes: Repeating,
    *options: str,
    clock: tuple[int, ...] = (),
    passes: float = 0.0,
) -> int:
    """Repeat without waiting; `passes` are the seconds between two readings of the clock."""
    times, moments = iter(clock), itertools.count(0.0, passes)
    real = signal.sigtimedwait

    def at_once(which: set[signal.Signals], seconds: float) -> object:
        assert seconds >= 0
        return real(which, 0)

    monkeypatch.setattr(snapshot_readings, "in_child", takes)
    monkeypatch.setattr(snapshot_readings.time, "monotonic", lambda: next(moments))
    monkeypatch.setattr(snapshot_readings.signal, "sigtimedwait", at_once)
    if clock:
        monkeypatch.setattr(snapshot_readings.time, "time", lambda: next(times))
    words = ["snapshot", "-o", "data", "--every", "60", *options]
    status = snapshot_readings.repeatedly(build_parser().parse_args(words))
    monkeypatch.undo()
    return status


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize(
    ("statuses", "by", "status"),
    [
        ([0, 0, 0], signal.SIGINT, Exit.COMPLETE),
        ([0, 3, 0], signal.SIGINT, Exit.INCOMPLETE),
        ([0, 1, 3, 0], signal.SIGINT, Exit.ERROR),
        ([0, 0], signal.SIGTERM, Exit.TERMINATED),
        ([0], signal.SIGHUP, Exit.HUNG_UP),
    ],
)
def test_repeating_ends_by_a_signal(
    statuses: list[int], by: signal.Signals, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = Repeating(statuses, by)
    assert repeated(monkeypatch, takes) == status
    assert len(takes.kept) == len(statuses)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(snapshot_readings.ENDING)


@pytest.mark.usefixtures("default_signals")
def test_one_that_takes_longer_than_the_interval_is_followed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    takes = Repeating([0, 0, 0])
    assert repeated(monkeypatch, takes, passes=100.0) == Exit.COMPLETE
    assert len(takes.kept) == 3


@pytest.mark.usefixtures("default_signals")
def test_a_first_snapshot_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    takes = Repeating([1, 0, 0])
    assert repeated(monkeypatch, takes) == Exit.ERROR
    assert len(takes.kept) == 1


@pytest.mark.usefixtures("default_signals")
def test_nothing_is_removed_after_the_clock_went_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    takes = Repeating([0] * 5)
    repeated(monkeypatch, takes, "--keep", "3", clock=(100, 160, 50, 110, 170))
    assert takes.kept == [3, 3, None, None, 3]
    assert capsys.readouterr().err.count("the clock went back") == 2


@pytest.mark.usefixtures("default_signals")
def test_ignored_signals_stay_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with snapshot_readings._held() as ending:
        assert ending == {signal.SIGINT, signal.SIGTERM}
    takes = Repeating([0, 0], signal.SIGTERM)
    assert repeated(monkeypatch, takes) == Exit.TERMINATED
