# SPDX-License-Identifier: GPL-2.0-only
"""The command map: what it draws of a kernel, and what it refuses."""

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn_memory import Painted, cells_in, colours_by_name, memory
from owned_pages import PAGES, OwnedPages, filled
from PIL import Image

from pageinspect.cli import options, snapshots
from pageinspect.cli.commands import list as list_command
from pageinspect.cli.commands import map as command
from pageinspect.cli.parser import build_parser
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.host import extras
from pageinspect.inspector import inspector as inspector_module
from pageinspect.inspector import owner_finder
from pageinspect.inspector import snapshot as snapshot_module
from pageinspect.inspector import source as source_module
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.selection import Request
from pageinspect.inspector.summary import summarise
from pageinspect.kernel.boot import Clock
from pageinspect.picture import scene as scene_module
from pageinspect.picture.colours import THEMES, Theme
from pageinspect.picture.drawing import Scene
from pageinspect.picture.maps import MapPicture
from pageinspect.picture.scene import scene_of


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> OwnedPages:
    """Give a kernel made by hand to the command."""
    made = filled()
    inspector = made.inspector()
    monkeypatch.setattr(owner_finder, "read_structures", made.read_structures)
    monkeypatch.setattr(snapshots, "open_target", lambda _args: inspector.target)
    monkeypatch.setattr(inspector_module, "inspect", lambda _target: inspector)
    monkeypatch.setattr(snapshot_module, "host_of", lambda _inspector: "made")
    monkeypatch.setattr(snapshot_module, "read_clock", lambda _prog: Clock())
    return made


def run(*words: str) -> int:
    args = build_parser().parse_args(["map", *words])
    return command.run(args)


@pytest.mark.parametrize("pfn", [[], ["--pfn", "0x3-0x19", "--pfn", "0x30+9"]])
def test_pixels_by_colour_are_the_summary_of_the_selection(
    kernel: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pfn: list[str]
) -> None:
    path, made = tmp_path / "map.png", []

    def scene(picture: MapPicture, theme: Theme) -> Scene:
        made.append((picture, scene_of(picture, theme)))
        return made[-1][1]

    monkeypatch.setattr(scene_module, "scene_of", scene)
    run("-o", str(path), "--cell", "4K", "--by", "use", "-j", "1", *pfn)
    ((picture, drawn),) = made
    wanted = Request([text for text in pfn if text != "--pfn"])
    (table,) = summarise(kernel.inspector(), ["use"], wanted, fold=fold_here).tables()
    use, pages = ([c.key for c in table.columns].index(key) for key in ("use", "pages"))
    by_name = colours_by_name(picture, THEMES["light"])
    expected: Counter[Painted] = Counter()
    for row in table.rows:
        expected[by_name[row[use]]] += row[pages]
    pixels = np.asarray(Image.open(path).convert("RGB"))
    counts = Counter(colour for _, _, colour, _ in cells_in(drawn, pixels))
    del counts[Painted(THEMES["light"].background)]
    assert counts == expected
    assert counts.total() > 20


@pytest.mark.parametrize("cell", [1, 4, 16])
def test_each_cell_is_what_most_pages_are_that_list_prints(
    kernel: OwnedPages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cell: int,
) -> None:
    monkeypatch.setattr(options, "open_target", lambda _args: kernel.inspector().target)
    monkeypatch.setattr(source_module, "inspect", lambda _target: kernel.inspector())
    args = build_parser().parse_args(["list", "--each", "--format", "csv", "-j", "1"])
    list_command.run(args)
    uses: dict[int, Counter[str]] = {}
    rows = [*csv.DictReader(capsys.readouterr().out.splitlines())]
    for row in rows:
        uses.setdefault(int(row["pfn"], 0) // cell, Counter())[row["use"]] += 1
    assert len(rows) == PAGES

    scenes: list[tuple[MapPicture, Scene]] = []

    def scene(picture: MapPicture, theme: Theme) -> Scene:
        scenes.append((picture, scene_of(picture, theme)))
        return scenes[-1][1]

    monkeypatch.setattr(scene_module, "scene_of", scene)
    path = tmp_path / "map.png"
    run("-o", str(path), "--cell", f"{4 * cell}K", "-j", "1")
    ((picture, drawn),) = scenes
    by_name = colours_by_name(picture, THEMES["light"])
    colours = cells_in(drawn, np.asarray(Image.open(path).convert("RGB")))
    first = picture.layout.windows[0][0] // cell
    assert len(picture.layout.windows) == 1
    mixed = 0
    for number, counts in uses.items():
        pages: Counter[Painted] = Counter()
        for use, n in counts.items():
            pages[by_name[use]] += n
        most = max(pages.values())
        *_, colour, upper = colours[number - first]
        assert pages[colour] == most, hex(number * cell)
        assert (upper == 1) == (most >= 0.9 * cell), hex(number * cell)
        mixed += upper < 1
    assert bool(mixed) == (cell > 1)


def test_text_goes_to_standard_output(
    kernel: OwnedPages, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("COLORTERM", "truecolor")
    run("-j", "1", "--by", "owner")
    out = capsys.readouterr().out
    assert out.startswith("Memory of made by owner\n")
    # A pipe gets letters.
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 60


def test_an_image_can_be_html_and_dark(kernel: OwnedPages, tmp_path: Path) -> None:
    path = tmp_path / "map.HTML"
    run("-o", str(path), "-j", "1", "--theme", "dark", "--mode", "600", "--hilbert")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "#{:02x}{:02x}{:02x}".format(*THEMES["dark"].background) in text
    assert "<script" not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_between_two_snapshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sides = {"one": memory(), "two": memory([(0x1, 0x80, "slab", 5)])}
    monkeypatch.setattr(command, "snapshot_of", lambda _args, text, _tables: sides[text])
    monkeypatch.setattr(
        command, "snapshot_of_target", lambda args, _tables: sides[args.target_text]
    )
    path = tmp_path / "map.svg"
    run("two", "--diff", "one", "-o", str(path))
    text = path.read_text(encoding="utf-8")
    assert ">Change of memory of lab by use<" in text
    assert text.index(">one, ") < text.index(">two, ")
    monkeypatch.setitem(sides, "one", memory(page_size=1 << 14))
    with pytest.raises(UsageError, match="cannot be compared"):
        run("two", "--diff", "one", "-o", str(path))


@pytest.mark.parametrize(("header", "status"), [({}, 0), ({"unreadable": 7}, 3)])
def test_the_status_says_whether_all_could_be_read(
    header: dict[str, int], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = memory(**header)
    monkeypatch.setattr(command, "snapshot_of_target", lambda *_: made)
    assert run("somewhere") == status


@pytest.mark.parametrize("text", ["{", "[]", '{"release": 1}'])
def test_a_damaged_kernel_is_reported(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(command, "snapshot_of_target", lambda *_: memory(kernel=text))
    with pytest.raises(PageInspectError, match="damaged: the column kernel") as caught:
        run("somewhere")
    assert "copy it again" in caught.value.hint


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["-o", "map.gif"], "which kind of image", ".png, .svg, .html"),
        (["-o", "map"], "which kind of image", ".png"),
        (["--cell", "3K"], "not the size of a cell", "--help"),
        (["--cell", "2G"], "not the size of a cell", "--help"),
        (["--cell", "2048"], "not the size of a cell", "--help"),
        (["--pfn", "0x90000-0x90010"], "has a struct page", "nearest range"),
        (["--pfn", "nothing"], "not a pfn range", "write"),
        (["--by", "age"], "'age'", "choose from"),
    ],
)
def test_bad_input_is_refused(
    kernel: OwnedPages, words: list[str], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run("-j", "1", *words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_folder_is_no_image(kernel: OwnedPages, tmp_path: Path) -> None:
    (tmp_path / "map.png").mkdir()
    with pytest.raises(PageInspectError, match="it is a folder"):
        run("-o", str(tmp_path / "map.png"))


def test_too_many_cells_are_refused_with_a_size_that_fits(
    kernel: OwnedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_MOST_IN_TEXT", 64)
    with pytest.raises(UsageError, match="more than 64 cells of 4 KiB") as caught:
        run("-j", "1", "--cell", "4K")
    assert re.search(r"--cell \d+[KM]", caught.value.hint)


def test_a_missing_library_is_reported_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name=name)

    monkeypatch.setattr(extras, "import_module", missing)
    monkeypatch.setattr(snapshots, "open_target", lambda _args: pytest.fail("too late"))
    with pytest.raises(PageInspectError, match="PIL is not installed, which the extra report has"):
        run("-o", "map.png")
