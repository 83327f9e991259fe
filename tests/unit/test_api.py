"""The public surface, and docs made from the code."""

from places import DOCS

import pageinspect
from pageinspect.classify.contradictions import CONFLICTS, Conflict
from pageinspect.classify.reads import Column, reads_of
from pageinspect.classify.selected import SelectedPages
from pageinspect.classify.uses import RULES, Rule
from pageinspect.inspector.inspector import Inspector


def test_exported_names() -> None:
    assert pageinspect.__all__ == ["__version__", "from_program"]
    assert callable(pageinspect.from_program)


def test_api_page_names_what_there_is() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in ("layout", "memory_map", "ranges", "pages", "use_name", "type_name"):
        assert f"`inspector.{name}" in text
        assert hasattr(Inspector, name)
    columns = ("use", "code", "order", "head", "word", "refcount", "flags", "head_flags")
    for name in (*columns, "mapping", "zone", "node", "freeing", "own", "of_head"):
        assert f"`{name}" in text
        assert hasattr(SelectedPages, name)


def uses_page() -> str:
    """Return docs/uses.md as the rule tables have it."""

    def _running(rule: Conflict) -> str:
        if not rule.races:
            return "gives the use"
        return "named by `page` and `check`" if rule.live else "named by `page`"

    def _reads(rule: Rule | Conflict) -> str:
        return ", ".join(f"{read}".replace("the column ", "") for read in rule.reads) or "-"

    columns = dict.fromkeys(
        read for rule in (*RULES, *CONFLICTS) for read in rule.reads if isinstance(read, Column)
    )
    lines = [
        "# Uses of pages",
        "",
        "Every pfn that has a struct page in use has one use: the first rule that holds gives it.",
        "Offline memory is left out, as in /proc/kpageflags: nobody keeps its struct pages.",
        "Flags, reference counts and mappings are those of the head of the folio.",
        "",
        "| use | when | reads | kernel history |",
        "|---|---|---|---|",
        *(
            f"| `{rule.use}` | {rule.sentence} | {_reads(rule)} | {rule.commit or '-'} |"
            for rule in RULES
        ),
        "",
        "`type` stands for one use a page type, under the type's own name.",
        "",
        "## Contradictions",
        "",
        "A page that breaks one has the use `conflict`. `pageinspect page` names each rule that a",
        "page breaks, and `pageinspect check` all pages that break one. A running kernel may break",
        "some for a moment, or change a page after the lists were followed: there these give no",
        "use.",
        "",
        "| rule | what it says | reads | on a running kernel |",
        "|---|---|---|---|",
        *(
            f"| `{rule.name}` | {rule.sentence} | {_reads(rule)} | {_running(rule)} |"
            for rule in CONFLICTS
        ),
        "",
        "## What rules read",
        "",
        "A rule gets the bits of struct page that it declares, and no others. It may also use",
        "these columns, which depend on the bits named here. Runs of pages end where a bit changes",
        "that a column depends on which was asked for.",
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
