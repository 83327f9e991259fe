# SPDX-License-Identifier: GPL-2.0-only
"""The facts on the code and the process that allocated a page."""

from collections.abc import Sequence

from ...model.allocations import AllocationTag, PageAllocation
from .facts import Fact

_TAG_RULE = (
    "The allocation tag of the first page of its allocation: the place in the source code that "
    "allocated it. Only a kernel with CONFIG_MEM_ALLOC_PROFILING has it."
)
_STACK_RULE = (
    "page_owner: the functions that were active when the page was allocated, innermost first, and "
    "the thread that ran them. Only a kernel with CONFIG_PAGE_OWNER and page_owner=on has it."
)


def fact_of_tag(tag: AllocationTag) -> Fact:
    """Return the fact on the allocation tag of a page."""
    value = {
        "function": tag.function,
        "file": tag.file,
        "line": tag.line,
        "module": tag.module or None,
    }
    return Fact("allocation_tag", value, str(tag), "", _TAG_RULE)


def fact_of_stack(allocation: PageAllocation, stack: Sequence[str] | None) -> Fact:
    """Return the fact on the stack that allocated a page; None if it is unreadable."""
    value = {
        "order": allocation.order,
        "gfp_mask": f"{allocation.gfp_mask:#x}",
        "pid": allocation.pid,
        "comm": allocation.comm or None,
        "functions": None if stack is None else list(stack),
    }
    comm = f" ({allocation.comm})" if allocation.comm else ""
    text = f"order {allocation.order}, {allocation.gfp_mask:#x}, by {allocation.pid}{comm}"
    more = ("unreadable",) if stack is None else tuple(stack)
    return Fact("allocation_stack", value, text, "", _STACK_RULE, more=more)
