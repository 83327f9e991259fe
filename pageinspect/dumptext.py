"""Decodes the reports of dump_page() in a kernel log, without that kernel.

The text tells less than memory: flags come by name, pointers may be hashed, and the names of types
are those that the kernel's own table has, which lacks some.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from . import schemes
from .errors import PageInspectError
from .page.facts import Fact
from .page.words import reading_of
from .schemes import Scheme

# "[   12.345678] ", "[   12.345678][  T123] ", "<4>", and what journalctl and syslog put before it.
_PREFIX = re.compile(
    r"^.*?(?=(?:page:|head:|flags:|\w+ flags:|memcg:|aops:|page_type:|raw:|page dumped))"
)
_PAGE = re.compile(
    r"page:\s*(?P<page>\S+\s)?\s*refcount:(?P<refcount>-?\d+) mapcount:(?P<mapcount>-?\d+) "
    r"mapping:(?P<mapping>\S+) index:(?P<index>\S+)(?: pfn:(?P<pfn>0x[0-9a-f]+))?"
)
_HEAD = re.compile(r"head:\s*(?:(?!order)\S+ )?order:(?P<order>\d+)(?P<counts>.*)")
_COUNT = re.compile(r"(\w+):(-?\d+)")
_FLAGS = re.compile(
    r"(?P<kind>(?:anon |ksm )?)flags: (?P<word>0x[0-9a-f]+)\((?P<names>.*?)\)(?: |$)"
)
_TYPE = re.compile(r"page_type: (?P<value>[0-9a-f]+)\((?P<name>.*)\)\s*$")
_RAW = re.compile(r"(?P<kind>raw|head): (?P<words>(?:[0-9a-f]{16} ?)+)")
_REASON = re.compile(r"page dumped because: (?P<reason>.*)")
_FILE = re.compile(r'aops:\S+ ino:(?P<inode>[0-9a-f]+)(?: dentry name(?:\(\?\))?:"(?P<name>.*)")?')
_MEMCG = re.compile(r"memcg:(?P<memcg>[0-9a-f]+)")

BYTE_NAMES = {
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
"""Types of the byte scheme by value: none was renumbered since v6.12."""
BYTE = schemes.byte_scheme({name: value for value, name in BYTE_NAMES.items()}, off_by_one=False)
_BITS = (
    ("4.18", schemes.BITS_4_18),
    ("5.0", schemes.BITS_5_1),
    ("5.11", schemes.BITS_5_11),
    ("6.9", schemes.BITS_6_9),
)
_TYPE_WORD = 6
"""Which 64-bit word of a struct page has page_type in its low half and _refcount in its high."""


@dataclass
class _Lines:
    """What one report said, line by line."""

    page: re.Match[str]
    head: re.Match[str] | None = None
    flags: re.Match[str] | None = None
    type: re.Match[str] | None = None
    memcg: str | None = None
    file: re.Match[str] | None = None
    reason: str | None = None
    raw: list[int] = field(default_factory=list)
    raw_head: list[int] = field(default_factory=list)


def _reports(text: str) -> Iterator[_Lines]:
    """Yield the reports of a log; what comes between their lines is passed over."""
    report: _Lines | None = None
    for whole in text.splitlines():
        line = _PREFIX.sub("", whole, count=1)
        found = _PAGE.match(line)
        if found:
            if report:
                yield report
            report = _Lines(found)
        elif report:
            _note(report, line)
    if report:
        yield report


def _note(report: _Lines, line: str) -> None:
    if match := _RAW.match(line):
        words = [int(word, 16) for word in match["words"].split()]
        (report.raw if match["kind"] == "raw" else report.raw_head).extend(words)
    elif match := _HEAD.match(line):
        report.head = match
    elif match := _FLAGS.match(line):
        report.flags = match
    elif match := _TYPE.match(line):
        report.type = match
    elif match := _REASON.match(line):
        report.reason = match["reason"].strip()
    elif match := _FILE.match(line):
        report.file = match
    elif match := _MEMCG.match(line):
        report.memcg = match["memcg"]


def decode(text: str) -> tuple[tuple[Fact, ...], ...]:
    """Return the facts of each report in the text; raises PageInspectError when there is none."""
    pages = tuple(tuple(_facts(report)) for report in _reports(text))
    if not pages:
        raise PageInspectError(
            "no report of dump_page() in this text",
            'it begins with "page: refcount:… mapcount:…": paste the log from there on',
        )
    return pages


def _facts(report: _Lines) -> Iterator[Fact]:
    page = report.page
    if page["pfn"]:
        pfn = int(page["pfn"], 16)
        yield Fact("pfn", pfn, f"{pfn:#x} ({pfn})")
    if page["page"]:
        name = page["page"].strip()
        yield Fact("page", name, f"{name} (hashed, unless booted with no_hash_pointers)")
    if report.reason is not None:
        yield Fact("reason", report.reason, report.reason or "none given")
    name, how = _type(report)
    yield Fact("use", _use(report, name), _use(report, name), "", "As far as the text tells.")
    yield Fact("type", name, f"{name or 'unknown'}: {how}")
    yield from _word(report)
    for count in ("refcount", "mapcount"):
        yield Fact(count, int(page[count]), page[count])
    yield Fact("mapping", page["mapping"], page["mapping"])
    yield Fact("index", page["index"], page["index"])
    if report.file:
        inode, name = int(report.file["inode"], 16), report.file["name"]
        told = {"inode": inode} | ({} if name is None else {"name": name})
        yield Fact("file", told, ", ".join(f"{key} {value}" for key, value in told.items()))
    if report.head:
        yield Fact("order", int(report.head["order"]), report.head["order"])
        for key, value in _COUNT.findall(report.head["counts"]):
            yield Fact("large_mapcount" if key == "mapcount" else key, int(value), value)
    if report.memcg:
        yield Fact("memcg_data", f"0x{report.memcg}", f"0x{report.memcg}")
    if report.flags:
        names = _flag_names(report)
        yield Fact("flags", names, ", ".join(names) or "none", report.flags["word"])


def _flag_names(report: _Lines) -> list[str]:
    if report.flags is None:
        return []
    names = report.flags["names"].split("|")
    # After the names come zone=, node= and the like.
    return [name for name in names if name and "=" not in name]


def _raw_word(report: _Lines) -> int | None:
    """Return the page's own page_type word, where the raw lines reach that far."""
    return report.raw[_TYPE_WORD] & 0xFFFFFFFF if len(report.raw) > _TYPE_WORD else None


def _scheme(report: _Lines) -> Scheme | None:
    """Return the scheme that the form of the text gives away; None when it may be several."""
    if report.type:
        return BYTE if int(report.type["value"], 16) >> 4 == 0xF else None
    # With a page's address in its first line the report is older than the byte scheme.
    return None if report.page["page"] else BYTE


def _type(report: _Lines) -> tuple[str | None, str]:
    """Return the type's name, and how it is known."""
    if report.type:
        return _printed_type(report)
    word = _raw_word(report)
    if word is None:
        return None, "no page_type line and no raw lines"
    if not report.page["page"]:
        return "untyped", "there is no page_type line"
    if word >> 28 != 0xF or word >= 0xFFFFFF80:
        return "untyped", "the raw word is no type in any scheme of bits"
    readings: dict[str, list[str]] = {}
    for release, bits in _BITS:
        scheme = schemes.low_scheme(release, bits)
        readings.setdefault(str(reading_of(scheme, word)[1]), []).append(release)
    if len(readings) == 1:
        return next(iter(readings)), "the same in every scheme of bits"
    told = ", ".join(f"{name} from {releases[0]}" for name, releases in readings.items())
    return None, f"the text does not tell the scheme; it is {told}"


def _printed_type(report: _Lines) -> tuple[str | None, str]:
    assert report.type is not None  # noqa: S101 - the caller looked
    value, printed = int(report.type["value"], 16), report.type["name"]
    if value > 0xFF:
        # v6.11 printed the whole word, of bits at its top.
        return (printed or None), f"printed as {report.type['value']}({printed})"
    name = BYTE_NAMES.get(value, f"type_{value:#x}")
    if name == printed:
        return name, f"printed as {value:x}({printed})"
    return name, f"printed as {value:x}({printed}), for dump_page() has no name for it"


def _word(report: _Lines) -> Iterator[Fact]:
    word = _raw_word(report)
    if word is None:
        return
    scheme = _scheme(report)
    raw = f"{word:#010x}"
    if scheme is None:
        yield Fact(
            "word",
            {"raw": raw, "reading": None, "value": None},
            f"{raw}: a scheme of bits, which one the text does not tell",
        )
        return
    reading, value = reading_of(scheme, word)
    shown = "" if reading == "reset" else f" {value}"
    yield Fact(
        "word",
        {"raw": raw, "reading": reading, "value": value},
        f"{raw}: {reading}{shown}",
        raw,
        "Scheme byte. Of the page itself; the page_type line is of its folio's head.",
    )
    if value == "zsmalloc":
        low = word & 0xFFFFFF
        yield Fact("first_object", low, f"{low:#x} bytes into the page")


def _use(report: _Lines, type_name: str | None) -> str:
    """Return the use, or `unknown`: lists and neighbours are not in the text."""
    flags = _flag_names(report)
    typed = type_name if type_name != "untyped" else None
    for use, holds in (
        ("hwpoison", "hwpoison" in flags),
        (typed or "", typed is not None),
        ("slab", "slab" in flags),
        ("unknown", type_name is None),
        ("reserved", "reserved" in flags),
    ):
        if holds:
            return use
    return _use_by_mapping(report, flags)


def _use_by_mapping(report: _Lines, flags: list[str]) -> str:
    kind = report.flags["kind"].strip() if report.flags else ""
    if kind:
        return kind
    if re.search("[1-9a-f]", report.page["mapping"].removeprefix("0x").replace("(null)", "")):
        return "shmem" if "swapbacked" in flags else "file"
    return "kernel" if int(report.page["refcount"]) > 0 else "idle"
