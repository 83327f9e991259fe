# SPDX-License-Identifier: GPL-2.0-only
"""Processes of anonymous pages, in memory made by hand."""

import pytest
from kernel_by_hand import BASE, Kernel
from owner_builder import Areas

from pageinspect.kernel.owner_names import anon
from pageinspect.kernel.owner_names.anon import AnonOwners
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_names import AnonOwner

BEYOND = BASE + (1 << 30)
TAG = 1


def test_each_mm_once_and_that_of_the_maker_first() -> None:
    areas = Areas()
    word = areas.anon(10, 20, 20, 30, own=1) + TAG
    found = areas.owner(word)
    assert (found.mms[0], sorted(found.mms)) == (20, [10, 20, 30])
    assert (found.cut, found.form) == (False, "anon")


def test_a_page_of_ksm_and_one_without_processes() -> None:
    areas = Areas()
    assert areas.owner(BASE + 3) == AnonOwner((), cut=False, form="ksm")
    assert areas.owner(areas.anon() + TAG) == AnonOwner((), cut=False, form="anon")


def test_damage_is_counted() -> None:
    areas = Areas()
    no_area = areas.kernel.make(areas.anon_type)
    areas.kernel.set(areas.anon_type, no_area, "rb_root.rb_root.rb_node", areas.chain(BEYOND))
    no_chain = areas.kernel.make(areas.anon_type)
    areas.kernel.set(areas.anon_type, no_chain, "rb_root.rb_root.rb_node", BEYOND)
    reader = AnonOwners(areas.kernel.prog)
    words = [each + TAG for each in (BEYOND, no_area, no_chain)]
    assert [owner.form for owner in reader.owners(words)] == ["unreadable"] * 3
    assert reader.unreadable == 3


def test_a_tree_that_leads_round_and_one_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    areas = Areas()
    area = areas.kernel.make(areas.vma_type, vm_mm=7)
    first = areas.chain(area)
    second = areas.chain(area, left=first)
    areas.kernel.set(areas.chain_type, first - 24, "rb.rb_right", second)
    ring = areas.kernel.make(areas.anon_type)
    areas.kernel.set(areas.anon_type, ring, "rb_root.rb_root.rb_node", first)
    assert areas.owner(ring + TAG) == AnonOwner((7,), cut=True, form="anon")
    monkeypatch.setattr(anon, "_MAX_MMS", 3)
    assert areas.owner(areas.anon(*range(1, 4)) + TAG).cut is False
    many = areas.owner(areas.anon(*range(1, 50)) + TAG)
    assert (len(many.mms), many.cut) == (3, True)


@pytest.mark.parametrize(
    ("owner", "label"),
    [
        (AnonOwner((1,), cut=False, form="anon"), "a[1]"),
        (AnonOwner((9, 2, 1), cut=False, form="anon"), "b[2] and 2 more"),
        (AnonOwner((2, 1), cut=True, form="anon"), "b[2] and 1+ more"),
        (AnonOwner((1,), cut=True, form="anon"), "a[1] and 0+ more"),
        (AnonOwner((9,), cut=False, form="anon"), "1 process"),
        (AnonOwner((8, 9), cut=True, form="anon"), "2+ processes"),
        (AnonOwner((), cut=False, form="anon"), "0 processes"),
        (AnonOwner((), cut=False, form="ksm"), "KSM"),
        (AnonOwner((), cut=False, form="unreadable"), "unreadable"),
    ],
)
def test_labels(owner: AnonOwner, label: str) -> None:
    assert owner.label({1: "a[1]", 2: "b[2]"}) == label


def test_a_kernel_without_the_types() -> None:
    with pytest.raises(MissingStructureError, match="anonymous memory areas"):
        AnonOwners(Kernel().prog)
