# SPDX-License-Identifier: GPL-2.0-only
"""Names the owners of counted pages, by kind and key."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from drgn import FaultError

from ..classify import use_name
from ..errors import PageInspectError
from ..kernel.counters import read_counters
from ..kernel.hugetlb_pools import read_hugetlb_pools
from ..kernel.owner_names.allocations import AllocationNames
from ..kernel.owner_names.anon import AnonOwners
from ..kernel.owner_names.cgroups import MemoryCgroupNames
from ..kernel.owner_names.files import FileNames
from ..kernel.owner_names.page_pools import PagePoolNames
from ..kernel.owner_names.slab_caches import SlabCacheNames
from ..kernel.owner_names.zsmalloc import ZsmallocPools
from ..kernel.structures import MissingStructureError
from ..model.allocations import is_site
from ..model.kernel_memory import Modules
from ..model.owner_names import NAMED_BY_VALUE, UNREADABLE, FileName, OwnerName
from ..model.page_words import MAPPING_ANON
from ..owners.anon import KSM, SWAP_CACHE
from ..owners.assign import NO_LABEL
from ..owners.hugetlb import KEY_SHIFT, parts_of
from ..owners.kind import Claims, Label
from ..owners.page_table import NO_PROCESS
from ..owners.signatures import signature_text
from ..owners.structures import Structures
from ..units import number, size
from .inspector import Inspector

Namer = Callable[[Sequence[int]], list[OwnerName]]
"""Returns the names for keys of one kind."""


class OwnerNames:
    """Names owners of one kernel."""

    def __init__(
        self, inspector: Inspector, structures: Structures, claims: Mapping[str, Claims]
    ) -> None:
        self._inspector = inspector
        self._prog = inspector.target.prog
        self._structures = structures
        self._claims = claims
        self._missing: list[str] = []
        self._unreadable: Counter[str] = Counter()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing of the names so far, as sentences without a full stop."""
        unreadable = self._unreadable.items()
        mounts = self._file_names.unreadable_mounts if "_file_names" in self.__dict__ else 0
        of_mounts = (
            f"mounts: {number(mounts)} could not be read, so that paths may begin at the root of "
            "their file system"
        )
        return (
            *self._missing,
            *(f"names of {what}: {number(n)} could not be read" for what, n in unreadable),
            *((of_mounts,) if mounts else ()),
        )

    def names(self, kind: str, keys: Sequence[int]) -> list[OwnerName]:
        """Return the name of the owner for each key of a kind."""
        if not keys:
            return []
        if self._inspector.layout.unavailable and kind not in NAMED_BY_VALUE:
            return [OwnerName("")] * len(keys)
        try:
            return self._namer(kind)(keys)
        except PageInspectError as error:
            self._missing.append(f"names of {kind}: {error}")
            return [OwnerName(UNREADABLE)] * len(keys)

    def cgroups(self, words: Sequence[int]) -> list[str]:
        """Return the path of the cgroup for each memcg word; empty for pages without one."""
        try:
            found = MemoryCgroupNames(self._prog)
        except MissingStructureError as error:
            self._missing.append(f"names of cgroups: {error}")
            return [UNREADABLE] * len(words)
        names = found.names(words)
        self._report("cgroups", found.unreadable)
        return names

    def _namer(self, kind: str) -> Namer:
        if kind in self._claims:
            return self._labels(self._claims[kind].labels)
        return self._by_words().get(kind, _nameless)

    def _by_words(self) -> dict[str, Namer]:
        """Return the functions for kinds whose owners are found in struct pages."""
        layout = self._inspector.layout
        by_use = _plain(lambda use: use_name(layout, use))
        return {
            "free": by_use,
            "damaged": by_use,
            "typed": by_use,
            "large_kmalloc": self._sites_or(lambda order: f"order {order}"),
            "unknown": self._sites_or(lambda key: signature_text(layout, key)),
            "slab": self._slab_caches,
            "file": self._files,
            "shmem": self._files,
            "anon": self._processes,
            "hugetlb": self._hugetlb,
            "page_pool": self._page_pools,
            "zsmalloc": self._zsmalloc_pools,
            "offline": self._offline_drivers,
        }

    @staticmethod
    def _labels(labels: Sequence[Label]) -> Namer:
        def named(keys: Sequence[int]) -> list[OwnerName]:
            return [OwnerName(NO_PROCESS) if k == NO_LABEL else OwnerName(*labels[k]) for k in keys]

        return named

    def _sites_or(self, text: Callable[[int], str]) -> Namer:
        """Return a function that names sites of allocations, and other keys by their values."""

        def named(keys: Sequence[int]) -> list[OwnerName]:
            sites = AllocationNames(self._prog, self._structures.modules or Modules())
            found = [sites.name(key) if is_site(key) else text(key) for key in keys]
            self._report("allocations", sites.unreadable)
            return [OwnerName(name) for name in found]

        return named

    def _slab_caches(self, keys: Sequence[int]) -> list[OwnerName]:
        caches = SlabCacheNames(self._prog)
        found = [OwnerName(name) for name in caches.names(keys)]
        self._report("slab caches", caches.unreadable)
        return found

    @cached_property
    def _file_names(self) -> FileNames:
        return FileNames(self._prog)

    def _files(self, keys: Sequence[int]) -> list[OwnerName]:
        files = self._file_names
        before = files.unreadable
        found = [OwnerName(file.path, "", _file_system(file)) for file in files.names(keys)]
        self._report("files", files.unreadable - before)
        return found

    def _processes(self, keys: Sequence[int]) -> list[OwnerName]:
        special = {SWAP_CACHE: "(swap cache)", KSM: "(KSM)"}
        words = [key for key in keys if key not in special]
        texts = {**special, **(self._anonymous(words) if words else {})}
        return [OwnerName(texts[key]) for key in keys]

    def _anonymous(self, words: Sequence[int]) -> dict[int, str]:
        anon = AnonOwners(self._prog)
        names = [owner.label(self._process_names) for owner in anon.owners(words)]
        self._report("anonymous memory", anon.unreadable)
        return dict(zip(words, names, strict=True))

    @cached_property
    def _process_names(self) -> dict[int, str]:
        """The name of the process of each mm, by the address of its struct mm_struct."""
        tasks = self._structures.tasks
        if tasks is None:
            return {}
        names: dict[int, str] = {}
        for process in tasks.processes:
            if process.mm is not None:
                names.setdefault(tasks.mms[process.mm].address, f"{process.comm}[{process.pid}]")
        return names

    def _hugetlb(self, keys: Sequence[int]) -> list[OwnerName]:
        page_size = self._inspector.layout.page_size
        parts = [parts_of(key) for key in keys]
        words = [mapping for _, mapping in parts if mapping and not mapping & MAPPING_ANON]
        files = dict(zip(words, self._files(words), strict=True)) if words else {}
        found = []
        for order, mapping in parts:
            file = files.get(mapping, OwnerName("private mapping" if mapping else "free"))
            found.append(file._replace(name=f"{size(page_size << order)}, {file.name}"))
        return found

    @cached_property
    def reserved_huge_pages(self) -> dict[int, int]:
        """Pages of free huge pages that are reserved for mappings, by the key of free ones."""
        try:
            pools, _ = read_hugetlb_pools(self._prog)
        except (MissingStructureError, FaultError):
            return {}
        return {pool.order << KEY_SHIFT: pool.reserved << pool.order for pool in pools}

    def _offline_drivers(self, keys: Sequence[int]) -> list[OwnerName]:
        """Name the drivers that may have these pages: struct page does not show which one."""
        counters = read_counters(self._prog)
        balloon = counters.items.get("NR_BALLOON_PAGES", counters.inflated)
        drivers = [*(("balloon",) if balloon else ()), *counters.offliners]
        return [OwnerName(" or ".join(drivers))] * len(keys)

    def _page_pools(self, keys: Sequence[int]) -> list[OwnerName]:
        pools = PagePoolNames(self._prog)
        found = [OwnerName(pool.name) for pool in pools.names(keys)]
        self._report("page pools", pools.unreadable)
        return found

    def _zsmalloc_pools(self, keys: Sequence[int]) -> list[OwnerName]:
        pools = ZsmallocPools(self._prog)
        addresses, at = np.unique(pools.pools(np.array(keys, np.uint64)), return_inverse=True)
        names = [OwnerName(pool.name) for pool in pools.names(addresses)]
        self._report("zsmalloc pools", pools.unreadable)
        return [names[i] for i in at.tolist()]

    def _report(self, what: str, unreadable: int) -> None:
        if unreadable:
            self._unreadable[what] += unreadable


def _file_system(file: FileName) -> str:
    return " on ".join(filter(None, (file.filesystem, file.device)))


def _plain(text: Callable[[int], str]) -> Namer:
    return lambda keys: [OwnerName(text(key)) for key in keys]


def _nameless(keys: Sequence[int]) -> list[OwnerName]:
    return [OwnerName("")] * len(keys)
