# SPDX-License-Identifier: GPL-2.0-only
"""The HTML report on dumps of guests, in a browser, against the other commands on the same dump."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, browser, opened
from owned_guest import Owned, pageinspect

MOST_BYTES = 2_000_000
SHOWN = ("use", "order", "zone", "node")
ODD = {"two\nlines": r"two\nlines", " blank ": " blank", "\x1b[31mred": r"\x1b[31mred"}
"""Names of files in the guest, and how a browser shows them."""
LONG = "n" * 250
"""The name of a file that is shown without its middle."""

# The page is made from reports, which are tested on each kernel.
pytestmark = pytest.mark.kernels("newest")


@pytest.fixture(scope="module")
def shown(owned: Owned, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    path = tmp_path_factory.mktemp("report") / "report.html"
    done = pageinspect("report", owned.core, "-o", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_size <= MOST_BYTES
    with browser() as started, opened(started, path) as found:
        yield found


def asked(core: Path, *words: object) -> Any:
    done = pageinspect(*words, "-c", core, "--format", "json")
    assert done.stderr == ""
    return json.loads(done.stdout)


def some_pfns(core: Path) -> list[int]:
    """Return a page of each of ten uses, chosen at random."""
    chosen = random.Random(5)  # noqa: S311 - which pages are looked at
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in asked(core, "list")["runs"]:
        runs.setdefault(run["use"], []).append(run)
    each = [chosen.choice(runs[use]) for use in chosen.sample(sorted(runs), 10)]
    return [chosen.randrange(run["start"], run["end"]) for run in each]


def odd_pfns(core: Path) -> list[int]:
    """Return a page of each file with an odd name."""
    names = (*ODD, LONG)
    runs = (asked(core, "list", "--owner", f"file:*/{name}")["runs"] for name in names)
    return [each[0]["start"] for each in runs]


def is_shown_as(owner: dict[str, str], shown: str) -> bool:
    """Return whether a browser shows an owner as this text; a long one without its middle."""
    path, slash, last = (owner.get("name") or "").rpartition("/")
    whole = ": ".join(filter(None, (owner["kind"], f"{path}{slash}{ODD.get(last, last)}")))
    begin, cut, end = shown.partition("…")
    return whole.startswith(begin) and whole.endswith(end) if cut else whole == shown


def test_hover_shows_what_page_says(owned: Owned, shown: Opened) -> None:
    for pfn in (*odd_pfns(owned.core), *some_pfns(owned.core)):
        (page,) = asked(owned.core, "page", hex(pfn))["pages"]
        found = shown.go_to(pfn)
        assert is_shown_as(page["owner"], found["owner"]), (page["owner"], found["owner"])
        assert {name: found[name] for name in SHOWN} == {name: str(page[name]) for name in SHOWN}, (
            pfn
        )
        (row,) = asked(owned.core, "list", "--each", "--pfn", hex(pfn))["pages"]
        assert (found["use"], found["order"]) == (row["use"], str(row["order"]))
        assert found["command"] == f"pageinspect page {pfn:#x} -c {owned.core}"


def test_totals_equal_the_summary(owned: Owned, shown: Opened) -> None:
    rows = asked(owned.core, "summary", "--by", "use")["rows"]
    assert shown.legend() == {row["name"]: row["pages"] for row in rows}
    shown.page.get_by_label("Colour by").select_option("kind")
    rows = asked(owned.core, "owners")["rows"]
    assert shown.legend() == {row["kind"]: row["pages"] for row in rows}


def test_tables_equal_their_commands(owned: Owned, shown: Opened) -> None:
    rows = asked(owned.core, "processes")["rows"]
    first = shown.rows("processes")
    assert [int(row[0]) for row in first] == [row["pid"] for row in rows[: len(first)]]
    rows = asked(owned.core, "owners", "--by", "cache")["rows"]
    caches = {row["name"]: f"{row['pages']:,}" for row in rows}
    assert all(caches[row[1]] == row[2] for row in shown.rows("caches"))
    assert shown.errors == []
    assert len(shown.requests) == 1
