# SPDX-License-Identifier: GPL-2.0-only
"""The public surface, and docs made from the code."""

import inspect
import re
from dataclasses import fields

import pytest
from places import DOCS

import pageinspect
from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.analysis.mobility import MOBILITIES, MOBILITY_NAMES
from pageinspect.analysis.page_facts.facts import PageFacts
from pageinspect.classify.contradictions import CONTRADICTIONS, Contradiction
from pageinspect.classify.reads import DeclaredColumn, reads_of
from pageinspect.classify.uses import RULES, Rule
from pageinspect.cli import drgn_plugin
from pageinspect.cli.parser import COMMANDS
from pageinspect.inspector.results import PageRow, RunRow
from pageinspect.owners.kind import Kind
from pageinspect.owners.table import KINDS
from pageinspect.report.audit import AuditRow, Extent, LostRow
from pageinspect.report.base import Coverage
from pageinspect.report.check import CheckReport, Findings
from pageinspect.report.contiguity import BlockerRow
from pageinspect.report.obstacles import ObstacleRow
from pageinspect.report.owners import OwnerRow, OwnersReport
from pageinspect.report.processes import ProcessRow
from pageinspect.report.summary import SummaryReport, SummaryRow

PUBLIC = (
    "AuditResult",
    "CheckResult",
    "ContiguityResult",
    "Inspector",
    "ListResult",
    "ObstaclesResult",
    "OwnersResult",
    "PageInspectError",
    "PageResult",
    "PagesResult",
    "ProcessesResult",
    "Result",
    "RunsResult",
    "SavedInspector",
    "SelectedPages",
    "SummaryResult",
    "UsageError",
    "__version__",
    "from_program",
    "open_core",
    "open_guest",
    "open_live",
    "open_snapshot",
)
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_public_names_are_these() -> None:
    assert tuple(pageinspect.__all__) == PUBLIC
    # Modules that were imported are attributes of the package.
    modules = {name for name in dir(pageinspect) if inspect.ismodule(vars(pageinspect).get(name))}
    shown = {name for name in dir(pageinspect) if not re.fullmatch("__.*__", name)}
    assert shown - modules == set(PUBLIC) - {"__version__"}
    for name in PUBLIC:
        found = getattr(pageinspect, name)
        assert getattr(found, "__name__", name) == name
    with pytest.raises(AttributeError, match="no attribute 'open_dump'"):
        pageinspect.open_dump  # type: ignore[attr-defined]  # noqa: B018
    for name in set(PUBLIC) - {"__version__", "Result"}:
        assert f"`{name}" in PAGE, name


def table(heading: str) -> list[str]:
    """Return the first cells of the rows below a table's heading."""
    (body,) = re.findall(
        rf"^\| {re.escape(heading)} .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    return [row.split("|")[1].strip() for row in body.splitlines()]


def calls(cells: list[str]) -> dict[str, list[str]]:
    """Return the parameters of each call that the cells show; * stands for keyword-only ones."""
    shown = [call for cell in cells for call in re.findall(r"`(\w+)\((.*?)\)`", cell)]
    return {name: re.findall(r"[*\w]+", parameters) for name, parameters in shown}


def parameters(function: object) -> list[str]:
    """Return the parameters of a function in the same form."""
    found: list[str] = []
    for parameter in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        variable = parameter.kind == parameter.VAR_POSITIONAL
        if parameter.kind == parameter.KEYWORD_ONLY and not any("*" in name for name in found):
            found.append("*")
        found += [f"*{parameter.name}" if variable else parameter.name]
    return [name for name in found if name != "self"]


def test_the_api_page_has_the_functions_and_methods_as_they_are() -> None:
    functions = calls(table("function"))
    assert set(functions) == {name for name in PUBLIC if name.startswith(("open", "from"))}
    for name, shown in functions.items():
        assert parameters(getattr(pageinspect, name)) == shown, name
    methods = calls(table("method"))
    for name, shown in methods.items():
        assert parameters(getattr(pageinspect.Inspector, name)) == shown, name
    names = {re.sub(r"\W", "", name) for cell in table("attribute") for name in cell.split(",")}
    public = {name for name in vars(pageinspect.Inspector) if not name.startswith("_")}
    # What the commands alone use.
    internal = {
        *("mapped", "kdumpfile_mappings", "tables", "session"),
        *("sections", "sections_in_runs", "mapping"),
    }
    assert public == set(methods) | names | internal


def test_the_api_page_has_the_columns_as_they_are() -> None:
    shown = {name for cell in table("column") for name in re.findall(r"`(\w+)", cell)}
    public = {name for name in vars(pageinspect.SelectedPages) if not name.startswith("_")}
    assert shown == public - {"select"}


def test_the_api_page_has_the_commands_of_drgns_prompt() -> None:
    (sentence,) = re.findall(r"`%pageinspect` has the commands (.*?) with", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == set(COMMANDS) - set(
        drgn_plugin.EXCLUDED_COMMANDS
    )
    assert "PAGEINSPECT_DRGN_PLUGIN=0" in PAGE


def test_the_api_page_has_the_attributes_of_results() -> None:
    rows = re.findall(r"^\| `(\w+Result)`(?:, `(\w+)`)? \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 9
    parts = {
        "SummaryResult.rows": SummaryRow,
        "OwnersResult.rows": OwnerRow,
        "AuditResult.rows": AuditRow,
        "AuditResult.lost": LostRow,
        "AuditResult.uncovered": Extent,
        "ContiguityResult.blockers": BlockerRow,
        "ObstaclesResult.obstacles": ObstacleRow,
        "ProcessesResult.rows": ProcessRow,
        "CheckResult.findings": Findings,
        "CheckResult.counters": CounterCheck,
        "PageResult.pages": PageFacts,
    }
    for name, other, attributes in rows:
        for what in filter(None, (name, other)):
            kind = getattr(pageinspect, what)
            outer = re.sub(r"\(.*?\)", "", attributes.partition(";")[0])
            for attribute in re.findall(r"`(\w+)`", outer):
                assert hasattr(kind, attribute), (what, attribute)
        for part, inner in re.findall(r"`(\w+)` \((.*?)\)", attributes):
            there = parts[f"{name}.{part}"]
            known = {*dir(there), *there.__annotations__}
            assert set(re.findall(r"\w+", inner)) <= known, part
    for name in ("to_dict", "to_arrow", "to_pandas", "_repr_html_"):
        assert callable(getattr(pageinspect.Result, name))
        assert name.startswith("_") or f"`{name}()`" in PAGE


def test_the_api_page_has_the_fields_of_rows() -> None:
    rows = dict(re.findall(r"^\| `(\w+Row)` \| ([^;|]*)", PAGE, re.MULTILINE))
    for kind in (RunRow, PageRow):
        assert re.findall(r"`(\w+)`", rows.pop(kind.__name__)) == [*kind._fields]
    assert not rows


def test_an_attribute_has_the_name_of_its_json_key() -> None:
    for kind in (SummaryReport, CheckReport, OwnersReport):
        assert "counters" in {field.name for field in fields(kind)}
    assert {"violations", "found"} <= {field.name for field in fields(Findings)}
    coverage = Coverage(8, 1, ("pcp",))
    assert coverage.to_json()["unsupported"] == list(coverage.unsupported) == ["pcp"]


def uses_page() -> str:
    """Return docs/uses.md as the rule tables have it."""

    def _running(rule: Contradiction) -> str:
        if not rule.races:
            return "gives the use"
        return "named by `page` and `check`" if rule.live else "named by `page`"

    def _reads(rule: Rule | Contradiction) -> str:
        return ", ".join(f"{read}".replace("the column ", "") for read in rule.reads) or "-"

    columns = dict.fromkeys(
        read
        for rule in (*RULES, *CONTRADICTIONS)
        for read in rule.reads
        if isinstance(read, DeclaredColumn)
    )
    lines = [
        "# Uses of pages",
        "",
        "Every pfn with a struct page in use has exactly one use: that of the first rule that",
        "holds. Offline memory is excluded, as in /proc/kpageflags, because its struct pages are",
        "not kept up to date. Mappings and reference counts are those of the head of the folio;",
        "`reads` shows whether a flag is that of the page or of the head.",
        "",
        "| use | when | reads | kernel history |",
        "|---|---|---|---|",
        *(
            f"| `{rule.use}` | {rule.sentence} | {_reads(rule)} | {rule.commit or '-'} |"
            for rule in RULES
        ),
        "",
        "`type` is one use per page type, with the name of the type.",
        "",
        "## Contradictions",
        "",
        "A page that breaks a rule has the use `conflict`. `pageinspect page` names each rule that",
        "the page breaks, and `pageinspect check` lists all pages that break a rule. A running",
        "kernel may break some rules for a moment, or change a page after the lists were followed.",
        "On a running kernel these rules give no use, and are only named.",
        "",
        "| rule | contradiction | reads | on a running kernel |",
        "|---|---|---|---|",
        *(
            f"| `{rule.name}` | {rule.sentence} | {_reads(rule)} | {_running(rule)} |"
            for rule in CONTRADICTIONS
        ),
        "",
        "## What rules read",
        "",
        "A rule can read only the bits of struct page that it declares, and the columns below,",
        "which depend on the bits named here. A run of pages ends where a bit changes on which a",
        "requested column depends.",
        "",
        "| column | depends on |",
        "|---|---|",
        *(f"| `{c.name}` | {', '.join(map(str, reads_of(c.reads)))} |" for c in columns),
        "",
    ]
    return "\n".join(lines)


def test_uses_page_is_the_rule_table(request) -> None:
    path = DOCS / "uses.md"
    if request.config.getoption("--update-golden"):
        path.write_text(uses_page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == uses_page(), "run pytest with --update-golden"


def described(kind: Kind) -> str:
    """Return a kind of owner as docs/owners.md has it."""
    owned = ", ".join(f"`{use}`" for use in kind.owns)
    claimed = ", ".join(f"`{use}`" for use in kind.may_claim)
    uses = "; ".join(filter(None, (owned, claimed and f"claims {claimed}")))
    parts = {
        "Found by": kind.source,
        "Uses": uses,
        "Counter": kind.counter,
        "Limits": kind.limits,
        "Kernel history": "; ".join(kind.commits),
    }
    items = "".join(f"- {name}: {text.rstrip('.')}.\n" for name, text in parts.items() if text)
    return f"### {kind.name}\n\n{kind.sentence}\n\n{items}\n"


def test_owners_page_has_every_kind(request) -> None:
    path = DOCS / "owners.md"
    begin, end = "<!-- kinds -->\n", "<!-- end of kinds -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    shown, _, after = rest.partition(end)
    expected = "".join(map(described, KINDS))
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before}{begin}{expected}{end}{after}", encoding="utf-8")
        return
    assert shown == expected, "run pytest with --update-golden"


def test_contiguity_page_has_the_mobility_of_uses(request) -> None:
    path = DOCS / "contiguity.md"
    begin, end = "<!-- mobility -->\n", "<!-- end of mobility -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    shown, _, after = rest.partition(end)
    rows = [
        f"| {', '.join(f'`{use}`' for use in rule.uses)} | {MOBILITY_NAMES[rule.mobility]} "
        f"| {rule.remedy} | {rule.sentence} |\n"
        for rule in MOBILITIES
    ]
    expected = "".join(["| uses | mobility | remedy | why |\n", "|---|---|---|---|\n", *rows])
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before}{begin}{expected}{end}{after}", encoding="utf-8")
        return
    assert shown == expected, "run pytest with --update-golden"
