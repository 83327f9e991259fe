"""What a PageLayout is: how the struct page of one kernel is to be read, as plain integers."""

from dataclasses import dataclass
from typing import Literal

from ..errors import PageInspectError
from .page_types import Scheme

_SIZES = (32, *range(56, 129, 8))
"""Bytes that struct page can have on a 64-bit kernel: 64, more with debugging options, and 32 where
what describes a page is elsewhere (memdesc)."""

STICKY_TYPES = ("offline", "zsmalloc")
"""Types whose owners leave them set at free, where the buddy resets types."""


_RESETS_FROM = {
    True: "inferred from page.compound_info in VMCOREINFO",
    False: "inferred from page types that are bits",
    None: "it is not in VMCOREINFO",
}


@dataclass(frozen=True, slots=True)
class OrderField:
    """Where the order of a compound page is: `offset` bytes from its head, in the first tail."""

    offset: int
    mask: int


@dataclass(frozen=True, slots=True)
class Marker:
    """A type that is no page type in this kernel: the 64-bit word `offset` from the head tells."""

    kind: Literal["flag", "dtor"]
    offset: int
    mask: int
    equals: int

    @classmethod
    def of_byte(cls, kind: Literal["flag", "dtor"], offset: int, value: int) -> "Marker":
        """Return the marker of one byte, as part of the 64-bit word that it lies in."""
        shift = 8 * (offset % 8)
        return cls(kind, offset - offset % 8, 0xFF << shift, value << shift)


@dataclass(frozen=True, slots=True)
class BitField:
    """Bits of the flags word, from the bit number `shift` up; `mask` is not shifted."""

    shift: int
    mask: int


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How to read struct page of one kernel. Offsets and sizes in bytes, flags as bit numbers.

    What is None this kernel has not, or nothing tells.
    """

    page_shift: int
    struct_size: int
    vmemmap: int
    kernel_half: int
    """The lowest kernel address, which is also the mask of the bits that all of them have set."""
    flags: int
    mapping: int | None
    private: int | None
    page_type: int
    """The word that has the type, which the scheme reads."""
    refcount: int | None
    compound: int | None
    index: int | None
    memcg: int | None
    flag_bits: tuple[tuple[str, int], ...]
    zone_field: BitField | None
    node_field: BitField
    device_zone: int | None
    """Number of ZONE_DEVICE."""
    page_pool: tuple[int, int] | None
    """(mask, value) of the signature in the word that is `compound` of other pages."""
    frozen: tuple[str, ...] | None
    """Types whose pages have no references while they are in use."""
    scheme: Scheme
    order: OrderField | None
    large_mapcount: int | None
    """Of a large folio, from its head, as the next three: mappings of any of its pages."""
    entire_mapcount: int | None
    """Mappings of the whole."""
    nr_pages_mapped: int | None
    """Pages of it that are mapped."""
    pincount: int | None
    """Long-term pins."""
    compound_mask: bool
    """compound_info of a tail may be a mask instead of a pointer to its head."""
    fake_heads: bool
    """With HVO on, tails may read as heads."""
    slab: Marker | None
    """Where slab is no page type."""
    hugetlb: Marker | None
    """Where hugetlb is no page type."""
    movable_tag: bool
    """The low bits of mapping tell pages with movable_ops."""
    resets: bool | None
    """free_pages_prepare() resets a type that is still set; None where nothing tells."""
    swapcache: int | None = None
    """The flags that a folio in the swap cache has, all of them: a mask of the flags word."""
    trylock: tuple[int, int] | None = None
    """(link, order): where pages on a zone's trylock list have these; None without such lists."""
    unavailable: tuple[str, ...] = ()
    """Types, uses and columns that VMCOREINFO alone cannot tell; none where the types are known."""

    @property
    def page_size(self) -> int:
        """Bytes of one page."""
        return 1 << self.page_shift

    @property
    def zone_bits(self) -> BitField:
        """Where the zone is in the flags word: no bits where that is not told."""
        return self.zone_field or BitField(0, 0)

    @property
    def resets_from(self) -> str:
        """How it was learnt whether this kernel resets types at free."""
        if self.unavailable:
            return _RESETS_FROM[self.resets]
        return f"inferred from {'' if self.resets else 'the lack of '}PG_movable_ops_isolated"

    @property
    def order_in_flags(self) -> bool:
        """Whether the flags of a first tail hold the order of its folio.

        Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page")
        (in v6.6).
        """
        return self.order is not None and self.order.offset == self.struct_size + self.flags

    def flag(self, name: str) -> int | None:
        """Return the bit number of a page flag ("head"), or None where this kernel has none."""
        return next((bit for n, bit in self.flag_bits if n == name), None)

    def is_sticky(self, type_name: str) -> bool:
        """Return whether the owner of this type leaves it set when it frees the page."""
        return bool(self.resets) and type_name in STICKY_TYPES


def check_size(struct_size: int) -> None:
    """Raise PageInspectError when struct page cannot have so many bytes."""
    if struct_size not in _SIZES:
        raise PageInspectError(
            f"struct page has {struct_size} bytes by this kernel's types or VMCOREINFO",
            "the core or its types are damaged, or of a 32-bit kernel; give its own vmlinux: -s",
        )
