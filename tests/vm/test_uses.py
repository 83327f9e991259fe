# SPDX-License-Identifier: GPL-2.0-only
"""Pages made on purpose have the use that they were made for, by the guest's own pagemap.

Of some, `page` names the cgroup, the file and the slab cache.
"""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from owned_guest import BALLOON, Owned
from places import DOCS

from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.model.kpageflags import Kpf
from pageinspect.target.open import open_target

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

EXAMPLES = DOCS / "examples"
GROUP = "/with ü"
"""A memory cgroup of the guest; a process in it has read a file of that name."""


@dataclass(frozen=True)
class Made:
    core: Path
    inspector: Inspector
    pfns: dict[str, list[int]]
    tables: tuple[int, int]
    """Page tables of the process before and after it made 512."""
    pipes: int
    """Pipes whose buffers the kernel keeps in 64 pages of large kmalloc each."""
    page_pool: int
    """Pages that a page_pool says it has in flight."""
    uses: np.ndarray
    """The name of the use of every pfn."""
    orders: np.ndarray
    owned: Owned


@pytest.fixture(scope="module")
def made(owned: Owned) -> Made:
    asked = inspect(open_target(owned.core))
    end = asked.memory_map.spanned[-1][1]
    uses, orders = np.full(end, "", object), np.zeros(end, np.uint8)
    for pages in asked.pages():
        names = {use: asked.use_name(use) for use in np.unique(pages.use).tolist()}
        uses[pages.pfns] = [names[use] for use in pages.use.tolist()]
        orders[pages.pfns] = pages.order
    told = owned.witness["uses"]
    return Made(
        owned.core,
        asked,
        told["pfns"],
        told["tables"],
        told["pipes"],
        told["page_pool"],
        uses,
        orders,
        owned,
    )


@pytest.mark.parametrize("use", ["anon", "ksm", "shmem", "file"])
def test_pages_of_a_process(made: Made, use: str) -> None:
    pfns = made.pfns[use]
    assert len(pfns) == 512
    found = {name: int((made.uses[pfns] == name).sum()) for name in set(made.uses[pfns])}
    assert found == {use: 512}
    if use == "ksm":
        assert len(set(pfns)) == 2


def test_transparent_huge_pages(made: Made) -> None:
    pfns = made.pfns["thp"]
    huge = [pfn for pfn in pfns if made.orders[pfn] == 9]
    assert len(huge) >= 512
    assert set(made.uses[huge]) == {"anon"}


def test_pages_counted_by_others(made: Made) -> None:
    counts = {name: int((made.uses == name).sum()) for name in set(made.uses)}
    zsmalloc = counts.get("zsmalloc", counts.get("movable_ops"))
    texts = made.owned.witness["texts"]
    used = [int(texts[f"/sys/block/zram{n}/mm_stat"].split()[2]) >> 12 for n in (0, 1)]
    assert zsmalloc == sum(used) > 1000
    assert counts["hugetlb"] == made.owned.meminfo["HugePages_Total"] * 512
    assert counts["offline"] == BALLOON // 4096
    assert counts["pcp"] == made.inspector.memory_map.pcp.counted
    assert made.inspector.memory_map.pcp.whole
    assert "conflict" not in counts
    assert sum(counts.values()) - counts.get("", 0) == made.inspector.memory_map.spanned_pages


def test_page_tables(made: Made) -> None:
    before, after = made.tables
    tables = int((made.uses == "table").sum())
    # Some are of the levels above.
    assert 512 <= after - before <= 520
    assert abs(tables - made.owned.vmstat["nr_page_table_pages"]) <= 32


def test_large_kmalloc(made: Made) -> None:
    typed = made.inspector.layout.scheme.find("large_kmalloc") is not None
    use = "large_kmalloc" if typed else "kernel"
    arrays = (made.uses == use) & (made.orders == 6)
    assert made.pipes == 16
    # A few more are buffers of files that are read from /proc.
    assert made.pipes <= int(arrays.sum()) // 64 <= made.pipes + 4


def test_page_pool(made: Made) -> None:
    # The frames that the program made, a page each; no device of the guest has a pool.
    assert made.page_pool == 512
    assert int((made.uses == "page_pool").sum()) == made.page_pool


def test_examples(made: Made) -> None:
    def output(script: str, *args: str) -> str:
        command = [sys.executable, str(EXAMPLES / script), str(made.core), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    types = {
        name: int(count) for count, name in map(str.split, output("types_by_range.py").splitlines())
    }
    assert types["offline"] == BALLOON // 4096
    assert sum(types.values()) == made.inspector.memory_map.spanned_pages
    first = output("largest_runs.py", "hugetlb").splitlines()[0].split()
    assert int(first[1]) % 512 == 0
    assert made.uses[int(first[0], 16)] == "hugetlb"


def page(core: Path, *addresses: object) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pageinspect", "page", "-c", core, "--format", "json"]
    done = subprocess.run(
        [*map(str, command), *map(str, addresses)], capture_output=True, text=True, check=True
    )
    pages: list[dict[str, Any]] = json.loads(done.stdout)["pages"]
    return pages


def test_pages_that_the_guest_named(made: Made) -> None:
    flags, groups, counts = map(made.owned.pages_of, ("kpageflags", "kpagecgroup", "kpagecount"))

    def has(bit: Kpf) -> np.ndarray:
        return flags >> np.uint64(bit) & np.uint64(1) != 0

    inside = has(Kpf.LRU) & (groups == made.owned.witness["groups"][GROUP]["ino"])
    anons = inside & has(Kpf.ANON) & (counts == 1)
    files = inside & ~has(Kpf.ANON) & ~has(Kpf.SWAPBACKED) & ~has(Kpf.MMAP)
    anon, head = (int(np.flatnonzero(pages)[0]) for pages in (anons, has(Kpf.HUGE)))
    anon, head, tail, *cached = page(made.core, anon, head, head + 3, *np.flatnonzero(files))
    assert (anon["use"], anon["mapcount"]) == ("anon", 1)
    assert {each["memcg"] for each in (anon, *cached)} == {GROUP}
    assert head.get("memcg") in (None, "/")
    # Beside the pages of the file are some of the disk itself, which say where those are.
    paths = Counter(each["file"]["path"] for each in cached if "path" in each["file"])
    path = f"/groups{GROUP}"
    (resident,) = (
        len(file["resident"])
        for file in made.owned.witness["files"]["open"]
        if file["path"] == path
    )
    assert paths[f"/mnt/data{path}"] == resident > 0
    assert head["use"] == tail["use"] == "hugetlb"
    assert (tail["head"], tail["index_in_folio"], tail["order"]) == (head["pfn"], 3, 9)
    assert "present" in head["section_flags"]


def test_addresses_of_one_page_and_its_slab_cache(made: Made) -> None:
    core = made.core
    prog = open_target(core).prog
    members = prog.type("struct task_struct").members or ()
    tasks = next(m.offset for m in members if m.name == "tasks")
    task = prog.read_u64(prog.symbol("init_task").address + tasks)
    (slab,) = page(core, f"virt:{task:#x}")
    assert slab["use"] == "slab"
    assert slab["slab_cache"] == "task_struct"
    same = page(core, slab["pfn"], f"phys:{slab['phys']}", f"page:{slab['page']}")
    assert same == [slab] * 3
    (image,) = page(core, f"virt:{prog.symbol('init_task').address:#x}")
    assert image["use"] == "reserved"
