# SPDX-License-Identifier: GPL-2.0-only
"""What is decided from arrays works where drgn and bcc are not installed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from places import SUPPORT
from saved_tables import KERNEL, owner, run, snapshot

from pageinspect.dataset.write import write_snapshot

PROGRAM = """
import io, json, sys
for name in ("drgn", "_drgn", "bcc"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from synthetic import MODERN, Memory
from pageinspect.analysis.page_facts import describe_page
from pageinspect.analysis.totals import UseTally
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import Provenance
from pageinspect.render import render
from pageinspect.report.base import coverage_of
from pageinspect.report.check import CheckReport, find
from pageinspect.report.listing import RunsListing, runs_of
from pageinspect.report.page import PageReport
from pageinspect.report.selection import Selection
from pageinspect.report.summary import count, summarise

memory = Memory(64).free_block(8, 3).compound(16, 3).word(16, 0xF5000000)
pages = memory.pages()
provenance, selection = Provenance("7.0", "core", "btf"), Selection(64, memory.first + 64)
tally = UseTally(MODERN)
tally.add(pages)
counts = count(MODERN, selection, ["use"], [pages])
reports = {
    "summary": summarise(provenance, MODERN, pages.memory_map, selection, ["use"], counts),
    "list": RunsListing(provenance, MODERN, selection, [runs_of(selection, [pages])]),
    "page": PageReport(provenance, MODERN, (describe_page(pages, 17),), False, ()),
    "check": CheckReport(
        provenance, MODERN, coverage_of(provenance, MODERN, 64, 0), find([pages], live=False),
        None, "",
    ),
}
written = {}
for name, report in reports.items():
    for form in ("json", "csv", "table"):
        if name == "list":
            report = RunsListing(provenance, MODERN, selection, [runs_of(selection, [pages])])
        stream = io.StringIO()
        render(report, form, stream)
        written[f"{name} {form}"] = stream.getvalue()
assert not {"drgn", "_drgn", "bcc"} & {n for n, m in sys.modules.items() if m is not None}
print(json.dumps(written))
"""


def test_arrays_are_classified_checked_summarised_described_and_rendered() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SUPPORT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)
    rows = {row["name"]: row["pages"] for row in json.loads(written["summary json"])["rows"]}
    assert rows["buddy"] == 8
    assert rows["slab"] == 8
    assert json.loads(written["check json"])["violations"] == []
    assert json.loads(written["list json"])["runs"][1]["use"] == "buddy"
    assert "slab" in written["page table"]


WITHOUT = "import sys; sys.modules['drgn'] = sys.modules['bcc'] = None; "
COMMANDS = (
    ["summary", "--by", "owner,use"],
    ["list", "--owner", "boot"],
    ["owners", "--by", "name"],
    ["processes"],
    ["contiguity"],
)


@pytest.mark.parametrize("command", COMMANDS)
def test_reports_of_a_snapshot_need_no_drgn(command: list[str], tmp_path: Path) -> None:
    runs = [run(0, 4, owner=1), run(4, 4, use="buddy", type="buddy", mobility="free", owner=2)]
    owners = [owner(1, "boot"), owner(2, "free", "buddy")]
    write_snapshot(tmp_path, snapshot(runs, owners, replace(KERNEL, missing={}), processes=()))
    words = [*command, "-c", str(tmp_path), "--format", "json"]
    program = f"{WITHOUT}from pageinspect.cli.main import main; sys.exit(main({words!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (3 if command == ["processes"] else 0, "")
    assert json.loads(done.stdout)["kernel"]["snapshot"]["host"] == "h"
