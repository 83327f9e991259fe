# SPDX-License-Identifier: GPL-2.0-only
"""check on cores of guests: nothing on an idle one, each rule where it was broken, and totals.

A broken struct page is a segment of 64 bytes laid over the core in drgn's view of it: the core
itself is neither copied nor written, and everything above drgn reads it as it reads any other.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from busy_dump import BUSY
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.sched import cpu_curr
from guest_dump import dump_idle, dump_unlocked

from pageinspect.analysis.counter_check import CounterCheck, compare_counters
from pageinspect.analysis.totals import UseTally
from pageinspect.classify import Pages, use_name
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.inspector.describe import describe
from pageinspect.inspector.inspector import Inspector, inspect, marking_of
from pageinspect.kernel import marking
from pageinspect.kernel.counters import read_counters
from pageinspect.model.arch import MAX_ORDER
from pageinspect.report.check import Violation, find
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

BALLOON = 64 << 20
LOAD = (
    "modprobe zram num_devices=2 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 && echo 5 > /proc/sys/vm/nr_hugepages && "
    "echo 128M > /sys/block/zram1/disksize && mkswap /dev/zram1 && swapon /dev/zram1"
)
SWAP_AND_MERGE = "/opt/pageinspect/src/tests/vm/programs/swap_and_merge.py"


@dataclass(frozen=True)
class Core:
    """A core, and what was known of its guest."""

    path: Path
    vmlinux: Path | None
    meminfo: dict[str, int]
    balloon: int
    """Pages in the balloon, as QEMU has it."""


def dumped(
    guest: Guest,
    path: Path,
    vmlinux: Path | None,
    dump: Callable[[Guest, Path], None] = dump_unlocked,
) -> Core:
    meminfo = guest.run(["cat", "/proc/meminfo"]).stdout.decode()
    fields = (line.split() for line in meminfo.splitlines())
    dump(guest, path)
    actual = guest.qmp("query-balloon")["actual"]
    return Core(
        path, vmlinux, {f[0].rstrip(":"): int(f[1]) for f in fields}, (guest.memory - actual) >> 12
    )


@pytest.fixture(scope="module")
def idle(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """Dump a guest of each kernel that has nothing to do."""
    path = tmp_path_factory.mktemp("idle") / "core"
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sleep", "1"])
        yield dumped(guest, path, kernel.vmlinux, dump_idle)
    path.unlink()


@pytest.fixture(scope="module")
def busy(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """Dump a guest of each kernel in the middle of work, with a balloon of 64 MiB, swap and KSM."""
    path = tmp_path_factory.mktemp("busy") / "core"
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sh", "-c", LOAD])
        guest.start(["python3", SWAP_AND_MERGE]).wait_for_output(b"\n", timeout=120)
        guest.balloon(guest.memory - BALLOON)
        for name in ("a", "b", "c"):
            guest.start(["sh", "-c", BUSY, "sh", name])
        guest.run(["sleep", "2"])
        yield dumped(guest, path, kernel.vmlinux)
    path.unlink()


def check(core: Core, *args: object) -> tuple[int, dict]:
    command = [sys.executable, "-m", "pageinspect", "check", "-c", core.path, "--format", "json"]
    done = subprocess.run(
        [*map(str, command), *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_checks_of_a_busy_guest(busy: Core) -> None:
    status, report = check(busy)
    checks = {check["name"]: check for check in report["counters"]}
    # What is counted under a lock or by one owner is exact.
    zsmalloc = "zsmalloc" if "zsmalloc" in checks else "movable_ops"
    for name in ("buddy", "pcp", "hugetlb", "offline", "swapcache", zsmalloc):
        assert checks[name]["verdict"] == "verified", checks[name]
        assert checks[name]["counted"] == checks[name]["kernel"], checks[name]
    assert checks["hugetlb"]["counted"] == busy.meminfo["HugePages_Total"] * 512 == 5 * 512
    # 32 MiB of noise, and what is swapped.
    assert checks[zsmalloc]["counted"] > 8192
    assert checks["offline"]["counted"] == busy.balloon == BALLOON >> 12
    assert busy.meminfo["SwapCached"] > 0
    assert checks["swapcache"]["counted"] > 0
    assert checks["anon"]["uses"] == ["anon", "ksm"]
    assert all(check["why"] for check in checks.values() if check["verdict"] == "explained")
    assert not [check for check in checks.values() if check["verdict"] == "differs"]
    assert report["violations"] == []
    assert status == 0


def test_nothing_fires_on_an_idle_guest(idle: Core) -> None:
    status, report = check(idle)
    assert report["violations"] == []
    assert status == 0
    opened = inspect(open_target(idle.path))
    uses = {
        use_name(opened.layout, use)
        for pages in opened.pages()
        for use in np.unique(pages.use).tolist()
    }
    assert "conflict" not in uses
    assert "buddy" in uses


def test_counters_are_the_same_from_btf_and_dwarf(busy: Core) -> None:
    if busy.vmlinux is None:
        pytest.skip("no vmlinux of this kernel: pageinspect vm build --debuginfo")
    from_btf = read_counters(open_target(busy.path).prog)
    assert read_counters(open_target(busy.path, busy.vmlinux).prog) == from_btf
    assert from_btf.items["NR_FREE_PAGES"] > 10_000


def test_with_some_pfns_the_checks_are_left_out(idle: Core) -> None:
    status, report = check(idle, "--pfn", "0x1000+50")
    assert (status, report["counters"], report["coverage"]["spanned"]) == (0, [], 50)
    assert "all pages" in report["left_out"]


@dataclass(frozen=True)
class Wound:
    """How to break a struct page: its pfn, new 64-bit words by offset, and what may fire then."""

    pfn: int
    words: dict[int, int]
    block: tuple[int, int]


class Surgeon:
    """Breaks one struct page of a core at a time, in drgn's view of it, and heals it again."""

    def __init__(self, core: Path) -> None:
        self.inspector: Inspector = inspect(open_target(core))
        self.batches = list(self.inspector.sections())

    def find(self) -> list[Violation]:
        return find(self.inspector.sections_in_runs(), live=False).violations

    def broken(self, wound: Wound) -> list[Violation]:
        """Return what check lists while pages are broken; page says the same of this one."""
        with self.wounded(wound):
            violations = self.find()
            named = {v.rule for v in violations if v.pfn == wound.pfn}
            (page,) = describe(self.inspector, [wound.pfn])
            use, breaks = page.get("use"), page.get("breaks")
            assert use is not None
            assert set(breaks.value if breaks else ()) == named
            assert (use.value == "conflict") is bool(named)
        return violations

    def checks(self, wound: Wound) -> dict[str, CounterCheck]:
        """Return the counter checks while pages are broken, as check makes them."""
        target, tally = self.inspector.target, UseTally(self.inspector.layout)
        with self.wounded(wound):
            for pages in self.inspector.sections_in_runs():
                tally.add(pages)
            counters = read_counters(target.prog)
            found = compare_counters(tally.totals(), counters, counters, marking_of(target))
        return {check.name: check for check in found}

    @contextmanager
    def wounded(self, wound: Wound) -> Iterator[None]:
        prog, layout = self.inspector.target.prog, self.inspector.layout
        size = layout.struct_size
        address = layout.vmemmap + wound.pfn * size
        sound = prog.read(address, size)
        words = np.frombuffer(sound, np.uint64).copy()
        for offset, value in wound.words.items():
            words[offset // 8] = value
        assert not wound.words or words.tobytes() != sound
        self._lay(address, words.tobytes())
        try:
            yield
        finally:
            self._lay(address, sound)

    def _lay(self, address: int, data: bytes) -> None:
        self.inspector.target.prog.add_memory_segment(
            address, len(data), lambda _address, n, offset, _physical: data[offset : offset + n]
        )

    # --- pages to break

    def first(self, where: Callable[[Pages], np.ndarray]) -> tuple[Pages, int]:
        """Return the batch and index of the first page above 16 MiB where it holds."""
        for pages in self.batches:
            index = np.flatnonzero(where(pages))
            index = index[index + pages.batch.first >= 0x1000]
            if len(index):
                return pages, int(index[0])
        raise AssertionError("no such page in this core")

    def use(self, name: str) -> tuple[Pages, int]:
        layout = self.inspector.layout

        def where(pages: Pages) -> np.ndarray:
            codes = [c for c in np.unique(pages.use).tolist() if use_name(layout, c) == name]
            return np.isin(pages.use, codes) & ~pages.tail & (pages.folio_order == 0)

        return self.first(where)

    def free_block(self, order: int) -> tuple[Pages, int]:
        """Return the head of a free block of this order."""

        def where(pages: Pages) -> np.ndarray:
            mask = np.zeros(len(pages), np.bool_)
            mask[pages.buddy_heads[pages.buddy_orders == order]] = True
            return mask

        return self.first(where)

    def upper_half(self) -> tuple[Pages, int]:
        """Return the head of a free block that its own double would not begin with."""

        def where(pages: Pages) -> np.ndarray:
            mask = np.zeros(len(pages), np.bool_)
            orders = pages.buddy_orders.astype(np.int64)
            upper = (pages.buddy_heads + pages.batch.first) >> orders & 1 != 0
            mask[pages.buddy_heads[upper & (orders < MAX_ORDER)]] = True
            return mask

        return self.first(where)

    def tail(self) -> tuple[Pages, int]:
        # Not the first of its page of the vmemmap, nor the first tail, which holds other things.
        return self.first(
            lambda pages: pages.tail & (np.arange(len(pages)) % 64 > 2) & (pages.folio_order > 1)
        )

    def word(self, pages: Pages, i: int, page_type: int) -> dict[int, int]:
        """Return the change that gives a page this page_type word."""
        return self.half(pages, i, self.inspector.layout.page_type, page_type)

    def half(self, pages: Pages, i: int, offset: int, value: int) -> dict[int, int]:
        old = int(pages.own(offset)[i])
        shift = 8 * (offset % 8)
        return {offset - offset % 8: old & ~(0xFFFFFFFF << shift) | value << shift}

    def type_word(self, name: str) -> int:
        scheme = self.inspector.layout.scheme
        slot = scheme.find_slot(name)
        return slot << 24 if scheme.one_of else 0xFFFFFFFF ^ slot << scheme.shift

    def flagged(self, pages: Pages, i: int, *names: str) -> dict[int, int]:
        layout = self.inspector.layout
        return {layout.flags: int(pages.flags[i]) | sum(1 << layout.flag(n) for n in names)}


def page(pages: Pages, i: int, words: dict[int, int]) -> Wound:
    pfn = pages.batch.first + i
    return Wound(pfn, words, (pfn, pfn + 1))


def in_block(pages: Pages, i: int, words: dict[int, int], order: int) -> Wound:
    pfn = pages.batch.first + i
    start = pfn >> order << order
    return Wound(pfn, words, (start, start + (1 << order)))


def in_folio(pages: Pages, i: int, words: dict[int, int]) -> Wound:
    head = int(pages.heads[i])
    pfn = pages.batch.first + i
    return Wound(pfn, words, (head, head + (1 << int(pages.folio_order[i]))))


def of_block(change: Callable[[Surgeon, Pages, int], dict[int, int]], inside: int = 0):
    def wound(surgeon: Surgeon) -> Wound:
        # The only order that every guest has free blocks of.
        pages, i = surgeon.free_block(MAX_ORDER)
        return in_block(pages, i + inside, change(surgeon, pages, i + inside), MAX_ORDER)

    return wound


def of_use(use: str, change: Callable[[Surgeon, Pages, int], dict[int, int]]):
    def wound(surgeon: Surgeon) -> Wound:
        pages, i = surgeon.use(use)
        return page(pages, i, change(surgeon, pages, i))

    return wound


def type_on_tail(surgeon: Surgeon) -> Wound:
    pages, i = surgeon.tail()
    return in_folio(pages, i, surgeon.word(pages, i, surgeon.type_word("table")))


def misaligned(surgeon: Surgeon) -> Wound:
    pages, i = surgeon.upper_half()
    order = int(pages.order[i]) + 1
    pfn = pages.batch.first + i
    # The block is what its head says now, other free blocks in it included.
    return Wound(pfn, {surgeon.inspector.layout.private: order}, (pfn, pfn + (1 << order)))


def too_large(surgeon: Surgeon) -> Wound:
    pages, i = surgeon.free_block(MAX_ORDER)
    return in_block(pages, i, {surgeon.inspector.layout.private: 200}, MAX_ORDER)


def foreign_tail(surgeon: Surgeon) -> Wound:
    layout = surgeon.inspector.layout
    pages, i = surgeon.use("table")
    before = pages.batch.first + i - 1
    return page(pages, i, {layout.compound: layout.vmemmap + before * layout.struct_size + 1})


def located(zone: int, node: int):
    def change(surgeon: Surgeon, pages: Pages, i: int) -> dict[int, int]:
        layout = surgeon.inspector.layout
        flags = int(pages.flags[i])
        for field, value in ((layout.zone_field, zone), (layout.node_field, node)):
            flags = flags & ~(field.mask << field.shift) | value << field.shift
        return {layout.flags: flags}

    return change


WOUNDS: dict[str, Callable[[Surgeon], Wound]] = {
    "type-on-tail": type_on_tail,
    "type-in-free-block": of_block(lambda s, p, i: s.word(p, i, s.type_word("table")), 5),
    "low-bits": of_use("table", lambda s, p, i: s.word(p, i, s.type_word("table") | 1)),
    "odd-word": of_use("kernel", lambda s, p, i: s.word(p, i, 0xFFFFFFF0)),
    "misaligned-free-block": misaligned,
    "overlapping-free-blocks": of_block(
        lambda s, p, i: s.word(p, i, s.type_word("buddy")) | {s.inspector.layout.private: 0}, 6
    ),
    "free-but-referenced": of_block(lambda s, p, i: s.half(p, i, s.inspector.layout.refcount, 1)),
    "free-but-owned": of_block(lambda s, _p, _i: {s.inspector.layout.mapping: 0xFFFF888000000000}),
    "free-but-flagged": of_block(lambda s, p, i: s.flagged(p, i, "lru"), 7),
    "free-page-pool": of_block(lambda s, _p, _i: {s.inspector.layout.compound: 0xDEAD000000000040}),
    "tail-without-head": foreign_tail,
    "free-block-order": too_large,
    "in-use-inside-free-block": of_block(
        lambda s, p, i: s.half(p, i, s.inspector.layout.refcount, 1), 9
    ),
    "in-use-on-cpu-list": of_use(
        "pcp", lambda s, p, i: s.half(p, i, s.inspector.layout.refcount, 1)
    ),
    "head-without-tails": of_use("file", lambda s, p, i: s.flagged(p, i, "head")),
    "wrong-node": of_use("kernel", located(1, 5)),
    "wrong-zone": of_use("kernel", located(0, 0)),
}


def test_every_rule_has_a_way_to_break_it() -> None:
    assert set(WOUNDS) == {rule.name for rule in CONTRADICTIONS}


@pytest.fixture(scope="module")
def surgeon(idle: Core) -> Surgeon:
    return Surgeon(idle.path)


@pytest.mark.parametrize("rule", WOUNDS)
def test_each_rule_fires_where_a_page_was_broken_and_nowhere_else(
    surgeon: Surgeon, rule: str
) -> None:
    if rule == "low-bits" and not surgeon.inspector.layout.scheme.one_of:
        # Types that are bits of the word leave none: it cannot be broken.
        return
    wound = WOUNDS[rule](surgeon)
    violations = surgeon.broken(wound)
    assert (rule, wound.pfn) in {(v.rule, v.pfn) for v in violations}
    outside = [v for v in violations if not wound.block[0] <= v.pfn < wound.block[1]]
    assert outside == []
    assert surgeon.find() == []


@pytest.mark.parametrize("name", ["table", "slab"])
def test_idle_cpus_are_no_tolerance_for_a_page_without_its_mark(
    surgeon: Surgeon, name: str
) -> None:
    layout = surgeon.inspector.layout
    pages, i = surgeon.use(name)
    words = surgeon.word(pages, i, 0xFFFFFFFF)
    if name == "slab" and layout.slab is not None:
        words = {layout.slab.offset: int(pages.own(layout.slab.offset)[i]) & ~layout.slab.mask}
    assert surgeon.checks(Wound(pages.batch.first + i, {}, (0, 0)))[name].verdict != "differs"
    check = surgeon.checks(page(pages, i, words))[name]
    assert check.verdict == "differs", check


def test_the_registers_and_stacks_of_a_core_can_be_read(busy: Core) -> None:
    prog = open_target(busy.path).prog
    stacks = list(marking._stacks(prog, None))
    # Two CPUs, and the tasks that sleep: each returns into the scheduler.
    assert len(stacks) > 20
    start, end = (prog.symbol(name).address for name in ("_stext", "_etext"))
    sleeping = [((words >= start) & (words < end)).any() for words in stacks[2:]]
    assert np.mean(sleeping) > 0.9
    for cpu in for_each_online_cpu(prog):
        pc, sp = marking._registers(prog, cpu_curr(prog, cpu))
        assert pc
        assert sp


def test_a_gigantic_page_is_held_to_the_tails_in_its_section(
    ready: Callable[[str], BuiltKernel], tmp_path: Path
) -> None:
    # Of 4 GiB one is free of holes and of what boots: unless the kernel is put there.
    append = "nokaslr hugepagesz=1G hugepages=1 hugetlb_free_vmemmap=on"
    with Guest(ready("6.12"), memory="4G", append=append) as guest:
        pages = guest.run(["cat", "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"])
        core = dumped(guest, tmp_path / "core", None)
    assert pages.stdout == b"1\n"
    status, report = check(core)
    (hugetlb,) = [check for check in report["counters"] if check["name"] == "hugetlb"]
    assert hugetlb["counted"] == hugetlb["kernel"] == 1 << 18
    assert (status, report["violations"]) == (0, [])
    surgeon = Surgeon(core.path)
    folio, i = surgeon.first(lambda pages: (pages.folio_order == 18) & ~pages.tail)
    head = folio.batch.first + i
    # A tail of a page of the vmemmap that HVO maps onto another.
    torn = Wound(head + 64 * 64 + 3, {surgeon.inspector.layout.compound: 0}, (head, head + 1))
    assert [(v.rule, v.pfn) for v in surgeon.broken(torn)] == [("head-without-tails", head)]
    core.path.unlink()
