# SPDX-License-Identifier: GPL-2.0-only
"""The HTML report in a real browser: what it shows of a kernel made by hand, and that it is alone.

Expected are the runs of that kernel, page by page, and the reports.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from blocked_pages import PINNED
from browser import NARROW, WIDE, Opened, browser, opened
from made_page import (
    END,
    IMAGE,
    each_page,
    long_named,
    made_contents,
    totals,
    unpacked,
    write,
)

from pageinspect.html_report import contents as module
from pageinspect.html_report.contents import Contents, page_of
from pageinspect.picture.classes import CODES, HATCHED, ORDERS
from pageinspect.units import size

A4 = round((210 - 2 * 14) / 25.4 * 96)
"""The width of a page without its margins, in pixels of CSS."""
UNPACKS_NOT = "delete window.DecompressionStream"


@dataclass(frozen=True)
class Made:
    """A page, and what it is made of."""

    contents: Contents
    path: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    with pytest.MonkeyPatch.context() as patch:
        contents = made_contents(patch)
    return Made(contents, write(tmp_path_factory.mktemp("page"), page_of(contents)))


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def shared(started: Any, made: Made) -> Iterator[Opened]:
    with opened(started, made.path) as shown:
        yield shown


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_without_errors_and_requests_nothing(
    started: Any, made: Made, width: int, scheme: Any
) -> None:
    with opened(started, made.path, width=width, scheme=scheme) as shown:
        shown.page.wait_for_load_state("networkidle")
        assert shown.errors == []
        assert shown.requests == [made.path.as_uri()]
        # Nothing is wider than the window.
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_file_can_be_named_from_the_folder_that_it_is_in(
    started: Any, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    # make screens names it so.
    monkeypatch.chdir(made.path.parent)
    with opened(started, Path(made.path.name)) as shown:
        assert shown.requests == [made.path.as_uri()]


def test_names_are_text(shared: Opened) -> None:
    assert shared.page.title() == f"Memory of {IMAGE}, 1970-01-01 00:00:00 UTC"
    assert shared.page.locator("img").count() == 0
    files = {row[1] for row in shared.rows("files")}
    assert f"/{IMAGE}" in files
    assert r"/\x1b[31mred\u202e" in files
    assert {row[1] for row in shared.rows("processes")} >= {END, IMAGE, r"\x1b[31mred\u202e"}


def known(contents: Contents, pfn: int) -> dict[str, str]:
    """Return what the page is to show of a pfn."""
    use, owner, order = each_page(contents.snapshot)[pfn]
    owners = contents.snapshot.tables["owners"]
    at = owners["id"].tolist().index(owner)
    name = owners["name"].tolist()[at].replace("\x1b", r"\x1b").replace("\u202e", r"\u202e")
    kind = owners["kind"].tolist()[at]
    return {
        "pfn": hex(pfn),
        "use": use,
        "owner": f"{kind}: {name}" if name else kind,
        "order": str(order),
        "zone": "DMA32",
        "node": "0",
        "command": f"pageinspect page {pfn:#x} -c 'the core'",
    }


@pytest.mark.parametrize(
    "pfn", [0, 0x10, 0x40, 0x7F, 0x80, PINNED, 0x101, 0x170, 0x1AB, 0x200, 0x3FF]
)
def test_hover_shows_the_page(shared: Opened, made: Made, pfn: int) -> None:
    shown = shared.go_to(pfn)
    shown.pop("migratetype")
    assert shown == known(made.contents, pfn)


def test_the_keyboard_reaches_every_page(started: Any, made: Made) -> None:
    with opened(started, made.path) as shown:
        page = shown.page
        page.locator("canvas").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert page.locator("#map-details dd").first.inner_text() == "0x3"
        page.keyboard.press("ArrowDown")
        assert page.locator("#map-details dd").first.inner_text() == "0x203"
        page.keyboard.press("Escape")
        assert "cells of 64 KiB" in shown.text("#memory-map .state")
        page.locator("#treemap .tile").first.focus()
        first = page.locator("#treemap .tile").first.get_attribute("aria-label").split(":")[0]
        page.keyboard.press("Enter")
        assert shown.text("#treemap .state").startswith(f"{first}:")
        page.keyboard.press("Escape")
        assert page.locator("#treemap button").first.is_disabled()


def test_a_cell_shows_what_is_in_it(shared: Opened, made: Made) -> None:
    shared.go_to(0x60)
    shared.page.get_by_role("button", name="Zoom out").click()
    uses = Counter(each_page(made.contents.snapshot)[pfn][0] for pfn in range(0x60, 0x70))
    text = shared.text("#map-details")
    assert "pfns 0x60 to 0x6f: 16 pages" in text
    assert all(f"{use} {n}" in text for use, n in uses.items())
    assert "pageinspect list --pfn 0x60+16 -c 'the core'" in text


def test_totals_are_those_of_the_reports(shared: Opened, made: Made) -> None:
    uses, kinds = totals(made.contents)
    shared.page.get_by_label("Colour by").select_option("use")
    assert shared.legend() == uses
    shared.page.get_by_label("Colour by").select_option("kind")
    assert shared.legend() == kinds
    shared.page.get_by_label("Colour by").select_option("use")
    shared.page.get_by_label("with free memory").set_checked(True)
    labels = shared.page.locator("#treemap .tile").evaluate_all(
        "tiles => tiles.map(tile => tile.getAttribute('aria-label'))"
    )
    assert {label.split(" page")[0] for label in labels} == {
        f"{kind}: {pages:,}" for kind, pages in kinds.items()
    }


@pytest.mark.parametrize(("view", "neutral"), [("order", "free"), ("free", "in use")])
def test_orders_of_folios_and_of_free_blocks_are_apart(
    shared: Opened, made: Made, view: str, neutral: str
) -> None:
    expected: Counter[str] = Counter()
    for use, _, order in each_page(made.contents.snapshot).values():
        if (use in ("buddy", "pcp")) == (neutral == "free"):
            expected[neutral] += 1
        else:
            expected[next(name for least, name in reversed(ORDERS) if order >= least)] += 1
    shared.page.get_by_label("Colour by").select_option(view)
    assert shared.legend() == expected
    assert len(expected) > 1
    shared.page.get_by_label("Colour by").select_option("use")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "That is not a pfn: write a number such as 0x1a2b or 6699."),
        ("", "That is not a pfn"),
        ("1.5", "That is not a pfn"),
        ("0x400", "The map has the pfns 0x0 to 0x3ff."),
        ("-1", "The map has the pfns 0x0 to 0x3ff."),
    ],
)
def test_a_pfn_that_is_not_there_is_explained(shared: Opened, text: str, said: str) -> None:
    shared.page.get_by_label("pfn", exact=True).fill(text)
    shared.page.get_by_role("button", name="Go to pfn").click()
    assert said in shared.text("#map-details")


def test_areas_are_in_proportion(shared: Opened, made: Made) -> None:
    shared.page.get_by_label("with free memory").set_checked(True)
    kinds = totals(made.contents)[1]
    whole = shared.page.locator(".treemap").bounding_box()
    area = whole["width"] * whole["height"]
    tiles = shared.page.locator("#treemap .tile")
    for i, (kind, pages) in enumerate(sorted(kinds.items(), key=lambda item: -item[1])):
        box = tiles.nth(i).bounding_box()
        share = pages / sum(kinds.values())
        assert whole["x"] - 1 <= box["x"] <= whole["x"] + whole["width"] - box["width"] + 1
        assert whole["y"] - 1 <= box["y"] <= whole["y"] + whole["height"] - box["height"] + 1
        assert box["width"] * box["height"] / area == pytest.approx(share, rel=0.02), kind


def test_tables_sort_and_filter(shared: Opened) -> None:
    def pids() -> list[int]:
        return [int(row[0]) for row in shared.rows("processes")]

    part = shared.page.locator("#processes")
    # By PSS at first: 9 MiB, 4 MiB, 3 MiB, 4 KiB.
    assert pids() == [12, 10, 11, 13]
    assert part.locator("th[aria-sort=descending]").inner_text() == "PSS"
    part.get_by_role("button", name="PSS").click()
    assert pids() == [13, 11, 10, 12]
    part.get_by_role("button", name="PID").click()
    assert pids() == [13, 12, 11, 10]
    assert part.locator("th[aria-sort=descending]").inner_text() == "PID"
    part.get_by_label("Filter Processes").fill("ONERROR")
    assert pids() == [11]
    assert "1 of 4 processes" in part.locator(".state").inner_text()
    part.get_by_label("Filter Processes").fill("")
    assert pids() == [13, 12, 11, 10]


def map_of(page: str) -> str:
    """Return the packed data of the map."""
    return page.partition('id="map-data">')[2].partition("<")[0]


def test_a_page_with_too_many_runs_ends_at_cells(
    started: Any, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = map_of(made.path.read_text(encoding="utf-8"))
    monkeypatch.setattr(module, "MOST_BYTES", len(exact) - 1)
    page = page_of(made.contents)
    order = unpacked(map_of(page))["order"]
    with opened(started, write(tmp_path, page)) as shown:
        assert shown.errors == []
        assert "the map ends at cells" in shown.text("#map")
        assert shown.legend() == totals(made.contents)[0]
        closer = shown.page.get_by_role("button", name="Zoom in")
        for pages in (0x200, 1 << order):
            uses = Counter(each_page(made.contents.snapshot)[pfn][0] for pfn in range(pages))
            text = shown.text("#map-details")
            assert f"pfns 0x0 to {pages - 1:#x}: {pages} page" in text
            assert all(f"{use} {n}" in text for use, n in uses.most_common(3))
            while closer.is_enabled():
                closer.click()


def test_a_browser_that_cannot_unpack_says_so(started: Any, made: Made) -> None:
    with opened(started, made.path, before=UNPACKS_NOT) as shown:
        assert "has no DecompressionStream" in shown.text("#notice")
        assert shown.errors == []


def test_print_has_the_parts_and_no_controls(started: Any, made: Made) -> None:
    with opened(started, made.path, scheme="dark") as shown:
        shown.page.emulate_media(media="print")
        assert not shown.page.locator("nav").is_visible()
        assert not shown.page.get_by_label("Filter Processes").is_visible()
        assert shown.page.locator("canvas").is_visible()
        assert shown.page.pdf(format="A4").startswith(b"%PDF")


def test_all_columns_fit_on_paper(started: Any, made: Made, tmp_path: Path) -> None:
    for path in (made.path, write(tmp_path, page_of(long_named("x")))):
        with opened(started, path, width=A4) as shown:
            shown.page.emulate_media(media="print")
            assert shown.page.evaluate("document.documentElement.scrollWidth") <= A4


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("letter", ["x", "日"])
def test_long_names_do_not_break_the_page(
    started: Any, tmp_path: Path, width: int, letter: str
) -> None:
    path = write(tmp_path, page_of(long_named(letter)))
    with opened(started, path, width=width) as shown:
        assert shown.errors == []
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        row = shown.page.locator("#files tbody tr").nth(1)
        height = row.bounding_box()["height"]
        assert height < (100 if width == WIDE else 150)
        name = row.locator("td").nth(1)
        assert name.locator("span").get_attribute("title") == name.inner_text()


def test_the_command_of_a_name_that_is_cut_has_a_pattern(started: Any, tmp_path: Path) -> None:
    path = write(tmp_path, page_of(long_named("x", 9)))
    with opened(started, path) as shown:
        tiles = shown.page.locator("#treemap .tile")
        tiles.first.click()
        tiles.nth(1).click()
        command = shown.text("#treemap code")
        (pattern,) = re.findall(r"--owner '?file:(.*?)'? -c", command)
        assert fnmatchcase(f"/{'x' * 4000}/0", pattern)
        assert not fnmatchcase(f"/{'x' * 4000}/1", pattern)


def test_a_narrow_page_shows_names_and_sizes(started: Any, tmp_path: Path) -> None:
    path = write(tmp_path, page_of(long_named("x")))
    with opened(started, path, width=NARROW) as shown:
        for part in ("files", "owners"):
            box = shown.page.locator(f"#{part} .scroll").first.bounding_box()
            for i in range(2):
                cell = shown.page.locator(f"#{part} tbody tr").nth(i).locator("td:visible").last
                at = cell.bounding_box()
                assert at["x"] + at["width"] <= box["x"] + box["width"] + 1
                assert cell.inner_text() == "5.86 MiB"


def test_an_area_of_a_file_has_the_end_of_its_path(started: Any, tmp_path: Path) -> None:
    path = write(tmp_path, page_of(long_named("x", 9)))
    with opened(started, path) as shown:
        tiles = shown.page.locator("#treemap .tile")
        tiles.first.click()
        texts = tiles.locator("b").all_inner_texts()
        labels = tiles.evaluate_all("tiles => tiles.map(t => t.getAttribute('aria-label'))")
    assert {*texts} == {"short", *map(str, range(8))}
    assert all(label.startswith(("/short:", "/xxx")) for label in labels)


def test_areas_of_another_nature_have_lines_as_on_the_map(shared: Opened) -> None:
    script = """codes => [...Array(codes).keys()].map((code) => {
        const tile = document.createElement("button");
        tile.className = `tile f${code}`;
        document.body.append(tile);
        const image = getComputedStyle(tile).backgroundImage;
        tile.remove();
        return image !== "none";
    })"""
    assert shared.page.evaluate(script, CODES) == [code >= HATCHED for code in range(CODES)]


def test_numbers_are_rounded_as_in_reports(started: Any) -> None:
    text = (resources.files("pageinspect.html_report") / "parts" / "format.js").read_text()
    pages = [*range(1, 3000), 5280, 6120, 26_038, 1 << 18, *range(100_000, 100_300)]
    parts = range(801)
    script = """async ([text, pages, parts]) => {
        const m = await import("data:text/javascript," + encodeURIComponent(text));
        return [pages.map((n) => m.size(n * 4096)), parts.map((n) => m.percent(n, 800))];
    }"""
    page = started.new_page()
    try:
        sizes, shares = page.evaluate(script, [text, pages, [*parts]])
    finally:
        page.close()
    assert sizes == [size(n << 12) for n in pages]
    assert shares == ["<0.1 %" if 0 < n < 0.4 else f"{n / 8:.1f} %" for n in parts]


def test_shares_are_of_all_memory(started: Any, made: Made) -> None:
    kinds = totals(made.contents)[1]
    every = sum(kinds.values())
    with opened(started, made.path) as shown:
        tiles = shown.page.locator("#treemap .tile")
        state = shown.page.locator("#treemap .state")
        for with_free in (True, False):
            shown.page.get_by_label("with free memory").set_checked(with_free)
            labels = tiles.evaluate_all("tiles => tiles.map(t => t.getAttribute('aria-label'))")
            for label in labels:
                kind, _, text = label.partition(":")
                assert text.endswith(f"{100 * kinds[kind] / every:.1f} % of memory"), label
            assert ("free" in state.inner_text()) != with_free
        share = f"{100 * kinds['free'] / every:.1f} %"
        assert f"of free memory ({share})" in state.inner_text()
