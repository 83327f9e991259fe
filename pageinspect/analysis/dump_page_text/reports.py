# SPDX-License-Identifier: GPL-2.0-only
"""Finds reports of dump_page() in a log, with prefixes, wrapped lines or mixed lines of CPUs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...errors import PageInspectError
from ...units import number
from .forms import BEGINNING, Form, find
from .log import LONGEST_LINE

_FOLDED = range(70, 77)
"""Lengths of a line of quoted-printable text that continues on the next line."""
_MOST_BEGINNINGS = 16
_MOST_PIECES = 16
"""Physical lines that a wrapped line may have."""
TYPE_WORD = 6
"""Index of the 64-bit word with page_type in its low half and _refcount in its high half."""
COMPOUND_WORD = 1
"""Index of the 64-bit word whose bit 0 is set in tail pages."""
_LOCATION_SHIFT = 52
_ROW = 4
"""64-bit words in a line of raw: dump_page() prints 32 bytes per line."""
_MOST_WORDS = {"raw": 12, "raw_head": 24}
"""A struct page has 8 words, or more with debugging options; raw_head may have two struct pages."""

_INVISIBLE = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_CALLER = re.compile(r"\[ {0,8}([TC]\d{1,10})\]")
_QUOTES = r"[\s>|]{0,64}"
# Prefixes that begin a log record: <4>, [   12.345678], dates of dmesg -T, syslog and ISO, kernel:,
# and the prefixes of dmesg -x and /dev/kmsg.
_RECORD = re.compile(
    _QUOTES + r"(?:<\d{1,3}>|\[ {0,8}\+?\d|\[ {0,8}[TC]\d|\[[A-Z][a-z]{2} [A-Z]|"
    r"[A-Z][a-z]{2} {1,2}\d|\d{4}-\d\d-\d\d|kernel: |kern {1,2}:|\d{1,4},\d{1,20},\d)"
)
_AFTER_ANYTHING = ("page", "head:", "raw:", "bad ", "BUG:")
"""Texts that begin a line of a report even if a word precedes them."""
_QUOTING = re.compile(_QUOTES)
_ONCE = ("flags", "type", "head", "kind")
_OF_THE_PAGE = (*_ONCE, "file", "raw_head")
MOST_REPORTS = 10_000
_MOST_CALLERS = 1024
"""Callers (CPUs or tasks) with an unfinished report at one time."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a report: its form, and its fields."""

    form: Form
    fields: dict[str, str]


@dataclass(slots=True)
class DumpReport:
    """The lines of one report."""

    lines: dict[str, Line] = field(default_factory=dict)
    """By name. The first line of a report is `page` or `poisoned`; it may be missing."""
    rows: dict[str, list[list[int]]] = field(default_factory=lambda: {"raw": [], "raw_head": []})
    """The 64-bit words of each line of raw and of raw_head."""
    mixed: bool = False
    """Whether the lines are of several reports, mixed."""

    def get(self, line: str, name: str) -> str | None:
        """Return a field of a line; None if the line or the field is missing."""
        found = self.lines.get(line)
        return found.fields.get(name) if found else None

    def add(self, line: Line) -> None:
        """Add a line; if there is one of the same name, the first is kept."""
        name = line.form.line
        if name in self.rows:
            rows = self.rows[name]
            if not self.mixed:
                rows.append([int(word, 16) for word in line.fields["words"].split()])
            self.mixed |= sum(map(len, rows)) > _MOST_WORDS[name]
        elif name == "file" and "file" in self.lines:
            # Up to v5.3 the operations and the file name are on separate lines.
            line.fields.update(self.lines["file"].fields)
        elif name in self.lines:
            self.mixed |= name in _ONCE
            return
        self.lines[name] = line

    @property
    def raw(self) -> list[int]:
        """Return the words of the page, up to the first one whose index is unknown."""
        return self._words("raw")

    @property
    def raw_head(self) -> list[int]:
        """Return the words of the folio's head, up to the first one whose index is unknown."""
        return self._words("raw_head")

    def _words(self, name: str) -> list[int]:
        rows = self.rows[name]
        # Four lines of two words are complete; any other line of fewer than four words was cut off.
        halves = [len(row) for row in self.rows["raw"]] == [_ROW // 2] * 4
        if not halves and any(len(row) != _ROW for row in rows[:-1]):
            rows = rows[:1]
        return [word for row in rows for word in row]

    def finish(self) -> None:
        """Set `mixed` if the lines contradict each other; call this after all lines were added."""
        words, flags = self.raw, self.get("flags", "flags")
        # The top bits of flags are node and zone, in tail pages as well, and do not change.
        if words and flags and (int(flags, 16) ^ words[0]) >> _LOCATION_SHIFT:
            self.mixed = True
        if len(words) > TYPE_WORD and not words[COMPOUND_WORD] & 1:
            printed, byte = self.get("type", "word"), self.get("type", "byte")
            word = words[TYPE_WORD] & 0xFFFFFFFF
            self.mixed |= printed is not None and int(printed, 16) != word
            self.mixed |= byte is not None and int(byte, 16) != word >> 24

    @property
    def complete_enough(self) -> bool:
        """Whether these lines are a report: a flags line alone may be from some other message."""
        return not self.lines.keys().isdisjoint(("page", "poisoned", "raw", "type", "reason"))


@dataclass(slots=True)
class _Piece:
    """A line of a report, as far as its physical lines have been read."""

    caller: str
    text: str
    line: Line | None
    length: int
    """The length of the last physical line."""
    count: int = 1
    """The number of physical lines."""


def _line(text: str, position: int) -> tuple[Line, int] | None:
    """Return the line of a report that begins at a position, and its end; None if none does."""
    found = find(text, position)
    if found is None:
        return None
    form, match = found
    return Line(form, {k: v for k, v in match.groupdict().items() if v is not None}), match.end()


def _piece(text: str) -> _Piece | None:
    """Return the line of a report in a physical line; without a Line if it may be cut off."""
    cut_off = None
    for count, beginning in enumerate(BEGINNING.finditer(text)):
        if count == _MOST_BEGINNINGS:
            break
        position = beginning.start()
        # "cache flags:" and similar texts are not the flags line.
        before = text[max(0, position - 4) : position].rstrip()[-1:]
        if before.isalnum() and not text.startswith(_AFTER_ANYTHING, position):
            continue
        found = _line(text, position)
        if found or cut_off is None:
            caller = _CALLER.search(text, 0, position)
            piece = _Piece(
                caller[1] if caller else "", text[position:], found and found[0], len(text)
            )
            if found:
                return piece
            cut_off = piece
    return cut_off


class _Joiner:
    """Joins lines that a mailer wrapped."""

    def __init__(self) -> None:
        self._width = 0
        """The longest physical line that certainly was wrapped: a lower bound of the line width."""

    def join(self, piece: _Piece, text: str, *, begins: bool) -> _Piece | None:
        """Return the piece joined with the next physical line; None if that does not continue it.

        `begins` is whether another line of a report begins in the next physical line.
        """
        if piece.count == _MOST_PIECES or _RECORD.match(text):
            return None
        quoting = _QUOTING.match(text)
        more = text[quoting.end() :] if quoting else text
        if not more or len(piece.text) + len(more) > LONGEST_LINE:
            return None
        joined = f"{piece.text} {more}"
        found = _line(joined, 0)
        if found is None:
            if piece.line or begins:
                return None
        elif piece.line and found[1] <= len(piece.text):
            return None
        elif found[0].form.line != "reason":
            self._width = max(self._width, piece.length)
        elif begins or not self._overlong(piece, more):
            return None
        return _Piece(piece.caller, joined, found and found[0], len(text), piece.count + 1)

    def _overlong(self, piece: _Piece, more: str) -> bool:
        """Whether the next word did not fit on the previous line, in a text that is wrapped."""
        return 0 < self._width < piece.length + 1 + len(more.split(" ", 1)[0])


def _unfolded(log: Iterable[str]) -> Iterator[str]:
    """Yield lines with the soft line breaks of quoted-printable removed."""
    held = ""
    for line in log:
        text = line.rstrip("\r\n")
        folded = len(text) in _FOLDED and text.endswith("=") and not text.endswith("==")
        if folded and len(held) < LONGEST_LINE:
            held += text[:-1]
        else:
            yield held + text
            held = ""
    if held:
        yield held


def _lines(log: Iterable[str]) -> Iterator[tuple[str, Line]]:
    """Yield the lines of reports, each with the caller id that printk printed, or empty."""
    joiner = _Joiner()
    last: _Piece | None = None
    for physical in _unfolded(log):
        text = _INVISIBLE.sub("", physical[:LONGEST_LINE]).replace("\t", " ").rstrip()
        piece = _piece(text)
        # A complete line may also be the second half of another: name:"…" after "dentry".
        if last and (last.line or piece is None or piece.line is None):
            joined = joiner.join(last, text, begins=piece is not None)
            if joined:
                last = joined
                continue
        if last and last.line:
            yield last.caller, last.line
        last = piece
    if last and last.line:
        yield last.caller, last.line


class _Stream:
    """The lines that one CPU or task printed."""

    def __init__(self, reports: list[DumpReport]) -> None:
        self._reports = reports
        self._report: DumpReport | None = None
        self._before: dict[str, Line] = {}
        """Lines that precede the report that they belong to."""

    def take(self, line: Line) -> None:
        """Add a line to the report that it belongs to."""
        name = line.form.line
        if name in ("bad_page", "mismatch", "end"):
            self._before = {} if name == "end" else self._before | {name: line}
            self._report = None
        elif name in ("page", "poisoned") or self._begins_without_page(name):
            if len(self._reports) == MOST_REPORTS:
                raise PageInspectError(
                    f"more than {number(MOST_REPORTS)} reports",
                    "give only the part of the log that matters",
                )
            self._report = DumpReport(self._before)
            self._before = {}
            self._report.add(line)
            self._reports.append(self._report)
        # After the reason only lines about the owner belong to the report.
        elif self._report and not ("reason" in self._report.lines and name in _OF_THE_PAGE):
            self._report.add(line)

    def _begins_without_page(self, name: str) -> bool:
        """Whether this line begins a report whose first line is missing from the log."""
        if self._report is None:
            return name in ("head", "flags", "type", "raw", "reason")
        return name in ("type", "raw") and "reason" in self._report.lines


def reports(log: Iterable[str]) -> list[DumpReport]:
    """Return the reports of a log, in the order in which they begin."""
    found: list[DumpReport] = []
    streams: dict[str, _Stream] = {}
    for caller, line in _lines(log):
        if len(streams) > _MOST_CALLERS:
            del streams[next(iter(streams))]
        streams.setdefault(caller, _Stream(found)).take(line)
    for report in found:
        report.finish()
    return [report for report in found if report.complete_enough]
