# SPDX-License-Identifier: GPL-2.0-only
"""Maps of a small memory: each image has the cells that counting page by page gives."""

import xml.etree.ElementTree as ET
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from drawn_memory import (
    RUNS,
    Painted,
    cells_in,
    colours_by_name,
    each,
    image_of,
    majority,
    memory,
)
from PIL import Image, ImageDraw, ImageFont

from pageinspect.errors import UsageError
from pageinspect.model.snapshot import Snapshot
from pageinspect.picture.classes import CODES
from pageinspect.picture.colours import THEMES, Theme
from pageinspect.picture.drawing import Scene
from pageinspect.picture.maps import MapChoice, MapPicture, map_of
from pageinspect.picture.scene import scene_of
from pageinspect.picture.svg import html_lines, svg_lines
from pageinspect.units import size

MOST = 1 << 20
LARGE = [(1, 10 << 18, "anon", 1), (40 << 18, 300 << 18, "file", 2)]
OTHER_RUNS = [
    *((0x1, 0x40, "reserved", 0), (0x41, 0x1E0, "zsmalloc", 5), (0x400, 0x80, "slab", 5)),
    # It was on another list of free pages, which have the same colour.
    (0x480, 0x3, "buddy", 3), (0x483, 0x7C, "anon", 1), (0x4FF, 1, "table", 1),
]  # fmt: skip


def drawn(*snapshots: Snapshot, **choice: Any) -> MapPicture:
    of = snapshots or (memory(),)
    return map_of(of, ["vmcore"] * len(of), MapChoice(**choice), MOST)


@pytest.fixture(params=list(THEMES))
def theme(request: pytest.FixtureRequest) -> Theme:
    return THEMES[request.param]


@pytest.mark.parametrize("hilbert", [False, True])
def test_at_one_page_a_cell_pixels_by_colour_are_the_pages_of_each_use(
    theme: Theme, hilbert: bool
) -> None:
    picture = drawn(shift=0, hilbert=hilbert)
    scene = scene_of(picture, theme)
    cells = cells_in(scene, image_of(scene))
    counts = Counter(colour for _, _, colour, _ in cells)
    by_name = colours_by_name(picture, theme)
    expected = Counter(by_name[use] for _, use in each())
    del counts[Painted(theme.background)]
    assert counts == expected
    assert {share for *_, share in cells} == {1}
    assert picture.steps == (0,)


@pytest.mark.parametrize("shift", [2, 4, 6])
@pytest.mark.parametrize("hilbert", [False, True])
def test_larger_cells_have_the_colour_of_most_of_their_pages(
    shift: int, hilbert: bool, theme: Theme
) -> None:
    picture = drawn(shift=shift, hilbert=hilbert)
    scene = scene_of(picture, theme)
    cells = cells_in(scene, image_of(scene))
    by_name = colours_by_name(picture, theme)
    layout, size = picture.layout, 1 << shift
    across = np.array([tiles.looks.shape[1] for tiles in scene.tiles])
    assert set(across) == {layout.columns}
    for start, end in layout.windows:
        for pfn in range(start, end, size):
            place = layout.place(pfn)
            assert place is not None
            *_, colour, upper = cells[place[0] * layout.columns + place[1]]
            uses, share = majority(pfn, size, MERGED)
            if not uses:
                assert (colour, upper) == (Painted(theme.background), 1)
                continue
            assert colour in [by_name[use] for use in uses], pfn
            # Nothing is paler than pages that cannot be read.
            step = 1 if share >= 0.9 or uses == {"unreadable"} else 2 / 3 if share >= 0.5 else 1 / 3
            assert upper == pytest.approx(step, abs=0.05), pfn


MERGED = [(pfn, n, "buddy" if use == "pcp" else use, owner) for pfn, n, use, owner in RUNS]
"""Both kinds of free pages are of one class."""


@pytest.mark.parametrize("choice", [{"shift": 3}, {"shift": 2, "hilbert": True}])
def test_svg_and_html_have_the_cells_of_png(choice: dict[str, Any], theme: Theme) -> None:
    scene = scene_of(drawn(**choice), theme)
    pixels = image_of(scene)
    svg = "".join(svg_lines(scene))
    html = "".join(html_lines(scene))
    assert svg in html
    root = ET.fromstring(svg)  # noqa: S314 - our own
    drawn_there = np.zeros(pixels.shape, np.uint8)
    drawn_there[:] = theme.background
    cells = root.findall(".//{*}g[@class='cells']/{*}g")
    groups = [*cells, *root.findall(".//{*}g[@class='borders']")]
    for group in groups:
        for rect in group:
            x, y, width, height = (int(rect.attrib[k]) for k in ("x", "y", "width", "height"))
            text = rect.attrib.get("fill", group.attrib.get("fill", ""))[1:]
            area = drawn_there[y : y + height, x : x + width]
            if "fill" in group.attrib:
                assert (area == theme.background).all()
            area[:] = [int(text[i : i + 2], 16) for i in (0, 2, 4)]
    for tiles in scene.tiles:
        rows, columns = tiles.looks.shape
        height = (rows - 1) * tiles.pitch + tiles.height
        area = np.s_[tiles.y : tiles.y + height, tiles.x : tiles.x + columns * tiles.width]
        # Between rows are frames and marks.
        inside = np.arange(height) % tiles.pitch < tiles.height
        assert (pixels[area][inside] == drawn_there[area][inside]).all()
    # Cells of one look beside each other are one rectangle.
    found = root.findall(".//{*}g[@class='cells']/{*}g/{*}rect")
    assert len(found) < sum(tiles.looks.size for tiles in scene.tiles)


def test_svg_has_text_and_no_script() -> None:
    picture = drawn(memory(host="<lab & co>"), by="owner")
    svg = "".join(svg_lines(scene_of(picture, THEMES["light"])))
    root = ET.fromstring(svg)  # noqa: S314 - our own
    texts = [element.text or "" for element in root.findall(".//{*}text")]
    assert texts[0] == "Memory of <lab & co> by owner"
    assert "0x400" in texts
    assert {line.cells[0] for line in picture.legend} <= {*texts}
    title, description = root.find("{*}title"), root.find("{*}desc")
    assert title is not None
    assert title.text == texts[0]
    assert description is not None
    assert "slab 128" in (description.text or "")
    assert root.attrib["role"] == "img"
    assert {element.tag.partition("}")[2] for element in root.iter()} == {
        "svg", "title", "desc", "g", "rect", "text",
    }  # fmt: skip


def test_title_and_facts_have_kernel_source_time_and_scale() -> None:
    picture = drawn(memory(taken=1_790_000_000_000_000), shift=3)
    assert picture.title == "Memory of lab by use"
    assert picture.facts[:2] == (
        "Linux 7.3.4-test, a core, types from BTF",
        "vmcore, 2026-09-21 14:13:20 UTC",
    )
    assert picture.facts[2].startswith("481 pages, 1.88 MiB; a cell is 32 KiB, a row ")


def test_the_legend_is_the_table_of_counts() -> None:
    picture = drawn()
    counts = Counter("buddy" if use == "pcp" else use for _, use in each())
    rows = {line.cells[0].removeprefix("free: "): line.cells[1:] for line in picture.legend}
    shown = picture.layout.rows * picture.layout.columns * picture.layout.cell_pages
    assert rows.pop("no struct page") == (f"{shown - 481:,}", "", size((shown - 481) << 12))
    assert rows.pop("all")[:2] == ("481", "100.0")
    assert rows["anon"] == (str(counts["anon"]), f"{100 * counts['anon'] / 481:.1f}", "648 KiB")
    assert {name.split(",")[0]: int(cells[0]) for name, cells in rows.items()} == counts


def test_names_of_one_colour_have_a_line_each_until_there_are_many() -> None:
    names = ["vmalloc", "kernel", "percpu", "stack"]
    runs = [(16 * i, 16 - i, name, 0) for i, name in enumerate(names)]
    lines = {line.cells[0]: line for line in drawn(memory(runs)).legend}
    assert [lines[name].cells[1] for name in names] == ["16", "15", "14", "13"]
    assert len({lines[name].look for name in names}) == 1
    more = [*runs, (0x100, 5, "module", 0)]
    lines = {line.cells[0]: line for line in drawn(memory(more)).legend}
    assert lines["stack, module"].cells[1] == "18"
    assert lines["stack, module"].look == lines["kernel"].look


def test_a_change_has_two_maps_of_one_scale_and_what_changed_is_full(theme: Theme) -> None:
    before, after = memory(), memory(OTHER_RUNS)
    picture = drawn(before, after, shift=4)
    assert [panel.looks.shape for panel in picture.panels] == [
        (picture.layout.rows, picture.layout.columns)
    ] * 2
    scene = scene_of(picture, theme)
    cells = cells_in(scene, image_of(scene))
    half = len(cells) // 2
    assert len({tiles.x for tiles in scene.tiles}) == 2
    tones = theme.of_tones(ordered=False, changes=True)
    full = {*tones[:CODES]}
    pages = [dict(each(runs)) for runs in (RUNS, OTHER_RUNS)]
    seen = set()
    for start, end in picture.layout.windows:
        for pfn in range(start, end, 16):
            changed = sum(pages[0].get(p) != pages[1].get(p) for p in range(pfn, pfn + 16))
            place = picture.layout.place(pfn)
            assert place is not None
            at = place[0] * picture.layout.columns + place[1]
            for side, (*_, colour, upper) in zip(pages, (cells[at], cells[half + at]), strict=True):
                if any(p in side and side[p] != "unreadable" for p in range(pfn, pfn + 16)):
                    share = changed / 16
                    step = 1 if not share or share >= 0.5 else 2 / 3 if share >= 0.1 else 1 / 3
                    assert (colour.colour in full) == (changed > 0), hex(pfn)
                    assert upper == pytest.approx(step, abs=0.05), hex(pfn)
                    seen.add(step if share else 0)
    assert seen == {0, 1 / 3, 2 / 3, 1}
    rows = {line.cells[0]: line.cells[1:] for line in picture.legend}
    assert rows["zsmalloc"] == ("0", "480", "+480")
    assert rows["slab"] == ("128", "128", "+0")


def test_what_shares_a_colour_is_hatched(theme: Theme) -> None:
    runs = [(0, 0x40, "vmalloc", 0), (0x40, 0x40, "zsmalloc", 0), (0x80, 0x40, "offline", 0)]
    picture = drawn(memory(runs), shift=0)
    scene = scene_of(picture, theme)
    assert {line.look for line in picture.legend if line.cells[0] == "zsmalloc"} != {
        line.look for line in picture.legend if line.cells[0] == "vmalloc"
    }
    counts = Counter(painted for _, _, painted, _ in cells_in(scene, image_of(scene)))
    by_name = colours_by_name(picture, theme)
    assert {by_name[name]: 0x40 for name in ("vmalloc", "zsmalloc", "offline")}.items() <= (
        counts.items()
    )
    assert by_name["vmalloc"] == Painted(by_name["zsmalloc"].colour)
    assert by_name["zsmalloc"].is_hatched


def test_two_panels_are_as_wide_as_one() -> None:
    alone = scene_of(drawn(memory(LARGE)), THEMES["light"])
    changed = scene_of(drawn(memory(LARGE), memory(LARGE)), THEMES["light"])
    assert changed.width <= alone.width + 40


def test_names_of_zones_are_beside_the_middle_of_their_rows() -> None:
    picture = drawn(memory([(1, 0x4FF, "anon", 1)]), shift=0)
    scene = scene_of(picture, THEMES["light"])
    (tiles,) = scene.tiles
    assert len(picture.zones) == 2
    for zone in picture.zones:
        rows = [picture.layout.place(pfn) for pfn in (zone.start, zone.end - 1)]
        first, last = (place[0] for place in rows if place is not None)
        middle = tiles.y + (first + last) / 2 * tiles.pitch + tiles.height / 2
        (caption,) = (c for c in scene.captions if c.text.startswith(f"{zone.name} "))
        assert caption.y - 4 == pytest.approx(middle, abs=2)


def test_zoom_to_a_few_pfns() -> None:
    picture = drawn(wanted=((0x60, 0x70),), shift=0)
    by_name = {line.cells[0]: line.cells[1] for line in picture.legend}
    assert by_name == {
        "anon": "5", "file": "1", "free: buddy": "10", "all": "16",
        "not chosen, or no struct page": "16",
    }  # fmt: skip


def test_a_terminal_has_cells_that_fit() -> None:
    from pageinspect.picture.maps import Room

    for hilbert in (False, True):
        picture = drawn(room=Room(16, 4), hilbert=hilbert)
        assert picture.layout.columns <= 16
        assert picture.layout.rows <= 4
    # Cells that were asked for make more rows, and a curve cannot be wider.
    assert drawn(room=Room(16, 4), shift=0).layout.rows > 4
    with pytest.raises(UsageError, match="wider than the terminal"):
        drawn(room=Room(16, 4), shift=0, hilbert=True)


def boxes_of_text(scene: Scene) -> list[tuple[str, float, float, float, float]]:
    pencil = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    share = {"start": 0.0, "middle": 0.5, "end": 1.0}
    found = []
    for caption in scene.captions:
        font = ImageFont.load_default(caption.size)
        width = pencil.textlength(caption.text, font)
        left = caption.x - share[caption.anchor] * width
        found.append((caption.text, left, caption.y - 0.7 * caption.size, left + width, caption.y))
    return found


@pytest.mark.parametrize(
    ("snapshots", "choice"),
    [
        (1, {}),
        (1, {"shift": 0}),
        (1, {"shift": 0, "hilbert": True}),
        (1, {"shift": 6}),
        (2, {"shift": 2}),
        (2, {"shift": 2, "hilbert": True}),
        (1, {"by": "order", "shift": 1}),
        (3, {}),
        (3, {"shift": 14}),
    ],
)
def test_no_text_is_over_another_text_or_a_cell(snapshots: int, choice: dict[str, Any]) -> None:
    of = [memory(LARGE)] if snapshots == 3 else [memory(), memory(OTHER_RUNS)][:snapshots]
    scene = scene_of(drawn(*of, **choice), THEMES["light"])
    texts = boxes_of_text(scene)
    cells = [
        (
            "cells",
            float(t.x),
            float(t.y),
            float(t.x + t.looks.shape[1] * t.width),
            float(t.y + (t.looks.shape[0] - 1) * t.pitch + t.height),
        )
        for t in scene.tiles
    ]
    for one, other in combinations([*texts, *cells], 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)
    for _, left, top, right, bottom in (*texts, *cells):
        assert left >= 0
        assert top >= 0
        assert right <= scene.width
        assert bottom <= scene.height


def test_the_steps_are_shown_without_lines() -> None:
    hatched = drawn(memory([(0x0, 0x60, "zsmalloc", 0), (0x60, 0x20, "anon", 1)]), shift=7)
    plain = drawn(memory([(0x0, 0x60, "kernel", 0), (0x60, 0x20, "anon", 1)]), shift=7)
    assert hatched.legend[0].look != plain.legend[0].look
    scenes = [scene_of(picture, THEMES["light"]) for picture in (hatched, plain)]
    below = [max(box.y for box in scene.boxes if box.outlined) for scene in scenes]
    steps = [
        {(box.x, box.y, box.height, box.colour) for box in scene.boxes if box.y >= edge}
        for scene, edge in zip(scenes, below, strict=True)
    ]
    assert below[0] == below[1]
    assert steps[0] == steps[1]
