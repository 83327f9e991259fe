"""The PageLayout of a kernel whose types are known: from DWARF or BTF alike, drgn has them.

It asks the kernel's own types for features (a member, an enumerator), never for a version.
"""

from collections.abc import Mapping

from drgn import Program, Type, offsetof, sizeof

from ..errors import PageInspectError
from ..model import page_types
from ..model.layout import BitField, Marker, OrderField, PageLayout, check_size
from ..model.page_types import Scheme
from ..target.vmcoreinfo import kernel_half


def _offset(type_: Type, *members: str) -> int:
    """Return the offset of the first of these members that the type has; newest name first."""
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
    """Return the same, or None where the type has none of them."""
    return next((int(offsetof(type_, m)) for m in members if _has(type_, m)), None)


def _has(type_: Type, member: str) -> bool:
    try:
        offsetof(type_, member)
    except LookupError:
        return False
    return True


def enumerators(prog: Program, enum: str) -> dict[str, int]:
    """Return the values of an enum by name; none where the kernel has no such enum."""
    try:
        found = prog.type(f"enum {enum}").enumerators
    except LookupError:
        return {}
    return {e.name: e.value for e in found or ()}


def _flag_bits(flags: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the flags of one page: each bit under its first name, aliases left out."""
    names: dict[int, str] = {}
    for name, bit in flags.items():
        if name.startswith("PG_"):
            names.setdefault(bit, name.removeprefix("PG_"))
    return tuple((name, bit) for bit, name in sorted(names.items()))


def _scheme_from_enum(types: Mapping[str, int], *, off_by_one: bool) -> Scheme | None:
    """Return the scheme that `enum pagetype` describes, 6.10 and later."""
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
    """Return the bit scheme of a kernel whose types are macros, up to 6.9."""
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

    Upstream has not merged it; the plan of its author is a struct page of 32 bytes: flags, memdesc,
    private and _refcount. Assumed is that the low four bits of memdesc are the type, with its name
    in an enum memdesc_type as MEMDESC_TYPE_x and 0 for none; that each page of a folio has the
    memdesc of its folio, so that there are no tails; that free blocks have a type, buddy, on their
    first page and their order in private; and that a page with a descriptor has no references of
    its own, for the descriptor counts them.
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
            "this kernel's struct page has a memdesc, and its types no MEMDESC_TYPE_BUDDY",
            "this kernel is newer than pageinspect: please report its release and this line",
        )
    return page_types.memdesc_scheme(values)


def _scheme(prog: Program, page: Type, vmcoreinfo: Mapping[str, str]) -> Scheme:
    if _has(page, "memdesc"):
        return _memdesc_scheme(prog)
    types = enumerators(prog, "pagetype")
    # The first kernels with the byte scheme (v6.12 to v6.14) compare the word minus one in
    # page_has_type(). Inline code leaves no trace in the types; large_kmalloc came with the next
    # release, so its absence is what tells them.
    off_by_one = "PGTY_large_kmalloc" not in types
    return _scheme_from_enum(types, off_by_one=off_by_one) or _scheme_from_facts(page, vmcoreinfo)


def _order(prog: Program, page: Type) -> OrderField | None:
    if _has(page, "memdesc"):
        # In the descriptor.
        return None
    size = sizeof(page)
    # Up to Linux kernel commit 1c5509be58f6 ("mm: remove 'First tail page' members from struct
    # page") (in v6.3) struct page itself has the member.
    if _has(page, "compound_order"):
        return OrderField(size + offsetof(page, "compound_order"), 0xFF)
    folio = prog.type("struct folio")
    # Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page")
    # (in v6.6) the order is the low byte of the first tail's flags.
    if _has(folio, "_folio_order"):
        return OrderField(offsetof(folio, "_folio_order"), 0xFF)
    return OrderField(_offset(folio, "_flags_1"), 0xFF)


def _tail_field(prog: Program, page: Type, folio_member: str, page_member: str) -> int | None:
    """Return the offset from the head of what large folios keep in their first tail page.

    Up to Linux kernel commit 1c5509be58f6 ("mm: remove 'First tail page' members from struct page")
    (in v6.3) struct page has the member, under another name.
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
    # Since Linux kernel commit 9c5ccf2db04b ("mm: remove HUGETLB_PAGE_DTOR") (in v6.6) a flag of
    # the first tail page.
    if "PG_hugetlb" in flags:
        bit = 1 << flags["PG_hugetlb"]
        return Marker("flag", sizeof(page) + _offset(page, "flags"), bit, bit)
    return None


def _location_fields(
    prog: Program, vmcoreinfo: Mapping[str, str]
) -> tuple[BitField, BitField, int | None]:
    """Return where flags keep the zone and the node, and which zone is ZONE_DEVICE.

    With SPARSEMEM_VMEMMAP the section takes no bits, so the node is at the top and the zone below.
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
    # PP_SIGNATURE is 0x40 + POISON_POINTER_DELTA; the two low bits belong to others. Since Linux
    # kernel commit ee62ce7a1d90 ("page_pool: Track DMA-mapped pages and unmap them when destroying
    # the pool") (in v6.16, and in stable releases) 32 bits from 7 up hold an index.
    try:
        indexed = _has(prog.type("struct page_pool"), "dma_mapped")
    except LookupError:
        return None
    mask = 0xFFFFFFFFFFFFFFFC & ~(((1 << 32) - 1) << 7 if indexed else 0)
    return mask, 0xDEAD000000000040


def _swapcache(flags: Mapping[str, int]) -> int | None:
    """Return the flags of a folio in the swap cache, as folio_test_swapcache() tests them.

    PG_swapcache is another name of PG_owner_priv_1, which others use for their own.
    """
    names = ("PG_swapcache", "PG_swapbacked")
    if not all(name in flags for name in names):
        return None
    return sum(1 << flags[name] for name in names)


def _trylock(page: Type) -> tuple[int, int] | None:
    # Since Linux kernel commit 8c57b687e833 ("mm, bpf: Introduce free_pages_nolock()") (in v6.15);
    # first with a member for the order, then in private.
    if not _has(page, "pcp_llist"):
        return None
    return int(offsetof(page, "pcp_llist")), _offset(page, "order", "private")


def _frozen(prog: Program, scheme: Scheme) -> tuple[str, ...]:
    """Return the types whose pages have no references by nature.

    Of a memdesc these are all types: see _memdesc_scheme().

    Since Linux kernel commit 9aec2fb0fd5e ("slab: allocate frozen pages") (in v6.14) slab pages are
    so too, and later those of large kmalloc.
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
    """Return the PageLayout of the kernel whose types `prog` knows.

    Raises PageInspectError when its struct page lacks what pageinspect must know.
    """
    page = prog.type("struct page")
    check_size(sizeof(page))
    flags = enumerators(prog, "pageflags")
    memdesc = _has(page, "memdesc")
    if ("PG_locked" if memdesc else "PG_head") not in flags:
        raise PageInspectError(
            "this kernel's types lack enum pageflags", "use its vmlinux with debug information: -s"
        )
    scheme = _scheme(prog, page, vmcoreinfo)
    # Since Linux kernel commit 8c846c879e22 ("mm: rework compound_head() for power-of-2
    # sizeof(struct page)") (in v7.1) a tail may hold a mask, and HVO needs no fake heads, which
    # came with Linux kernel commit e7d324850bfc ("mm: hugetlb: free the 2nd vmemmap page
    # associated with each HugeTLB page") (in v5.18).
    compound_mask = _has(page, "compound_info")
    # The series of Linux kernel commit 2dfcd1608f3a ("mm/page_alloc: let page freeing clear any set
    # page type") (in v6.17) also replaced the tag of mapping and PG_isolated by this flag.
    new_movable = "PG_movable_ops_isolated" in flags
    zone_field, node_field, device_zone = _location_fields(prog, vmcoreinfo)
    vmemmap = prog["vmemmap"].value_()
    # What describes a page may be elsewhere, with all that is not of each page.
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
    )
