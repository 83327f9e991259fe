# SPDX-License-Identifier: GPL-2.0-only
"""The pictures of README and of docs/gallery.md are those that their commands draw."""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from browser import WIDE
from places import DOCS, ROOT

GALLERY = runpy.run_path(str(DOCS / "make_gallery.py"))
PICTURES = sorted(GALLERY["PICTURES"].iterdir())
LARGEST = 40 << 10
SCREEN = DOCS / "report-overview.png"
"""By make screens."""
LARGEST_SCREEN = 160 << 10
LINES = re.compile(r"^\$ pageinspect map .*-o (\S+)$|^!\[.*\]\(.*?([^/)]+\.svg)\)$", re.MULTILINE)
"""Commands and maps."""
SVG = "{http://www.w3.org/2000/svg}"


def shown() -> dict[str, str]:
    """Return the alternative text of each map that is shown, by file name."""
    found = {}
    for document in GALLERY["DOCUMENTS"]:
        for text, link in re.findall(r"!\[([^]]*)\]\(([^)]+\.svg)\)", document.read_text("utf-8")):
            assert (document.parent / link).resolve().parent == GALLERY["PICTURES"], link
            found[Path(link).name] = text
    return found


def test_each_picture_is_shown_and_drawn_by_one_command() -> None:
    drawn = sorted(line.split()[-1] for line in GALLERY["commands"]())
    assert drawn == sorted(shown()) == [picture.name for picture in PICTURES]


def test_each_picture_is_shown_below_its_command() -> None:
    for document in GALLERY["DOCUMENTS"]:
        text = document.read_text("utf-8")
        order = LINES.findall(text)
        names = [command or picture for command, picture in order]
        assert names[::2] == names[1::2] != []
        assert all(command for command, _ in order[::2])


def test_commands_draw_from_the_cores_of_the_guests() -> None:
    cores = {name for names in GALLERY["GUESTS"].values() for name in names}
    used = {word for line in GALLERY["commands"]() for word in line.split()[2:-1]}
    assert cores == {word for word in used if word.endswith("core")}


def test_pictures_have_alternative_text() -> None:
    for name, text in shown().items():
        assert len(text.split()) >= 8, name


@pytest.mark.parametrize("path", [ROOT / "README.md", DOCS / "report.md"], ids=lambda p: p.name)
def test_the_report_is_shown_as_a_browser_does(path: Path) -> None:
    found = re.findall(r"!\[([^]]*)\]\(([^)]+\.png)\)", path.read_text("utf-8"))
    (text,) = [text for text, link in found if path.parent / link == SCREEN]
    assert len(text.split()) >= 8
    data = SCREEN.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == WIDE
    assert len(data) <= LARGEST_SCREEN


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_picture_is_small_and_of_the_command_s_core(picture: Path) -> None:
    assert picture.stat().st_size <= LARGEST
    svg = ET.fromstring(picture.read_text("utf-8"))  # noqa: S314 - our own
    assert {element.tag for element in svg.iter()} == {
        f"{SVG}{name}" for name in ("svg", "title", "desc", "g", "rect", "text")
    }
    (command,) = (c for c in GALLERY["commands"]() if c.split()[-1] == picture.name)
    core = command.split()[2]
    texts = [element.text or "" for element in svg.iter(f"{SVG}text")]
    assert any(re.match(rf"{re.escape(core)}\b", text) for text in texts), texts[:5]
    by = re.search(r"--by (\w+)", command)
    key = {None: "use", "free": "order"}.get(by and by[1], by and by[1])
    assert texts[0].endswith(f" by {key}")


def test_the_report_in_readme_is_of_the_core_in_its_picture() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    session = readme.partition("$ pageinspect owners")[2].partition("```")[0]
    rows = re.findall(r"^(\w+) +([\d,]+) +<?[\d.]+ +[\d.]+ \w+\b", session, re.MULTILINE)
    svg = ET.fromstring((GALLERY["PICTURES"] / "map.svg").read_text("utf-8"))  # noqa: S314 - ours
    texts = [element.text or "" for element in svg.iter(f"{SVG}text")]
    legend = {text: texts[i + 1] for i, text in enumerate(texts[:-1])}
    compared = {kind: pages for kind, pages in rows if kind in legend}
    assert {"free", "file"} <= set(compared)
    assert all(legend[kind] == pages for kind, pages in compared.items()), "copy what it prints"
