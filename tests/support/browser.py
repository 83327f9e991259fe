# SPDX-License-Identifier: GPL-2.0-only
"""Pages in a real browser: Debian's chromium, driven by playwright."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

WIDE, NARROW = 1280, 390
_READY_MS = 60_000


@dataclass
class Opened:
    """A page that is open, and what the browser reported of it."""

    page: Any
    """A playwright Page."""
    errors: list[str] = field(default_factory=list)
    """Lines of the console, and errors of scripts."""
    requests: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        return str(self.page.locator(selector).inner_text())

    def rows(self, part: str) -> list[list[str]]:
        """Return the cells of the rows of the long table of a part."""
        found = self.page.locator(f"#{part} tbody tr").all()
        return [row.locator("td").all_inner_texts() for row in found]

    def go_to(self, pfn: int) -> dict[str, str]:
        """Zoom to a page, move the mouse over it, and return what is shown of it by name."""
        field_ = self.page.get_by_label("pfn", exact=True)
        field_.fill(hex(pfn))
        field_.press("Enter")
        # What is shown must come from the mouse: first it is over another page.
        mark = self.page.locator("#memory-map .mark")
        mark.evaluate("mark => mark.scrollIntoView({block: 'center'})")
        box = mark.bounding_box()
        there = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = self.text("#map-details")
        self.page.mouse.move(there[0] + (40 if there[0] < WIDE / 2 else -40), there[1])
        assert self.text("#map-details") != before
        self.page.mouse.move(*there)
        facts = self.page.locator("#map-details dd")
        names = [fact.get_attribute("data-fact") for fact in facts.all()]
        shown = dict(zip(names, facts.all_inner_texts(), strict=True))
        return {**shown, "command": self.text("#map-details code")}

    def legend(self) -> dict[str, int]:
        """Return the pages of each name of the map's legend."""
        buttons = self.page.locator("#memory-map .legend button").all()
        return {b.get_attribute("data-name"): int(b.get_attribute("data-pages")) for b in buttons}


def chromium() -> str:
    """Return the path of chromium; skip the test if it, or playwright, is not there."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    return path


@contextmanager
def browser() -> Iterator[Any]:
    """Give a browser without a window."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    # Root has no sandbox in chromium.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=options)
        try:
            yield started
        finally:
            started.close()


@contextmanager
def opened(
    started: Any,
    path: Path,
    *,
    width: int = WIDE,
    scheme: Literal["light", "dark"] = "light",
    before: str = "",
) -> Iterator[Opened]:
    """Open a file in a window of this width, after the script `before`; wait until it is filled."""
    context = started.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda line: found.errors.append(line.text))
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    if before:
        page.add_init_script(before)
    try:
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready], #notice:not([hidden])", timeout=_READY_MS)
        yield found
    finally:
        context.close()


def screens(report: Path, folder: Path) -> None:
    """Write pictures of a report at two widths in both themes, its first screen, and as paper."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as started:
        for name, width in (("wide", WIDE), ("narrow", NARROW)):
            for scheme in ("light", "dark"):
                with opened(started, report, width=width, scheme=scheme) as shown:
                    picture = folder / f"report-{name}-{scheme}.png"
                    shown.page.screenshot(path=picture, full_page=True)
                    sys.stdout.write(f"{picture}\n")
        with opened(started, report) as shown:
            picture = folder / "report-overview.png"
            shown.page.screenshot(path=picture)
            sys.stdout.write(f"{picture}\n")
            shown.page.pdf(path=folder / "report.pdf", format="A4")


if __name__ == "__main__":
    screens(Path(sys.argv[1]), Path(sys.argv[2]))
