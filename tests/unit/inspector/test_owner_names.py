# SPDX-License-Identifier: GPL-2.0-only
"""Names of owners by kind and key, of kernels with the structures and without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from owned_pages import OwnedPages
from synthetic import MODERN

from pageinspect.classify.uses import USE
from pageinspect.inspector import owner_names
from pageinspect.inspector.owner_names import OwnerNames
from pageinspect.model.owner_names import AnonOwner, OwnerName, PoolName
from pageinspect.model.processes import Mm, Process, Tasks
from pageinspect.owners.anon import KSM, SWAP_CACHE
from pageinspect.owners.assign import NO_LABEL
from pageinspect.owners.hugetlb import KEY_SHIFT
from pageinspect.owners.kind import Label, claims_of_pfns
from pageinspect.owners.structures import Structures
from pageinspect.owners.table import KINDS

MAPPING = 0xFFFF888000001001
TASKS = Tasks(
    (Process(7, "bash", 0, "/"), Process(8, "vfork", 0, "/"), Process(9, "sh", 1, "/")),
    (Mm(0x100, 1, None, ""), Mm(0x200, 2, None, "")),
    (),
    (),
    0,
)


def names(kind: str, *keys: int, structures: Structures | None = None) -> list[str]:
    found, problems = named(OwnedPages(), kind, *keys, structures=structures)
    assert problems == ()
    return [name.name for name in found]


def named(
    made: OwnedPages, kind: str, *keys: int, structures: Structures | None = None
) -> tuple[list[OwnerName], tuple[str, ...]]:
    reader = OwnerNames(made.inspector(), structures or Structures(), {})
    found = reader.names(kind, keys)
    return found, tuple(reader.problems)


@dataclass
class Reader:
    """Stands for a class that reads names."""

    answers: Sequence[Any]
    unreadable: int = 0

    def names(self, _keys: Any) -> Any:
        return self.answers

    owners = pools = names


def test_names_by_the_value_of_the_key() -> None:
    assert names("free", USE["buddy"], USE["pcp"]) == ["buddy", "pcp"]
    assert names("damaged", USE["conflict"], USE["hwpoison"]) == ["conflict", "hwpoison"]
    guard = next(each.slot for each in MODERN.scheme.types if each.name == "guard")
    assert names("typed", guard, 0xF9) == ["guard", "type_0xf9"]
    assert names("large_kmalloc", 2, 3) == ["order 2", "order 3"]
    assert names("device", 0) == [""]
    assert names("unreadable", 0) == [""]


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_no_keys_need_no_structures(kind: str) -> None:
    assert named(OwnedPages(), kind) == ([], ())


def test_labels_of_claims() -> None:
    claims = claims_of_pfns([(Label("a", "caller"), np.array([1])), (Label("b"), np.array([2]))])
    reader = OwnerNames(OwnedPages().inspector(), Structures(), {"table": claims})
    assert reader.names("table", [1, NO_LABEL, 0]) == [
        OwnerName("b"),
        OwnerName("(no process)"),
        OwnerName("a", "caller"),
    ]
    # Without structures page tables are still found, by their type.
    assert names("table", 0) == [""]


def test_anonymous_memory_has_the_names_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = [
        AnonOwner((0x200, 0x100), cut=False, form="anon"),
        AnonOwner((0x100,), cut=False, form="anon"),
        AnonOwner((0x300,), cut=False, form="anon"),
        AnonOwner((), cut=False, form="unreadable"),
    ]
    monkeypatch.setattr(owner_names, "AnonOwners", lambda _: Reader(owners, 1))
    keys = [MAPPING + 16 * i for i in range(4)]
    found, problems = named(
        OwnedPages(), "anon", KSM, *keys, SWAP_CACHE, structures=Structures(tasks=TASKS)
    )
    assert [name.name for name in found] == [
        *("(KSM)", "sh[9] and 1 more", "bash[7]", "1 process", "unreadable", "(swap cache)")
    ]
    assert problems == ("names of anonymous memory: 1 could not be read",)


def test_what_needs_no_structures_has_a_name_without_them() -> None:
    assert names("anon", KSM, SWAP_CACHE) == ["(KSM)", "(swap cache)"]
    made = OwnedPages()
    made.kernel._types.clear()
    free = 9 << KEY_SHIFT
    found, problems = named(made, "hugetlb", free, free | MAPPING & (1 << KEY_SHIFT) - 1)
    assert [name.name for name in found] == ["2 MiB, free", "2 MiB, private mapping"]
    assert problems == ()


def test_hugetlb_pages_of_files() -> None:
    made = OwnedPages()
    pfn = made.file("huge", 1)[0]
    mapping = int(made.memory.words[pfn, MODERN.mapping // 8])
    key = 18 << KEY_SHIFT | mapping & (1 << KEY_SHIFT) - 1
    found, _ = named(made, "hugetlb", key, 18 << KEY_SHIFT)
    assert found == [OwnerName("1 GiB, /huge", "", "ext4 on vda"), OwnerName("1 GiB, free")]


@pytest.mark.parametrize(
    "kind", ["slab", "file", "shmem", "anon", "hugetlb", "page_pool", "zsmalloc"]
)
def test_a_kernel_without_the_types_has_unreadable_names(kind: str) -> None:
    made = OwnedPages()
    made.kernel._types.clear()
    key = 0xFFFF888000001000 if kind != "anon" else MAPPING
    found, problems = named(made, kind, key, key + 64)
    assert [name.name for name in found] == ["unreadable"] * 2
    (problem,) = problems
    assert problem.startswith(f"names of {kind}: this kernel has no known ")


@pytest.mark.parametrize("number", [1, 3])
def test_pools(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = [PoolName(i, f"pool-{i}", None) for i in range(number)]
    monkeypatch.setattr(owner_names, "PagePoolNames", lambda _: Reader(pools, 2))
    found, problems = named(OwnedPages(), "page_pool", *range(number))
    assert [name.name for name in found] == [f"pool-{i}" for i in range(number)]
    assert problems == ("names of page pools: 2 could not be read",)


def test_zspages_of_one_pool_have_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zsmalloc:
        unreadable = 0

        def __init__(self, _prog: Any) -> None:
            pass

        def pools(self, keys: np.ndarray) -> np.ndarray:
            return keys // np.uint64(0x1000)

        def names(self, addresses: np.ndarray) -> list[PoolName]:
            assert len(set(addresses.tolist())) == len(addresses)
            return [PoolName(a, f"zram{a}", None) for a in addresses.tolist()]

    monkeypatch.setattr(owner_names, "ZsmallocPools", Zsmalloc)
    assert names("zsmalloc", 0x2010, 0x1020, 0x2030) == ["zram2", "zram1", "zram2"]


def test_unreadable_names_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_names, "PagePoolNames", lambda _: Reader([], 2))
    reader = OwnerNames(OwnedPages().inspector(), Structures(), {})
    reader.names("page_pool", [1])
    reader.names("page_pool", [2])
    assert reader.problems == ("names of page pools: 4 could not be read",)


def test_vmcoreinfo_alone_names_what_needs_only_the_key() -> None:
    made = OwnedPages(layout=replace(MODERN, unavailable=("page_pool",)))
    for kind, key, name in (
        ("file", MAPPING, ""),
        ("anon", SWAP_CACHE, ""),
        ("slab", MAPPING, ""),
        ("free", USE["pcp"], "pcp"),
        ("large_kmalloc", 2, "order 2"),
    ):
        assert named(made, kind, key) == ([OwnerName(name)], ())


def test_offline_memory_of_a_kernel_whose_counters_cannot_be_read() -> None:
    found, problems = named(OwnedPages(), "offline", 0)
    assert [name.name for name in found] == ["unreadable"]
    assert len(problems) == 1
