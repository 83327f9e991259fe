"""How long work says what it is doing: a callback, so that nothing here prints."""

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with one sentence at the start of each step."""


def silent(_step: str) -> None:
    """Say nothing: the progress of library callers that do not care."""
