"""The PageLayout of a kernel of which only VMCOREINFO is known, and what that cannot tell.

VMCOREINFO has what makedumpfile needs to leave pages out: offsets of some members, a few flags, the
values of some page types. Types are chosen by those values, never by a release; types whose values
are not there stay numbers.
"""

from collections.abc import Mapping

from drgn import Program

from .. import schemes, vmcoreinfo
from ..errors import PageInspectError
from ..schemes import WordScheme
from ..vmcoreinfo import Info, number, offset
from .model import SECTION_PFNS, BitField, Marker, OrderField, PageLayout, check_size

_FLAGS = ("lru", "private", "slab", "swapbacked", "hwpoison")
_TYPES = ("buddy", "offline", "hugetlb", "slab", "unaccepted")
_ALWAYS_UNTOLD = ("pcp", "reserved", "page_pool", "zone_device", "freeing", "zone", "other flags")


def build(prog: Program, info: Info) -> PageLayout:
    """Return the PageLayout that VMCOREINFO tells; raises PageInspectError where it lacks a line.

    Not in VMCOREINFO, but the same in every kernel from 4.18 on: page_type overlays _mapcount.
    """
    page_size = int(info.get("PAGESIZE", "0"))
    if page_size << (SECTION_PFNS.bit_length() - 1) != 1 << (
        number(info, "SECTION_SIZE_BITS") or 0
    ):
        raise PageInspectError(
            "this kernel's VMCOREINFO tells of memory sections that no x86_64 kernel has",
            "pageinspect reads x86_64 with SPARSEMEM_VMEMMAP",
        )
    struct_size = vmcoreinfo.size(info, "page")
    check_size(struct_size)
    _, vmemmap = vmcoreinfo.sections(prog, info)
    values = {name: value for name in _TYPES if (value := _type_value(info, name)) is not None}
    scheme, untold = _scheme(values)
    # Since Linux kernel commit 8c846c879e22 ("mm: rework compound_head() for power-of-2
    # sizeof(struct page)") (in v7.1); long after types are reset at free, and tags of mapping gone.
    mask = "OFFSET(page.compound_info)" in info
    if scheme.one_of and not mask:
        # Tags of mapping went with v6.17, which VMCOREINFO does not show.
        untold = (*untold, "movable_ops")
    node_width = (int(info.get("LENGTH(node_data)", "1")) - 1).bit_length()
    return PageLayout(
        page_shift=page_size.bit_length() - 1,
        struct_size=struct_size,
        vmemmap=vmemmap,
        flags=offset(info, "page.flags"),
        mapping=offset(info, "page.mapping"),
        private=offset(info, "page.private"),
        page_type=offset(info, "page._mapcount"),
        refcount=offset(info, "page._refcount"),
        compound=offset(info, "page.compound_info" if mask else "page.compound_head"),
        index=None,
        memcg=None,
        flag_bits=_flag_bits(info),
        zone_field=None,
        node_field=BitField(64 - node_width, (1 << node_width) - 1),
        device_zone=None,
        page_pool=None,
        frozen=None,
        scheme=scheme,
        order=_order(info, struct_size),
        large_mapcount=None,
        entire_mapcount=None,
        nr_pages_mapped=None,
        pincount=None,
        compound_mask=mask,
        fake_heads=not mask,
        slab=_slab(info, values),
        hugetlb=_hugetlb(info, values, struct_size),
        movable_tag=not scheme.one_of,
        resets=True if mask else None if scheme.one_of else False,
        untold=(*untold, *_ALWAYS_UNTOLD),
    )


def _type_value(info: Info, name: str) -> int | None:
    """Return the page_type word of a page that has just this type, or None."""
    value = number(info, f"PAGE_{name.upper()}_MAPCOUNT_VALUE")
    return None if value is None else value & 0xFFFFFFFF


def _scheme(values: Mapping[str, int]) -> tuple[WordScheme, tuple[str, ...]]:
    """Return the scheme that the words of the known types have, and the types it leaves unnamed."""
    buddy = values.get("buddy")
    if buddy is None:
        raise PageInspectError(
            "this kernel's VMCOREINFO has no PAGE_BUDDY_MAPCOUNT_VALUE",
            "name the kernel's vmlinux with debug information: -s VMLINUX",
        )
    if not buddy & 0xFFFFFF:
        # Since Linux kernel commit 4ffca5a96678 ("mm: support only one page_type per page")
        # (in v6.12).
        tops = {name: value >> 24 for name, value in values.items()}
        all_types = (*_TYPES, "table", "guard", "zsmalloc", "large_kmalloc")
        scheme = schemes.byte_scheme(tops, off_by_one=False, source="vmcoreinfo")
        return scheme, tuple(name for name in all_types if name not in values)
    bits = {name: ~value & 0xFFFFFFFF for name, value in values.items()}
    if bits["buddy"] == schemes.HIGH_BUDDY:
        scheme = schemes.high_scheme(bits, "vmcoreinfo")
        return scheme, ("table", "guard", "zsmalloc")
    if bits["buddy"] != schemes.BITS_4_18["buddy"]:
        raise PageInspectError(
            f"free pages have the page_type {buddy:#x}, which is of no scheme that is known",
            "this kernel is newer than pageinspect: please report its release and this line",
        )
    # table and guard have moved and kmemcg went with v5.11, which left no trace here.
    lost = ["table", "guard"]
    if "hugetlb" not in bits:
        lost.append("kmemcg")
    if "offline" not in bits:
        lost += ["offline", "balloon"]
    return schemes.low_scheme("bits", bits, "vmcoreinfo"), tuple(lost)


def _flag_bits(info: Info) -> tuple[tuple[str, int], ...]:
    bits = {bit: name for name in _FLAGS if (bit := number(info, f"PG_{name}")) is not None}
    bits[int(vmcoreinfo.lookup(info, "NUMBER(PG_head_mask)")).bit_length() - 1] = "head"
    return tuple((name, bit) for bit, name in sorted(bits.items()))


def _order(info: Info, struct_size: int) -> OrderField:
    """Return where the order of a compound page is; offsets into struct page are of its first tail.

    Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page") (in v6.6)
    VMCOREINFO has no such line, and the order is the low byte of the first tail's flags.
    """
    if "OFFSET(page.compound_order)" in info:
        return OrderField(struct_size + offset(info, "page.compound_order"), 0xFF)
    if "OFFSET(folio._folio_order)" in info:
        return OrderField(offset(info, "folio._folio_order"), 0xFF)
    return OrderField(struct_size + offset(info, "page.flags"), 0xFF)


def _slab(info: Info, values: Mapping[str, int]) -> Marker | None:
    # Since Linux kernel commit 46df8e73a4a3 ("mm: free up PG_slab") (in v6.10) slab is a page type.
    bit = number(info, "PG_slab")
    if "slab" in values or bit is None:
        return None
    return Marker("flag", offset(info, "page.flags"), 1 << bit, 1 << bit)


def _hugetlb(info: Info, values: Mapping[str, int], struct_size: int) -> Marker | None:
    """Return what marks hugetlb pages where they have no type; None as well without any."""
    if "hugetlb" in values:
        return None
    dtor = number(info, "HUGETLB_PAGE_DTOR")
    if dtor is not None:
        where = (
            struct_size + offset(info, "page.compound_dtor")
            if "OFFSET(page.compound_dtor)" in info
            else offset(info, "folio._folio_dtor")
        )
        return Marker.of_byte("dtor", where, dtor)
    # Since Linux kernel commit 9c5ccf2db04b ("mm: remove HUGETLB_PAGE_DTOR") (in v6.6) a flag of
    # the first tail page.
    bit = number(info, "PG_hugetlb")
    if bit is None:
        return None
    return Marker("flag", struct_size + offset(info, "page.flags"), 1 << bit, 1 << bit)
