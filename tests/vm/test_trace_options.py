# SPDX-License-Identifier: GPL-2.0-only
"""The options of `pageinspect trace` in guests, against processes that know what they free.

Each knows its pid, name and CPU, how many pages it holds and which. What it holds is in a zone of
movable pages, where nothing else of it is: so the counts are exact.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from guest_quiet import QUIET
from guest_tracer import END_TIMEOUT, START_TIMEOUT, Tracer, check_lost, resets

from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/free_known.py"
HUGE = 512
"""Pages of a huge one."""
FILL = """
modprobe zram num_devices=2
for i in 0 1; do echo 16M > /sys/block/zram$i/disksize; done
dd if=/dev/urandom of=/dev/zram0 bs=4096 count=509
dd if=/dev/urandom of=/dev/zram1 bs=4096 count=1009
"""

# Five tracers are started at once.
pytestmark = pytest.mark.timeout(1800)
all_kernels = pytest.mark.parametrize("kernel", ["newest", "6.1"], indirect=True)
of_one_kernel = pytest.mark.parametrize("kernel", ["newest"], indirect=True)


@pytest.fixture(scope="module")
def guest(kernel: BuiltKernel) -> Iterator[Guest]:
    with Guest(kernel, append="movablecore=1G") as running:
        yield running


class TextTracer(Tracer):
    """One whose report is not json; its last --format counts."""

    def __init__(self, guest: Guest, name: str, *arguments: str) -> None:
        super().__init__(guest, name, *arguments)
        self.text = ""

    def documents(self) -> list[dict[str, Any]]:
        self.text = self.so_far()
        return []

    def so_far(self) -> str:
        return self._guest.run(["cat", f"/run/{self._name}.json"]).stdout.decode()


class Holder:
    """A process that holds pages which it is to free."""

    def __init__(
        self, guest: Guest, comm: str, cpu: int, small: int, large: int, zram: int
    ) -> None:
        self.comm, self.cpu = comm, cpu
        numbers = map(str, (cpu, small, large))
        argv = ["python3", PROGRAM, comm.encode().hex(), *numbers, f"zram{zram}"]
        self.process = guest.start(argv)
        self.process.wait_for_output(b"\n", END_TIMEOUT)
        held = json.loads(self.process.stdout)
        self.pid: int = held["pid"]
        self.zram: int = held["zram"]
        self.small: list[int] = held["small"]
        self.large: list[int] = held["large"]
        assert len(set(self.small)) == small
        assert all(pfn % HUGE == 0 for pfn in self.large)

    def free(self) -> None:
        self.process.write(b"\n")
        self.process.wait_for_output(b"freed", END_TIMEOUT)

    def counts(self, typed: str) -> Counter[tuple[str, int]]:
        """Return the frees of what it holds by type and order."""
        held = {("untyped", 0): len(self.small), ("untyped", 9): len(self.large)}
        # On older kernels the device's pages are freed untyped.
        return Counter(held) + Counter({(typed, 0): self.zram})


NAME, ODD = "exactly15-bytes", '\x1b[31mred\n,"y'
ESCAPED = r'\x1b[31mred\n,"y'
"""The odd name as it is to be shown."""


@dataclass(frozen=True)
class Seen:
    """What tracers saw side by side of two processes that freed what they held."""

    plain: Holder
    odd: Holder
    """The one whose name is an escape sequence, a line break and what csv quotes."""
    every: dict[str, Any]
    """The report by all there is."""
    texts: dict[str, TextTracer]
    ranges: tuple[range, range]
    """Pfns of some small pages of the odd one, and of one page within a huge one."""


@pytest.fixture(scope="module")
def seen(guest: Guest) -> Seen:
    guest.run(["sh", "-c", FILL])
    # What it learns of the kernel, the tracers need not learn each on its own.
    guest.run(["pageinspect", "types"], timeout=START_TIMEOUT)
    plain = Holder(guest, NAME, 1, 3001, 7, 0)
    odd = Holder(guest, ODD, 0, 2003, 2, 1)
    # What they hold stays where it is, and nobody else has a hand in it when it is freed.
    guest.run(["sh", "-c", QUIET])
    small = sorted(odd.small)
    tail = odd.large[1] + 5
    ranges = range(small[500], small[1500]), range(tail, tail + 1)
    kinds = ["--type", "untyped,zsmalloc" if resets(guest) else "untyped"]
    by = [f"--by={key}" for key in ("pid", "cpu", "order", "node", "zone", "comm", "comm")]
    csv_ = ["--format", "csv"]
    # The kernel's name of a task is shorter than what is asked for.
    comm = ["--comm", f"{NAME}-and-more", "--order", "9,10", "--type", "untyped"]
    every = Tracer(guest, "every", *kinds, *by)
    texts = {"comm": TextTracer(guest, "comm", *comm, "--by", "pid", "-i", "0.1", *csv_)}
    tracers = [every, texts["comm"]]
    if resets(guest):
        table = ["--format", "table"]
        texts["folded"] = TextTracer(guest, "folded", "--comm", odd.comm, "--folded", *table)
        # Frees of more orders would need the width.
        top = ["--by", "comm", "--by", "pid", "--top", "1", "--order", "0"]
        texts["top"] = TextTracer(guest, "top", *top, "--disallow", "zsmalloc", *table)
        chosen = ["--pid", str(odd.pid), "--type", "untyped", "--order", "0,9"]
        # Those of the other process are ranges without a free, more than code could be made of.
        chosen += [f"--pfn={r.start}-{r.stop}" for r in ranges]
        chosen += [f"--pfn={pfn}" for pfn in sorted(plain.small)[::2]]
        texts["events"] = TextTracer(guest, "events", "--events", *chosen, *csv_)
        tracers += list(texts.values())[1:]
    for tracer in tracers:
        tracer.started()
    for holder in (plain, odd):
        holder.free()
    reports = texts["comm"].so_far().count("untyped,,")
    while texts["comm"].so_far().count("untyped,,") < reports + 2:
        assert texts["comm"].process.status is None
    (report,) = every.end()
    for tracer in texts.values():
        tracer.end()
    check_lost(report, every.status)
    return Seen(plain, odd, report, texts, ranges)


def by_type_and_order(rows: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    counts: Counter[tuple[str, int]] = Counter()
    for row in rows:
        counts.update({(row["type"], int(order)): n for order, n in row["orders"].items()})
    return counts


@all_kernels
def test_rows_by_everything_tell_each_process_apart(guest: Guest, seen: Seen) -> None:
    assert seen.every["by"] == ["pid", "cpu", "order", "node", "zone", "comm"]
    typed = "zsmalloc" if resets(guest) else "untyped"
    for holder, comm in ((seen.plain, seen.plain.comm), (seen.odd, ESCAPED)):
        rows = [row for row in seen.every["rows"] if row["key"][0] == holder.pid]
        assert {tuple(row["key"][i] for i in (1, 3, 5)) for row in rows} == {(holder.cpu, 0, comm)}
        assert all(row["orders"] == {str(row["key"][2]): row["frees"]} for row in rows)
        movable = [row for row in rows if row["key"][4] == "Movable"]
        assert by_type_and_order(movable) == holder.counts(typed)
        # Page tables, pipes and the tables of the device are no movable pages.
        assert {row["key"][4] for row in rows} == {"Movable", "DMA32"}


@all_kernels
def test_rows_by_everything_add_up(seen: Seen) -> None:
    every = seen.every
    for what in ("frees", "pages"):
        rows = sum(row[what] for row in every["rows"])
        assert rows == every["untyped"][what] + sum(row[what] for row in every["typed"])
    assert sum(row["frees"] for row in every["rows"]) == every["events"]


@all_kernels
def test_a_name_and_orders_choose_the_huge_pages_of_one_process(seen: Seen) -> None:
    lines = list(csv.DictReader(io.StringIO(seen.texts["comm"].text)))
    header = "start_ns,end_ns,type,pid,frees,pages,bytes,orders,verdict"
    # One header for all intervals.
    assert seen.texts["comm"].text.split("\n", 1)[0] == header
    assert seen.texts["comm"].text.count("start_ns") == 1
    assert len({line["start_ns"] for line in lines}) > 2
    found = [line for line in lines if line["pid"]]
    assert {line["pid"] for line in found} == {str(seen.plain.pid)}
    assert sum(int(line["frees"]) for line in found) == len(seen.plain.large)
    assert sum(int(line["pages"]) for line in found) == len(seen.plain.large) * HUGE


def among(huge: int, pfns: range) -> bool:
    return huge < pfns.stop and huge + HUGE > pfns.start


@of_one_kernel
def test_a_line_of_csv_for_each_free_of_any_page_in_ranges(seen: Seen) -> None:
    header, *lines = csv.reader(io.StringIO(seen.texts["events"].text))
    assert header == ["time_ns", "cpu", "pid", "comm", "type", "order", "pfn"]
    odd = seen.odd
    assert {tuple(line[1:5]) for line in lines} == {
        (str(odd.cpu), str(odd.pid), ESCAPED, "untyped")
    }
    # The other huge page may lie among the small ones.
    expected = Counter((0, pfn) for r in seen.ranges for pfn in odd.small if pfn in r)
    expected.update((9, pfn) for pfn in odd.large if any(among(pfn, r) for r in seen.ranges))
    assert expected[9, seen.ranges[1].start // HUGE * HUGE] == 1
    assert Counter((int(order), int(pfn)) for *_, order, pfn in lines) == expected


@of_one_kernel
def test_an_alarm_has_the_name_without_its_escapes(seen: Seen) -> None:
    said = seen.texts["top"].said()
    told = 0
    for holder, comm in ((seen.plain, seen.plain.comm), (seen.odd, ESCAPED)):
        by = re.escape(f", by {comm} (pid {holder.pid}) on CPU {holder.cpu}, stack ")
        alarms = re.findall(rf"^pageinspect: DISALLOWED: zsmalloc .*{by}", said, re.MULTILINE)
        told += len(alarms)
    assert told
    more = re.findall(r"^pageinspect: DISALLOWED: ([\d,]+) more frees? of zsm", said, re.MULTILINE)
    assert told + sum(int(n.replace(",", "")) for n in more) == seen.plain.zram + seen.odd.zram
    stacks = re.findall(r" on CPU \d+, stack (\d+)$", said, re.MULTILINE)
    assert set(stacks) == set(map(str, range(1, len(set(stacks)) + 1)))
    assert told <= 10 * len(set(stacks))
    assert "\x1b" not in said
    assert seen.texts["top"].status == 4


@of_one_kernel
def test_folded_stacks_of_a_name_with_escapes(seen: Seen) -> None:
    pages = 0
    for line in seen.texts["folded"].text.splitlines():
        stack, n = line.rsplit(" ", 1)
        type_name, *frames = stack.split(";")
        assert type_name == "zsmalloc"
        assert frames[0].startswith("entry_SYSCALL_64")
        assert "zram_reset_device [zram]" in frames
        pages += int(n)
    assert pages == seen.odd.zram


@of_one_kernel
def test_the_top_of_a_table_and_the_sum_of_the_others(seen: Seen) -> None:
    text = seen.texts["top"].text
    assert "\x1b" not in text
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    assert ["zsmalloc", ESCAPED, str(seen.odd.pid), f"{seen.odd.zram:,}"] in [
        line[:4] for line in lines
    ]
    assert ["1 more row", f"{seen.plain.zram:,}"] in [line[:2] for line in lines]
    assert str(seen.plain.pid) not in {cell for line in lines for cell in line}
