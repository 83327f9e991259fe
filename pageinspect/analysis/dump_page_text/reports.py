"""Finds the reports of dump_page() in a log: prefixes, wrapped lines, and lines of several CPUs."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...errors import PageInspectError
from ...units import number
from .forms import BEGINNING, Form, find
from .log import LONGEST_LINE

_FOLDED = range(70, 77)
"""How long lines of quoted-printable are where they go on."""
_MOST_BEGINNINGS = 16
_MOST_PIECES = 16
"""Of a wrapped line."""
TYPE_WORD = 6
"""Which 64-bit word of a struct page has page_type in its low half and _refcount in its high."""
COMPOUND_WORD = 1
"""Which has bit 0 set in tail pages."""
_LOCATION_SHIFT = 52
_ROW = 4
"""64-bit words in a line of raw: dump_page() asks for 32 bytes."""
_MOST_WORDS = {"raw": 12, "raw_head": 24}
"""A struct page has eight, some more with debugging options; of a head there may be two pages."""

_INVISIBLE = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_CALLER = re.compile(r"\[ {0,8}([TC]\d{1,10})\]")
_QUOTES = r"[\s>|]{0,64}"
# What begins a record of its own: <4>, [   12.345678], dates of dmesg -T, syslog and ISO, kernel:,
# and what dmesg -x and /dev/kmsg have.
_RECORD = re.compile(
    _QUOTES + r"(?:<\d{1,3}>|\[ {0,8}\+?\d|\[ {0,8}[TC]\d|\[[A-Z][a-z]{2} [A-Z]|"
    r"[A-Z][a-z]{2} {1,2}\d|\d{4}-\d\d-\d\d|kernel: |kern {1,2}:|\d{1,4},\d{1,20},\d)"
)
_AFTER_ANYTHING = ("page", "head:", "raw:", "bad ", "BUG:")
"""What is the beginning of a line of a report even behind a word."""
_QUOTING = re.compile(_QUOTES)
_ONCE = ("flags", "type", "head", "kind")
_OF_THE_PAGE = (*_ONCE, "file", "raw_head")
MOST_REPORTS = 10_000
_MOST_CALLERS = 1024
"""Whose reports may be open at one time."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a report: its form, and its fields."""

    form: Form
    fields: dict[str, str]


@dataclass(slots=True)
class Report:
    """What one report says, line by line."""

    lines: dict[str, Line] = field(default_factory=dict)
    """By name. With neither `page` nor `poisoned` the report's first line is missing."""
    rows: dict[str, list[list[int]]] = field(default_factory=lambda: {"raw": [], "raw_head": []})
    """The words of each line of raw and of raw_head."""
    mixed: bool = False
    """Lines of several reports are among these."""

    def get(self, line: str, name: str) -> str | None:
        """Return a field of a line, or None."""
        found = self.lines.get(line)
        return found.fields.get(name) if found else None

    def add(self, line: Line) -> None:
        """Take a line in; of two that say the same the first counts."""
        name = line.form.line
        if name in self.rows:
            rows = self.rows[name]
            if not self.mixed:
                rows.append([int(word, 16) for word in line.fields["words"].split()])
            self.mixed |= sum(map(len, rows)) > _MOST_WORDS[name]
        elif name == "file" and "file" in self.lines:
            # Up to v5.3 the operations and the name have a line each.
            line.fields.update(self.lines["file"].fields)
        elif name in self.lines:
            self.mixed |= name in _ONCE
            return
        self.lines[name] = line

    @property
    def raw(self) -> list[int]:
        """Return the words of the page, as far as their places are known."""
        return self._words("raw")

    @property
    def raw_head(self) -> list[int]:
        """Return the words of the folio's head, as far as their places are known."""
        return self._words("raw_head")

    def _words(self, name: str) -> list[int]:
        rows = self.rows[name]
        # Lines of two words each are whole where there are twice as many; others are cut off.
        halves = [len(row) for row in self.rows["raw"]] == [_ROW // 2] * 4
        if not halves and any(len(row) != _ROW for row in rows[:-1]):
            rows = rows[:1]
        return [word for row in rows for word in row]

    def finish(self) -> None:
        """Find out whether the lines contradict each other, once all are there."""
        words, flags = self.raw, self.get("flags", "flags")
        # Node and zone are at the top of the flags, of a tail page too, and never change.
        if words and flags and (int(flags, 16) ^ words[0]) >> _LOCATION_SHIFT:
            self.mixed = True
        if len(words) > TYPE_WORD and not words[COMPOUND_WORD] & 1:
            printed, byte = self.get("type", "word"), self.get("type", "byte")
            word = words[TYPE_WORD] & 0xFFFFFFFF
            self.mixed |= printed is not None and int(printed, 16) != word
            self.mixed |= byte is not None and int(byte, 16) != word >> 24

    @property
    def complete_enough(self) -> bool:
        """Whether these lines make a report: a lone line of flags may be of anything."""
        return not self.lines.keys().isdisjoint(("page", "poisoned", "raw", "type", "reason"))


@dataclass(slots=True)
class _Piece:
    """The beginning of a line of a report, as far as it has been read."""

    caller: str
    text: str
    line: Line | None
    length: int
    """Of the last physical line."""
    count: int = 1
    """Physical lines."""


def _line(text: str, position: int) -> tuple[Line, int] | None:
    """Return the line of a report that begins at a position, and where it ends."""
    found = find(text, position)
    if found is None:
        return None
    form, match = found
    return Line(form, {k: v for k, v in match.groupdict().items() if v is not None}), match.end()


def _piece(text: str) -> _Piece | None:
    """Return what a physical line says of a report; its Line is missing where it is cut off."""
    cut_off = None
    for count, beginning in enumerate(BEGINNING.finditer(text)):
        if count == _MOST_BEGINNINGS:
            break
        position = beginning.start()
        # "cache flags:" and the like are no lines of these names.
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
        """The longest physical line that was wrapped for sure: the limit is no less."""

    def join(self, piece: _Piece, text: str, *, begins: bool) -> _Piece | None:
        """Return the piece with the next physical line, or None where that does not continue it.

        `begins`: another line of a report begins in the next line.
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
        """Whether the next word had no room on the line before, in a text that is wrapped."""
        return 0 < self._width < piece.length + 1 + len(more.split(" ", 1)[0])


def _unfolded(log: Iterable[str]) -> Iterator[str]:
    """Yield lines as they were before a mail was sent as quoted-printable."""
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
    """Yield the lines of reports, each with the caller id that printk put before it, if any."""
    joiner = _Joiner()
    last: _Piece | None = None
    for physical in _unfolded(log):
        text = _INVISIBLE.sub("", physical[:LONGEST_LINE]).replace("\t", " ").rstrip()
        piece = _piece(text)
        # A whole line may be the second half of another: name:"…" behind "dentry".
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
    """What one CPU or task prints."""

    def __init__(self, reports: list[Report]) -> None:
        self._reports = reports
        self._report: Report | None = None
        self._before: dict[str, Line] = {}
        """Lines that come before the report that they belong to."""

    def take(self, line: Line) -> None:
        """Take a line into the report that it belongs to."""
        name = line.form.line
        if name in ("bad_page", "mismatch", "end"):
            self._before = {} if name == "end" else self._before | {name: line}
            self._report = None
        elif name in ("page", "poisoned") or self._begins_without_page(name):
            if len(self._reports) == MOST_REPORTS:
                raise PageInspectError(
                    f"more than {number(MOST_REPORTS)} reports", "cut those out that matter"
                )
            self._report = Report(self._before)
            self._before = {}
            self._report.add(line)
            self._reports.append(self._report)
        # What follows the reason is of something else, but for the owner's lines.
        elif self._report and not ("reason" in self._report.lines and name in _OF_THE_PAGE):
            self._report.add(line)

    def _begins_without_page(self, name: str) -> bool:
        """Whether this line is of a report whose first line is not in the log."""
        if self._report is None:
            return name in ("head", "flags", "type", "raw", "reason")
        return name in ("type", "raw") and "reason" in self._report.lines


def reports(log: Iterable[str]) -> list[Report]:
    """Return the reports of a log, in the order in which they begin."""
    found: list[Report] = []
    streams: dict[str, _Stream] = {}
    for caller, line in _lines(log):
        if len(streams) > _MOST_CALLERS:
            del streams[next(iter(streams))]
        streams.setdefault(caller, _Stream(found)).take(line)
    for report in found:
        report.finish()
    return [report for report in found if report.complete_enough]
