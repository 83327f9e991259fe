"""README and docs say what the code does."""

import re
from argparse import SUPPRESS

import pytest
from machines import table
from places import ROOT

from pageinspect.cli.parser import COMMANDS, build_parser
from pageinspect.errors import Exit
from pageinspect.paths import data_folder
from pageinspect.vm import catalogue, tools

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_lists_every_command_with_its_summary() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE)
    assert rows == list(COMMANDS.items())


def test_readme_lists_the_kernels_of_the_catalogue() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.*) \|$", README, re.MULTILINE)
    kernels = catalogue.kernels().values()
    assert rows[-len(kernels) :] == [(k.name, k.suite, k.proves) for k in kernels]


def test_readme_names_the_exit_statuses() -> None:
    (paragraph,) = re.findall(r"^Exit status: .*?\n\n", README, re.MULTILINE | re.DOTALL)
    for status in set(Exit) - {Exit.INTERRUPTED}:
        assert re.search(rf"\b{int(status)}\b", paragraph), status


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
    for document in [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), (document, link)


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
    elsewhere = {"--help", "--duration", "--interval", "--format", "--output", "--mode"}
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
