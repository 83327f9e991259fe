"""Reports of dump_page() in logs, in the forms of three kernels."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pageinspect.dumptext import decode
from pageinspect.errors import PageInspectError

DATA = Path(__file__).parent / "data"


def values(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [{fact.name: fact.value for fact in facts} for facts in decode(text)]


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
    done = subprocess.run(
        [*command, "-"], input="no\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint" in done.stderr
