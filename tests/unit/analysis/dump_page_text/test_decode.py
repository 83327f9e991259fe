# SPDX-License-Identifier: GPL-2.0-only
"""Reports of dump_page() in logs, in the forms of many kernels."""

import json
import re

import pytest
from dump_page_cases import CASES, DATA, EXPECTED, values, values_of

from pageinspect.analysis.dump_page_text import decode


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
    text = (DATA / "dump_page_6.1.txt").read_text(encoding="utf-8")
    table, anon = values_of(text)
    # The zone in the flags line came two releases after the renumbering.
    assert table["printed_by"] == {"since": "5.13", "before": "6.4"}
    assert table["type"] == table["use"] == "table"
    assert anon["use"] == "anon"
    assert anon["type"] == "untyped"
    assert anon["order"] == 9
    assert anon["memcg_data"] == "0xffff8cb681234000"
    # Without that, v5.9 and v5.10 print the same text of a page that kmemcg accounts.
    table, _ = values_of(re.sub(r"\(node=.*?\)", "()", text))
    assert table["printed_by"] == {"since": "5.9", "before": "6.4"}
    assert (table["type"], table["use"]) == (None, "unknown")
    assert table["word"] == {"raw": "0xfffffdff", "reading": None, "value": None}


def test_what_a_text_may_be_is_named() -> None:
    text = (DATA / "dump_page_6.1.txt").read_text(encoding="utf-8")
    facts = decode(re.sub(r"\(node=.*?\)", "()", text).split("\n"))[0]
    (how,) = (fact.text for fact in facts if fact.name == "type")
    assert "kmemcg by bits-5.1, table by bits-5.11" in how
    assert "v5.9 to v6.3" in how


def test_bits_that_all_schemes_read_alike() -> None:
    text = (DATA / "dump_page_6.1.txt").read_text(encoding="utf-8").replace("fffffdff", "ffffff7f")
    buddy, _ = values_of(re.sub(r"\(node=.*?\)", "()", text))
    assert buddy["type"] == "buddy"


def test_a_report_that_is_cut_off() -> None:
    (facts,) = values_of("page: refcount:-1 mapcount:0 mapping:0 index:0x0 pfn:0x12")
    assert facts["use"] == "unknown"


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


@pytest.mark.parametrize("name", EXPECTED)
def test_cases(name: str) -> None:
    decoded = values_of(CASES[name])
    assert len(decoded) == len(EXPECTED[name])
    for facts, expected in zip(decoded, EXPECTED[name], strict=True):
        assert {key: facts.get(key) for key in expected} == expected


@pytest.mark.parametrize("other", ["cache flags: 0x1(PANIC)", "my_aops", "seen in btree_aops"])
def test_lines_of_something_else_between(other: str) -> None:
    lines = CASES["slab-6.11"].split("\n")
    whole = values_of(CASES["slab-6.11"])
    for i in range(len(lines)):
        between = values_of("\n".join([*lines[:i], other, "and so on", *lines[i:]]))
        assert [facts["flags"] for facts in between] == [[]]
        assert [facts["type"] for facts in between] == [whole[0]["type"]]


def test_reports_that_are_mixed_tell_nothing_of_each_other() -> None:
    for facts in values_of(CASES["mixed"]):
        assert facts.keys().isdisjoint({"process", "file", "flags", "memcg_data", "word"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("anon-5.2", "ffffffcf05400038: an address, not hashed"),
        ("poisoned-6.0", "00000000467f4890: hashed"),
    ],
)
def test_whether_an_address_is_hashed(name: str, said: str) -> None:
    facts = decode(CASES[name].split("\n"))[0]
    assert [fact.text for fact in facts if fact.name == "page"] == [said]


def report(word: int, type_line: str, flags: str = "", first: str = "page:") -> str:
    return (
        f"{first} refcount:1 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x12\n"
        f"flags: 0xfff00000000000({flags}|node=0|zone=1|lastcpupid=0x7ff)\n"
        f"{type_line}"
        "raw: 00fff00000000000 ffff888030f77780 dead000000000122 0000000000000000\n"
        f"raw: 0000000000000000 0000000000000000 00000001{word:08x} 0000000000000000\n"
    )


OLD = "page:ffffea0001ef1000"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        # zsmalloc has no name in v6.11, and an offset in the low half of the word.
        (report(0xFEFF0040, "page_type: 0xfeff0040(0x100ffbf)\n"), "zsmalloc"),
        (report(0xFBFFFFFF, "page_type: 0xfbffffff(hugetlb)\n"), "hugetlb"),
        (report(0xFFFFF7FF, "page_type: 0xfffff7ff(hugetlb)\n"), "hugetlb"),
        (report(0xFFFFFD7F, "page_type: 0xfffffd7f(table|buddy)\n", first=OLD), "buddy+table"),
        # The line is there without a type up to v6.9, and slab is a flag.
        (report(0xFFFFFFFF, "page_type: 0xffffffff()\n", "slab", OLD), "slab"),
        (report(0x00000001, "page_type: 0x1()\n", "slab", OLD), "slab"),
        (report(0xFFFFFFFF, "page_type: 0xffffffff()\n", "lru"), "untyped"),
        # What is no type: of v6.11, a mapcount that went below zero.
        (report(0xFFFFFF7F, "page_type: 0xffffff7f()\n"), "untyped"),
        (report(0xF2000000, "page_type: f2(table)\n"), "table"),
        (report(0xF9000000, "page_type: f9(netpp)\n"), "netpp"),
        (report(0xF9000000, "page_type: f9(unknown)\n"), "type_0xf9"),
        # Types that no page has at once: the word is damaged.
        (report(0xFFFFF07F, "", first=OLD), None),
        # Names that the value has not: nothing is known then.
        (report(0xF2000000, "page_type: f2(slab)\n"), None),
        (report(0xFDFFFFFF, "page_type: 0xfdffffff(table)\n"), None),
        # A page_type line has been lost: v6.9 and later print none without a type.
        (report(0xF5000000, ""), None),
        (report(0xFFFFFFFF, ""), "untyped"),
        # v5.4 and v5.5 may print no flags line, and slab is a flag there.
        (
            re.sub(r" pfn.*\nflags.*", "", report(0xFFFFFFFF, "", first=OLD)),
            None,
        ),
    ],
)
def test_types(text: str, name: str | None) -> None:
    (facts,) = values_of(text)
    assert facts["type"] == name


@pytest.mark.parametrize(
    ("line", "other"),
    [
        # Of another zone, and of another type.
        ("flags: 0xfff00000000000", "flags: 0x17fff00000000000"),
        ("page_type: 0xfdffffff(slab)", "page_type: 0xbfffffff(buddy)"),
        ("00000001fdffffff", "00000001bfffffff"),
    ],
)
def test_lines_that_contradict_each_other(line: str, other: str) -> None:
    assert line in CASES["slab-6.11"]
    (facts,) = values_of(CASES["slab-6.11"].replace(line, other))
    assert (facts["type"], facts["use"]) == (None, "unknown")


def test_the_low_bits_of_zsmalloc_in_6_11() -> None:
    (facts,) = values_of(report(0xFEFF0040, "page_type: 0xfeff0040(0x100ffbf)\n"))
    assert facts["first_object"] == 0x40


def test_an_indexed_signature_of_page_pool() -> None:
    # Since v6.16 the signature leaves 32 bits for an index.
    text = CASES["pp-6.12"].replace("dead000000000040", "dead001234567840")
    assert values_of(text)[0]["use"] == "page_pool"
    for other in ("dead000000000100", "dead000000000122", "ffffea0000000040"):
        text = CASES["pp-6.12"].replace("dead000000000040", other)
        assert values_of(text)[0]["use"] == "idle"


def test_pages_of_a_huge_page() -> None:
    """The second is a tail: type and mapping are those of the head."""
    head = (
        "head: order:9 mapcount:512 entire_mapcount:1 nr_pages_mapped:0 pincount:0\n"
        "anon flags: 0xfff00000000040(head|swapbacked|node=0|zone=1)\n"
        "raw: {raw}\nraw: 0000000000000001 0000000000000000 00000001ffffffff 0000000000000000\n"
        "head: 00fff00000000040 ffffea0000100008 ffffea0000200008 ffff888100000001\n"
        "head: 00007f0000000000 0000000000000000 00000200ffffffff ffff888101234000\n"
        "head: 00fff00000000009 ffffea0000aa0001 0000000000000000 0000000000800000\n"
        "head: 0000000000000200 0000000000000000 00000000ffffffff 0000000000000000\n"
        "page dumped because: migration failure\n"
    )
    page = "page: refcount:512 mapcount:1 mapping:0000000000000000 index:{0:#x} pfn:{0:#x}\n"
    raw_head = "00fff00000000040 ffffea0000100008 ffffea0000200008 ffff888100000001"
    raw_tail = "00fff00000000000 ffffea0000aa0001 dead000000000122 dead000000000400"
    text = page.format(0x2A800) + head.format(raw=raw_head)
    text += page.format(0x2A801) + head.format(raw=raw_tail)
    first, tail = values_of(text)
    for facts, pfn in ((first, 0x2A800), (tail, 0x2A801)):
        assert (facts["pfn"], facts["use"], facts["type"]) == (pfn, "anon", "untyped")
        assert (facts["order"], facts["large_mapcount"]) == (9, 512)
    # Without the head's words nothing is known of a tail's type.
    for facts in values_of(re.sub("^head: [0-9a-f]{16}.*\n", "", text, flags=re.MULTILINE)):
        assert facts["type"] == (None if facts["pfn"] == 0x2A801 else "untyped")


def test_words_two_in_a_line() -> None:
    text = re.sub(
        "^raw: (.{33}) (.{33})$", r"raw: \1\nraw: \2", CASES["buddy-6.11"], flags=re.MULTILINE
    )
    assert text.count("raw:") == 4
    assert values_of(text) == values_of(CASES["buddy-6.11"])


@pytest.mark.parametrize(
    ("flags", "refcount", "use"),
    [
        ("locked|swapcache|swapbacked", 1, "swapcache"),
        ("owner_priv_1|swapbacked", 3, "swapcache"),
        ("owner_priv_1", 1, "kernel"),
        ("swapbacked", 1, "kernel"),
        ("swapcache|swapbacked", 0, "idle"),
    ],
)
def test_the_swap_cache(flags: str, refcount: int, use: str) -> None:
    text = report(0xFFFFFFFF, "", flags).replace("refcount:1", f"refcount:{refcount}")
    (facts,) = values_of(text)
    assert facts["use"] == use
