# SPDX-License-Identifier: GPL-2.0-only
"""Builds the PageLayout of a kernel from VMCOREINFO alone.

VMCOREINFO has what makedumpfile needs to exclude pages: offsets of some members, a few flags, and
values of some page types. The scheme of page types is detected by these values, never by the
release. Types whose values are missing are shown as numbers.
"""

from collections.abc import Mapping

from drgn import Program

from ..errors import PageInspectError
from ..model import arch, page_types
from ..model.arch import SECTION_PFNS
from ..model.layout import BitField, Marker, OrderField, PageLayout, check_size
from ..model.page_types import WordScheme
from ..target import vmcoreinfo
from ..target.vmcoreinfo import Info, kernel_half, number, offset

_FLAGS = ("lru", "private", "slab", "swapbacked", "hwpoison")
_TYPES = ("buddy", "offline", "hugetlb", "slab", "unaccepted")
_ALWAYS_UNAVAILABLE = (
    "pcp",
    "reserved",
    "page_pool",
    "zone_device",
    "freeing",
    "zone",
    "other flags",
)


def build(prog: Program, info: Info) -> PageLayout:
    """Return the PageLayout by VMCOREINFO; raises PageInspectError if it lacks a required line.

    page_type is not in VMCOREINFO. It overlays _mapcount in every kernel from v4.18 on.
    """
    page_size = int(vmcoreinfo.lookup(info, "PAGESIZE"))
    section_bits = _number(info, "SECTION_SIZE_BITS", 64) or 0
    if page_size * SECTION_PFNS != 1 << section_bits:
        raise PageInspectError(
            f"this kernel's VMCOREINFO has a size of memory sections that {arch.NAME} does not use",
            f"pageinspect reads {arch.NAME} with SPARSEMEM_VMEMMAP",
        )
    check_size(vmcoreinfo.size(info, "page"))
    _, vmemmap = vmcoreinfo.sections(prog, info)
    values = {name: value for name in _TYPES if (value := _type_value(info, name)) is not None}
    scheme, unavailable = _scheme(values)
    # Since Linux kernel commit 8c846c879e22 ("mm: rework compound_head() for power-of-2
    # sizeof(struct page)") (in v7.1), page.compound_info is there. Such kernels also reset types at
    # free and have no tag in mapping, both changes of v6.17.
    mask = "OFFSET(page.compound_info)" in info
    if scheme.one_of and not mask:
        # VMCOREINFO does not show whether mapping has tags, which v6.17 removed.
        unavailable = (*unavailable, "movable_ops")
    node_width = (int(info.get("LENGTH(node_data)", "1")) - 1).bit_length()
    return PageLayout(
        page_shift=page_size.bit_length() - 1,
        struct_size=vmcoreinfo.size(info, "page"),
        vmemmap=vmemmap,
        kernel_half=kernel_half(info, vmemmap),
        flags=_member(info, "flags", 8),
        mapping=_member(info, "mapping", 8),
        private=_member(info, "private", 8),
        page_type=_member(info, "_mapcount", 4),
        refcount=_member(info, "_refcount", 4),
        compound=_member(info, "compound_info" if mask else "compound_head", 8),
        index=None,
        memcg=None,
        flag_bits=_flag_bits(info),
        zone_field=None,
        node_field=BitField(64 - node_width, (1 << node_width) - 1),
        device_zone=None,
        page_pool=None,
        frozen=None,
        scheme=scheme,
        order=_order(info),
        large_mapcount=None,
        entire_mapcount=None,
        nr_pages_mapped=None,
        pincount=None,
        compound_mask=mask,
        fake_heads=not mask,
        slab=_slab(info),
        hugetlb=_hugetlb(info, values),
        movable_tag=not scheme.one_of,
        resets=True if mask else None if scheme.one_of else False,
        swapcache=_swapcache(info),
        unavailable=(*unavailable, *_ALWAYS_UNAVAILABLE),
    )


def _member(info: Info, name: str, width: int) -> int:
    """Return the byte offset of a member of struct page; `width` is its size in bytes."""
    where, size = offset(info, f"page.{name}"), vmcoreinfo.size(info, "page")
    if where % width or where + width > size or size % 8:
        raise vmcoreinfo.contradiction(f"page.{name} at {where} of {size} bytes")
    return where


def _in_first_tail(info: Info, name: str) -> int:
    """Return the offset from the head of a byte in the first tail.

    `name` is an OFFSET() of struct page or struct folio.
    """
    where, size = offset(info, name), vmcoreinfo.size(info, "page")
    where += size if name.startswith("page.") else 0
    if not size <= where < 2 * size:
        raise vmcoreinfo.contradiction(f"{name} at {where}")
    return where


def _number(info: Info, name: str, below: int) -> int | None:
    value = number(info, name)
    if value is not None and not 0 <= value < below:
        raise vmcoreinfo.contradiction(f"NUMBER({name}) is {value}")
    return value


def _type_value(info: Info, name: str) -> int | None:
    """Return the page_type word of a page with this type alone, or None."""
    value = number(info, f"PAGE_{name.upper()}_MAPCOUNT_VALUE")
    return None if value is None else value & 0xFFFFFFFF


def _scheme(values: Mapping[str, int]) -> tuple[WordScheme, tuple[str, ...]]:
    """Return the scheme by the words of the known types, and the names of types without a value."""
    buddy = values.get("buddy")
    if buddy is None:
        raise PageInspectError(
            "this kernel's VMCOREINFO has no PAGE_BUDDY_MAPCOUNT_VALUE",
            "give the kernel's vmlinux with debug information: -s VMLINUX",
        )
    if not buddy & 0xFFFFFF:
        # Since Linux kernel commit 4ffca5a96678 ("mm: support only one page_type per page")
        # (in v6.12).
        tops = {name: value >> 24 for name, value in values.items()}
        all_types = (*_TYPES, "table", "guard", "zsmalloc", "large_kmalloc")
        scheme = page_types.byte_scheme(tops, off_by_one=False, source="vmcoreinfo")
        return scheme, tuple(name for name in all_types if name not in values)
    bits = {name: ~value & 0xFFFFFFFF for name, value in values.items()}
    for name, bit in bits.items():
        if bit.bit_count() != 1:
            raise vmcoreinfo.contradiction(f"pages of type {name} have the word {values[name]:#x}")
    if bits["buddy"] == page_types.HIGH_BUDDY:
        scheme = page_types.high_scheme(bits, "vmcoreinfo")
        return scheme, ("table", "guard", "zsmalloc")
    if bits["buddy"] != page_types.BITS_4_18["buddy"]:
        raise PageInspectError(
            f"free pages have the page_type {buddy:#x}, which is in no known scheme",
            "this kernel is newer than pageinspect: please report its release and this line",
        )
    # v5.11 removed kmemcg and moved table and guard. VMCOREINFO does not show this.
    lost = ["table", "guard"]
    if "hugetlb" not in bits:
        lost.append("kmemcg")
    if "offline" not in bits:
        lost += ["offline", "balloon"]
    return page_types.low_scheme("bits", bits, "vmcoreinfo"), tuple(lost)


def _flag_bits(info: Info) -> tuple[tuple[str, int], ...]:
    bits = {bit: name for name in _FLAGS if (bit := _number(info, f"PG_{name}", 64)) is not None}
    head = int(vmcoreinfo.lookup(info, "NUMBER(PG_head_mask)"), 0)
    if head.bit_count() != 1 or head < 0:
        raise vmcoreinfo.contradiction(f"PG_head_mask is {head}")
    bits[head.bit_length() - 1] = "head"
    return tuple((name, bit) for bit, name in sorted(bits.items()))


def _swapcache(info: Info) -> int | None:
    bits = [_number(info, name, 64) for name in ("PG_swapcache", "PG_swapbacked")]
    return None if None in bits else sum(1 << bit for bit in bits if bit is not None)


def _order(info: Info) -> OrderField:
    """Return where the order of a compound page is, in its first tail.

    Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page") (in v6.6),
    VMCOREINFO has no such line, and the order is the low byte of the first tail's flags.
    """
    for name in ("page.compound_order", "folio._folio_order"):
        if f"OFFSET({name})" in info:
            return OrderField(_in_first_tail(info, name), 0xFF)
    return OrderField(_in_first_tail(info, "page.flags"), 0xFF)


def _slab(info: Info) -> Marker | None:
    # Since Linux kernel commit 46df8e73a4a3 ("mm: free up PG_slab") (in v6.10) slab is a page type,
    # and the line is gone.
    bit = _number(info, "PG_slab", 64)
    if bit is None:
        return None
    return Marker("flag", offset(info, "page.flags"), 1 << bit, 1 << bit)


def _hugetlb(info: Info, values: Mapping[str, int]) -> Marker | None:
    """Return the marker of hugetlb pages; None if they have a page type, or no marker is known."""
    if "hugetlb" in values:
        return None
    dtor = _number(info, "HUGETLB_PAGE_DTOR", 256)
    if dtor is not None:
        old = "OFFSET(page.compound_dtor)" in info
        where = _in_first_tail(info, "page.compound_dtor" if old else "folio._folio_dtor")
        return Marker.of_byte("dtor", where, dtor)
    # Since Linux kernel commit 9c5ccf2db04b ("mm: remove HUGETLB_PAGE_DTOR") (in v6.6), a flag of
    # the first tail page marks hugetlb.
    bit = _number(info, "PG_hugetlb", 64)
    if bit is None:
        return None
    return Marker("flag", _in_first_tail(info, "page.flags"), 1 << bit, 1 << bit)
