# SPDX-License-Identifier: GPL-2.0-only
"""README and docs say what the code does."""

import ast
import io
import re
import runpy
import shlex
import tomllib
import xml.etree.ElementTree as ET
from argparse import SUPPRESS
from pathlib import Path

import pytest
from every_report import REPORTS
from machines import table
from man_page import EXIT_STATUSES
from places import DOCS, PACKAGE, ROOT
from synthetic import MODERN

from pageinspect.cli.parser import COMMANDS, build_parser
from pageinspect.errors import Exit
from pageinspect.paths import data_folder
from pageinspect.render import render
from pageinspect.vm import catalogue, tools

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(DOCS.glob("*.md"))
DOCUMENTS = [*ROOT.glob("*.md"), *PAGES, ROOT / "bpf/README.md"]
REFERENCE = ("api.md", "glossary.md", "index.md", "uses.md")
"""Pages to look something up in."""


def test_readme_lists_every_command_with_its_summary() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE)
    assert rows == list(COMMANDS.items())


def test_readme_lists_the_kernels_of_the_catalogue() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.*) \|$", README, re.MULTILINE)
    kernels = catalogue.kernels().values()
    assert rows[-len(kernels) :] == [(k.name, k.suite, k.proves) for k in kernels]


def test_one_table_has_every_exit_status(request: pytest.FixtureRequest) -> None:
    path = DOCS / "commands.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- exit statuses -->\n")
    shown, end, after = rest.partition("<!-- end of exit statuses -->")
    rows = [f"| {int(status)} | {EXIT_STATUSES[status.name]} |\n" for status in Exit]
    expected = "".join(["| status | means |\n", "|---|---|\n", *rows])
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before}{begin}{expected}{end}{after}", encoding="utf-8")
        return
    assert shown == expected, "run pytest with --update-golden"
    elsewhere = [page for page in DOCUMENTS if page != path]
    tables = re.compile(r"^\| (?:exit )?status \|", re.MULTILINE)
    assert not [page.name for page in elsewhere if tables.search(page.read_text(encoding="utf-8"))]


def test_the_makefile_installs_what_the_harness_asks_for() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (packages,) = re.findall(r"^PACKAGES := (.*?)(?<!\\)$", makefile, re.MULTILINE | re.DOTALL)
    # apt and dpkg are what installs the rest.
    assert set(tools.PACKAGE_OF.values()) - {"apt", "dpkg"} <= set(
        packages.replace("\\", "").split()
    )


def test_each_line_on_security_names_tests_that_there_are() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Not covered")[0]
    lines = re.findall(r"^- (.*?)(?=^$|^-|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(lines) > 15
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("**/test_*.py")]
    there = set(re.findall(r"^def (test_\w+)", "\n".join(sources), re.MULTILINE))
    for line in lines:
        named = set(re.findall(r"`(test_\w+)`", line))
        assert named, line
        assert named <= there, named - there


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for link, heading in re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", text):
            target = document.parent / link
            assert target.exists(), (document, link)
            if heading:
                headings = re.findall(
                    r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE
                )
                assert heading in [h.lower().replace(" ", "-") for h in headings], link


def test_the_index_has_every_page() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert {page.name for page in PAGES} - {"index.md"} <= set(linked)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_begins_with_what_the_reader_can_do_after_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name not in REFERENCE:
        paragraph = text.split("\n\n")[1]
        assert paragraph.startswith("After this page you "), paragraph


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d.name != "uses.md"], ids=lambda page: page.name
)
def test_documents_have_the_words_of_the_field(document: Path) -> None:
    """Words that the project no longer uses, and turns of phrase that take a second reading."""
    text = document.read_text(encoding="utf-8")
    text = re.sub("<!-- renames -->.*<!-- end of renames -->", "", text, flags=re.DOTALL)
    # Names in the code have their own tests, and so have sentences of the rules.
    text = re.sub(r"```.*?```|^\| `[\w-]+-[\w-]+` \|.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub("`[^`]*`", "", text)
    words = "told|untold|tells|books?|census|barred|mends?|(?<!there )(?:is|are) no(?! longer)"
    assert not re.findall(rf"\b(?:{words})\b", text, re.IGNORECASE)


SPOKEN = re.compile(
    r"\b(?:told|untold|tells|census|barred|(?<!there )(?:is|are) no(?! longer)\b)", re.IGNORECASE
)


def test_strings_and_docstrings_have_the_words_of_the_field() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = " ".join(node.value.split())
                assert not SPOKEN.search(text), (path.name, node.lineno)


def commands_of(document: Path) -> list[str]:
    """Return the command lines of pageinspect in a document's blocks of code."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    fenced = [block for language, block in blocks if not language]
    indented = re.findall(r"^(?:    .*\n)+", text, re.MULTILINE)
    lines = "".join([*fenced, *indented]).splitlines()
    command = (
        r" *(?:\$ )?(?:.*\| )?(?:sudo |time )?pageinspect ((?:'.*?'|.)*?)(?:;.*| &&.*|   .*)?$"
    )
    found = [re.match(command, line) for line in lines]
    # A synopsis is not an example.
    return [match[1] for match in found if match and not re.search(r"[\[…]| [A-Z]+\b", match[1])]


def test_examples_are_command_lines() -> None:
    examples = [example for document in DOCUMENTS for example in commands_of(document)]
    assert len(examples) > 30
    for example in examples:
        build_parser().parse_args(shlex.split(example))


def test_units_of_systemd_run_commands_that_exist() -> None:
    services = sorted((DOCS / "examples").glob("*.service"))
    assert services
    for service in services:
        lines = service.read_text(encoding="utf-8").splitlines()
        commands = [line.removeprefix("ExecStart=") for line in lines if "ExecStart=" in line]
        assert commands
        for command in commands:
            program, *words = shlex.split(command)
            assert Path(program).name == "pageinspect"
            build_parser().parse_args(words)


def test_examples_of_types_are_what_it_prints() -> None:
    stream = io.StringIO()
    render(REPORTS["types"](), "table", stream)
    printed = [line for line in stream.getvalue().splitlines()[2:] if "zsmalloc" not in line]
    headings = re.compile(r"^type  .*sticky$|^Sticky: .*", re.MULTILINE)
    shown = [line for page in PAGES for line in headings.findall(page.read_text(encoding="utf-8"))]
    assert len(shown) >= 3
    for line in shown:
        assert line in printed


def test_the_drawing_of_layers_is_the_contract() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    drawing = text.partition("## Layers")[2].split("```\n")[1]
    drawn = [re.split(r"  +", line)[0] for line in drawing.splitlines()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    assert drawn == contract["layers"]
    # A package that is in no layer is refused.
    assert contract["exhaustive"]


def test_the_design_names_modules_that_there_are() -> None:
    table = (DOCS / "design.md").read_text(encoding="utf-8").partition("## Modules")[2]
    folder = PACKAGE
    for first in re.findall(r"^\| (`.*?`) \|", table.partition("## Decisions")[0], re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", first):
            folder = (PACKAGE / path).parent if "/" in path else folder
            assert (folder / Path(path).name).exists(), path


def imported_by(module: Path) -> set[Path]:
    """Return the files of the package that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            paths = [folder, *(folder / alias.name for alias in node.names)]
            found |= {path.with_suffix(".py") for path in paths}
    return {path for path in found if path.is_file()}


def test_the_design_names_the_readers_that_no_command_uses() -> None:
    reached: set[Path] = set()
    new = {p for p in PACKAGE.rglob("*.py") if p.parent.name not in ("kernel", "analysis")}
    while new:
        reached |= new
        new = {other for path in new for other in imported_by(path)} - reached
    unused = {
        f"{folder}/{path.name}"
        for folder in ("kernel", "analysis")
        for path in (PACKAGE / folder).glob("[!_]*.py")
        if path not in reached
    }
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    sentence = text.partition("No command uses these readers yet:")[2].partition("\n\n")[0]
    assert set(re.findall("`(.*?)`", sentence)) == unused


def test_the_picture_of_struct_page() -> None:
    drawn = runpy.run_path(str(DOCS / "make_struct_page_svg.py"))
    assert drawn["PICTURE"].read_text(encoding="utf-8") == drawn["picture"](), "run the script"
    offsets = {word.old: word.offset for word in drawn["PAGE"]}
    words = {
        "flags": "flags", "compound": "compound_head", "mapping": "mapping", "index": "index",
        "private": "private", "page_type": "page_type", "refcount": "_refcount",
        "memcg": "memcg_data",
    }  # fmt: skip
    assert {field: offsets[word] for field, word in words.items()} == {
        field: getattr(MODERN, field) for field in words
    }
    ends = [word.offset + word.size for word in drawn["PAGE"]]
    assert [word.offset for word in drawn["PAGE"]] == [0, *ends[:-1]]
    assert ends[-1] == MODERN.struct_size
    assert drawn["TAIL"][0].offset == MODERN.order.offset
    svg = ET.fromstring(drawn["picture"]())  # noqa: S314 - our own
    # Readable without CSS and on a dark page: each element has its colours, on a background.
    for kind in ("text", "rect"):
        for element in svg.findall(f".//{{*}}{kind}"):
            assert {"fill", "font-size" if kind == "text" else "stroke"} <= set(element.attrib)
    background = svg.find("{*}rect")
    assert background is not None
    assert [background.attrib[side] for side in ("x", "y", "width", "height")] == [
        *("0", "0"),
        *(svg.attrib[side] for side in ("width", "height")),
    ]
    # Text stays text, and each box lies within the picture.
    assert not svg.findall(".//{*}path")
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    for box in svg.findall(".//{*}rect"):
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x + w <= width
        assert y + h <= height


def test_the_table_of_machines_is_what_is_tried(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs/kernels.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- machines -->\n", "<!-- end of machines -->"
    before, _, rest = text.partition(begin)
    shown, _, after = rest.partition(end)
    expected = "".join(f"{line}\n" for line in table(list(catalogue.kernels())))
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before}{begin}{expected}{end}{after}", encoding="utf-8")
        return
    assert shown == expected, "run pytest with --update-golden"


def test_docs_describe_every_option_of_trace_and_no_other() -> None:
    trace = build_parser()._subparsers._group_actions[0].choices["trace"]  # type: ignore[union-attr,index,call-overload]
    trace.load()
    shown = [action for action in trace._actions if action.help != SUPPRESS]
    options = {o for action in shown for o in action.option_strings if o.startswith("--")}
    document = (ROOT / "docs/tracing.md").read_text(encoding="utf-8")
    told = set(re.findall(r"--[a-z][a-z-]*", document))
    elsewhere = {"--help", "--duration", "--interval", "--output", "--mode"}
    assert told == options - elsewhere


def test_examples_in_docs_parse() -> None:
    document = (ROOT / "docs/tracing.md").read_text(encoding="utf-8")
    examples = re.findall(r"^    sudo pageinspect (trace.*?)(?:   .*)?$", document, re.MULTILINE)
    assert len(examples) >= 7
    for example in examples:
        build_parser().parse_args(example.split())


def test_the_readme_of_bpf_lists_every_map_and_define() -> None:
    document = (data_folder("bpf") / "README.md").read_text(encoding="utf-8")
    program = (data_folder("bpf") / "page_free.bpf.c").read_text(encoding="utf-8")
    maps = re.findall(r"^BPF_[A-Z_]+\((\w+),", program, re.MULTILINE)
    table = document.partition("## The maps")[2].partition("\n\nAll")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(maps)
    switches = set(
        re.findall(r"\b(WHO_SET|EVENT_SET|STACK_SET|COUNT_\w+|BY_[A-Z]+|BAD_PAGES)\b", program)
    )
    for switch in switches:
        assert f"`{switch}`" in document, switch


def test_the_page_of_page_has_every_field() -> None:
    sources = (PACKAGE / "analysis/page_facts").glob("*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    names = set(re.findall(r'(?:Fact|_hex|from_kernel)\(\s*"(\w+)"', text))
    assert len(names) > 25
    document = (DOCS / "page.md").read_text(encoding="utf-8")
    assert not [name for name in sorted(names) if f"`{name}`" not in document]
