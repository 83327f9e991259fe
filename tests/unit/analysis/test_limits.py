# SPDX-License-Identifier: GPL-2.0-only
"""Limits of --fail-above: their form, and when they are exceeded."""

import pytest
from compared_snapshots import PAGE

from pageinspect.analysis.differences import Change
from pageinspect.analysis.limits import exceeded, parse_limit
from pageinspect.errors import UsageError

ROWS = (
    Change(("slab", "dentry"), (100,), (140,)),
    Change(("slab", "inode"), (100,), (80,)),
    Change(("anon", "a:b"), (0,), (1,), "came"),
    Change(("file", ""), (50,), (20,)),
)


@pytest.mark.parametrize(
    ("limit", "is_exceeded"),
    [
        ("slab:+20", False),
        ("slab:+19", True),
        ("slab:+10%", False),
        ("slab:+9.9%", True),
        ("slab:-0", False),
        ("slab:dentry:+39", True),
        ("slab:dentry:+160K", False),
        ("slab:dentry:+159.99K", True),
        ("slab:dentry:+1M", False),
        ("slab:inode:-20%", False),
        ("slab:inode:-19%", True),
        ("slab:inode:+0", False),
        ("anon:+1000000%", True),
        ("anon:a:b:+0", True),
        ("file:-30", False),
        ("file:-29", True),
    ],
)
def test_when_a_limit_is_exceeded(limit: str, is_exceeded: bool) -> None:
    found = exceeded([parse_limit(limit)], "name", ROWS, PAGE, PAGE)
    assert [each.limit.text for each in found] == [limit] * is_exceeded


def test_amounts_are_those_of_the_sum_of_a_kind() -> None:
    (found,) = exceeded([parse_limit("slab:+0")], "name", ROWS, PAGE, PAGE)
    assert (found.before, found.after) == (200 * PAGE, 220 * PAGE)


def test_processes_by_name_or_with_their_pid() -> None:
    rows = (Change(("8", "sh"), (100, 0), (200, 0)), Change(("9", "sh"), (100, 0), (100, 0)))
    limits = [parse_limit(text) for text in ("sh:+60%", "sh:+40%", "sh[8]:+60%", "sh[9]:+0")]
    found = exceeded(limits, "process", rows, 1, PAGE)
    assert [each.limit.text for each in found] == ["sh:+40%", "sh[8]:+60%"]


@pytest.mark.parametrize(
    "text",
    ["", "slab", "slab:10%", "slab:+", ":+10", "slab:+1.5", "slab:+1k", "slab:+10%%", "slab:+-1",
     "slab:+1e3", "slab:+٣"],
)  # fmt: skip
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limit(text)
    assert "slab:+10%" in caught.value.hint


def test_a_name_that_neither_side_has() -> None:
    with pytest.raises(UsageError, match="neither side has 'slab:dentri'") as caught:
        exceeded([parse_limit("slab:dentri:+1")], "name", ROWS, PAGE, PAGE)
    assert caught.value.hint.startswith("did you mean slab:dentry?")
