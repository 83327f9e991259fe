# SPDX-License-Identifier: GPL-2.0-only
"""Describes one page as facts: each has a value, the raw words it was read from, and the rule."""

from .allocations import fact_of_stack, fact_of_tag
from .describe import describe_page
from .facts import Fact, PageFacts
from .mapped_by import can_be_mapped, facts_of_mappings, is_mapped, unknown_mappings
from .reader import KernelReader, UnreadableError

__all__ = [
    "Fact",
    "KernelReader",
    "PageFacts",
    "UnreadableError",
    "can_be_mapped",
    "describe_page",
    "fact_of_stack",
    "fact_of_tag",
    "facts_of_mappings",
    "is_mapped",
    "unknown_mappings",
]
