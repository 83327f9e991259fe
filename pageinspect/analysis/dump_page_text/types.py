# SPDX-License-Identifier: GPL-2.0-only
"""Finds the page type in a report, by the scheme of the releases that print such lines."""

from dataclasses import dataclass

from ...model import page_types
from ...model.page_types import READINGS, Scheme, WordScheme
from ..page_facts.words import reading_of
from .forms import FIRST, Form, Release
from .reports import COMPOUND_WORD, TYPE_WORD, DumpReport

_BYTE_NAMES = {
    0xF0: "buddy",
    0xF1: "offline",
    0xF2: "table",
    0xF3: "guard",
    0xF4: "hugetlb",
    0xF5: "slab",
    0xF6: "zsmalloc",
    0xF7: "unaccepted",
    0xF8: "large_kmalloc",
}
"""Types of the byte scheme by value; no value has changed since v6.12."""
_BYTE = page_types.byte_scheme(
    {name: value for value, name in _BYTE_NAMES.items()}, off_by_one=False
)
_HIGH_NAMES = ("buddy", "offline", "table", "guard", "hugetlb", "slab", "zsmalloc")


@dataclass(frozen=True, slots=True)
class _Era:
    """A page-type scheme, and the releases that have it."""

    scheme: WordScheme
    since: Release
    before: Release | None


# Linux kernel commit 8db00ad56461 ("mm: allow reuse of the lower 16 bit of the page type with an
# actual type") (in v6.11).
_BITS_AT_TOP: Release = (6, 11)
_ERAS = (
    _Era(page_types.low_scheme("bits-4.18", page_types.BITS_4_18), FIRST, (5, 1)),
    _Era(page_types.low_scheme("bits-5.1", page_types.BITS_5_1), (5, 1), (5, 11)),
    _Era(page_types.low_scheme("bits-5.11", page_types.BITS_5_11), (5, 11), (6, 9)),
    # Stable releases of v6.6 and v6.8 also have it.
    _Era(page_types.low_scheme("bits-6.9", page_types.BITS_6_9), (6, 6), (6, 10)),
    # Since Linux kernel commit 46df8e73a4a3 ("mm: free up PG_slab") (in v6.10) slab is a type.
    _Era(
        page_types.low_scheme("bits-6.10", page_types.BITS_6_9 | {"slab": 0x1000}),
        (6, 10),
        _BITS_AT_TOP,
    ),
    _Era(
        page_types.high_scheme(
            {name: page_types.HIGH_BUDDY >> i for i, name in enumerate(_HIGH_NAMES)}, "facts"
        ),
        _BITS_AT_TOP,
        (6, 12),
    ),
    _Era(_BYTE, (6, 12), None),
)
_SLAB_IS_A_FLAG_BEFORE: Release = (6, 10)
# Linux kernel commit 8f790d0c7cfe ("mm: improve dumping of mapcount and page_type") (in v6.10)
# omits the page_type line if the page has no type.
_TYPED_ALONE: Release = (6, 10)
_NEWEST: Release = (1 << 16, 0)


def release(version: Release) -> str:
    """Return a release as text: v6.12."""
    return f"v{version[0]}.{version[1]}"


@dataclass(frozen=True, slots=True)
class Kernels:
    """The range of releases that print such a text."""

    since: Release
    before: Release | None
    """The first release that does not; None: the newest release does."""
    evidence: str
    """What in the text narrows the releases down."""
    commits: str = ""
    """The kernel commits that introduced the forms of the lines."""

    def __str__(self) -> str:
        first = release(self.since)
        if self.before is None:
            return f"from {first} on"
        last = release((self.before[0], self.before[1] - 1))
        if self.since == FIRST:
            return f"up to {last}"
        return first if first == last else f"{first} to {last}"

    def schemes(self) -> tuple[WordScheme, ...]:
        """Return the schemes of page_type that these releases have."""
        return tuple(
            era.scheme
            for era in _ERAS
            if era.since < (self.before or _NEWEST) and self.since < (era.before or _NEWEST)
        )


class _Evidence:
    """Narrows the releases down, and keeps the evidence."""

    def __init__(self) -> None:
        self.since, self.before = FIRST, _NEWEST
        self._lines: list[str] = []
        self._other: list[str] = []
        self._commits: list[str] = []

    def take(self, since: Release, before: Release | None) -> bool:
        """Restrict the releases to this range; return whether that excluded any."""
        narrower = max(self.since, since), min(self.before, before or _NEWEST)
        fewer = narrower != (self.since, self.before)
        self.since, self.before = narrower
        return fewer

    def take_form(self, name: str, form: Form) -> None:
        """Restrict the releases to those that print this form of a line."""
        if form.evidence and self.take(form.since, form.before):
            self._lines.append(name)
            if form.commit:
                self._commits.append(f"{form.commit}.")

    def take_fact(self, since: Release, before: Release | None, what: str) -> None:
        """Restrict the releases by other evidence."""
        if self.take(since, before):
            self._other.append(what)

    def kernels(self) -> Kernels:
        """Return the remaining releases; all of them if the evidence contradicts itself."""
        if self.since >= self.before:
            return Kernels(FIRST, None, "its lines are from different releases")
        evidence = list(self._other)
        if self._lines:
            plural = "s" if self._lines[1:] else ""
            evidence.insert(0, f"the form{plural} of the {' and '.join(self._lines)} line{plural}")
        before = None if self.before == _NEWEST else self.before
        return Kernels(self.since, before, ", and ".join(evidence), " ".join(self._commits))


_NAMES_OF_LINES = {"page": "first", "type": "page_type"}


def kernels(report: DumpReport) -> Kernels:
    """Return the releases that may have printed a report, from the forms of its lines."""
    evidence = _Evidence()
    for name, line in report.lines.items():
        evidence.take_form(_NAMES_OF_LINES.get(name, name), line.form)
    if word := report.get("type", "word"):
        if not report.get("type", "names"):
            evidence.take_fact(FIRST, _TYPED_ALONE, "a page_type line without a type")
        elif int(word, 16) >> 16 == 0xFFFF:
            evidence.take_fact(FIRST, _BITS_AT_TOP, "the place of the type's bits")
        else:
            evidence.take_fact(_BITS_AT_TOP, None, "the place of the type's bits")
    elif "page" in report.lines and report.raw and "type" not in report.lines:
        # v6.4 to v6.9 always print it; the first line shows whether the release is v6.9 or later.
        if evidence.since >= (6, 9):
            evidence.take_fact(_TYPED_ALONE, None, "the lack of a page_type line")
        else:
            evidence.take_fact(FIRST, (6, 4), "the lack of a page_type line")
    return evidence.kernels()


@dataclass(frozen=True, slots=True)
class TypeReading:
    """A page_type word, as read by each possible scheme."""

    scheme: Scheme | None
    """None if the schemes disagree."""
    reading: str | None
    value: str | int | None
    candidates: dict[str, tuple[str, ...]]
    """The possible values, each with the names of the schemes that read it."""


def read_word(word: int, schemes_: tuple[WordScheme, ...]) -> TypeReading:
    """Read a page_type word by several schemes; if they disagree, the scheme is None."""
    readings: dict[tuple[str, str | int], list[WordScheme]] = {}
    for scheme in schemes_:
        readings.setdefault(reading_of(scheme, word), []).append(scheme)
    named = {key: found for key, found in readings.items() if "type_0x" not in str(key[1])}
    # A scheme without names for the bits that are set is not that of this kernel.
    readings = named or readings
    candidates = {
        str(value) if reading == "type" else reading: tuple(scheme.name for scheme in found)
        for (reading, value), found in readings.items()
    }
    if len(readings) != 1:
        return TypeReading(None, None, None, candidates)
    ((reading, value), found) = next(iter(readings.items()))
    return TypeReading(found[-1], reading, value, candidates)


def raw_word(report: DumpReport) -> int | None:
    """Return the page's own page_type word; None if the raw lines do not contain it."""
    words = report.raw
    return words[TYPE_WORD] & 0xFFFFFFFF if len(words) > TYPE_WORD else None


def head_words(report: DumpReport) -> list[int]:
    """Return the words of the folio's head; empty unless the text has all of them."""
    words, head = report.raw, report.raw_head
    if len(words) <= TYPE_WORD or not words[COMPOUND_WORD] & 1:
        return words if len(words) > TYPE_WORD else []
    # __dump_folio() prints the first tail page after the head.
    first = report.lines.get("page")
    pages = 2 if first is None or first.form.since >= (6, 9) else 1
    return head if len(head) == pages * len(words) else []


def page_type(report: DumpReport, printed_by: Kernels) -> tuple[str | None, str]:
    """Return the name of the type, `untyped` or None (unknown), and the reason as text."""
    if "poisoned" in report.lines:
        return None, "the struct page was never initialized"
    if report.mixed:
        return None, "lines of several reports are mixed, and have no caller id that separates them"
    if "mismatch" in report.lines:
        return None, "the page changed during the dump, and does not match its folio"
    printed = "type" in report.lines
    name, how = _printed(report, printed_by) if printed else _by_word(report, printed_by)
    if name in (None, "untyped") and printed_by.since < _SLAB_IS_A_FLAG_BEFORE:
        flags = report.get("flags", "names")
        if flags is not None and "slab" in flags.split("|"):
            return "slab", "slab is a page flag up to v6.9"
        if name and flags is None:
            return None, "slab may be a page flag in this kernel, and the flags line is missing"
    return name, how


def _printed(report: DumpReport, printed_by: Kernels) -> tuple[str | None, str]:
    names = report.get("type", "names") or ""
    byte = report.get("type", "byte")
    if byte is not None:
        return _printed_byte(int(byte, 16), names)
    word = int(report.get("type", "word") or "0", 16)
    said = f"printed as {word:#x}({names})"
    if not names:
        return "untyped", f"{said}, which is not a type"
    found = read_word(word, printed_by.schemes())
    if found.reading != "type":
        return None, f"{said}, which reads {candidates(found)}"
    printed = {name for name in names.split("|") if not name.startswith("0x")}
    if not printed <= set(str(found.value).split("+")):
        return None, f"{said}, which reads {candidates(found)}"
    return str(found.value), f"{said}: {candidates(found)}, by {printed_by.evidence}"


def _printed_byte(value: int, printed: str) -> tuple[str | None, str]:
    said = f"printed as {value:x}({printed})"
    name = _BYTE_NAMES.get(value)
    if printed in ("(null)", "unknown", ""):
        return name or _BYTE.slot_name(value), f"{said}, because dump_page() has no name for it"
    if name and name != printed:
        return None, f"{said}, but {value:#x} is {name} in other kernels"
    return printed, said


def _by_word(report: DumpReport, printed_by: Kernels) -> tuple[str | None, str]:
    """Return the type from the raw words alone."""
    words = head_words(report)
    if not words:
        short = raw_word(report) is None
        missing = "complete raw lines" if short else "words of the folio's head"
        return None, f"the text has no page_type line and no {missing}"
    word = words[TYPE_WORD] & 0xFFFFFFFF
    found = read_word(word, printed_by.schemes())
    said = f"the raw word {word:#010x}"
    reads = f"{said} reads {candidates(found)}"
    if "page" in report.lines and printed_by.since >= _TYPED_ALONE:
        untyped = all(what in READINGS for what in found.candidates)
        how = f"as in kernels {printed_by}" if untyped else f"but {reads}"
        return "untyped" if untyped else None, f"there is no page_type line, {how}"
    if found.reading is None:
        return None, f"{reads}: kernels {printed_by} print such a text"
    if found.reading != "type":
        return "untyped", f"{said} is not a type in any scheme of kernels {printed_by}"
    # Up to v5.10 a page table that is charged to a memory cgroup has two types.
    if "+" in str(found.value) and "kmemcg" not in str(found.value):
        return None, f"{reads}, which exclude each other"
    return str(found.value), f"{reads}, by {printed_by.evidence}"


def candidates(found: TypeReading) -> str:
    """Return the possible values of a word as text, each with its schemes."""
    return ", ".join(f"{what} by {'/'.join(names)}" for what, names in found.candidates.items())
