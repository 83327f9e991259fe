# SPDX-License-Identifier: GPL-2.0-only
"""The kernel of a snapshot, in the form that reports need: names of types, uses and zones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..classify import UNTYPED, Code, code_name
from ..classify.uses import USE
from ..errors import PageInspectError
from ..model.arch import MOST_PFNS, SECTION_PFNS
from ..model.layout import BitField, Marker, PageLayout
from ..model.memory_map import MemoryMap
from ..model.page_types import SLOTS
from ..model.provenance import SnapshotMoment
from ..model.ranges import Range
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import Snapshot
from ..units import printable

MOST_ZONES = 1 << 8
MOST_NODES = 1 << 16
SECTION_ORDER = SECTION_PFNS.bit_length() - 1


def damaged(what: str) -> PageInspectError:
    """Return the error for a snapshot whose tables contradict themselves or each other."""
    return PageInspectError(
        f"the snapshot is damaged: {what}", "copy it again from where it comes from"
    )


def unknown_name(what: str, name: str) -> PageInspectError:
    """Return the error for a name that this version does not know."""
    return PageInspectError(
        f"the {what} {name!r} of the snapshot is not known to this version",
        "a newer version wrote it: read it with that version",
    )


def kernel_of(snapshot: Snapshot, target: str = "") -> SavedKernel:
    """Return the kernel of a snapshot, with its host, time and `target` in the provenance.

    Raises PageInspectError, also if the kernel could not be read at the time.
    """
    error = snapshot.header("error")
    if error is not None:
        raise PageInspectError(
            f"the snapshot has no tables, because the kernel could not be read: {printable(error)}",
            "choose another snapshot: DATASET@TIME#HOST",
        )
    try:
        kernel = SavedKernel.from_json(snapshot.header("kernel"))
    except (ValueError, TypeError):
        raise damaged("the column kernel of the table snapshots") from None
    if not _is_possible(kernel):
        raise damaged("the zones of its kernel")
    moment = SnapshotMoment(snapshot.host, snapshot.time)
    return replace(kernel, provenance=replace(kernel.provenance, snapshot=moment, target=target))


def _is_possible(kernel: SavedKernel) -> bool:
    """Return whether the numbers of zones and nodes are those of a kernel."""
    return (
        kernel.zone_mask < MOST_ZONES
        and kernel.node_mask < MOST_NODES
        and len(kernel.zone_names) <= kernel.zone_mask + 1
        and (kernel.pageblock_order or 0) <= SECTION_ORDER
        and all(
            zone.number <= kernel.zone_mask
            and zone.node <= kernel.node_mask
            and zone.start < zone.end <= MOST_PFNS
            for zone in kernel.zones
        )
    )


def layout_of(kernel: SavedKernel) -> PageLayout:
    """Return a layout with the names of a kernel. Its offsets are 0: there are no struct pages."""
    marks: dict[str, Any] = dict(kernel.markers)
    markers = {name: Marker(kind, 0, 0, 0) for name, kind in marks.items()}
    return PageLayout(
        page_shift=kernel.page_shift,
        struct_size=0,
        vmemmap=0,
        kernel_half=0,
        flags=0,
        mapping=None,
        private=None,
        page_type=0,
        refcount=None,
        compound=None,
        index=None,
        memcg=None,
        flag_bits=kernel.flags,
        zone_field=BitField(0, kernel.zone_mask),
        node_field=BitField(0, kernel.node_mask),
        device_zone=None,
        page_pool=None,
        frozen=kernel.frozen,
        scheme=kernel.scheme,
        order=None,
        large_mapcount=None,
        entire_mapcount=None,
        nr_pages_mapped=None,
        pincount=None,
        compound_mask=False,
        fake_heads=False,
        slab=markers.get("slab"),
        hugetlb=markers.get("hugetlb"),
        movable_tag=False,
        resets=kernel.resets,
        unavailable=kernel.unavailable,
    )


def memory_map_of(kernel: SavedKernel, spanned: Sequence[Range]) -> MemoryMap:
    """Return the zones of a kernel, with the pfns that have a struct page."""
    return MemoryMap(tuple(spanned), kernel.zones, kernel.zone_names, devices=kernel.devices)


def type_codes(layout: PageLayout) -> dict[str, int]:
    """Return the code of each name of a type; that of untyped pages depends on their words."""
    codes: dict[str, int] = {}
    for code in (*range(SLOTS), Code.SLAB, Code.HUGETLB, Code.UNREADABLE):
        codes.setdefault(code_name(layout.scheme, code), code)
    return codes


UNTYPED_CODES = {name: code for code, name in UNTYPED.items()}
"""The codes of untyped pages by what their words have."""


def use_codes(layout: PageLayout) -> dict[str, int]:
    """Return the code of each name of a use. Types with the name of a use have that of the use."""
    return type_codes(layout) | {name: code for name, code in USE.items() if name != "type"}


def zone_number(kernel: SavedKernel, name: str) -> int | None:
    """Return the number of a zone in page flags by its name; None for an unknown name."""
    if name in kernel.zone_names:
        return kernel.zone_names.index(name)
    number = name.removeprefix("zone ")
    known = number.isdecimal() and len(number) <= 3 and int(number) <= kernel.zone_mask
    return int(number) if known else None
