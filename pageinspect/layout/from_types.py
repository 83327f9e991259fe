# SPDX-License-Identifier: GPL-2.0-only
"""Builds the PageLayout from the kernel's types, which drgn has from DWARF or BTF.

Features are detected by a member, an enumerator or a symbol, never by the release.
"""

from collections.abc import Mapping

from drgn import Program, Type, offsetof, sizeof

from ..errors import PageInspectError
from ..model import page_types
from ..model.layout import BitField, Marker, OrderField, PageLayout, check_size
from ..model.page_types import Scheme
from ..model.page_words import PAGE_POOL_SIGNATURE, page_pool_mask
from ..target.vmcoreinfo import kernel_half


def _offset(type_: Type, *members: str) -> int:
    """Return the byte offset of the first of these members that the type has; newest name first."""
    for member in members:
        try:
            return int(offsetof(type_, member))
        except LookupError:
            continue
    raise PageInspectError(
        f"{type_.type_name()} of this kernel has no member {' or '.join(members)}",
        "this kernel is newer than pageinspect: please report its release and this line",
    )


def _offset_if_any(type_: Type, *members: str) -> int | None:
    """Return _offset(), or None if the type has none of the members."""
    return next((int(offsetof(type_, m)) for m in members if _has(type_, m)), None)


def _has(type_: Type, member: str) -> bool:
    try:
        offsetof(type_, member)
    except LookupError:
        return False
    return True


def enumerators(prog: Program, enum: str) -> dict[str, int]:
    """Return the values of an enum by name; empty if the kernel has no such enum."""
    try:
        found = prog.type(f"enum {enum}").enumerators
    except LookupError:
        return {}
    return {e.name: e.value for e in found or ()}


def _flag_bits(flags: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return (name, bit) of the page flags, each bit with its first name, without aliases."""
    names: dict[int, str] = {}
    for name, bit in flags.items():
        if name.startswith("PG_"):
            names.setdefault(bit, name.removeprefix("PG_"))
    return tuple((name, bit) for bit, name in sorted(names.items()))


def _scheme_from_enum(types: Mapping[str, int], *, off_by_one: bool) -> Scheme | None:
    """Return the scheme of `enum pagetype` (v6.10 and later); None without that enum."""
    values = {
        name.removeprefix("PGTY_"): value
        for name, value in types.items()
        if name.startswith("PGTY_") and name != "PGTY_mapcount_underflow"
    }
    if values:
        return page_types.byte_scheme(values, off_by_one=off_by_one)
    bits = {name.removeprefix("PG_"): v for name, v in types.items() if name.startswith("PG_")}
    if not bits:
        return None
    if bits["buddy"] == page_types.BITS_4_18["buddy"]:
        # Since Linux kernel commit 46df8e73a4a3 ("mm: free up PG_slab") (in v6.10).
        return page_types.low_scheme("bits-6.10", bits, "enum")
    return page_types.high_scheme(bits, "enum")


def _scheme_from_facts(page: Type, vmcoreinfo: Mapping[str, str]) -> Scheme:
    """Return the bit scheme of a kernel whose page types are macros (up to v6.9)."""
    if "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)" in vmcoreinfo:
        name, bits = "bits-6.9", page_types.BITS_6_9
    elif _has(page, "memcg_data"):
        name, bits = "bits-5.11", page_types.BITS_5_11
    elif "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)" in vmcoreinfo:
        name, bits = "bits-5.1", page_types.BITS_5_1
    else:
        name, bits = "bits-4.18", page_types.BITS_4_18
    return page_types.low_scheme(name, bits)


def _memdesc_scheme(prog: Program) -> Scheme:
    """Return the scheme of a kernel whose struct page has a memdesc.

    Upstream has not merged memdescs. The author's plan is a struct page of 32 bytes: flags,
    memdesc, private and _refcount. This code assumes:

    - The low four bits of memdesc are the type: a MEMDESC_TYPE_x of enum memdesc_type, or 0 for
      none.
    - Each page of a folio has the memdesc of the folio, so that there are no tail pages.
    - The first page of a free block has the type buddy, and the order in private.
    - A page with a descriptor has no reference count: the descriptor has it.
    """
    types = enumerators(prog, "memdesc_type")
    prefix = "MEMDESC_TYPE_"
    values = {
        name.removeprefix(prefix).lower(): value
        for name, value in types.items()
        if name.startswith(prefix) and value
    }
    if "buddy" not in values:
        raise PageInspectError(
            "this kernel's struct page has a memdesc, but its types lack MEMDESC_TYPE_BUDDY",
            "this kernel is newer than pageinspect: please report its release and this line",
        )
    return page_types.memdesc_scheme(values)


def _scheme(prog: Program, page: Type, vmcoreinfo: Mapping[str, str]) -> Scheme:
    if _has(page, "memdesc"):
        return _memdesc_scheme(prog)
    types = enumerators(prog, "pagetype")
    # page_has_type() of v6.12 to v6.14 compares the word minus one. The types do not show this, so
    # it is inferred from the absence of large_kmalloc, which was added in v6.15.
    off_by_one = "PGTY_large_kmalloc" not in types
    return _scheme_from_enum(types, off_by_one=off_by_one) or _scheme_from_facts(page, vmcoreinfo)


def _order(prog: Program, page: Type) -> OrderField | None:
    if _has(page, "memdesc"):
        # The order is in the descriptor.
        return None
    size = sizeof(page)
    # Since Linux kernel commit 1c5509be58f6 ("mm: remove 'First tail page' members from struct
    # page") (in v6.3), struct page no longer has the member: it is in struct folio.
    if _has(page, "compound_order"):
        return OrderField(size + offsetof(page, "compound_order"), 0xFF)
    folio = prog.type("struct folio")
    # Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page")
    # (in v6.6), the order is the low byte of the first tail's flags.
    if _has(folio, "_folio_order"):
        return OrderField(offsetof(folio, "_folio_order"), 0xFF)
    return OrderField(_offset(folio, "_flags_1"), 0xFF)


def _tail_field(prog: Program, page: Type, folio_member: str, page_member: str) -> int | None:
    """Return the offset from the head page of a member in the first tail page; None if missing.

    Since Linux kernel commit 1c5509be58f6 ("mm: remove 'First tail page' members from struct page")
    (in v6.3), `folio_member` of struct folio replaces `page_member` of struct page.
    """
    if _has(page, "memdesc"):
        return None
    if page_member and _has(page, page_member):
        return sizeof(page) + int(offsetof(page, page_member))
    try:
        folio = prog.type("struct folio")
    except LookupError:
        return None
    return int(offsetof(folio, folio_member)) if _has(folio, folio_member) else None


def _overlaid(prog: Program, page: Type, overlay: str, member: str, before: str) -> int | None:
    """Return the offset of a member of a structure that overlays struct page, or None.

    `before` is the member of struct page in kernels that do not have the structure. With memdescs,
    it does not overlay struct page.
    """
    if _has(page, "memdesc"):
        return None
    try:
        return _offset_if_any(prog.type(f"struct {overlay}"), member)
    except LookupError:
        return _offset_if_any(page, before)


def _slab(scheme: Scheme, flags: Mapping[str, int], offset: int) -> Marker | None:
    # Since Linux kernel commit 46df8e73a4a3 ("mm: free up PG_slab") (in v6.10) slab is a page type.
    if scheme.find("slab") or "PG_slab" not in flags:
        return None
    bit = 1 << flags["PG_slab"]
    return Marker("flag", offset, bit, bit)


def _hugetlb(prog: Program, scheme: Scheme, page: Type, flags: Mapping[str, int]) -> Marker | None:
    # Since Linux kernel commit d99e3140a4d3 ("mm: turn folio_test_hugetlb into a PageType")
    # (in v6.9, and in stable releases of v6.6 and v6.8) hugetlb is a page type.
    if scheme.find("hugetlb") or _has(page, "memdesc"):
        return None
    dtors = enumerators(prog, "compound_dtor_id")
    if "HUGETLB_PAGE_DTOR" in dtors:
        offset = (
            sizeof(page) + offsetof(page, "compound_dtor")
            if _has(page, "compound_dtor")
            else _offset(prog.type("struct folio"), "_folio_dtor")
        )
        return Marker.of_byte("dtor", offset, dtors["HUGETLB_PAGE_DTOR"])
    # Since Linux kernel commit 9c5ccf2db04b ("mm: remove HUGETLB_PAGE_DTOR") (in v6.6), a flag of
    # the first tail page marks hugetlb.
    if "PG_hugetlb" in flags:
        bit = 1 << flags["PG_hugetlb"]
        return Marker("flag", sizeof(page) + _offset(page, "flags"), bit, bit)
    return None


def _location_fields(
    prog: Program, vmcoreinfo: Mapping[str, str]
) -> tuple[BitField, BitField, int | None]:
    """Return the flag bits of the zone and of the node, and the number of ZONE_DEVICE.

    With SPARSEMEM_VMEMMAP the section is not in flags: the node is at the top, the zone below it.
    """
    zones = enumerators(prog, "zone_type")
    nodes = int(vmcoreinfo.get("LENGTH(node_data)", "1"))
    node_width = (nodes - 1).bit_length()
    zone_width = (zones.get("__MAX_NR_ZONES", 4) - 1).bit_length()
    return (
        BitField(64 - node_width - zone_width, (1 << zone_width) - 1),
        BitField(64 - node_width, (1 << node_width) - 1),
        zones.get("ZONE_DEVICE"),
    )


def zone_names(prog: Program) -> tuple[str, ...]:
    """Return the names of this kernel's zones by number: DMA, DMA32, Normal and so on."""
    zones = enumerators(prog, "zone_type").items()
    names = [name.removeprefix("ZONE_") for name, _ in sorted(zones, key=lambda z: z[1])]
    return tuple(
        name if name.startswith("DMA") else name.capitalize() for name in names if name[0] != "_"
    )


def _page_pool(prog: Program, page: Type) -> tuple[int, int] | None:
    if not _has(page, "pp_magic"):
        return None
    try:
        indexed = _has(prog.type("struct page_pool"), "dma_mapped")
    except LookupError:
        return None
    return page_pool_mask(indexed=indexed), PAGE_POOL_SIGNATURE


def _swapcache(flags: Mapping[str, int]) -> int | None:
    """Return the mask of both flags that folio_test_swapcache() tests.

    PG_swapcache alone is not enough: it is an alias of PG_owner_priv_1, which has other users.
    """
    names = ("PG_swapcache", "PG_swapbacked")
    if not all(name in flags for name in names):
        return None
    return sum(1 << flags[name] for name in names)


def _trylock(page: Type) -> tuple[int, int] | None:
    # Since Linux kernel commit 8c57b687e833 ("mm, bpf: Introduce free_pages_nolock()") (in v6.15),
    # there are trylock lists. The order is in the member order of the first such kernels, later in
    # private.
    if not _has(page, "pcp_llist"):
        return None
    return int(offsetof(page, "pcp_llist")), _offset(page, "order", "private")


def _frozen(prog: Program, scheme: Scheme) -> tuple[str, ...]:
    """Return the types whose pages have no references while they are in use.

    With memdescs these are all types: see _memdesc_scheme(). Since Linux kernel commit 9aec2fb0fd5e
    ("slab: allocate frozen pages") (in v6.14), slab pages have none, and later large kmalloc pages.
    """
    if not scheme.has_mapcount:
        return tuple(scheme.slot_name(slot) for slot in range(1, scheme.reduced_from()[0] + 1))
    always = ("buddy", "guard", "hugetlb", "unaccepted")
    try:
        prog.symbol("free_frozen_pages")
    except LookupError:
        return always
    return (*always, "large_kmalloc", "slab")


def build(prog: Program, vmcoreinfo: Mapping[str, str]) -> PageLayout:
    """Return the PageLayout of the kernel whose types `prog` has.

    Raises PageInspectError if a type or member that pageinspect requires is missing.
    """
    page = prog.type("struct page")
    check_size(sizeof(page))
    flags = enumerators(prog, "pageflags")
    memdesc = _has(page, "memdesc")
    if ("PG_locked" if memdesc else "PG_head") not in flags:
        raise PageInspectError(
            "this kernel's types lack enum pageflags", "give its vmlinux with debug information: -s"
        )
    scheme = _scheme(prog, page, vmcoreinfo)
    # Since Linux kernel commit 8c846c879e22 ("mm: rework compound_head() for power-of-2
    # sizeof(struct page)") (in v7.1), a tail may have a mask, and HVO makes no fake heads. Since
    # Linux kernel commit e7d324850bfc ("mm: hugetlb: free the 2nd vmemmap page associated with each
    # HugeTLB page") (in v5.18), HVO made fake heads.
    compound_mask = _has(page, "compound_info")
    # Since Linux kernel commit 2dfcd1608f3a ("mm/page_alloc: let page freeing clear any set page
    # type") (in v6.17), page free resets types. Its series also replaced the tag in mapping and
    # PG_isolated by this flag.
    new_movable = "PG_movable_ops_isolated" in flags
    zone_field, node_field, device_zone = _location_fields(prog, vmcoreinfo)
    vmemmap = prog["vmemmap"].value_()
    # With memdescs, most members are in the descriptor instead of struct page.
    member = _offset_if_any if memdesc else _offset
    return PageLayout(
        page_shift=prog["PAGE_SHIFT"].value_(),
        struct_size=sizeof(page),
        vmemmap=vmemmap,
        kernel_half=kernel_half(vmcoreinfo, vmemmap),
        flags=_offset(page, "flags"),
        mapping=member(page, "mapping"),
        private=member(page, "private"),
        page_type=_offset(page, "memdesc" if memdesc else "page_type"),
        refcount=member(page, "_refcount"),
        compound=member(page, "compound_info", "compound_head"),
        # Since Linux kernel commit acc53a0b4c15 ("mm: rename page->index to page->__folio_index")
        # (in v6.16).
        index=member(page, "__folio_index", "index"),
        memcg=_offset_if_any(page, "memcg_data", "mem_cgroup"),
        flag_bits=_flag_bits(flags),
        zone_field=zone_field,
        node_field=node_field,
        device_zone=device_zone,
        page_pool=_page_pool(prog, page),
        frozen=_frozen(prog, scheme),
        scheme=scheme,
        order=_order(prog, page),
        large_mapcount=_tail_field(prog, page, "_large_mapcount", ""),
        entire_mapcount=_tail_field(prog, page, "_entire_mapcount", "compound_mapcount"),
        nr_pages_mapped=_tail_field(prog, page, "_nr_pages_mapped", ""),
        pincount=_tail_field(prog, page, "_pincount", "compound_pincount"),
        compound_mask=compound_mask,
        fake_heads=not compound_mask and not memdesc,
        slab=_slab(scheme, flags, _offset(page, "flags")),
        hugetlb=_hugetlb(prog, scheme, page, flags),
        movable_tag=not new_movable,
        resets=new_movable,
        swapcache=_swapcache(flags),
        trylock=_trylock(page),
        slab_cache=_overlaid(prog, page, "slab", "slab_cache", before="slab_cache"),
        slab_counters=_overlaid(prog, page, "slab", "counters", before="counters"),
        pp=_overlaid(prog, page, "netmem_desc", "pp", before="pp"),
        zspage=_overlaid(prog, page, "zpdesc", "zspage", before="private"),
    )
