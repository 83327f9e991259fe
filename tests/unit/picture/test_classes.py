# SPDX-License-Identifier: GPL-2.0-only
"""Pages in classes: a name has one colour in every picture."""

from collections import Counter

import pytest
from compared_snapshots import snapshot
from drawn_memory import RUNS, each, memory

from pageinspect.classify.uses import RULES
from pageinspect.cli.commands import map as command
from pageinspect.errors import PageInspectError
from pageinspect.model.page_types import BITS_4_18, BITS_6_9
from pageinspect.model.snapshot import Snapshot
from pageinspect.owners.table import KINDS
from pageinspect.picture.classes import (
    BY,
    FREE,
    HATCHED,
    OTHER,
    UNREADABLE,
    classified,
    codes_of,
    family_of,
)


def test_the_command_offers_what_there_is() -> None:
    assert command._BY == BY


def test_classes_by_use_have_all_pages() -> None:
    found = classified([memory()], "use")
    pages = {name: 0 for _, _, name, _ in RUNS}
    for _, use in each():
        pages[use] += 1
    codes = {c.names: c.code for c in found.classes}
    assert codes[("buddy", "pcp")] == FREE
    assert codes[("unreadable",)] == UNREADABLE
    assert {c.names: c.pages for c in found.classes} == {
        ("buddy", "pcp"): (pages["buddy"] + pages["pcp"],),
        **{(name,): (n,) for name, n in pages.items() if name not in ("buddy", "pcp")},
    }
    # The largest first; then what has no hue.
    assert [c.names[0] for c in found.classes] == [
        "anon", "slab", "file", "reserved", "buddy", "unreadable",
    ]  # fmt: skip


def test_by_owner_pages_have_the_kind_of_their_owner() -> None:
    found = classified([memory()], "owner")
    names = {name for c in found.classes for name in c.names}
    assert names == {"boot", "anon", "file", "free", "slab", "unreadable"}
    assert {c.names: c.code for c in found.classes}[("free",)] == FREE


def test_a_name_has_one_colour_in_every_picture() -> None:
    names = ["vmalloc", "boot", "crashkernel", "offline", "idle", "zsmalloc", "static", "anon", "x"]
    codes = []
    for turn in range(len(names)):
        order = [*names[turn:], *names[:turn]]
        # Other names are the largest of each picture.
        runs = [(i * 100, 90 - i, name, 0) for i, name in enumerate(order)]
        for by in ("use", "type"):
            made = snapshot(runs)
            made.tables["runs"].columns["type"] = made.tables["runs"]["use"]
            found = classified([made], by)
            codes.append({name: c.code for c in found.classes for name in c.names})
        made = snapshot(
            [(i * 100, 90 - i, "kernel", i) for i in range(len(order))],
            [(i, name, "") for i, name in enumerate(order)],
        )
        found = classified([made], "owner")
        codes.append({name: c.code for c in found.classes for name in c.names})
    assert all(each == codes[0] for each in codes)
    assert codes[0]["x"] == codes[0]["idle"] == OTHER


def test_only_its_family_has_the_colour_of_a_usual_name() -> None:
    families = {
        "anon": {"ksm", "swapcache"},
        "file": set(),
        "slab": {"large_kmalloc"},
        "hugetlb": set(),
        "shmem": set(),
        "table": set(),
    }
    hatched = {
        "ksm", "swapcache", "large_kmalloc", "offline", "balloon", "crashkernel", "zsmalloc",
        "page_pool", "block", "trace", "guard", "unaccepted",
    }  # fmt: skip
    known = {rule.use for rule in RULES} | {kind.name for kind in KINDS}
    codes = codes_of("use", {*known, *BITS_6_9, *BITS_4_18})
    for name, family in families.items():
        same = {each for each, code in codes.items() if family_of(code) == codes[name]}
        assert same == {name, *family}
    assert {name for name, code in codes.items() if code >= HATCHED} == hatched & codes.keys()
    # What is the kernel's own has a colour; what contradicts itself or is a riddle is other.
    others = {name for name, code in codes.items() if code == OTHER} - {"free"}
    assert others == {
        "conflict", "damaged", "device", "hwpoison", "idle", "mapped", "movable_ops", "typed",
        "type", "unknown", "zone_device",
    }  # fmt: skip


def test_two_snapshots_have_the_same_classes() -> None:
    before, after = memory(), memory([(0x10, 8, "zsmalloc", 0), (0x18, 8, "anon", 1)])
    found = classified([before, after], "use")
    by_name = {c.names[0]: c for c in found.classes}
    assert by_name["zsmalloc"].pages == (0, 8)
    assert by_name["slab"].pages == (0x80, 0)
    assert by_name["anon"].code in found.runs[1].codes.tolist()


ORDERED = {"order 0": 0, "orders 1-3": 1, "orders 4-8": 2, "order 9": 3, "orders 10+": 4}


def with_orders() -> tuple[Snapshot, list[int]]:
    """Return the memory with an order for each run; those of free blocks are 3 and 8."""
    made, orders = memory(), [0, 1, 2, 3, 5, 0, 9, 8, 18]
    made.tables["runs"]["order"][:] = orders
    return made, orders


@pytest.mark.parametrize("by", ["order", "free"])
def test_orders_of_folios_and_of_free_blocks_are_apart(by: str) -> None:
    made, orders = with_orders()
    names = [*ORDERED]
    groups = [next(i for i in (4, 3, 2, 1, 0) if n >= (0, 1, 4, 9, 10)[i]) for n in orders]
    expected: Counter[str] = Counter()
    for (_, n, use, _), group in zip(RUNS, groups, strict=True):
        is_free = use in ("buddy", "pcp")
        if use == "unreadable":
            expected[use] += n
        elif by == "order":
            expected["free" if is_free else names[group]] += n
        else:
            expected[names[group] if is_free else "in use"] += n
    found = classified([made], by)
    assert {c.names[0]: c.pages[0] for c in found.classes} == expected
    assert found.is_ordered
    codes = {c.names[0]: c.code for c in found.classes}
    neutral = {"order": ("free", FREE), "free": ("in use", OTHER)}[by]
    assert codes == {
        name: code
        for name, code in {**ORDERED, **dict([neutral]), "unreadable": UNREADABLE}.items()
        if name in expected
    }


def test_pages_of_the_wanted_pfns_alone_count() -> None:
    found = classified([memory()], "use", ((0x42, 0x44), (0x64, 0x67)))
    assert {c.names: c.pages for c in found.classes} == {
        ("anon",): (3,),
        ("file",): (1,),
        ("buddy",): (1,),
    }


def test_unknown_migratetypes_are_other_pages() -> None:
    (unknown, *_) = classified([memory()], "migratetype").classes
    assert (unknown.code, unknown.names) == (OTHER, ("unknown",))


def test_a_snapshot_without_the_table() -> None:
    with pytest.raises(PageInspectError, match="no table runs"):
        classified([snapshot(without=["runs"])], "use")
