"""Everything about one page, as plain facts: what it is, what was read, and by which rule."""

from ...inspector.address import resolve_addresses
from .describe import describe
from .facts import Fact, PageFacts

__all__ = ["Fact", "PageFacts", "describe", "resolve_addresses"]
