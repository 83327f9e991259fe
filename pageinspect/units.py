"""Numbers and foreign text as people read them."""

_PREFIXES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(n_bytes: int) -> str:
    """Return bytes with a binary prefix and four significant digits at most: 32 MiB, 1.5 GiB."""
    prefix = 0
    value = float(n_bytes)
    while abs(value) >= 1024 and prefix < len(_PREFIXES) - 1:
        value /= 1024
        prefix += 1
    digits = 0 if value == int(value) or abs(value) >= 999.95 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f} {_PREFIXES[prefix]}"


def number(value: int) -> str:
    """Return an integer with its thousands set apart: 8,192."""
    return f"{value:,}"


def percent(share: float) -> str:
    """Return a share in percent with one digit; a share that is not zero never reads as zero."""
    return "<0.1" if 0 < share < 0.05 else f"{share:.1f}"


def seconds(nanoseconds: int) -> str:
    """Return a time in seconds: 1.50 s."""
    return f"{nanoseconds / 1e9:.2f} s"


_OF_ONE = {"are": "is", "were": "was", "have": "has"}


def counted(n: int, noun: str, verb: str = "") -> str:
    """Return a number with its noun, and with the verb that follows: 1 page is, 8,192 pages are."""
    if n != 1:
        noun += "s"
    elif verb:
        verb = _OF_ONE[verb]
    return f"{number(n)} {noun} {verb}".rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text; numbers and names such as 0x0-0x80000 are not broken."""
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False)


def printable(text: str) -> str:
    r"""Return text from a kernel with control characters escaped: "\x1b" for ESC."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
