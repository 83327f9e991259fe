# SPDX-License-Identifier: GPL-2.0-only
"""What logs, mails and screens do to reports of dump_page(), and texts without an end."""

import io
import json
import quopri
import re
import textwrap
import time
from functools import cache
from typing import Any

import pytest
from dump_page_cases import CASES, WHOLE, values_of
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.analysis.dump_page_text import decode, log_lines, reports
from pageinspect.errors import PageInspectError


@pytest.mark.parametrize("name", WHOLE)
def test_a_screen_that_cuts_lines_off(name: str) -> None:
    """journalctl and less -S do: words behind the cut would be taken for others."""
    for width in range(20, 90):
        cut = "\n".join(line[:width] for line in CASES[name].split("\n"))
        no_new_claims(name, cut)


@cache
def values_of_whole(name: str) -> list[dict[str, Any]]:
    return values_of(CASES[name])


def no_new_claims(name: str, text: str) -> None:
    """Hold the types and uses of a damaged text to those of the whole one."""
    whole = values_of_whole(name)
    try:
        damaged = values_of(text)
    except PageInspectError:
        return
    for facts in damaged:
        pfn = facts.get("pfn")
        same = [page for page in whole if pfn and page.get("pfn") == pfn] or whole
        assert facts["type"] in {None, *(page["type"] for page in same)}
        assert facts["use"] in {"unknown", *(page["use"] for page in same)}


@pytest.mark.parametrize("name", WHOLE)
def test_a_text_that_is_cut_off_adds_no_facts(name: str) -> None:
    text = CASES[name]
    for position in range(0, len(text), 3):
        no_new_claims(name, text[:position])
        no_new_claims(name, text[position:])


@pytest.mark.parametrize("name", WHOLE)
def test_a_missing_line_adds_no_facts(name: str) -> None:
    lines = CASES[name].split("\n")
    for i in range(len(lines)):
        no_new_claims(name, "\n".join(lines[:i] + lines[i + 1 :]))


PREFIXES = {
    "dmesg": "[ 3807.189381] {}",
    "dmesg of a fresh boot": "[    0.000000] {}",
    "dmesg -T": "[Sun Nov  9 11:18:39 2025] {}",
    "dmesg -x": "kern  :warn  : [  102.274401] {}",
    "dmesg -d": "[  +0.000005] {}",
    "caller ids": "[  102.274401][  T123] {}",
    "pstore": "<4>[   55.000001] {}",
    "/dev/kmsg": "4,1234,102274401,-;{}",
    "syslog": "Nov 24 05:00:01 host kernel: [   55.000001] {}",
    "journalctl": "Nov 24 05:00:01 host kernel: {}",
    "journalctl -o short-iso": "2025-11-24T05:00:01+0000 host kernel: {}",
    "CRLF": "{}\r",
    "a serial line": "\r{}\r",
    "tabs": "\t\t{}\t",
    "colours": "\x1b[32m[   55.000001] \x1b[0m\x1b[33m{}\x1b[0m",
    "a quotation": "> {}",
    "a quotation of one": ">>> > {}   ",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_comes_before_the_lines(prefix: str) -> None:
    for name in WHOLE:
        # Of the case itself only what it says, without what is before it.
        bare = re.sub(r"^(?: |\[[^]]*\])+", "", CASES[name], flags=re.MULTILINE)
        if name == "interleaved":
            bare = CASES[name]
            if prefix != "a quotation":
                continue
        logged = "\n".join(PREFIXES[prefix].format(line) for line in bare.split("\n"))
        assert values_of(logged) == values_of(CASES[name]), name


@pytest.mark.parametrize("name", WHOLE)
def test_lines_that_a_mailer_wraps(name: str) -> None:
    stamped = "\n".join(
        line if line.startswith("[") else f"[  102.274401] {line.strip()}"
        for line in CASES[name].rstrip().split("\n")
    )
    for width in range(60, 100):
        wrapped = "\n".join(
            piece
            for line in stamped.split("\n")
            for piece in textwrap.wrap(
                line, width, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
            )
        )
        for quoted in (wrapped, wrapped.replace("\n", "\n> ")):
            assert values_of(quoted) == values_of(CASES[name]), (width, quoted)


@pytest.mark.parametrize("name", WHOLE)
def test_a_mail_as_it_was_sent(name: str) -> None:
    sent = quopri.encodestring(CASES[name].encode()).decode()
    assert values_of(sent) == values_of(CASES[name])


@pytest.mark.parametrize("text", ["", "nothing here\n", "page: what\n", "flags: 0x8100(read)\n"])
def test_a_text_without_a_report(text: str) -> None:
    with pytest.raises(PageInspectError, match="no report"):
        decode(text.split("\n"))


PIECES = [line for text in CASES.values() for line in text.split("\n")]


@given(
    st.lists(
        st.one_of(st.sampled_from(PIECES), st.text(max_size=40)).flatmap(
            lambda line: st.integers(0, max(len(line), 1)).map(lambda n: (line[:n], line[n:]))
        ),
        max_size=30,
    ),
    st.sampled_from(["", " ", "\n", "\x00", "> "]),
)
def test_any_text_is_read_or_refused(halves: list[tuple[str, str]], glue: str) -> None:
    for text in ("\n".join(glue.join(pair) for pair in halves), "\n".join(b for _, b in halves)):
        try:
            pages = decode(text.split("\n"))
        except PageInspectError:
            continue
        for facts in pages:
            assert json.dumps({fact.name: fact.value for fact in facts})
            assert len({fact.name for fact in facts}) == len(facts)


def test_too_many_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_REPORTS", 3)
    assert len(values_of(CASES["buddy-6.11"] * 3)) == 3
    with pytest.raises(PageInspectError, match="more than 3 reports"):
        decode((CASES["buddy-6.11"] * 4).split("\n"))


def test_what_grows_without_an_end_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_MOST_CALLERS", 4)
    many = "".join(f"[ 1.0][ T{i}] page dumped because: {i}\n" for i in range(100))
    assert [facts["reason"] for facts in values_of(many)] == [str(i) for i in range(100)]
    raw = CASES["buddy-6.11"].split("\n")[4]
    (found,) = reports.reports([raw] * 1000)
    assert found.mixed
    assert sum(map(len, found.rows["raw"])) < 20


def test_the_commits_behind_the_releases() -> None:
    facts = decode(CASES["buddy-6.9"].split("\n"))[0]
    (rule,) = (fact.rule for fact in facts if fact.name == "printed_by")
    assert "fae7d834c43c" in rule
    assert "f2421a16f42a" in rule


def test_a_line_is_read_up_to_a_bound() -> None:
    longest = b"x" * 4096
    assert list(log_lines(io.BytesIO(longest + b"y\n" + b"z"))) == [longest.decode(), "z"]
    assert list(log_lines(io.BytesIO(b"a\n\nb\xff\n"))) == ["a\n", "\n", "b\ufffd\n"]


def test_a_line_of_hex_takes_time_in_proportion() -> None:
    def seconds(size: int) -> float:
        log = (CASES["buddy-6.11"] + "0123456789abcdef" * (size // 16)).encode()
        begin = time.thread_time()
        assert len(decode(log_lines(io.BytesIO(log)))) == 1
        return time.thread_time() - begin

    short, long = (min(seconds(size) for _ in range(3)) for size in (320 << 10, 5 << 20))
    assert long < 64 * short
