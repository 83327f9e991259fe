# SPDX-License-Identifier: GPL-2.0-only
"""Untrusted text as a page shows it: escaped, and of bounded length."""

from ..units import printable

MOST_BYTES = 240
"""Of a name, in UTF-8."""
_MOST_OF_TEXT = 2000
_LEFT_OUT = "…"


def shown_name(text: str | None) -> str:
    """Return a name with control characters escaped, of at most MOST_BYTES.

    Of a longer one the middle is left out, because paths differ in their ends.
    """
    return _bounded(text or "", MOST_BYTES)


def shown_text(text: str) -> str:
    """Return a sentence, which may have names, escaped as names are; at most 2,000 bytes."""
    return _bounded(text, _MOST_OF_TEXT)


def is_cut(text: str | None) -> bool:
    """Return whether shown_name() leaves something out."""
    return len(_encoded(printable(text or ""))) > MOST_BYTES


def _bounded(text: str, most: int) -> str:
    found = printable(text)
    encoded = _encoded(found)
    if len(encoded) <= most:
        return found
    first = most // 4
    last = most - first - len(_encoded(_LEFT_OUT))
    head, tail = (part.decode("utf-8", "ignore") for part in (encoded[:first], encoded[-last:]))
    return f"{head}{_LEFT_OUT}{tail}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
