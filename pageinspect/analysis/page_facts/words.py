# SPDX-License-Identifier: GPL-2.0-only
"""The page_type word and the mapcounts of one page, as facts."""

from collections.abc import Callable, Iterable

from ...classify import Code, Pages
from ...classify.reads import Declared, reads_of
from ...model.layout import PageLayout
from ...model.page_types import READINGS, SLOTS, Reading, Scheme
from ...model.table import Absent
from .facts import Fact

# The kernel's FOLIO_PAGES_MAPPED; the bits above it in _nr_pages_mapped count entire mappings.
_PAGES_MAPPED = 0x7FFFFF
_LOW_OF_BYTE = 0xFFFFFF


def signed(word: int) -> int:
    """Return a 32-bit word as a signed int."""
    return word - (1 << 32) if word >> 31 else word


def reading_of(scheme: Scheme, word: int) -> tuple[str, str | int]:
    """Return the reading of a page_type word, and its value: the name of a type, or a number."""
    words = scheme.array(word)
    reading = int(scheme.readings(words)[0])
    if reading == Reading.TYPE:
        return "type", scheme.slot_name(int(scheme.slots(words)[0]))
    if not scheme.has_mapcount:
        return READINGS[reading], "no type"
    value = signed(word)
    return READINGS[reading], value + 1 if reading == Reading.MAPCOUNT else value


def word_fact(layout: PageLayout, word: int, own_code: int) -> Fact:
    """Return the fact about the page_type word, read by this kernel's scheme."""
    scheme = layout.scheme
    reading, value = reading_of(scheme, word)
    raw = scheme.hex(word)
    text = f"{raw}: {reading}" + ("" if reading == "reset" else f" {value}")
    if own_code == Code.MOVABLE_OPS and reading == "mapcount":
        text += ", or data of the owner, such as the first object offset of zsmalloc"
    elif own_code == Code.SLAB:
        text += ", but slab may use this word for its own data"
    typed = bool(scheme.typed(scheme.array(word))[0])
    # VMCOREINFO alone does not show whether the kernel's test is off by one.
    test = f"page_has_type() of this kernel returns {str(typed).lower()}. "
    if layout.unavailable or not scheme.has_mapcount:
        test = ""
    return Fact(
        "word",
        {"raw": raw, "reading": reading, "value": value},
        text,
        raw,
        f"Scheme {scheme.name}. {test}{scheme.history}",
    )


def low_bits_of(layout: PageLayout, word: int, type_name: str, *, tail: bool) -> list[Fact]:
    """Return the fact about the low bits of a page_type word, or none if they are unused."""
    scheme = layout.scheme
    if tail or reading_of(scheme, word)[0] != "type":
        return []
    if not scheme.has_mapcount:
        address = f"{word & ~scheme.reduced_from()[0]:#x}"
        return (
            []
            if address == "0x0"
            else [Fact("descriptor", address, address, scheme.hex(word), scheme.history)]
        )
    if not scheme.one_of and scheme.name != "bits-6.11":
        return []
    low = word & (_LOW_OF_BYTE if scheme.one_of else 0xFFFF)
    if type_name == "zsmalloc":
        return [
            Fact(
                "first_object",
                low,
                f"{low:#x} bytes into the page",
                f"{word:#010x}",
                "The low bits are the offset of the first zsmalloc object that begins in the page.",
            )
        ]
    # In a bit scheme unused bits are 1, so only the byte scheme can show that they are set.
    if scheme.one_of and low:
        return [Fact("low_bits", low, f"{low:#x}, which this type does not use")]
    return []


def words_read(pages: Pages, i: int, declared: Iterable[Declared]) -> str:
    """Return the words of struct page that a rule reads, as text, with their raw values."""
    layout, tail = pages.layout, bool(pages.tail[i])
    masks: dict[tuple[str, bool, int], int] = {}
    for read in reads_of(declared):
        for part in read.find(layout):
            # Only heads of large folios have words in a first tail.
            if part.mask and (part.offset < layout.struct_size or pages.folio_order[i]):
                key = read.word, read.of == "folio" and tail, part.offset
                masks[key] = masks.get(key, 0) | part.mask
    said = []
    own_names = {"page_type": layout.scheme.word_name}
    for (name, of_head, offset), mask in masks.items():
        words = pages.of_head(offset) if of_head else pages.own(offset)
        where = " of the head" if of_head else ""
        said.append(f"{own_names.get(name, name)}{where} {_member(int(words[i]), mask):#x}")
    return ", ".join(said)


def _member(word: int, mask: int) -> int:
    """Return the 32-bit half of a word that contains all bits of the mask, or the whole word."""
    low = 0xFFFFFFFF
    return word & low if not mask & ~low else word >> 32 if not mask & low else word


def mapcounts(
    layout: PageLayout, word: int, code: int, of_head: Callable[[int], int], *, large: bool
) -> list[Fact]:
    """Return the mapcounts; one is added to those that the kernel stores as count minus one."""
    facts = [_own_mapcount(layout, word, code)]
    if not large:
        return facts
    for name, offset, bias, mask in (
        ("large_mapcount", layout.large_mapcount, 1, None),
        ("entire_mapcount", layout.entire_mapcount, 1, None),
        ("nr_pages_mapped", layout.nr_pages_mapped, 0, _PAGES_MAPPED),
        ("pincount", layout.pincount, 0, None),
    ):
        if offset is None:
            continue
        raw = of_head(offset) >> 8 * (offset % 8) & 0xFFFFFFFF
        value = signed(raw) + bias if mask is None else raw & mask
        rule = f"32 bits at byte {offset} from the head" + (", plus one." if bias else ".")
        facts.append(Fact(name, value, str(value), f"{raw:#010x}", rule))
    return facts


def _own_mapcount(layout: PageLayout, word: int, code: int) -> Fact:
    scheme = layout.scheme
    reading, _ = reading_of(scheme, word)
    if not scheme.has_mapcount:
        rule = "The descriptor of the page counts its mappings, not struct page."
        return Fact("mapcount", None, "none: the word has no count", scheme.hex(word), rule)
    owned = code < SLOTS or code in (Code.SLAB, Code.MOVABLE_OPS)
    if reading in ("mapcount", "reset") and not (owned and reading == "mapcount"):
        count = signed(word) + 1
        return Fact("mapcount", count, str(count), f"{word:#010x}", "_mapcount plus one.")
    return Fact(
        "mapcount",
        Absent.NOT_APPLICABLE,
        "none: the word holds a type, or a value of its owner",
        f"{word:#010x}",
        "A word with a type, or with data of the owner, is not a mapcount.",
    )
