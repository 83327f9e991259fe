# SPDX-License-Identifier: GPL-2.0-only
"""Describes one page as facts: each has a value, the raw words it was read from, and the rule."""

from .describe import describe_page
from .facts import Fact, PageFacts
from .reader import KernelReader, UnreadableError

__all__ = ["Fact", "KernelReader", "PageFacts", "UnreadableError", "describe_page"]
