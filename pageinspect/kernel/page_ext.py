# SPDX-License-Identifier: GPL-2.0-only
"""Reads who allocated pages from struct page_ext: page_owner, and allocation tags.

On x86_64, each memory section points to the records of its pages. Which records there are depends
on the kernel's configuration and command line; their order and size are in variables.

Since Linux kernel commit dcfe378c81f7 ("lib: introduce support for page allocation tagging") (in
v6.10), a record may have a reference to an allocation tag. Since Linux kernel commit 4835f747d334
("alloc_tag: support for page allocation tag compression") (in v6.13), the number of the tag may be
in the flags of struct page instead.
"""

from collections.abc import Iterator

import numpy as np
from drgn import FaultError, Program, offsetof, sizeof

from ..model.allocations import (
    ALLOCATED_AT,
    CompressedTags,
    PageAllocation,
    PageExt,
    Records,
    Sites,
)
from ..model.arch import ADDRESSES_OF_KERNEL, SECTION_PFNS
from ..model.kernel_memory import Pfns
from .members import Members
from .online import member, sections_with_pages
from .structures import read_variable, require_structure

_LARGEST = 1 << 12
"""Maximum size of a record; in 7.3 it is less than 200 bytes."""
_GAP = 32
"""Records of so many pages are read although they are not wanted, to read less often."""
_INVALID = 1
"""PAGE_EXT_INVALID: the records of a section are about to be freed."""
_FIRST_TAG = 2
"""CODETAG_ID_FIRST: lower numbers stand for no tag."""
_MOST_TAGS = 1 << 24
_WITHOUT_STACK = ("dummy_handle", "failure_handle", "early_handle")
"""Variables with the handles of stacks that stand for others, which could not be stored."""
_OWNER = {"order": "<u2", "gfp_mask": "<u4", "handle": "<u4", "pid": "<i4"}
_COMM = 16

_Fields = dict[str, tuple[str, int]]


def read_page_ext(prog: Program) -> PageExt | None:
    """Return where the records of pages are, or None if this kernel keeps no allocations.

    Raises MissingStructureError if it keeps them, but its types or variables are not known.
    """
    with require_structure("records of page_owner and allocation tags (struct page_ext)"):
        if not prog.type("struct mem_section").has_member("page_ext"):
            return None
        try:
            size = read_variable(prog, "page_ext_size")
            fields = dict(_fields(prog)) if size <= _LARGEST else {}
            compressed = _compressed(prog)
            firsts, sections = sections_with_pages(prog)
            bases = member(prog, sections, "page_ext")
        except FaultError:
            return None
        known = {name: (form, at) for name, (form, at) in fields.items() if _fits(form, at, size)}
        if not known and compressed is None:
            return None
        names, forms = list(known), [form for form, _ in known.values()]
        offsets = [at for _, at in known.values()]
        record = np.dtype(
            {"names": names, "formats": forms, "offsets": offsets, "itemsize": max(size, 1)}
        )
        bases = np.where(bases & np.uint64(_INVALID) == 0, bases, np.uint64(0))
        handles = tuple(_handle(prog, name) for name in _WITHOUT_STACK)
        allocated = prog.constant("PAGE_EXT_OWNER_ALLOCATED").value_() if "handle" in known else 0
    return PageExt(record, firsts, bases, allocated, handles, compressed)


def _fits(form: str, at: int, size: int) -> bool:
    return 0 <= at <= size - np.dtype(form).itemsize


def _fields(prog: Program) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield the name of each field with its format and offset.

    The offset of a client that does not need its record stays 0. page_owner needs the flags before
    it, and so its offset is not 0; allocation tags alone have no flags.
    """
    owner = _offset(prog, "page_owner_ops")
    if owner:
        members = Members(prog, "struct page_owner", *_OWNER, optional=("comm",))
        yield "flags", ("<u8", offsetof(prog.type("struct page_ext"), "flags"))
        for name, form in _OWNER.items():
            yield name, (form, owner + members.at[name])
        if "comm" in members:
            yield "comm", (f"S{_COMM}", owner + members.at["comm"])
    tags = _offset(prog, "page_alloc_tagging_ops")
    if tags is not None and (tags or not owner):
        yield "tag", ("<u8", tags)


def _offset(prog: Program, variable: str) -> int | None:
    """Return the offset of a client's part in each record; None without this client."""
    try:
        offset: int = prog[variable].offset.value_()
    except LookupError:
        return None
    return offset


def _handle(prog: Program, variable: str) -> int:
    try:
        return read_variable(prog, variable)
    except (LookupError, FaultError):
        return 0


def _compressed(prog: Program) -> CompressedTags | None:
    try:
        if prog["mem_profiling_compressed"].key.enabled.counter.value_() <= 0:
            return None
    except LookupError:
        return None
    tags = prog["kernel_tags"]
    shift, mask = (read_variable(prog, f"alloc_tag_ref_{name}") for name in ("offs", "mask"))
    first, count = tags.first_tag.value_(), tags.count.value_()
    if not 0 <= shift < 64 or count > _MOST_TAGS:
        return None
    of_modules = end = 0
    try:
        start = prog["module_tags"].start_addr.value_()
        of_modules, end = start, start + prog["module_tags"].size.value_()
    except LookupError:
        pass
    size = sizeof(prog.type("struct alloc_tag"))
    return CompressedTags(shift, mask, first, count, of_modules, end, size)


def read_sites(prog: Program, ext: PageExt, pfns: Pfns, flags: Sites) -> Sites:
    """Return the site of the allocation of each pfn, (n,) uint64; 0 where it is not known.

    A tag is preferred to a stack. Only the first page of an allocation has a tag. `flags` are those
    of the struct pages. Records that cannot be read are as those of free pages.
    """
    records = _records(prog, ext, pfns)
    found = np.zeros(len(pfns), np.uint64)
    if ext.has("handle"):
        handles = records["handle"]
        known = _are_allocated(ext, records)
        found[known] = handles[known].astype(np.uint64) | np.uint64(ALLOCATED_AT)
    tags = np.zeros(len(pfns), np.uint64)
    if ext.compressed is not None:
        tags = _tags_of_flags(ext.compressed, flags)
    elif ext.has("tag"):
        tags = records["tag"]
    return np.where(tags >= np.uint64(ADDRESSES_OF_KERNEL), tags, found)


def read_allocation(prog: Program, ext: PageExt, pfn: int) -> PageAllocation | None:
    """Return the allocation of a page by page_owner; None if it is not known."""
    records = _records(prog, ext, np.array([pfn]))
    if not ext.has("handle") or not _are_allocated(ext, records)[0]:
        return None
    record = records[0]
    comm = bytes(record["comm"]).partition(b"\0")[0] if ext.has("comm") else b""
    return PageAllocation(
        int(record["handle"]),
        int(record["order"]),
        int(record["gfp_mask"]),
        int(record["pid"]),
        comm.decode("utf-8", "replace"),
    )


def _are_allocated(ext: PageExt, records: Records) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    allocated = records["flags"] >> np.uint64(ext.allocated) & np.uint64(1) != 0
    wrong = np.isin(records["handle"], np.array([0, *ext.without_stack], np.uint32))
    return allocated & ~wrong


def _tags_of_flags(tags: CompressedTags, flags: Sites) -> Sites:
    numbers = flags >> np.uint64(tags.shift) & np.uint64(tags.mask)
    at = np.where(numbers >= _FIRST_TAG, numbers - np.uint64(_FIRST_TAG), np.uint64(0))
    size, count = np.uint64(tags.size), np.uint64(tags.count)
    of_kernel = np.uint64(tags.first) + at * size
    of_module = np.uint64(tags.of_modules) + (at - count) * size
    of_module = np.where(of_module < np.uint64(tags.modules_end), of_module, np.uint64(0))
    found = np.where(at < count, of_kernel, of_module)
    return np.where(numbers >= _FIRST_TAG, found, np.uint64(0))


def _records(prog: Program, ext: PageExt, pfns: Pfns) -> Records:
    """Return the record of each pfn, (n,); zeros for those that cannot be read."""
    # return_inverse gave wrong results in some guests that QEMU 7.2 emulates.
    wanted = np.unique(pfns)
    at = np.searchsorted(wanted, pfns)
    found = np.zeros(len(wanted), ext.record)
    if not len(wanted) or not len(ext.firsts) or not ext.record.names:
        return found[at]
    sections = np.searchsorted(ext.firsts, wanted, "right") - 1
    inside = (sections >= 0) & (wanted < ext.firsts[sections] + SECTION_PFNS)
    bases = np.where(inside, ext.bases[sections], np.uint64(0))
    addresses = bases + wanted.astype(np.uint64) * np.uint64(ext.record.itemsize)
    begins = np.append(True, (np.diff(wanted) > _GAP) | (bases[1:] != bases[:-1]))
    edges = np.append(np.flatnonzero(begins), len(wanted))
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        address, n = int(addresses[low]), int(wanted[high - 1] - wanted[low]) + 1
        if not bases[low] or address < ADDRESSES_OF_KERNEL:
            continue
        try:
            data = prog.read(address, n * ext.record.itemsize)
        except FaultError:
            continue
        found[low:high] = np.frombuffer(data, ext.record)[wanted[low:high] - wanted[low]]
    return found[at]
