"""README and docs say what the code does."""

import re

import pytest
from machines import table
from places import ROOT

from pageinspect.cli.parser import COMMANDS
from pageinspect.errors import Exit
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
