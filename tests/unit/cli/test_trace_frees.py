# SPDX-License-Identifier: GPL-2.0-only
"""What the options of trace ask of the program of typed frees."""

from dataclasses import replace

import pytest
from synthetic import MODERN, SCHEMES

from pageinspect.cli.parser import build_parser
from pageinspect.cli.trace_frees import check_types, trace_options
from pageinspect.errors import UsageError
from pageinspect.model.layout import PageLayout
from pageinspect.trace.kinds import PAGE_POOL, UNTYPED
from pageinspect.trace.options import Filters, TraceOptions


def asked(*words: str, layout: PageLayout = MODERN) -> TraceOptions:
    return trace_options(build_parser().parse_args(["trace", *words]), layout, Filters())


def test_what_is_unexpected_is_all_but_the_sticky_types() -> None:
    options = asked("--disallow", "unexpected")
    assert {0xF1, 0xF6}.isdisjoint(options.disallowed)
    assert {0xF0, 0xF2, 0xF5, 0xF8, 0xF9, PAGE_POOL} <= options.disallowed
    assert options.page_pool
    assert options.with_stacks
    older = asked("--disallow", "unexpected", layout=replace(MODERN, resets=False))
    assert {0xF1, 0xF6} <= older.disallowed


def test_page_pool_costs_nothing_unless_asked_for() -> None:
    assert not asked().page_pool
    assert asked("--page-pool").page_pool
    assert asked("--type", "page_pool").page_pool
    assert asked("--disallow", "page_pool").page_pool
    assert "PAGE_POOL_MASK" not in asked().defines(MODERN)


def test_a_plain_run_compiles_nothing_in() -> None:
    assert asked().defines(MODERN) == {}
    assert asked().defines(replace(MODERN, resets=False)) == {"BAD_PAGES": "1"}


def test_types_choose_which_frees_have_details() -> None:
    assert asked("--by", "comm").kinds == frozenset([*range(256), PAGE_POOL])
    assert asked("--by", "comm", "--type", "untyped,table").kinds == {UNTYPED, 0xF2}
    both = asked("--by", "comm", "--by", "comm", "--by", "cpu")
    assert both.by == ("comm", "cpu")
    assert {"WHO_SET", "BY_COMM", "BY_CPU"} == set(both.defines(MODERN))


def test_known_types_pass() -> None:
    check_types(None, MODERN)
    check_types(("zsmalloc", "table"), MODERN)
    check_types(("untyped", "page_pool"), MODERN, "untyped", "page_pool")
    with pytest.raises(UsageError, match="page_pool pages cannot be recognised"):
        check_types(("page_pool",), replace(MODERN, page_pool=None), "page_pool")


@pytest.mark.parametrize(
    ("names", "scheme", "message", "hint"),
    [
        (("zsmaloc",), "6.16", "no page type 'zsmaloc'", "did you mean zsmalloc? it has"),
        (("table", "qqq"), "6.16", "no page type 'qqq'", "it has: buddy, offline"),
        # A flag, not a page type, in that kernel.
        (
            ("slab",),
            "5.11",
            "no page type 'slab'",
            "buddy, offline, table, guard",
        ),
    ],
)
def test_unknown_types_are_usage_errors(
    names: tuple[str, ...], scheme: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_types(names, replace(MODERN, scheme=SCHEMES[scheme]))
    assert message in caught.value.message
    assert hint in caught.value.hint
