# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of memory against buddyinfo and pagetypeinfo, and what contiguity foretells of a guest.

What a core of a guest shows is compared with what the guest then does: how many huge pages it
makes, and which memory blocks it takes offline.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huge_pages
import pytest
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from owned_guest import Owned, pageinspect

from pageinspect.analysis.contiguity import free_indexes
from pageinspect.model.memory_map import Zone as MemoryZone
from pageinspect.target.open import open_target
from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

Zone = tuple[int, str]
HOLD = "/opt/pageinspect/src/tests/vm/programs/hold_pages.py"
APPEND = "movablecore=768M"
BLOCKS = "/sys/devices/system/memory"
PER_BLOCK, PER_HUGE_PAGE = 32768, 512
MAP_PAGES = 8192
MOST_TRIED = 2
"""Memory blocks that are taken offline."""


def by_zone(text: str) -> Iterator[tuple[Zone, list[int]]]:
    """Yield the numbers of each line of a zone."""
    for line in text.splitlines():
        match = re.match(r"Node (\d+), zone\s+(\w+)\s+([\d\s]+)$", line)
        if match:
            yield (int(match[1]), match[2]), [int(n) for n in match[3].split()]


def in_zones(rows: list[dict[str, Any]], key: str) -> dict[Zone, list[int]]:
    found: dict[Zone, list[int]] = {}
    for row in rows:
        found.setdefault((row["node"], row["zone"]), []).append(row[key])
    return found


def free_areas(core: Path) -> dict[Zone, list[int]]:
    """Return what the kernel counts for buddyinfo, as it is in a dump."""
    return {
        (pgdat.node_id.value_(), zone.name.string_().decode()): [
            area.nr_free.value_() for area in zone.free_area
        ]
        for pgdat in for_each_online_pgdat(open_target(core).prog)
        for zone in pgdat.node_zones
    }


def test_free_blocks_are_those_of_buddyinfo(owned: Owned) -> None:
    answer = owned.said_by("contiguity")
    assert answer["coverage"].get("missing", []) == []
    # The text is from shortly before: by now a CPU may have taken pages for its lists.
    counted = free_areas(owned.core)
    populated = {zone for zone, _ in by_zone(owned.text("buddyinfo"))}
    assert in_zones(answer["indexes"], "free_blocks") == {zone: counted[zone] for zone in populated}


def test_pageblocks_are_those_of_pagetypeinfo(owned: Owned) -> None:
    answer = owned.said_by("contiguity")
    text = owned.text("pagetypeinfo")
    assert f"Page block order: {answer['pageblock_order']}\n" in text
    heading, _, counts = text.partition("Number of blocks type")[2].partition("\n")
    names = heading.lower().split()
    types = {(row["node"], row["zone"], row["migratetype"]): row for row in answer["migratetypes"]}
    for (node, zone), numbers in by_zone(counts):
        for name, blocks in zip(names, numbers, strict=True):
            row = types.get((node, zone, name))
            # A kernel may print a type of which it has none.
            assert (row["blocks"] if row else 0) == blocks, (zone, name)


def test_every_page_of_a_zone_is_in_a_block(owned: Owned) -> None:
    answer = owned.said_by("contiguity")
    free = {
        zone: sum(n << order for order, n in enumerate(numbers))
        for zone, numbers in in_zones(answer["indexes"], "free_blocks").items()
    }
    for zone, pages in free.items():
        rows = [row for row in answer["migratetypes"] if (row["node"], row["zone"]) == zone]
        assert sum(row["free_pages"] for row in rows) == pages
    present = {
        (int(node), zone): int(n)
        for node, zone, n in re.findall(
            r"Node (\d+), zone\s+(\w+)\n(?:\s.*\n)*?\s+present\s+(\d+)", owned.text("zoneinfo")
        )
    }
    names = ("free", "movable", "reclaimable", "unmovable", "reserved")
    for zone in free:
        rows = [row for row in answer["migratetypes"] if (row["node"], row["zone"]) == zone]
        # Some reserved pages have the flags of a zone that does not count them.
        counted = sum(row[f"{name}_pages"] for row in rows for name in names)
        assert counted >= present[zone]
        blocks = [row for row in answer["blocks"] if (row["node"], row["zone"]) == zone]
        assert all(sum(row[f"{n}_blocks"] for n in names) == row["blocks"] for row in blocks)


def test_an_idle_guest_has_no_page_that_looks_pinned(owned: Owned) -> None:
    pinned = [row for row in owned.said_by("contiguity")["blockers"] if row["remedy"] == "unpin"]
    assert pinned == []


@dataclass(frozen=True)
class Foretold:
    """A guest as it was, and as it goes on."""

    guest: Guest
    core: Path
    pfns: dict[str, list[int]]
    before: dict[str, Any]

    def obstacles(self, wanted_for: str) -> dict[str, Any]:
        done = pageinspect("contiguity", "-c", self.core, "--for", wanted_for, "--format", "json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def take_offline(self, block: int) -> bool:
        """Return whether the guest took a memory block offline; it is online again."""
        state = f"{BLOCKS}/memory{block}/state"
        # The kernel tries for ever to move a page that something refers to.
        words = f"echo offline > {state}"
        done = self.guest.run(["timeout", "30", "sh", "-c", words], check=False)
        if done.status == 0:
            self.guest.run(["sh", "-c", f"echo online_movable > {state}"])
        return done.status == 0


@pytest.fixture(scope="module", params=list(catalogue.kernels()))
def foretold(
    request: pytest.FixtureRequest,
    ready: Callable[[str], BuiltKernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Foretold]:
    core = tmp_path_factory.mktemp("foretold") / "core"
    with Guest(ready(request.param), append=APPEND) as guest:
        program = guest.start(["python3", HOLD])
        program.wait_for_output(b"\n", 120)
        guest.dump(core)
        guest.resume()
        done = pageinspect("contiguity", "-c", core, "--format", "json")
        assert done.returncode == 0, done.stderr
        pfns = json.loads(program.stdout)
        yield Foretold(guest, core, pfns, json.loads(done.stdout))
        program.close_stdin()
    core.unlink()


@pytest.mark.parametrize(("how", "pins", "unexplained"), [("pinned", 1, 0), ("referenced", 0, 1)])
def test_pages_that_a_driver_refers_to(
    foretold: Foretold, how: str, pins: int, unexplained: int
) -> None:
    for pfn in foretold.pfns[how]:
        (row,) = foretold.obstacles(f"pfn:{pfn}")["rows"]
        assert (row["use"], row["remedy"]) == ("anon", "unpin")
        assert (row["pins"], row["unexplained_references"]) == (pins, unexplained)
        assert row["name"].startswith("python3[")
    pinned = [row for row in foretold.before["blockers"] if row["remedy"] == "unpin"]
    ranges = [each for row in pinned for each in row["ranges"]]
    found = {pfn for each in ranges for pfn in range(each["start"], each["end"])}
    assert set(foretold.pfns[how]) <= found


def test_who_has_most_unmovable_memory_is_the_first_blocker(foretold: Foretold) -> None:
    first, second, *_ = foretold.before["blockers"]
    assert (first["kind"], first["name"]) == ("bpf", "map blocker")
    assert first["pages"] == pytest.approx(MAP_PAGES, abs=2)
    # Most of its pages are next to each other, in blocks that it takes whole.
    assert first["blocks_alone"] > MAP_PAGES // PER_HUGE_PAGE // 2 > second["blocks_alone"]
    listed = pageinspect(
        "list", "-c", foretold.core, "--owner", "bpf:map blocker", "--format", "json"
    )
    runs = json.loads(listed.stdout)["runs"]
    assert sum(run["pages"] for run in runs) == first["pages"]
    assert sum(each["end"] - each["start"] for each in first["ranges"]) == first["pages"]


def test_a_memory_block_without_obstacles_goes_offline(foretold: Foretold) -> None:
    states = foretold.guest.run(["sh", "-c", f"cd {BLOCKS}; grep -l Movable */valid_zones"])
    movable = sorted(int(n) for n in re.findall(rb"memory(\d+)/", states.stdout))
    possible = [n for n in movable if foretold.obstacles(f"offline:{n}")["possible"]]
    assert len(possible) >= MOST_TRIED
    for block in possible[-MOST_TRIED:]:
        assert foretold.take_offline(block), block


def test_a_memory_block_with_an_obstacle_stays(foretold: Foretold) -> None:
    referenced = foretold.pfns["referenced"][0]
    block = referenced // PER_BLOCK
    answer = foretold.obstacles(f"offline:{block}")
    assert not answer["possible"]
    assert any(row["start"] <= referenced < row["end"] for row in answer["rows"])
    assert not foretold.take_offline(block)
    # The first has the kernel's image, page tables and slabs.
    answer = foretold.obstacles("offline:0")
    assert {"reserved", "table", "slab"} <= {row["use"] for row in answer["rows"]}
    assert not foretold.take_offline(0)


def test_the_indexes_are_those_of_the_kernel(foretold: Foretold) -> None:
    debug = "/sys/kernel/debug/extfrag"
    foretold.guest.run(
        ["sh", "-c", f"test -d {debug} || mount -t debugfs debugfs /sys/kernel/debug"]
    )
    files = ["/proc/buddyinfo", f"{debug}/extfrag_index", f"{debug}/unusable_index"]
    for _ in range(20):
        lines = foretold.guest.run(["cat", *files, "/proc/buddyinfo"]).stdout.decode().splitlines()
        n = len(lines) // 4
        if lines[:n] == lines[3 * n :]:
            break
    else:
        pytest.fail("free memory changed all the time")
    for (zone, counts), fragmentation, unusable in zip(
        by_zone("\n".join(lines[:n])), lines[n : 2 * n], lines[2 * n : 3 * n], strict=True
    ):
        rows = free_indexes(MemoryZone(*zone, 0, 0), counts)
        for name, line in (("fragmentation", fragmentation), ("unusable", unusable)):
            shown = [round(1000 * float(word)) for word in line.split()[4:]]
            assert [getattr(row, name) for row in rows] == shown, line


def test_huge_pages_are_as_many_as_foretold(foretold: Foretold) -> None:
    """The last of this file: it moves memory about."""
    least, most = huge_pages.foretold(foretold.guest, foretold.before)
    assert 0 < least < most
    huge_pages.compact(foretold.guest)
    assert least <= huge_pages.made(foretold.guest, most + 100) <= most


def test_a_running_kernel_says_much_the_same(foretold: Foretold) -> None:
    argv = ["pageinspect", "contiguity", "--format", "json", "--top", "5"]
    # It takes 150 s in the guest of a busy host.
    done = foretold.guest.run(argv, timeout=500, check=False)
    # What ends or changes while it is looked at may be missing.
    assert done.status in {0, 3}, done.stderr
    answer = json.loads(done.stdout)
    for key in ("node", "zone", "order", "blocks"):
        assert [row[key] for row in answer["blocks"]] == [
            row[key] for row in foretold.before["blocks"]
        ]
    assert len(answer["blockers"]) == 5
