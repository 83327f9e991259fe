# SPDX-License-Identifier: GPL-2.0-only
"""The table of kinds: which of them own pages of which uses, in every layout."""

from dataclasses import fields, replace

import numpy as np
import pytest
from synthetic import MEMDESC, MODERN, OLD, SCHEMES, VMEMMAP
from vmcoreinfo_texts import EARLY, ONLINE, PRESENT, program_with_sections, vmcoreinfo_of

from pageinspect.classify import CODES, use_name, use_names
from pageinspect.classify.uses import RULES, USE, USE_CODES
from pageinspect.layout import build_layout
from pageinspect.model.layout import PageLayout
from pageinspect.owners.kind import Kind
from pageinspect.owners.structures import Structures
from pageinspect.owners.table import KINDS, NOBODY, NUMBER, kinds_of_uses, may_claim

KERNELS = ("6.1", "6.12", "7.x")
CLAIMED_ONLY = {"reserved", "mapped", "kernel", "idle"}
"""Uses of pages that structures may claim, and that are unknown otherwise."""


def from_vmcoreinfo(kernel: str) -> PageLayout:
    info = vmcoreinfo_of(kernel)
    maps = {0: VMEMMAP | PRESENT | 2 | ONLINE | EARLY}
    return build_layout(program_with_sections(info, maps), info)


LAYOUTS = {
    "modern": MODERN,
    "old": OLD,
    "memdesc": MEMDESC,
    **{name: replace(MODERN, scheme=scheme) for name, scheme in SCHEMES.items()},
    **{f"vmcoreinfo {kernel}": from_vmcoreinfo(kernel) for kernel in KERNELS},
}
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def owners_of(layout: PageLayout) -> dict[str, str | None]:
    """Return the kind that owns the pages of each use that the layout has."""
    kinds = kinds_of_uses(layout).tolist()
    return {
        use: None if kinds[code] == NOBODY else KINDS[kinds[code]].name
        for use, code in codes(layout).items()
    }


def codes(layout: PageLayout) -> dict[str, int]:
    """Return the code of each use that pages can have, other than several types at once."""
    # A type may have the name of a use, as anon of the memdesc scheme does.
    every = [*USE.values(), *range(CODES)]
    known = {use_name(layout, code): code for code in every}
    return {use: known[use] for use in use_names(layout)}


@every_layout
def test_every_use_has_a_kind_or_is_for_those_that_claim(name: str) -> None:
    found = owners_of(LAYOUTS[name])
    assert {use for use, kind in found.items() if kind is None} == CLAIMED_ONLY & set(found)
    same = {"slab", "hugetlb", "table", "offline", "page_pool", "zsmalloc", "shmem", "file", "anon"}
    same |= {"large_kmalloc", "unreadable"}
    other = {
        "movable_ops": "zsmalloc",
        "ksm": "anon",
        "swapcache": "anon",
        "buddy": "free",
        "pcp": "free",
        "conflict": "damaged",
        "hwpoison": "damaged",
        "zone_device": "device",
    }
    assert {use: kind for use, kind in found.items() if kind} == {
        use: other.get(use, use if use in same else "typed") for use in set(found) - CLAIMED_ONLY
    }


@every_layout
def test_every_code_has_a_kind_of_the_table(name: str) -> None:
    kinds = kinds_of_uses(LAYOUTS[name])
    assert kinds.shape == (USE_CODES,)
    assert ((kinds >= NOBODY) & (kinds < len(KINDS))).all()
    assert (kinds[:CODES] != NOBODY).all()


@pytest.mark.parametrize("name", ["4.18", "5.0", "5.11", "6.9", "6.10", "6.11"])
def test_a_page_with_several_types_belongs_to_the_first_kind(name: str) -> None:
    scheme = SCHEMES[name]
    layout = replace(MODERN, scheme=scheme)
    kinds = kinds_of_uses(layout)

    slots = {each.name: each.slot for each in scheme.types}

    def kind_of(*types: str) -> str:
        return KINDS[kinds[sum(slots[each] for each in types)]].name

    assert kind_of("table") == "table"
    assert kind_of("buddy", "table") == kind_of("table", "buddy") == "free"
    other = next(each for each in ("guard", "kmemcg") if each in slots)
    assert kind_of("table", other) == "table"
    assert kind_of(other) == "typed"


@every_layout
def test_a_kind_may_claim_its_own_uses_and_those_that_it_names(name: str) -> None:
    layout = LAYOUTS[name]
    for kind in KINDS:
        allowed = may_claim(layout, NUMBER[kind.name])
        for use, code in codes(layout).items():
            assert allowed[code] == (use in kind.may_claim or use in kind.owns), (kind.name, use)


def test_names_of_kinds_are_distinct_and_every_use_is_owned_once() -> None:
    assert len(NUMBER) == len(KINDS)
    owned = [use for kind in KINDS for use in kind.owns]
    assert len(set(owned)) == len(owned)
    assert CLAIMED_ONLY | {"type"} == {rule.use for rule in RULES} - set(owned)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_kind_is_described_by_what_it_declares(kind: Kind) -> None:
    structures = {each.name for each in fields(Structures)}
    assert kind.sentence.endswith(".")
    assert kind.source.endswith(".")
    assert not kind.limits or kind.limits.endswith(".")
    assert set(kind.needs) <= structures
    assert (kind.claims is not None) == bool(kind.needs)
    assert bool(kind.may_claim) == (kind.claims is not None)
    assert set(kind.may_claim) <= CLAIMED_ONLY
    assert not (kind.exact and kind.rest)
    assert not kind.member or hasattr(MODERN, kind.member)
    assert all(commit.startswith("Since Linux kernel commit ") for commit in kind.commits)
    assert not any(commit.endswith(".") for commit in kind.commits)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.claims], ids=lambda kind: kind.name)
def test_a_kind_without_its_structures_claims_nothing(kind: Kind) -> None:
    assert kind.claims is not None
    claims = kind.claims(Structures())
    assert len(claims) == 0
    assert not (claims.at(np.arange(4)) >= 0).any()
