# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace --life` and `--types-at-alloc` in guests, against what a module and a program
log of the same pages.

The guest's kernel does not check pages when they leave the allocator (init_on_alloc=0): one that
does finds a page with a type bad, and takes another.
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guest_module import FREES, LIVES, insert, modules, page_type_words
from guest_quiet import NO_DAMON
from guest_tracer import END_TIMEOUT, Tracer

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The first of all builds the modules as well, against the headers of every kernel.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.kernels("newest")]

ORDER, AGAIN, TAKEN = 3, 4, 5
LOG = "/sys/kernel/debug/page_lives"
FILE = "/run/lower/usr/bin/makedumpfile"
"""On the block device of the root: nothing else uses it."""
CACHED, UNCACHED = "added to the page cache", "removed from the page cache"


@dataclass(frozen=True)
class Lived:
    """What happened to a block and to pages of a file, and what two tracers reported."""

    log: list[tuple[str, int, int]]
    """(event, pfn, pages) of the block, as the module logged them."""
    file: dict[str, Any]
    """Device, inode and pfns of the pages of the file before they were dropped."""
    pfns: list[int]
    """Those after they were read again."""
    moved: list[tuple[int, int]]
    """Pages of a process before and after they migrated to another node."""
    life: dict[str, Any]
    life_status: int
    types: dict[str, Any]
    types_status: int


def log(guest: Guest) -> list[tuple[str, int, int]]:
    words = struct.iter_unpack("<Q", guest.run(["cat", LOG]).stdout)
    names = ("freed", "allocated")
    return [(names[word & 0xFF], word >> 16, 1 << (word >> 8 & 0xFF)) for (word,) in words]


@pytest.fixture(scope="module", params=catalogue.kernels())
def lived(request: pytest.FixtureRequest, ready: Callable[[str], BuiltKernel]) -> Iterator[Lived]:
    built = modules([ready(name) for name in catalogue.kernels()])
    with Guest(ready(request.param), nodes=2, append="init_on_alloc=0") as guest:
        yield live(guest, built[guest.kernel.release])


def write(guest: Guest, text: str, file: str) -> None:
    """Write on one CPU, for which the allocator keeps what that CPU has freed."""
    guest.run(["taskset", "-c", "0", "sh", "-c", f"echo {text} > {file}"])


def live(guest: Guest, folder: Path) -> Lived:
    guest.run(["sh", "-c", NO_DAMON])
    insert(guest, folder, LIVES)
    insert(guest, folder, FREES)
    parameters = f"/sys/module/{LIVES}/parameters"
    write(guest, str(ORDER), f"{parameters}/take")
    ((_, block, _),) = log(guest)
    guest.run(["sh", "-c", "mkdir -p /run/lower && mount -o ro /dev/vda /run/lower"])
    programs = "/opt/pageinspect/src/tests/vm/programs"
    reader = guest.start(["python3", f"{programs}/cycle_file.py", FILE])
    mover = guest.start(["python3", f"{programs}/move_pages.py"])
    for each in (reader, mover):
        each.wait_for_output(b"\n", timeout=END_TIMEOUT)
    file, before = json.loads(reader.stdout), json.loads(mover.stdout)["pfns"]
    ranges = [(block, block + (1 << ORDER)), *((pfn, pfn + 1) for pfn in file["pfns"] + before)]
    watched = [word for first, end in ranges for word in ("--pfn", f"{first:#x}-{end:#x}")]
    life = Tracer(guest, "life", "--life", *watched)
    types = Tracer(guest, "types", "--types-at-alloc")
    for tracer in (life, types):
        tracer.started()
    write(guest, str(AGAIN), f"{parameters}/again")
    for each in (reader, mover):
        each.write(b"\n")
        assert each.wait(END_TIMEOUT) == 0, each.stderr
    word = page_type_words(guest)["table"]
    write(guest, f"{word:#x} {TAKEN}", f"/sys/module/{FREES}/parameters/taken")
    (of_types,), (of_life,) = types.end(), life.end()
    pfns, after = (json.loads(each.stdout.splitlines()[1])["pfns"] for each in (reader, mover))
    steps = [step for step in log(guest)[1:] if step[1] == block]
    moved = list(zip(before, after, strict=True))
    return Lived(steps, file, pfns, moved, of_life, life.status, of_types, types.status)


def test_allocations_and_frees_are_those_of_the_module_in_order(lived: Lived) -> None:
    assert len(lived.log) >= 2
    callers = {"freed": f"give_block [{LIVES}]", "allocated": f"take_block [{LIVES}]"}
    own = [e for e in lived.life["events"] if e["caller"] in callers.values()]
    assert [(e["event"], e["pfn"], e["pages"]) for e in own] == lived.log
    assert all(e["caller"] == callers[e["event"]] for e in own)
    assert all(e["frames"][-1].startswith("entry_SYSCALL_64") for e in own)
    assert {e["comm"] for e in own} == {"sh"}
    assert all(e["type"] is None for e in own)
    assert {e["migratetype"] for e in own if e["event"] == "allocated"} == {"unmovable"}
    times = [e["time_ns"] for e in lived.life["events"]]
    assert times == sorted(times)


def test_pages_of_a_file_leave_the_page_cache_and_enter_it(lived: Lived) -> None:
    of_file = [e for e in lived.life["events"] if e["inode"] == lived.file["inode"]]
    assert {e["device"] for e in of_file} == {lived.file["device"]}
    before, after = lived.file["pfns"], lived.pfns
    left = {e["index"]: e["pfn"] for e in of_file if e["event"] == UNCACHED}
    assert len(left) > len(before) / 2
    assert left.items() <= dict(enumerate(before)).items()
    assert {i for i, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) > 1} <= (
        left.keys()
    )
    for event in of_file:
        if event["event"] == CACHED and event["index"] < len(after):
            assert event["pfn"] == after[event["index"]]
    freed = {e["pfn"] for e in lived.life["events"] if e["event"] == "freed"}
    assert freed >= set(left.values())


def test_a_page_that_migrates_is_unmapped_and_freed(lived: Lived) -> None:
    moved = {before for before, after in lived.moved if before != after}
    assert len(moved) == len(lived.moved)
    unmapped = {e["pfn"] for e in lived.life["events"] if e["event"] == "unmapped to migrate"}
    assert unmapped == moved
    freed = {e["pfn"] for e in lived.life["events"] if e["event"] == "freed"}
    assert freed >= moved


def test_what_the_pages_are_at_the_end(lived: Lived) -> None:
    now = {each["pfn"]: each for each in lived.life["now"]}
    first = min(pfn for _, pfn, _ in lived.log)
    of_block = {first + i for i in range(1 << ORDER)}
    assert of_block | set(lived.file["pfns"]) | {pfn for pfn, _ in lived.moved} == now.keys()
    for pfn in set(lived.file["pfns"]) & set(lived.pfns):
        assert now[pfn]["owner"].startswith("file:")
        assert now[pfn]["owner"].endswith("/usr/bin/makedumpfile")


def test_which_tracepoints_there_are(lived: Lived) -> None:
    assert {"mm_page_alloc", "mm_page_free", "set_migration_pte"} <= set(lived.life["tracepoints"])
    assert {"ksm_merge_one_page", "memory_failure_event"} >= set(lived.life["lacking"]) or (
        "6.1." in lived.life["kernel"]["release"]
    )
    lost = lived.life["lost_by"]
    assert {cause for cause, n in lost.items() if n} <= {"missed"}
    assert lived.life_status == (3 if lived.life["lost"] else 0)


def test_pages_that_leave_the_allocator_with_a_type_are_counted(lived: Lived) -> None:
    typed = {row["type"]: row for row in lived.types["types"] if row["type"] != "untyped"}
    assert {name: row["allocations"] for name, row in typed.items()} == {"table": TAKEN}
    assert typed["table"]["orders"] == {"0": TAKEN}
    callers = {(row["caller"], row["allocations"]) for row in lived.types["callers"]}
    assert callers == {(f"take_typed [{FREES}]", TAKEN)}
    assert lived.types["allocations"] > TAKEN
    assert lived.types_status == 4
