# SPDX-License-Identifier: GPL-2.0-only
"""The facts on who allocated a page."""

from pageinspect.analysis.page_facts import fact_of_stack, fact_of_tag
from pageinspect.model.allocations import AllocationTag, PageAllocation


def test_a_tag() -> None:
    fact = fact_of_tag(AllocationTag("ring_open", "drivers/ring.c", 17, "ring"))
    assert (fact.name, fact.text) == ("allocation_tag", "ring_open [ring] (drivers/ring.c:17)")
    assert fact.value == {
        "function": "ring_open",
        "file": "drivers/ring.c",
        "line": 17,
        "module": "ring",
    }
    assert fact_of_tag(AllocationTag("f", "a.c", 1, "")).value["module"] is None


def test_a_stack() -> None:
    fact = fact_of_stack(PageAllocation(9, 3, 0xCC0, 42, "sh"), ("__alloc_pages", "ring_open"))
    assert fact.name == "allocation_stack"
    assert fact.text == "order 3, 0xcc0, by 42 (sh)"
    assert fact.more == ("__alloc_pages", "ring_open")
    assert fact.value == {
        "order": 3,
        "gfp_mask": "0xcc0",
        "pid": 42,
        "comm": "sh",
        "functions": ["__alloc_pages", "ring_open"],
    }


def test_a_stack_that_is_unreadable() -> None:
    fact = fact_of_stack(PageAllocation(9, 0, 0, 1, ""), None)
    assert (fact.text, fact.more) == ("order 0, 0x0, by 1", ("unreadable",))
    assert (fact.value["comm"], fact.value["functions"]) == (None, None)
