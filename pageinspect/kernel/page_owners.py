# SPDX-License-Identifier: GPL-2.0-only
"""Names the owner of a page, by following the kernel's structures.

Each function raises one of UNREADABLE if the owner no longer exists, or a dump lacks its memory.
Names are untrusted text.
"""

from drgn import FaultError, Object, Program, offsetof
from drgn.helpers.linux.mmzone import decode_section_flags, nr_to_section

UNREADABLE = (FaultError, LookupError, AttributeError, TypeError, ValueError)


def _text(string: Object) -> str:
    # Longer text is not a valid name.
    address = string.value_()
    data: bytes = string.prog_.read_c_string(address, max_size=256)
    return data.decode("utf-8", "replace")


def page_offset_base(prog: Program) -> int:
    """Return the address of the direct map."""
    base: int = prog["page_offset_base"].value_()
    return base


def slab_cache(prog: Program, page: int) -> str:
    """Return the name of the slab cache of a page; `page` is the address of its struct page."""
    try:
        slab = Object(prog, "struct slab *", page)
    except LookupError:
        # Up to v5.16 struct page itself has the member.
        slab = Object(prog, "struct page *", page)
    return _text(slab.slab_cache.name)


def file_of(prog: Program, mapping: int) -> dict[str, str | int]:
    """Return file system, device, inode number and name of the file with this address_space."""
    inode = Object(prog, "struct address_space *", mapping).host
    if not inode:
        return {}
    found: dict[str, str | int] = {
        "filesystem": _text(inode.i_sb.s_type.name),
        "device": inode.i_sb.s_id.string_().decode("utf-8", "replace"),
        "inode": inode.i_ino.value_(),
    }
    first = inode.i_dentry.first
    if first:
        dentry = prog.type("struct dentry")
        address = first.value_() - _offset_in_dentry(prog)
        found["name"] = _text(Object(prog, dentry, address=address).d_name.name)
    return found


def _offset_in_dentry(prog: Program) -> int:
    """Return the offset of d_alias in struct dentry; it may be in a named or an unnamed union."""
    for member in ("d_u.d_alias", "d_alias"):
        try:
            return int(offsetof(prog.type("struct dentry"), member))
        except LookupError:
            continue
    raise LookupError("struct dentry has no d_alias")


def cgroup_name(prog: Program, memcg_data: int) -> str:
    """Return the name of the cgroup that a memcg_data word points to.

    The word points to a struct mem_cgroup, or to a struct obj_cgroup with a pointer to one,
    depending on kernel and page. A candidate is accepted if its css belongs to the memory
    controller.
    """
    address = memcg_data & ~7
    controller = prog.symbol("memory_cgrp_subsys").address
    for type_ in ("struct mem_cgroup *", "struct obj_cgroup *"):
        pointer = Object(prog, type_, address)
        memcg = pointer if "mem_cgroup *" in type_ else pointer.memcg
        try:
            if memcg.css.ss.value_() == controller:
                return _text(memcg.css.cgroup.kn.name) or "/"
        except FaultError:
            continue
    raise LookupError("it leads to no memory cgroup")


def section_flags(prog: Program, number: int) -> str:
    """Return the flags of a memory section, such as PRESENT|HAS_MEM_MAP|ONLINE|EARLY."""
    text: str = decode_section_flags(nr_to_section(prog, number))
    return text.replace("SECTION_", "").replace("IS_", "").replace("MARKED_", "").lower()


def hugetlb_flags(prog: Program, private: int) -> list[str]:
    """Return the names of the flags that hugetlb keeps in private."""
    enumerators = prog.type("enum hugetlb_page_flags").enumerators or ()
    return [e.name for e in enumerators if private >> e.value & 1 and not e.name.startswith("__")]
