# SPDX-License-Identifier: GPL-2.0-only
"""The HTML of the page: nothing from elsewhere, and no name that is HTML."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from every_report import REPORTS
from made_page import END, HOSTILE, IMAGE, long_named, made_contents, totals, unpacked

from pageinspect.errors import PageInspectError
from pageinspect.host import extras
from pageinspect.html_report import contents as module
from pageinspect.html_report.contents import Contents, page_of
from pageinspect.html_report.names import MOST_BYTES
from pageinspect.html_report.sections import Section
from pageinspect.model.snapshot import Names, SnapshotTable

VOID = {"meta", "input", "rect", "br", "img", "link", "hr"}


class Elements(HTMLParser):
    """Collects elements, and the text of those with an id or of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        if tag in ("script", "style"):
            tag = str(self.found[-1][1].get("id", tag))
        self.texts[tag] = self.texts.get(tag, "") + data


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    return elements


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> Contents:
    return made_contents(monkeypatch)


@pytest.fixture
def page(contents: Contents) -> str:
    return page_of(contents)


def test_names_are_never_html(page: str) -> None:
    elements = parsed(page)
    assert "img" not in {tag for tag, _ in elements.found}
    assert [tag for tag, _ in elements.found].count("script") == 3
    # The data is compressed, and everything else is escaped.
    assert not [name for name in HOSTILE if name in page]
    assert "&lt;img src=x onerror=" in page
    assert all(c.isprintable() or c == "\n" for c in page)
    attributes = {name for _, attrs in elements.found for name in attrs}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {
        "style",
        "src",
    }


def test_the_data_has_the_names_as_text(page: str) -> None:
    data = unpacked(parsed(page).texts["data"])
    assert f"/{IMAGE}" in data["owners"]["name"]
    assert r"/\x1b[31mred\u202e" in data["owners"]["name"]
    comms = data["lists"]["processes"]["values"][1]
    assert comms == [END, "bash", IMAGE, r"\x1b[31mred\u202e"]
    assert data["target"] == " -c 'the core'"


def test_the_policy_allows_only_this_style_and_script(page: str) -> None:
    elements = parsed(page)
    policy = next(a["content"] or "" for _, a in elements.found if "http-equiv" in a)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    for name in ("style", "script"):
        digest = hashlib.sha256(elements.texts[name].encode()).digest()
        assert rules.pop(f"{name}-src") == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert set(rules.values()) == {"'none'"}


def test_nothing_is_loaded(page: str) -> None:
    # The data is text in base64.
    plain = re.sub(r'octet-stream" id="[\w-]+">[^<]*', "", page)
    assert not re.findall(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest|WebSocket", plain)
    links = [attrs["href"] for tag, attrs in parsed(page).found if tag == "a"]
    ids = {attrs.get("id") for _, attrs in parsed(page).found}
    assert links
    assert all(link is not None and link[0] == "#" and link[1:] in ids for link in links)


def test_without_script_the_overview_is_there(page: str, contents: Contents) -> None:
    plain = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", " ", plain)
    for kind, pages in totals(contents)[1].items():
        assert re.search(rf"{kind}\s+{pages:,}\s", text), kind
    assert "Without JavaScript this page has no map" in text
    # The command that contiguity prints would name a dataset.
    assert "DATASET" not in text


def test_other_parts_of_the_page(contents: Contents) -> None:
    frees = Section(texts=(END, "  a command"))
    more = replace(contents, check=REPORTS["check"](), audit=REPORTS["audit"](), frees=frees)
    page = page_of(more)
    assert "<p>&lt;/script&gt;" in page
    assert '<code class="command">a command</code>' in page
    ids = [attrs["id"] for tag, attrs in parsed(page).found if tag == "section"]
    assert ids == [
        *("overview", "owners", "map", "processes", "files", "caches", "cgroups"),
        *("contiguity", "check", "frees", "audit", "commands"),
    ]
    assert "pageinspect audit -c &#39;the core&#39;" in page
    assert '<dd class="bad">' in page


def test_what_is_missing_is_listed(contents: Contents) -> None:
    header = contents.snapshot.tables["snapshots"]
    columns = {**header.columns, "missing": [[END, "tasks: 5 items."]], "unreadable": np.array([7])}
    tables = {**contents.snapshot.tables, "snapshots": SnapshotTable("snapshots", columns)}
    page = page_of(replace(contents, snapshot=replace(contents.snapshot, tables=tables)))
    listed = page.partition("<h2>What is missing</h2>")[2].partition("</ul>")[0]
    assert re.findall(r"<li>(.*?)</li>", listed) == [
        "7 struct pages could not be read.",
        "&lt;/script&gt;&lt;script&gt;document.title=&#39;broken&#39;&lt;/script&gt;",
        "tasks: 5 items.",
    ]


def with_many_runs(contents: Contents, n: int) -> Contents:
    """Return the contents with n runs of random owners, of which no two are alike in a row."""
    chosen, tables = np.random.default_rng(3), contents.snapshot.tables
    runs = tables["runs"]
    at = chosen.integers(0, len(runs), n)
    columns = {
        name: column.where(at) if isinstance(column, Names) else column[at]
        for name, column in runs.columns.items()
    }
    columns |= {"pfn": 4 * np.arange(n), "pages": chosen.integers(1, 4, n)}
    table = SnapshotTable("runs", columns)
    return replace(contents, snapshot=replace(contents.snapshot, tables={**tables, "runs": table}))


def test_a_page_is_at_most_this_large(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    many = with_many_runs(contents, 30_000)
    whole = page_of(many)
    assert "Zooming in leads to single pages" in whole
    assert len(whole) > 90_000
    monkeypatch.setattr(module, "MOST_PAGE", 90_000)
    smaller = page_of(many)
    assert "the map ends at cells" in smaller
    assert len(smaller.encode()) <= 90_000


def test_the_map_takes_only_its_part(contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = len(parsed(page_of(contents)).texts["map-data"])
    monkeypatch.setattr(module, "MOST_BYTES", exact - 1)
    smaller = page_of(contents)
    assert "the map ends at cells" in smaller
    assert len(parsed(smaller).texts["map-data"]) < exact


def test_long_tables_have_fewer_rows_if_they_do_not_fit(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_LISTS", 900)
    data = unpacked(parsed(page_of(contents)).texts["data"])
    assert data["lists"]["processes"]["left"] > 0
    n = sum(1 for kind in data["owners"]["kind"])
    left = sum(others for _, others, _ in data["owners"]["others"])
    names = {(r[0], r[1]) for r in named(contents)}
    assert n + left == len(names)


def named(contents: Contents) -> list[tuple[str, str]]:
    table = contents.snapshot.tables["owners"]
    return list(zip(table["kind"].tolist(), table["name"].tolist(), strict=True))


def test_without_jinja2_there_is_advice(
    contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name, name=name)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(PageInspectError, match="jinja2 is not installed"):
        page_of(contents)


@pytest.mark.parametrize("letter", ["x", "日", "\x1b"])
def test_names_as_long_as_paths_take_few_bytes(letter: str) -> None:
    page = page_of(long_named(letter))
    assert len(page.encode()) <= module.MOST_PAGE
    plain = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert max(map(len, re.findall(r"<td[^>]*>([^<]*)", plain))) <= 2000
    data = unpacked(parsed(page).texts["data"])
    tables = [data["owners"]["name"], *(t["values"][0] for t in data["lists"].values())]
    every = [str(value) for column in tables for value in column]
    assert max(len(value.encode()) for value in every) <= MOST_BYTES
    assert len(data["owners"]["cut"]) > 10
