# SPDX-License-Identifier: GPL-2.0-only
"""Draw docs/struct-page.svg: the words of struct page that pageinspect reads.

python docs/make_struct_page_svg.py
"""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

PICTURE = Path(__file__).with_name("struct-page.svg")

WIDTH, ROW, TOP = 980, 64, 84
OFFSETS, OLD, NEW, NOTES = 46, 56, 216, 400
BOX = 150
STRIP = WIDTH - NOTES - 12


@dataclass(frozen=True)
class Bits:
    """Bits of a word, from `low` up to and including `high`, drawn as a part of a strip."""

    low: int
    high: int
    name: str


@dataclass(frozen=True)
class Word:
    """Some bytes of struct page: their names in 6.12 and 7.3, and what is read from them."""

    offset: int
    size: int
    old: str
    new: str
    says: str
    read: bool = True
    bits: tuple[Bits, ...] = field(default=())


PAGE = (
    Word(
        0, 8, "flags", "flags", "The page's flags, its zone and its node.",
        bits=(Bits(54, 63, "node"), Bits(51, 53, "zone"), Bits(25, 50, "not read"),
              Bits(0, 24, "PG_ flags")),
    ),
    Word(
        8, 8, "compound_head", "compound_info",
        "Bit 0 set: a tail. Above it the head's address; in 7.3 it may be a mask.",
        bits=(Bits(1, 63, "struct page of the head, or lru.next, or page_pool's signature"),
              Bits(0, 0, "tail")),
    ),
    Word(16, 8, "lru.prev", "lru.prev", "", read=False),
    Word(
        24, 8, "mapping", "mapping",
        "Low bits: 0 file or shmem, 1 anon, 3 KSM; in 6.12 also 2, movable_ops.",
        bits=(Bits(2, 63, "address_space, anon_vma or other owner"), Bits(0, 1, "kind")),
    ),
    Word(32, 8, "index", "__folio_index", "Place in the file or area, in pages."),
    Word(40, 8, "private", "private", "First page of a free block: the block's order."),
    Word(
        48, 4, "page_type", "page_type",
        "Top byte 0xf0 to 0xfe: a type. Otherwise _mapcount: mappings minus one.",
        bits=(Bits(24, 31, "type"), Bits(0, 23, "the owner's, or part of _mapcount")),
    ),
    Word(52, 4, "_refcount", "_refcount", "References; 0 in free pages."),
    Word(56, 8, "memcg_data", "memcg_data", "Memory cgroup, or slab's own; 0 in free pages."),
)  # fmt: skip
"""The 64 bytes of any page."""
TAIL = (
    Word(
        64, 8, "flags", "flags", "Low byte: the order of the folio.",
        bits=(Bits(8, 63, "flags of that page"), Bits(0, 7, "order")),
    ),
    Word(72, 8, "compound_head", "compound_info", "Bit 0 is set: this page is a tail."),
)  # fmt: skip
"""The words of the page behind a folio's head that are read: offsets are from the head."""

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .name { font-family: ui-monospace, monospace; }
  .small { font-size: 11px; fill: #59636e; }
  .title { font-weight: 600; }
  rect { fill: #ddf4ff; stroke: #0969da; }
  rect.unread { fill: none; stroke: #8c959f; stroke-dasharray: 3 3; }
  rect.bits { fill: #fff8c5; stroke: #9a6700; }
  rect.background { fill: #ffffff; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    rect { fill: #0c2d4d; stroke: #4493f8; }
    rect.unread { fill: none; stroke: #656c76; }
    rect.bits { fill: #3b2e04; stroke: #d29922; }
    rect.background { fill: #0d1117; stroke: none; }
  }
"""
TEXT = {
    "": 'font-family="sans-serif" font-size="13" fill="#1f2328"',
    "name": 'font-family="monospace" font-size="13" fill="#1f2328"',
    "small": 'font-family="sans-serif" font-size="11" fill="#59636e"',
    "title": 'font-family="sans-serif" font-size="13" font-weight="600" fill="#1f2328"',
}
"""Attributes of text by kind, for renderers that ignore STYLE. STYLE has precedence over them."""
RECT = {
    "": 'fill="#ddf4ff" stroke="#0969da"',
    "unread": 'fill="none" stroke="#8c959f" stroke-dasharray="3 3"',
    "bits": 'fill="#fff8c5" stroke="#9a6700"',
    "background": 'fill="#ffffff" stroke="none"',
}
"""The same for boxes."""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text."""
    class_ = f' class="{kind}"' if kind else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}"{class_}{place} {TEXT[kind]}>{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str = "") -> str:
    """Return a box."""
    class_ = f' class="{kind}"' if kind else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{class_} {RECT[kind]}/>'


def height(word: Word) -> int:
    """Return the height of a word's row; words of four bytes are not lower, as they have text."""
    return ROW if word.bits else ROW // 2 + 4


def strip(word: Word, y: float) -> list[str]:
    """Return the bits of a word, the highest first, wide enough for their names."""
    least = [7 * len(bits.name) + 16 for bits in word.bits]
    share = (STRIP - sum(least)) / (8 * word.size)
    parts, x = [], float(NOTES)
    for bits, room in zip(word.bits, least, strict=True):
        width = room + share * (bits.high - bits.low + 1)
        parts.append(rect(x, y, width, 20, "bits"))
        parts.append(text(x + width / 2, y + 14, bits.name, "small", "middle"))
        numbers = f"{bits.high}" if bits.high == bits.low else f"{bits.high}-{bits.low}"
        parts.append(text(x + width / 2, y + 32, numbers, "small", "middle"))
        x += width
    return parts


def rows(words: tuple[Word, ...], y: int) -> tuple[list[str], int]:
    """Return the rows of words from y on, and where they end."""
    parts = []
    for word in words:
        high = height(word)
        kind = "" if word.read else "unread"
        parts.append(text(OFFSETS, y + 20, str(word.offset), "small", "end"))
        for x, name in ((OLD, word.old), (NEW, word.new)):
            parts.append(rect(x, y, BOX, high - 6, kind))
            parts.append(text(x + 10, y + 20, name, "name"))
        parts.append(text(NOTES, y + 18, word.says or "Not read.", "" if word.read else "small"))
        parts += strip(word, y + 25) if word.bits else []
        y += high
    return parts, y


def picture() -> str:
    """Return the picture as SVG."""
    parts = [
        text(12, 26, "struct page, x86_64: 64 bytes for each 4 KiB page", "title"),
        text(12, 46, "Offsets in bytes. Blue: words that pageinspect reads. Yellow: their bits.",
             "small"),
        text(OLD, TOP - 12, "Linux 6.12", "title"),
        text(NEW, TOP - 12, "Linux 7.3", "title"),
    ]  # fmt: skip
    page, y = rows(PAGE, TOP)
    parts += [*page, text(OLD, y + 26, "Next page, where this one is a folio's head", "title")]
    tail, y = rows(TAIL, y + 38)
    parts += tail
    size = f'width="{WIDTH}" height="{y + 8}" viewBox="0 0 {WIDTH} {y + 8}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>How pageinspect reads struct page</title>",
            f"<style>{STYLE}</style>",
            rect(0, 0, WIDTH, y + 8, "background"),
            *parts,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
