"""Reports of dump_page() in logs, in the forms of three kernels."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pageinspect.dump_page_text import decode
from pageinspect.errors import PageInspectError

DATA = Path(__file__).parent / "data"


def values(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [{fact.name: fact.value for fact in facts} for facts in decode(text.splitlines())]


def test_names_that_dump_page_does_not_know() -> None:
    zsmalloc, kmalloc = values("dump_page_7.x.txt")
    assert zsmalloc["pfn"] == 0x65C0
    assert zsmalloc["type"] == zsmalloc["use"] == "zsmalloc"
    assert zsmalloc["word"] == {"raw": "0xf6000040", "reading": "type", "value": "zsmalloc"}
    assert zsmalloc["first_object"] == 0x40
    assert zsmalloc["flags"] == ["uptodate", "private"]
    assert zsmalloc["reason"] == "nonzero _refcount"
    assert kmalloc["type"] == "large_kmalloc"
    assert kmalloc["order"] == 2
    assert (kmalloc["mapcount"], kmalloc["large_mapcount"]) == (0, 0)


def test_a_type_that_dump_page_names() -> None:
    (slab,) = values("dump_page_6.12.txt")
    assert (slab["type"], slab["refcount"], slab["flags"]) == ("slab", 1, ["workingset"])


def test_bits_that_two_schemes_read_differently() -> None:
    table, anon = values("dump_page_6.1.txt")
    assert table["type"] is None
    assert table["use"] == "unknown"
    assert table["word"] == {"raw": "0xfffffdff", "reading": None, "value": None}
    assert anon["use"] == "anon"
    assert anon["type"] == "untyped"
    assert anon["order"] == 9
    assert anon["memcg_data"] == "0xffff8cb681234000"


def test_bits_that_all_schemes_read_alike() -> None:
    text = (DATA / "dump_page_6.1.txt").read_text(encoding="utf-8")
    (buddy, _) = decode(text.replace("fffffdff", "ffffff7f"))
    assert {f.name: f.value for f in buddy}["type"] == "buddy"


def test_a_report_that_is_cut_off() -> None:
    (facts,) = decode("page: refcount:-1 mapcount:0 mapping:0 index:0x0 pfn:0x12")
    assert {f.name: f.value for f in facts}["use"] == "unknown"


LOGS = json.loads((DATA / "dump_page_log.json").read_text(encoding="utf-8"))
"""What `page` said of the pages that kernels dumped in logs, a moment later, by kernel."""


@pytest.mark.parametrize("kernel", LOGS)
def test_logs_of_kernels_against_what_page_said(kernel: str) -> None:
    decoded = {facts["pfn"]: facts for facts in values(f"dump_page_log_{kernel}.txt")}
    assert sorted(decoded) == [page["pfn"] for page in LOGS[kernel]]
    for page in LOGS[kernel]:
        facts = decoded[page["pfn"]]
        assert facts["reason"] in ("migration failure", "unmovable page")
        # Migration had taken it off its list, with one more reference; DAMON marks any page.
        isolated = facts["reason"] == "migration failure"
        assert facts["refcount"] == page["refcount"] + isolated
        passing = {"lru", "active", "referenced", "young", "idle"}
        assert set(facts["flags"]) - passing == set(page["flags"]) - passing
        assert facts["use"] == page["use"]
        assert facts["type"] == page["type"]
        assert facts.get("order", 0) == page["order"]
        assert facts["index"] == page["index"]
        assert facts.get("memcg_data") == page.get("memcg_data")
        # Up to 6.1 dump_page() adds the mappings of the whole to those of the page.
        own = facts["mapcount"] - (facts.get("compound_mapcount") or 0)
        assert own == (page["mapcount"] or 0)
        if kernel != "6.1":
            assert facts["word"] == page["word"]
            for name in ("entire_mapcount", "large_mapcount", "nr_pages_mapped", "pincount"):
                assert facts.get(name) == page.get(name)
        if "file" in page:
            assert facts["file"] == {key: page["file"][key] for key in ("inode", "name")}


@pytest.mark.parametrize("text", ["", "nothing here\n", "page: what\n"])
def test_no_report(text: str) -> None:
    with pytest.raises(PageInspectError, match="no report"):
        decode(text)


def test_the_command() -> None:
    command = [sys.executable, "-m", "pageinspect", "page", "--dump-text"]
    done = subprocess.run(
        [*command, DATA / "dump_page_7.x.txt"], capture_output=True, text=True, check=True
    )
    assert "f6((null)), for dump_page() has no name" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    program = (
        "import sys; from pageinspect.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command[3:], DATA / "dump_page_7.x.txt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pageinspect.render.table" in done.stdout.split()
    assert "tabulate" not in done.stdout.split()
    done = subprocess.run(
        [*command, "-"], input="no\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint" in done.stderr
