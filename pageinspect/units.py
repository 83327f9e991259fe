# SPDX-License-Identifier: GPL-2.0-only
"""Formats numbers and untrusted text for people."""

_PREFIXES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(n_bytes: int) -> str:
    """Return a number of bytes with a binary prefix, in at most four digits: 32 MiB, 1.5 GiB."""
    prefix = 0
    value = float(n_bytes)
    while abs(value) >= 1024 and prefix < len(_PREFIXES) - 1:
        value /= 1024
        prefix += 1
    digits = 0 if value == int(value) or abs(value) >= 999.95 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f} {_PREFIXES[prefix]}"


def number(value: int) -> str:
    """Return an integer with thousands separators: 8,192."""
    return f"{value:,}"


def signed(value: int) -> str:
    """Return a difference with its sign: +8,192, -1; empty for 0."""
    return f"{value:+,}" if value else ""


def signed_size(n_bytes: int) -> str:
    """Return a difference of bytes with its sign: +32 MiB; empty for 0."""
    sign = "+" if n_bytes > 0 else ""
    return sign + size(n_bytes) if n_bytes else ""


def percent(share: float) -> str:
    """Return a percentage with one decimal; <0.1 for a small value that is not zero."""
    return "<0.1" if 0 < share < 0.05 else f"{share:.1f}"


def seconds(nanoseconds: int) -> str:
    """Return a time in nanoseconds as seconds: 1.50 s."""
    return f"{nanoseconds / 1e9:.2f} s"


_OF_ONE = {"are": "is", "were": "was", "have": "has"}


def counted(n: int, noun: str, verb: str = "") -> str:
    """Return a number with its noun, and optionally a verb: 1 page is, 8,192 pages are."""
    if n != 1:
        noun += "s"
    elif verb:
        verb = _OF_ONE[verb]
    return f"{number(n)} {noun} {verb}".rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of `width`; ranges such as 0x0-0x80000 are not broken."""
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False)


def printable(text: str) -> str:
    r"""Return untrusted text with control characters escaped: "\x1b" for ESC."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
