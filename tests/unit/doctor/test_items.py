# SPDX-License-Identifier: GPL-2.0-only
"""The items that doctor examines."""

from pathlib import Path

from places import DOCS

from pageinspect.doctor.finding import Finding, Item
from pageinspect.doctor.items import ITEMS, examine


def test_a_probe_is_given_the_root() -> None:
    seen: list[Path] = []

    def probe(root: Path) -> Finding:
        seen.append(root)
        return Finding(ok=True, found="")

    examine([Item("x", (), probe)], Path("/somewhere"))
    assert seen == [Path("/somewhere")]


def test_docs_name_every_item() -> None:
    document = (DOCS / "doctor.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in document.splitlines() if line.startswith("| ")]
    assert [name.strip() for row in rows[1:] for name in row.split(",")] == [i.name for i in ITEMS]
