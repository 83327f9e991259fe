"""The public surface, and docs made from the code."""

from places import DOCS

from pageinspect.classify.contradictions import CONFLICTS, Conflict
from pageinspect.classify.selected import SelectedPages
from pageinspect.classify.uses import RULES
from pageinspect.inspector.inspector import Inspector


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

    lines = [
        "# Uses of pages",
        "",
        "Every pfn that has a struct page in use has one use: the first rule that holds gives it.",
        "Offline memory is left out, as in /proc/kpageflags: nobody keeps its struct pages.",
        "Flags, reference counts and mappings are those of the head of the folio.",
        "",
        "| use | when | kernel history |",
        "|---|---|---|",
        *(f"| `{rule.use}` | {rule.sentence} | {rule.commit or '-'} |" for rule in RULES),
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
        "| rule | what it says | on a running kernel |",
        "|---|---|---|",
        *(f"| `{rule.name}` | {rule.sentence} | {_running(rule)} |" for rule in CONFLICTS),
        "",
    ]
    return "\n".join(lines)


def test_uses_page_is_the_rule_table(request) -> None:
    path = DOCS / "uses.md"
    if request.config.getoption("--update-golden"):
        path.write_text(uses_page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == uses_page(), "run pytest with --update-golden"
