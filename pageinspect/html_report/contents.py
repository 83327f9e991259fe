# SPDX-License-Identifier: GPL-2.0-only
"""What a page shows of one moment: a snapshot, and the reports on it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..analysis.counter_check import CounterCheck
from ..errors import PageInspectError
from ..model.snapshot import Snapshot
from ..picture.classes import CODES, FREE, HATCHED, ORDERS, OTHER, codes_of
from ..report import Report
from ..report.audit import AuditReport
from ..report.check import CheckReport
from ..report.counters import counters_table
from ..report.owners import OwnersReport
from ..report.selection import Request
from ..report.source import ReportSource
from ..report.summary import SummaryReport
from ..units import counted, number, percent, size
from ..version import __version__
from .list_tables import CACHES, FILES, list_tables
from .map_data import MOST_BYTES, packed_map
from .names import shown_name, shown_text
from .owner_list import OwnerList
from .packed import pack
from .page import render_page
from .sections import Section, ShownTable, section_of, table_of

MOST_PAGE = 2_000_000
"""The size of the file in bytes."""
_MOST_LISTS = 400_000
"""Of the packed data other than the map."""
_MOST_ROWS = 4096
"""Of a long table; fewer if their names are long."""
_VERDICTS = {"verified": "good", "explained": "fair", "differs": "bad", "violation": "bad"}
_COUNTERS = ("name", "counted", "kernel", "verdict", "counter", "why")
_FREE_KIND = "free"

Missing = str
"""Why there is no report."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a page shows."""

    snapshot: Snapshot
    source: ReportSource
    """Makes the reports of the snapshot."""
    check: CheckReport | Missing
    audit: AuditReport | Missing | None
    """None for what is not a core."""
    frees: Section | None = None
    target: tuple[str, ...] = ()
    """Options that name the target in commands, such as -c and a file."""
    has_struct_pages: bool = True
    """Whether commands that read struct pages can read the target."""
    made_by: tuple[str, ...] = ()
    """The command that made the page."""


@dataclass(frozen=True, slots=True)
class _Reports:
    """The reports of one moment."""

    uses: SummaryReport
    """By use."""
    kinds: OwnersReport
    """By kind."""
    contiguity: Report | Missing
    check: CheckReport | Missing
    audit: AuditReport | Missing | None

    @classmethod
    def of(cls, contents: Contents) -> "_Reports":
        """Make the reports; raises PageInspectError without a table of runs or owners."""
        source, every = contents.source, Request()
        contiguity: Report | Missing
        try:
            contiguity = source.contiguity(pfns=False)
        except PageInspectError as error:
            contiguity = f"It could not be made: {error.message}."
        return cls(
            source.summary(["use"], every),
            source.owners("kind", every),
            contiguity,
            contents.check,
            contents.audit,
        )


@dataclass(frozen=True, slots=True)
class Card:
    """A number at the top of the page."""

    what: str
    value: str
    more: str
    mood: str = ""
    """good, fair or bad: a class of the style."""


def page_of(contents: Contents) -> str:
    """Return the HTML of a page; raises PageInspectError if jinja2 is not installed."""
    snapshot, reports = contents.snapshot, _Reports.of(contents)
    shell = _shell(contents)
    kinds = {row.kind: row.pages for row in reports.kinds.rows}
    uses = {row.key[0]: row.pages for row in reports.uses.rows}
    kind_codes, use_codes = codes_of("owner", kinds), codes_of("use", uses)
    owners, data = _data(contents, reports, kind_codes, use_codes)
    values = {
        **_heading(snapshot, reports),
        **_overview(reports, kind_codes, use_codes),
        "contiguity": _contiguity(reports.contiguity),
        "check": _findings(reports.check),
        "audit": reports.audit and _section(reports.audit, "Pages by what became of them"),
        "frees": contents.frees,
        "has_processes": "processes" in snapshot.tables,
        "has_cgroups": "cgroups" in snapshot.tables,
        "verdicts": _VERDICTS,
        "made_by": shlex.join(contents.made_by),
        "data": data,
    }
    commands = _commands(shell, reports, has_struct_pages=contents.has_struct_pages)
    values["commands"] = commands
    values["command_list"] = [(what.capitalize(), line) for what, line in commands.items()]
    values["parts"] = _parts(values)
    rest = len(render_page({**values, "map_data": "", "exactness": _EXACT}).encode())
    most = min(MOST_BYTES, MOST_PAGE - rest - len(_INEXACT))
    found = packed_map(snapshot, owners, most)
    exactness = _EXACT
    if found.order is not None:
        exactness = _INEXACT.format(size(reports.uses.layout.page_size << found.order))
    return render_page({**values, "map_data": found.text, "exactness": exactness})


_EXACT = "Zooming in leads to single pages, each with its use, owner and order."
_INEXACT = (
    "This memory has too many runs of pages for a file of this size: the map ends at cells of {}, "
    "with their pages by use and their largest owner. The command below a cell prints each of its "
    "runs."
)


def _parts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    every = (
        ("overview", "Overview", True),
        ("owners", "Owners", True),
        ("map", "Map", True),
        ("processes", "Processes", values["has_processes"]),
        ("files", "Files", True),
        ("caches", "Caches", True),
        ("cgroups", "Cgroups", values["has_cgroups"]),
        ("contiguity", "Contiguity", True),
        ("check", "Contradictions", True),
        ("frees", "Frees", values["frees"] is not None),
        ("audit", "Audit", values["audit"] is not None),
        ("commands", "Commands", True),
    )
    return [(part, title) for part, title, there in every if there]


def _shell(contents: Contents) -> str:
    """Return the options of the target as they follow a command."""
    return f" {shlex.join(contents.target)}" if contents.target else ""


def _commands(shell: str, reports: _Reports, *, has_struct_pages: bool) -> dict[str, str]:
    """Return the command that prints what each part of the page shows."""
    lines = {
        "uses": "summary --by use",
        "owners": "owners --by name --top 0",
        "map": "list",
        "processes": "processes --top 0",
        "files": "owners --by file --top 0",
        "caches": "owners --by cache --top 0",
        "cgroups": "owners --by cgroup --top 0",
        "contiguity": "contiguity",
        **({"check": "check"} if has_struct_pages else {}),
        **({"audit": "audit"} if reports.audit is not None else {}),
    }
    return {what: f"pageinspect {line}{shell}" for what, line in lines.items()}


def _section(report: Report | Missing, title: str) -> Section:
    if isinstance(report, str):
        return Section(missing=shown_text(report))
    return section_of(report, title)


_CONTIGUITY = (
    "Blocks of 2 MiB and of 1 GiB are as good as their worst page: free, movable, in slabs that "
    "shrinkers may free (reclaim), unmovable or reserved. p50, p99 and max are numbers of "
    "unmovable pages in a block. For an order whose allocation fails, fragmentation is near 0 if "
    "memory is too little, and near 1 if it is in pieces; unusable is the part of free memory in "
    "smaller blocks. The column alone has the blocks that would be free or movable without this "
    "owner, and misplaced its pages in pageblocks for movable pages."
)


def _contiguity(report: Report | Missing) -> Section:
    """Return the tables of contiguity, without the command for the pages of the first owner."""
    section = _section(report, "Blocks by their worst page")
    texts = (text for text in section.texts if not text.startswith(" ") and text[-1] != ":")
    return replace(section, texts=tuple(texts), intro="" if section.missing else _CONTIGUITY)


def _findings(report: CheckReport | Missing) -> Section:
    """Return the rules that are broken; the counter checks are in the overview."""
    if isinstance(report, str):
        return Section(missing=shown_text(report))
    rules = table_of("Rules that pages break", report.tables()[0])
    texts = section_of(report, "").texts
    notes = tuple(text for text in texts if not text.startswith("["))
    return Section((rules,) if rules.rows else (), notes)


def _heading(snapshot: Snapshot, reports: _Reports) -> dict[str, Any]:
    # A snapshot that was just taken is of the kernel itself.
    provenance = replace(reports.uses.provenance, snapshot=None)
    taken = datetime.fromtimestamp(snapshot.header("taken") / 1e6, UTC)
    moment = f"{taken:%Y-%m-%d %H:%M:%S} UTC"
    remarks = [shown_text(text) for text in snapshot.header("missing") or ()]
    unreadable = snapshot.header("unreadable")
    if unreadable:
        remarks.insert(0, f"{counted(unreadable, 'struct page')} could not be read.")
    return {
        "host": shown_name(snapshot.host) or "this machine",
        "taken": moment,
        "moment": f"Its memory as it was on {moment}.",
        "kernel": shown_text(provenance.describe()),
        "version": __version__,
        "remarks": remarks,
    }


def _overview(
    reports: _Reports, kind_codes: Mapping[str, int], use_codes: Mapping[str, int]
) -> dict[str, Any]:
    counters = reports.kinds.counters or reports.uses.counters
    if isinstance(reports.check, CheckReport) and reports.check.counters:
        counters = reports.check.counters
    total = reports.kinds.pages
    bar: list[dict[str, Any]] = []
    x = 0.0
    for row in reports.kinds.rows:
        width = round(1000 * row.pages / total, 2) if total else 0
        text = f"{row.kind}: {percent(100 * row.pages / total)} %" if total else row.kind
        bar.append({"code": kind_codes[row.kind], "x": round(x, 2), "width": width, "text": text})
        x += width
    largest = "; ".join(part["text"] for part in bar[:6])
    return {
        "cards": _cards(reports, counters),
        "bar": bar,
        "bar_text": f"Memory by kind of owner: {largest}",
        "kinds": section_of(reports.kinds, "Memory by kind of owner").tables[0],
        "uses": section_of(reports.uses, "Memory by use").tables[0],
        "counters": _counters(counters),
        "kind_codes": kind_codes,
        "use_codes": use_codes,
    }


def _counters(checks: Sequence[CounterCheck]) -> ShownTable:
    title = "Totals, and the kernel's own counters of the same pages"
    return table_of(title, counters_table(checks).only(*_COUNTERS))


def _cards(reports: _Reports, counters: Sequence[CounterCheck]) -> list[Card]:
    page_size, total = reports.uses.layout.page_size, reports.kinds.pages
    free = sum(row.pages for row in reports.kinds.rows if row.kind == _FREE_KIND)
    cards = [
        Card("Memory", size(total * page_size), counted(total, "page")),
        Card(
            "Free",
            size(free * page_size),
            f"{percent(100 * free / total if total else 0)} % of memory",
        ),
    ]
    if counters:
        cards.append(_counter_card(counters))
    if isinstance(reports.check, CheckReport):
        n = sum(reports.check.findings.found.values())
        spanned = counted(reports.check.coverage.spanned, "page")
        mood = "bad" if n else "good"
        cards.append(Card("Contradictions", number(n) if n else "none", f"in {spanned}", mood))
    if isinstance(reports.audit, AuditReport):
        lost, undecided = (reports.audit.total.of(name) for name in ("lost", "undecided"))
        mood = "bad" if lost else "fair" if undecided else "good"
        more = f"{number(undecided)} undecided" if undecided else "of the core"
        cards.append(Card("Lost pages", number(lost) if lost else "none", more, mood))
    return cards


def _counter_card(counters: Sequence[CounterCheck]) -> Card:
    n = {v: sum(c.verdict == v for c in counters) for v in ("verified", "explained", "differs")}
    mood = "bad" if n["differs"] else "good"
    value = f"{n['differs']} differ" if n["differs"] else f"{n['verified']} verified"
    if n["differs"]:
        more = f"{n['verified']} verified, {n['explained']} explained"
    else:
        more = f"{n['explained']} explained, none differs"
    return Card("Counter checks", value, more, mood)


def _data(
    contents: Contents,
    reports: _Reports,
    kind_codes: Mapping[str, int],
    use_codes: Mapping[str, int],
) -> tuple[OwnerList, str]:
    """Return the owners that the page has, and the packed data of all but the map."""
    pages = {row.kind: row.pages for row in reports.kinds.rows}
    most = _MOST_ROWS
    while True:
        owners = OwnerList.of(contents.snapshot, most)
        packed = pack(
            {
                "pageSize": reports.uses.layout.page_size,
                "target": _shell(contents),
                "structPages": contents.has_struct_pages,
                "kinds": [
                    {"name": name, "pages": pages.get(name, 0), "code": kind_codes.get(name, OTHER)}
                    for name in owners.kinds
                ],
                "useCodes": dict(use_codes),
                "other": OTHER,
                "free": FREE,
                "hatched": HATCHED,
                "colours": CODES,
                "orders": ORDERS,
                "files": FILES,
                "caches": CACHES,
                "owners": owners.columns(),
                "lists": list_tables(contents.snapshot, most),
            }
        )
        if len(packed) <= _MOST_LISTS or most == 1:
            return owners, packed
        most //= 2
