"""Everything about one page, as plain facts: what it is, what was read, and by which rule."""

from .describe import describe_page
from .facts import Fact, PageFacts
from .reader import KernelReader, UnreadableError

__all__ = ["Fact", "KernelReader", "PageFacts", "UnreadableError", "describe_page"]
