# SPDX-License-Identifier: GPL-2.0-only
"""Objects of slabs by cgroup, in memory made by hand: each form of the vectors."""

import pytest
from kernel_by_hand import BASE, Kernel
from owner_builder import Slabs, counters

from pageinspect.kernel.owner_names import slab_objects
from pageinspect.kernel.owner_names.slab_objects import ChargedObjects, SlabObjects
from pageinspect.kernel.structures import MissingStructureError

BEYOND = BASE + (1 << 30)
A, B = BASE + 0x100, BASE + 0x200


def rows(found: ChargedObjects) -> dict[int, tuple[int, int]]:
    return {
        word: (n, size)
        for word, n, size in zip(
            found.words.tolist(), found.objects.tolist(), found.bytes.tolist(), strict=True
        )
    }


def test_pointers() -> None:
    slabs = Slabs("pointers")
    small, large = slabs.cache(64), slabs.cache(1000)
    found = slabs.charged(
        (small, slabs.vector(A, 0, B, A, A), counters(4)),
        (large, slabs.vector(B), counters(1)),
        (large, 0, counters(8)),
    )
    assert rows(found) == {A: (2, 128), B: (2, 1064)}
    assert found.unreadable == 0


def test_elements() -> None:
    slabs = Slabs("elements")
    vector = slabs.vector(A, B, A, step=16, at=8)
    assert rows(slabs.charged((slabs.cache(8), vector, counters(3)))) == {A: (2, 16), B: (1, 8)}


def test_a_stride_for_each_slab() -> None:
    slabs = Slabs("stride")
    cache = slabs.cache(96)
    near, far = slabs.vector(A, B), slabs.vector(A, A, step=96)
    found = slabs.charged((cache, near, counters(2, 8)), (cache, far, counters(2, 96)))
    assert rows(found) == {A: (3, 288), B: (1, 96)}


def test_words_in_the_objects_and_slabs_without() -> None:
    slabs = Slabs("in_object")
    cache = slabs.cache(96)
    near, far = slabs.vector(A, B), slabs.vector(A, A, step=96)
    found = slabs.charged(
        (cache, near, counters(2, 0b10)),
        (cache, far, counters(2, 0b11)),
        (cache, slabs.vector(B, B), counters(2, 0b00)),
    )
    assert rows(found) == {A: (3, 288), B: (1, 96)}


def test_damage_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slab_objects, "_MOST_AT_ONCE", 4)
    slabs = Slabs("pointers")
    cache = slabs.cache(64)
    good = (cache, slabs.vector(A, A, A), counters(3))
    found = slabs.charged(
        good, (BEYOND, slabs.vector(A), counters(1)), (cache, BEYOND | 1, counters(2)), good, good
    )
    assert rows(found) == {A: (9, 576)}
    assert found.unreadable == 3


def test_no_slabs() -> None:
    assert rows(Slabs("pointers").charged()) == {}


def test_kernels_whose_vectors_are_unknown() -> None:
    with pytest.raises(MissingStructureError, match="vectors of the cgroups"):
        SlabObjects(Kernel().prog)
    profiled = Slabs("in_object")
    profiled.union(_objcg=profiled.kernel.void_p, _ctref=profiled.kernel.ulong)
    with pytest.raises(MissingStructureError, match="allocation profiling"):
        SlabObjects(profiled.kernel.prog)
