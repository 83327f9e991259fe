# SPDX-License-Identifier: GPL-2.0-only
"""Turns each report of dump_page() in a log into facts."""

from collections.abc import Iterable, Iterator

from ...errors import PageInspectError
from ..page_facts.facts import Fact
from .reports import DumpReport, reports
from .types import Kernels, candidates, kernels, page_type, raw_word, read_word
from .use import KERNEL_HALF, flag_names, use

_HEAD_COUNTS = (
    "order",
    "compound_mapcount",
    "subpages_mapcount",
    "compound_pincount",
    "large_mapcount",
    "entire_mapcount",
    "nr_pages_mapped",
    "pincount",
)


def decode(log: Iterable[str]) -> tuple[tuple[Fact, ...], ...]:
    """Return the facts of each report in a log; raises PageInspectError if there is no report."""
    pages = tuple(tuple(_facts(report)) for report in reports(log))
    if not pages:
        raise PageInspectError(
            "no report of dump_page() in this text",
            'it begins with "page: refcount:… mapcount:…": paste the log from there on',
        )
    return pages


def _facts(report: DumpReport) -> Iterator[Fact]:
    printed_by = kernels(report)
    name, how = page_type(report, printed_by)
    yield from _whereabouts(report)
    if not report.mixed:
        yield from _text(report, "reason", "reason", "none given")
    if "poisoned" in report.lines:
        yield Fact(
            "poisoned", value=True, text="the struct page is uninitialized: all its bits are 1"
        )
    found = use(report, name)
    yield Fact(
        "use",
        found,
        found,
        "",
        "From the text alone: free lists and neighbouring pages are not in it.",
    )
    yield Fact("type", name, f"{name or 'unknown'}: {how}")
    yield from _page_line(report)
    if report.mixed:
        return
    yield _printed_by(printed_by)
    yield from _word(report, printed_by, name)
    yield from _file(report)
    for count in _HEAD_COUNTS:
        value = report.get("head", count) or report.get("page", count)
        if value is not None:
            yield Fact(count, int(value), value)
    for field, fact in (("memcg", "memcg_data"), ("mem_cgroup", "mem_cgroup")):
        value = report.get("memcg", field)
        if value is not None:
            yield Fact(fact, f"0x{value}", f"0x{value}")
    yield from _flags(report, "flags")
    yield from _flags(report, "bad_flags")
    yield from _owner(report)


def _whereabouts(report: DumpReport) -> Iterator[Fact]:
    pfn, bad = report.get("page", "pfn"), report.get("bad_page", "pfn")
    if number := pfn or bad:
        value = int(number, 16)
        yield Fact("pfn", value, f"{value:#x} ({value})")
    page = report.get("page", "page") or report.get("poisoned", "page")
    if page:
        yield Fact("page", page, _address(page))
    # If lines of several CPUs are mixed, the "Bad page state" line may be about another page.
    if bad and (pfn is None or int(bad, 16) == int(pfn, 16)):
        yield from _text(report, "bad_page", "process")


def _address(pointer: str) -> str:
    """Return a printed pointer, and whether it is an address or a hash: %p prints a 32-bit hash."""
    try:
        value = int(pointer, 16)
    except ValueError:
        return f"{pointer}: hidden, because the kernel had no random numbers yet"
    if value >= KERNEL_HALF:
        return f"{pointer}: an address, not hashed"
    return f"{pointer}: hashed"


def _text(report: DumpReport, line: str, name: str, empty: str = "") -> Iterator[Fact]:
    value = report.get(line, name)
    if value is not None:
        yield Fact(name, value, value or empty)


def _printed_by(printed_by: Kernels) -> Fact:
    since, before = printed_by.since, printed_by.before
    later = "Distributions may have later commits in older releases."
    return Fact(
        "printed_by",
        {
            "since": f"{since[0]}.{since[1]}",
            "before": f"{before[0]}.{before[1]}" if before else None,
        },
        f"kernels {printed_by}" + (f": {printed_by.evidence}" if printed_by.evidence else ""),
        rule=f"{printed_by.commits} {later}".strip(),
    )


def _page_line(report: DumpReport) -> Iterator[Fact]:
    for count in ("refcount", "mapcount"):
        value = report.get("page", count)
        if value is not None:
            yield Fact(count, int(value), value)
    for name in ("mapping", "index"):
        value = report.get("page", name)
        if value is not None:
            yield Fact(name, value, value)


def _word(report: DumpReport, printed_by: Kernels, name: str | None) -> Iterator[Fact]:
    word = raw_word(report)
    if word is None or "poisoned" in report.lines:
        return
    raw = f"{word:#010x}"
    found = read_word(word, printed_by.schemes())
    value = {"raw": raw, "reading": found.reading, "value": found.value}
    if found.scheme is None:
        yield Fact(
            "word",
            value,
            f"{raw}: {candidates(found)}",
            raw,
            "Several page-type schemes are possible for this text.",
        )
        return
    shown = "" if found.reading == "reset" else f" {found.value}"
    if name == "slab" and found.reading == "mapcount":
        shown += ", but slab may use this word for its own data"
    yield Fact(
        "word",
        value,
        f"{raw}: {found.reading}{shown}",
        raw,
        f"{candidates(found)}. This is the page's own word; the page_type line is that of its "
        "folio's head.",
    )
    if name == found.value == "zsmalloc":
        low = word & (0xFFFFFF if found.scheme.one_of else 0xFFFF)
        yield Fact("first_object", low, f"{low:#x} bytes into the page")


def _file(report: DumpReport) -> Iterator[Fact]:
    inode, name = report.get("file", "inode"), report.get("file", "name")
    values: dict[str, int | str] = {}
    if inode is not None:
        values["inode"] = int(inode, 16)
    if name is not None:
        values["name"] = name
    if values:
        yield Fact("file", values, ", ".join(f"{key} {value}" for key, value in values.items()))
    yield from _text(report, "file", "aops")
    if report.get("file", "problem") is not None:
        yield Fact("mapping_error", value=True, text="the kernel could not read the mapping")


def _flags(report: DumpReport, line: str) -> Iterator[Fact]:
    word = report.get(line, "flags")
    if word is not None:
        names = flag_names(report, line)
        yield Fact(line, names, ", ".join(names) or "none", word)


def _owner(report: DumpReport) -> Iterator[Fact]:
    values: dict[str, int | str] = {}
    if state := report.get("tracked", "state"):
        values["state"] = state
    for key in ("order", "migratetype", "gfp_mask", "pid", "command"):
        value = report.get("allocated", key)
        if value is not None:
            values[key] = int(value) if key in ("order", "pid") else value
    if values:
        said = ", ".join(f"{key} {value}" for key, value in values.items())
        yield Fact("page_owner", values, said)
