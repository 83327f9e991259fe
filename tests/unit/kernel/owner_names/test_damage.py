# SPDX-License-Identifier: GPL-2.0-only
"""Readers of owners' names on memory with random damage: they raise nothing, and end."""

import random

import numpy as np
import pytest
from file_builder import TMPFS_MAGIC, Files
from kernel_by_hand import BASE, Kernel
from owner_builder import Areas, Cgroups, PagePools, Slabs, ZsPools, counters

from pageinspect.kernel.owner_names.anon import AnonOwners
from pageinspect.kernel.owner_names.cgroups import MemoryCgroupNames
from pageinspect.kernel.owner_names.files import FileNames
from pageinspect.kernel.owner_names.page_pools import PagePoolNames
from pageinspect.kernel.owner_names.zsmalloc import ZsmallocPools

START = 0x1000
TOP = (1 << 64) - 1


def damage(kernel: Kernel, rng: random.Random) -> int:
    """Overwrite some words; return a word that leads anywhere."""
    end = kernel._next

    def anything() -> int:
        near = BASE + (rng.randrange(START, end) & ~7)
        return rng.choice([0, 1, near, rng.getrandbits(64), rng.getrandbits(20), TOP, TOP - 4000])

    for _ in range(rng.choice([1, 3, 20, 100])):
        kernel.write(BASE + (rng.randrange(START, end) & ~7), anything().to_bytes(8, "little"))
    return anything()


@pytest.fixture(params=range(40))
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)  # noqa: S311 - to be repeated


@pytest.mark.parametrize("mount_lists", [False, True])
def test_files(rng: random.Random, mount_lists: bool) -> None:
    files = Files(Kernel(), mount_lists=mount_lists)
    disk = files.file_system("ext4", "vda")
    memory = files.file_system("tmpfs", "tmpfs", TMPFS_MAGIC)
    top = files.mount(disk, files.root(disk))
    directory = files.directory(files.root(disk), "a", "b")
    files.mount(memory, files.root(memory), top, directory)
    mappings = [files.file(sb, number) for number, sb in enumerate((disk, memory) * 2)]
    for mapping, parent in zip(
        mappings, (directory, files.root(memory), directory, 0), strict=True
    ):
        files.name(mapping, "f", parent)
        files.name(mapping, "memfd:f")
    words = [*mappings, damage(files.kernel, rng)]
    assert len(FileNames(files.kernel.prog).names(words)) == len(words)


def test_anon(rng: random.Random) -> None:
    areas = Areas()
    words = [areas.anon(1, 2, 3, 4, 5) + 1 for _ in range(3)]
    words.append(damage(areas.kernel, rng))
    assert len(AnonOwners(areas.kernel.prog).owners(words)) == len(words)


def test_cgroups(rng: random.Random) -> None:
    cgroups = Cgroups()
    words = [cgroups.memcg("a", "b"), cgroups.objcg(cgroups.memcg("c"))]
    words.append(damage(cgroups.kernel, rng))
    assert len(MemoryCgroupNames(cgroups.kernel.prog).names(words)) == len(words)


@pytest.mark.parametrize("network", [False, True])
def test_page_pools(rng: random.Random, network: bool) -> None:
    pools = PagePools(network=network)
    words = [pools.pool(), pools.pool()]
    words.append(damage(pools.kernel, rng))
    assert len(PagePoolNames(pools.kernel.prog).names(words)) == len(words)


def test_zsmalloc(rng: random.Random) -> None:
    pools = ZsPools()
    pool = pools.pool("zram0", 4)
    zspages = [pools.kernel.make(pools.zspage_type, pool=pool) for _ in range(4)]
    words = np.array([*zspages, damage(pools.kernel, rng)], np.uint64)
    reader = ZsmallocPools(pools.kernel.prog)
    assert len(reader.names(reader.pools(words))) == len(words)


@pytest.mark.parametrize("form", ["pointers", "elements", "stride", "in_object"])
def test_slab_objects(rng: random.Random, form: str) -> None:
    slabs = Slabs(form)
    cache = slabs.cache(96)
    rows = [(cache, slabs.vector(BASE, BASE), counters(2, rng.getrandbits(32))) for _ in range(3)]
    word = damage(slabs.kernel, rng)
    found = slabs.charged(*rows, (word, word, word), (cache, TOP, rng.getrandbits(64)))
    assert len(found.words) == len(found.bytes)
