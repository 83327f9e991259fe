# SPDX-License-Identifier: GPL-2.0-only
"""What the report of audit says, and its exit status."""

import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from every_report import audit
from synthetic import MODERN, OLD

from pageinspect.errors import Exit
from pageinspect.model.presence import PfnSet, State
from pageinspect.model.provenance import Provenance
from pageinspect.owners.dump_fates import FATES
from pageinspect.owners.table import KINDS
from pageinspect.render import render
from pageinspect.report import audit as audit_report
from pageinspect.report import losses
from pageinspect.report.audit import AuditReport, AuditRow, Extent, LostRow
from pageinspect.report.base import Coverage
from pageinspect.report.losses import consequences, remedies


def report(coverage: Coverage | None = None, **pages: int) -> AuditReport:
    """Return the report of a core of slab pages, so many of each fate."""
    row = AuditRow("slab", "slab", tuple(pages.get(fate, 0) for fate in FATES))
    provenance = Provenance("7.0", "core", "btf")
    fields: Any = (provenance, MODERN, coverage or Coverage(99, 0), "kdump", 31, "whole")
    return AuditReport(*fields, (row,), (), (), PfnSet(np.empty(0, np.int64)), {})


def shown(made: Any, form: str = "table") -> str:
    stream = io.StringIO()
    render(made, form, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pages", "coverage", "status"),
    [
        ({"present": 9}, Coverage(9, 0), Exit.COMPLETE),
        ({"present": 9, "free": 1, "outside": 3}, Coverage(9, 0), Exit.COMPLETE),
        # What could not be followed is not what the core lacks.
        ({"present": 9}, Coverage(9, 0, missing=("tasks",)), Exit.COMPLETE),
        ({"present": 9, "undecided": 1}, Coverage(9, 0), Exit.INCOMPLETE),
        ({"present": 9}, Coverage(9, 1), Exit.INCOMPLETE),
        ({"lost": 1}, Coverage(9, 0), Exit.FINDING),
        ({"lost": 1, "undecided": 1}, Coverage(9, 3), Exit.FINDING),
    ],
)
def test_the_exit_status(pages: dict[str, int], coverage: Coverage, status: Exit) -> None:
    assert report(coverage, **pages).status == status


def test_columns_add_up() -> None:
    made = report(present=1, free=2, cache=4, undecided=8, outside=16, lost=32)
    (row,) = made.to_json()["rows"]
    assert (row["pages"], row["present"], row["absent"]) == (63, 1, 2 + 4 + 8 + 32)
    cells = dict(
        zip(
            [c.key for c in made.tables()[0].columns],
            next(iter(made.tables()[0].rows)),
            strict=True,
        )
    )
    assert cells["allowed"] == 6
    assert made.to_json()["total"]["lost"] == 32
    assert report().to_json()["total"]["pages"] == 0


def test_columns_that_no_page_has_are_left_out_for_people() -> None:
    assert "undecided" not in shown(report(present=1)).replace("Undecided", "")
    assert "outside" not in shown(report(present=1))
    for fate in ("undecided", "outside"):
        heading = shown(report(**{fate: 1})).splitlines()[3]
        assert heading.split() == f"use kind pages in dump absent allowed {fate} lost".split()


def test_what_is_said() -> None:
    assert "No page is lost." in shown(report(present=3))
    assert "Lost: 1 page that the dump should have." in shown(report(lost=1))
    undecided = shown(report(undecided=2))
    assert "No page is lost" not in undecided
    assert "Undecided: 2 pages: their struct pages" in undecided
    elf = replace(report(undecided=2), form="elf")
    assert "filled with zeros" in " ".join(shown(elf).split())
    assert "struct pages" not in shown(elf)
    assert "or their struct pages" in shown(replace(elf, coverage=Coverage(99, 2)))
    assert "of an unknown dump level" in shown(replace(report(), level=None, form="elf"))
    assert "A kdump of dump level 31, cut off." in shown(replace(report(), state="cut off"))
    assert "could not be followed" in shown(
        report(Coverage(9, 0, missing=("tasks could not be followed.",)), present=1)
    )


@pytest.mark.parametrize(
    ("changes", "fates", "why"),
    [
        ({}, {"present": 9}, "9 pages of free blocks are in the dump although its level excludes"),
        ({"level": 16}, {"present": 1}, "1 page of free blocks is in the dump although its level"),
        ({}, {"present": 9}, "makedumpfile before 1.7.7 takes the type of free pages for slab"),
        ({"layout": OLD}, {"present": 9}, "what wrote the dump may not know this kernel."),
        ({"layout": None}, {"present": 9}, "what wrote the dump may not know this kernel."),
        ({}, {"present": 9, "free": 1}, "what wrote the dump may not know this kernel."),
        ({"form": "elf"}, {"present": 9, "free": 1}, "if fewer than 256 are adjacent."),
        ({"level": 15}, {"present": 9}, ""),
        ({"level": None, "form": "elf"}, {"present": 9}, ""),
        ({}, {"free": 9}, ""),
    ],
)
def test_free_pages_that_are_kept(changes: Any, fates: dict[str, int], why: str) -> None:
    row = AuditRow("buddy", "free", tuple(fates.get(fate, 0) for fate in FATES))
    text = " ".join(shown(replace(report(), rows=(row,), **changes)).split())
    assert why in text
    assert ("although its level" in text) == bool(why)


def test_sentences_on_structures_are_there_once() -> None:
    text = shown(audit())
    assert text.count("Tasks were lost.") == 1


def test_ten_owners_of_lost_pages_are_shown_to_people() -> None:
    rows = tuple(LostRow("slab", "slab", f"cache-{n}", 30 - n, (n,)) for n in range(12))
    made = replace(report(lost=200), lost=rows)
    text = shown(made)
    assert "Lost, by owner (… and 2 more: --format json):" in text
    assert len(re.findall("^slab +slab +cache-", text, re.MULTILINE)) == 10
    assert len(made.to_json()["lost"]) == 12


def test_ten_ranges_that_the_file_does_not_cover_are_shown_to_people() -> None:
    lost = {3: 9, 1000: 9}
    extents = tuple(Extent(n << 20, (n << 20) + 16, lost.get(n, 0)) for n in range(1200))
    made = replace(report(lost=18), uncovered=extents)
    text = shown(made)
    assert "Memory that no part of the file covers (… and 1,190 more: --format json):" in text
    # Those with lost pages are among them.
    shown_starts = re.findall("^ *(0x[0-9a-f]+|0) +0x[0-9a-f]+ +16 +[09]$", text, re.MULTILINE)
    numbers = [int(start, 0) >> 20 for start in shown_starts]
    assert numbers == [*range(9), 1000]
    assert len(made.to_json()["uncovered"]) == 1200
    few = replace(made, uncovered=extents[:10])
    assert "Memory that no part of the file covers:" in shown(few)


def test_ranges_of_lost_pages_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(report(lost=3), lost_pfns=PfnSet(np.array([1, 2, 4, 5, 7, 8])))
    answer = made.to_json()
    assert [(row["start"], row["end"], row["pages"]) for row in answer["ranges"]] == [
        (1, 2, 1),
        (4, 5, 1),
        (7, 8, 1),
    ]
    assert answer["ranges_left_out"] == 0
    monkeypatch.setattr(audit_report, "MOST_RANGES", 2)
    answer = made.to_json()
    assert [row["start"] for row in answer["ranges"]] == [1, 4]
    assert answer["ranges_left_out"] == 1


def test_kinds_with_sentences_are_those_of_owners() -> None:
    assert not {*losses._FAILS, *losses._HOLD_STRUCTURES} - {kind.name for kind in KINDS}


def test_consequences_name_the_first_owners() -> None:
    lost = {"slab": [(f"c{n}", 2) for n in range(6)], "unknown": [("", 1)]}
    slab, unknown = consequences(lost)
    assert slab.startswith("slab: 12 pages (c0; c1; c2; c3; 2 more): objects")
    assert unknown == "unknown: 1 page: their contents cannot be read."


@pytest.mark.parametrize(
    ("causes", "state", "level", "tails", "words"),
    [
        ({}, "whole", 31, 0, ()),
        ({"excluded": 5}, "whole", 31, 5, ("5 lost pages are the second", "-d 23")),
        ({"excluded": 1}, "whole", 8, 1, ("1 lost page is the second", "-d 0")),
        ({"excluded": 5}, "whole", 31, 2, ("2 lost", "left out 3 pages")),
        ({"excluded": 5}, "whole", 31, 0, ("left out 5 pages", "this kernel. ", "-d 23")),
        ({"excluded": 5}, "whole", 7, 0, ("left out 5 pages", "another one", "with level 1.")),
        ({"cut_off": 1}, "cut off", 31, 0, ("copy it again",)),
        ({"cut_off": 1}, "incomplete", 31, 0, ("more room",)),
        ({"cut_off": 1}, "whole", 31, 0, ("it is damaged",)),
        ({"uncovered": 1}, "whole", None, 0, ("not covered",)),
    ],
)
def test_remedies(
    causes: dict[str, int], state: State, level: int | None, tails: int, words: tuple[str, ...]
) -> None:
    found = " ".join(remedies(causes, state, level, tails))
    assert all(word in found for word in words)
    assert bool(found) == bool(words)


def test_what_wrote_an_elf_core_is_not_known() -> None:
    causes = {"excluded": 5}
    for level in (None, 7, 31):
        tails, others = remedies(causes, "whole", level, 2, by_makedumpfile=False)
        assert "If makedumpfile wrote the core: take the dump" in tails
        assert others.startswith("The core lacks 3 pages that this level does not exclude. If")
    (remedy,) = replace(
        report(lost=5), form="elf", level=31, causes=causes, by_makedumpfile=False
    ).to_json()["remedies"]
    assert "makedumpfile left out" not in remedy
    (remedy,) = replace(report(lost=5), causes=causes).to_json()["remedies"]
    assert remedy.startswith("makedumpfile left out 5 pages")


def test_memory_that_was_added_is_only_one_reason() -> None:
    (remedy,) = remedies({"uncovered": 1}, "whole", 31, 0)
    assert "may have been added" in remedy


@pytest.mark.parametrize(
    ("kind", "missing", "says"),
    [
        ("slab", ("tasks: 3 items could not be read.",), True),
        ("vmalloc", ("tasks: 3 items could not be read.",), True),
        ("unreadable", ("tasks: 3 items could not be read.",), True),
        ("slab", (), False),
        # No structure of the kernel is in these.
        ("anon", ("tasks: 3 items could not be read.",), False),
        (None, ("tasks: 3 items could not be read.",), False),
    ],
)
def test_owners_that_lost_structures_lead_to(
    kind: str | None, missing: tuple[str, ...], says: bool
) -> None:
    rows = () if kind is None else (LostRow("slab", kind, "", 1, (7,)),)
    made = replace(report(Coverage(9, 0, missing=missing), lost=len(rows)), lost=rows)
    found = made.to_json()["consequences"]
    at = [i for i, text in enumerate(found) if "owners may be unknown" in text]
    assert bool(at) == says
    # It is said before the structures.
    assert not says or found[at[0] + 1 :] == [*missing]
    assert ("owners may be unknown" in " ".join(shown(made).split())) == says
    # Without uses there are no owners.
    assert "owners may be unknown" not in str(replace(made, layout=None).to_json())


def test_first_pfns_are_ranges_for_programs() -> None:
    rows = (
        LostRow("slab", "slab", "a", 9, (0x10, 0x11, 0x12, 0x20)),
        LostRow("file", "", "", 1, ()),
    )
    made = replace(report(lost=9), lost=rows)
    pfns = [{"start": 0x10, "end": 0x13}, {"start": 0x20, "end": 0x21}]
    assert [row["pfns"] for row in made.to_json()["lost"]] == [pfns, []]
    assert "0x10 0x11 0x12 0x20" in shown(made)
    assert json.dumps(pfns) in shown(made, "jsonl")
