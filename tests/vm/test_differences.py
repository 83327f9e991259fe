# SPDX-License-Identifier: GPL-2.0-only
"""What diff says of a guest that took known amounts of memory, and gave them back.

Its snapshots are taken from outside while it is paused, right after it has read the kernel's own
files (programs/grow.py). Whatever else changed between the two moments is bounded by NOISE, and
those files show the same.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from guest_module import LEAKS, insert, modules
from guest_process import ONE
from guest_quiet import QUIET
from owned_guest import pageinspect
from prometheus_client.parser import text_string_to_metric_families

from pageinspect.model.kpageflags import Kpf
from pageinspect.vm import catalogue
from pageinspect.vm.errors import GuestTimeoutError
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.process import GuestProcess

# The first of all builds the module as well, against the headers of every kernel.
pytestmark = pytest.mark.timeout(1800)

Answer = dict[str, Any]
PROGRAM = "/opt/pageinspect/src/tests/vm/programs/grow.py"
FOLDER = "/run/growing"
PREPARE = f"""
modprobe zram num_devices=1
echo 64M > /sys/block/zram0/disksize
mkdir /run/grown
mount -t tmpfs -o huge=never none /run/grown
{QUIET}
"""
MOMENTS = ("before", "after", "undone")
NOISE = 32
"""Pages by which the change of a kind of owner may differ from that of the kernel's counters, and
the pages of what no counter has. It is what the guest does from the reading of its files to the
moment when it is paused, twice."""
MOST_MOVED = 0.05
"""The largest share of pages of which the kernel says something else right after a snapshot."""
PAGE = 4096
CHILD_PAGES, LEAKED = 4096, 1000
"""As in programs/grow.py."""
ZONE = {name: name for name in ("node", "zone", "order")}
REPORTS = {
    "summary": ("summary_by_type", "rows", {"name": "type"}, ("pages", "folios", "bytes")),
    "owners": ("owners_by_kind", "rows", {"kind": "kind"}, ("pages", "bytes")),
    "contiguity": ("contiguity", "blocks", ZONE, ("blocks", "free_blocks", "unmovable_blocks")),
}
"""Of each report for Prometheus: how its names begin, and the table of json that they are of, with
the columns that are labels, and some that are numbers."""
COUNTED_TOGETHER = {
    "slab": ("slab", "large_kmalloc"),
    "vmalloc": ("vmalloc", "stack", "module", "bpf"),
}
"""Kinds of owner that one of the kernel's counters has."""
_TIMEOUT_S = 240.0


@dataclass(frozen=True, eq=False)
class Grown:
    """The snapshots of a guest, and what was known of it."""

    dataset: Path
    taken: Answer
    kpageflags: dict[str, npt.NDArray[np.uint64]]
    """As the guest's kernel had it before each moment; and after it, with .after in the name."""
    reports: dict[str, tuple[Answer, str]]
    """As json and for Prometheus, of the guest that was paused when it had taken memory."""

    def text(self, moment: str, path: str) -> str:
        text: str = self.taken["texts"][moment][path]
        return text

    def at(self, moment: str) -> str:
        """Return the snapshot of a moment as a target."""
        return f"{self.dataset}@{MOMENTS.index(moment) - len(MOMENTS)}"

    @cache  # noqa: B019 - it lives as long as the snapshots
    def diff(self, before: str, after: str, *args: object) -> Answer:
        done = pageinspect("diff", self.at(before), self.at(after), *args, "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        answer: Answer = json.loads(done.stdout)
        assert answer["one_boot"]
        return answer

    def changes(self, before: str, after: str, by: str, key: str) -> Counter[str]:
        """Return the change in pages by one column."""
        found: Counter[str] = Counter()
        for row in self.diff(before, after, "--by", by)["rows"]:
            found[row[key]] += row["pages_change"]
        return found

    def lists(self, moment: str) -> int:
        """Return the pages on the lists of CPUs."""
        text = self.text(moment, "/proc/zoneinfo")
        return sum(map(int, re.findall(r"^\s+count:\s+(\d+)$", text, re.MULTILINE)))

    def counters(self, moment: str) -> Counter[str]:
        """Return pages by kind of owner, as the kernel's own files have them."""
        lines = map(str.split, self.text(moment, "/proc/vmstat").splitlines())
        n = {name: int(number) for name, number in lines}
        meminfo = dict(
            re.findall(r"^(\w+):\s+(\d+) kB$", self.text(moment, "/proc/meminfo"), re.MULTILINE)
        )
        found = {
            "free": n["nr_free_pages"] + self.lists(moment),
            "file": n["nr_file_pages"] - n["nr_shmem"] - n["nr_swapcached"],
            "shmem": n["nr_shmem"],
            "anon": n["nr_anon_pages"],
            "slab": n["nr_slab_reclaimable"] + n["nr_slab_unreclaimable"],
            "table": n["nr_page_table_pages"],
            "zsmalloc": n["nr_zspages"],
            "vmalloc": int(meminfo["VmallocUsed"]) * 1024 // PAGE,
            "percpu": int(meminfo["Percpu"]) * 1024 // PAGE,
        }
        return Counter(found)

    def zram(self, moment: str) -> int:
        """Return the pages of the device by its mm_stat."""
        return int(self.text(moment, "/sys/block/zram0/mm_stat").split()[2]) // PAGE

    def rollup(self, moment: str, pid: int) -> dict[str, int]:
        """Return bytes of a process's smaps_rollup."""
        text = self.text(moment, f"/proc/{pid}/smaps_rollup")
        return {
            name: int(kib) * 1024
            for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)
        }


@dataclass(frozen=True)
class Steps:
    """Takes snapshots of a guest while it is paused."""

    guest: Guest
    socket: Path
    dataset: Path

    def pause_at(self, moment: str, program: GuestProcess) -> None:
        """Let the program go on to a moment, and pause the guest then."""
        program.write(b"\n")
        end = time.monotonic() + _TIMEOUT_S
        while f"grow: {moment}".encode() not in self.guest.log.read_bytes():
            assert time.monotonic() < end, self.guest.log
            try:
                raise AssertionError(f"it ended with {program.wait(0.05)}: {program.stderr!r}")
            except GuestTimeoutError:
                pass
        self.guest.pause()

    def said(self, *args: object) -> str:
        done = pageinspect(*args, "--qemu", self.socket, "--pause")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


KERNELS = [
    ONE,
    *(pytest.param(name, marks=pytest.mark.whole) for name in catalogue.kernels() if name != ONE),
]


@pytest.fixture(scope="module", params=KERNELS)
def grown(
    request: pytest.FixtureRequest,
    ready: Callable[[str], BuiltKernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Grown:
    kernel = ready(request.param)
    built = modules([ready(name) for name in catalogue.kernels()])
    folder = tmp_path_factory.mktemp("differences")
    socket, dataset = folder / "qmp", folder / "data"
    reports = {}
    with Guest(kernel, memory="1G", qmp_socket=socket) as guest:
        steps = Steps(guest, socket, dataset)
        insert(guest, built[kernel.release], LEAKS)
        guest.run(["sh", "-ec", PREPARE])
        program = guest.start(["python3", "-P", PROGRAM, FOLDER])
        program.wait_for_output(b"ready", 120)
        for moment in MOMENTS:
            steps.pause_at(moment, program)
            steps.said("snapshot", "-o", dataset)
            if moment == "after":
                for name in REPORTS:
                    answer = json.loads(steps.said(name, "--format", "json"))
                    reports[name] = answer, steps.said(name, "--format", "prometheus")
            guest.resume()
        program.close_stdin()
        assert program.wait(120) == 0, program.stderr
        flags = {
            f"{moment}{suffix}": np.frombuffer(
                guest.run(["cat", f"{FOLDER}/{moment}/kpageflags{suffix}"]).stdout, np.uint64
            )
            for moment in MOMENTS
            for suffix in ("", ".after")
        }
        taken = json.loads(guest.run(["cat", f"{FOLDER}/grown.json"]).stdout)
    return Grown(dataset, taken, flags, reports)


def covered(runs: list[Answer]) -> set[int]:
    return {pfn for run in runs for pfn in range(run["start"], run["end"])}


steps = pytest.mark.parametrize(
    ("before", "after", "sign"), [("before", "after", 1), ("after", "undone", -1)]
)
"""Two moments, and whether memory is taken or given back in between."""


@steps
def test_kinds_change_as_the_kernels_counters(
    grown: Grown, before: str, after: str, sign: int
) -> None:
    changes = grown.changes(before, after, "owner", "kind")
    assert changes["zsmalloc"] == grown.zram(after) - grown.zram(before)
    expected = grown.counters(after)
    expected.subtract(grown.counters(before))
    # Nothing leads to these, and no counter has them.
    expected["unknown"] = sign * LEAKED
    for whole, parts in COUNTED_TOGETHER.items():
        changes[whole] = sum(changes.pop(part, 0) for part in parts)
    kinds = changes.keys() | expected.keys()
    differences = {kind: changes[kind] - expected[kind] for kind in kinds}
    assert {kind: n for kind, n in differences.items() if abs(n) > NOISE} == {}


@steps
def test_names_that_change_are_those_that_took_memory(
    grown: Grown, before: str, after: str, sign: int
) -> None:
    child, parent = f"grown[{grown.taken['child']}]", f"python3[{grown.taken['parent']}]"
    rows = grown.diff(before, after, "--by", "name")["rows"]
    of_child = {row["kind"]: row for row in rows if row["name"] == child}
    names: dict[str, set[str]] = {}
    for row in rows:
        if abs(row["pages_change"]) > NOISE:
            names.setdefault(row["kind"], set()).add(row["name"])
    # What these names have in all is compared with counters.
    for kind in ("free", "slab", "large_kmalloc"):
        names.pop(kind, None)
    assert all(name.endswith("[zram]") for name in names.pop("vmalloc", ()))
    assert names == {
        "zsmalloc": {"zram0"},
        # The pages of the parent become those of two, and then of one again.
        "anon": {child, parent, f"{parent} and 1 more"},
        "unknown": {"kernel, order 0, 1 reference"},
    }
    state = "came" if sign > 0 else "went"
    assert of_child["anon"]["state"] == of_child["table"]["state"] == state
    own = grown.rollup("after", grown.taken["child"])
    assert CHILD_PAGES <= sign * of_child["anon"]["pages_change"] <= own["Private_Dirty"] // PAGE


@steps
def test_files_that_come_and_go(grown: Grown, before: str, after: str, sign: int) -> None:
    changes = grown.changes(before, after, "file", "name")
    made = {path: sign * pages for path, pages in grown.taken["files"].items()}
    assert len(made) == 200
    assert {path: changes.pop(path, 0) for path in made} == made
    assert {path: n for path, n in changes.items() if abs(n) > NOISE} == {}


@steps
def test_processes_change_as_the_kernel_adds_them_up(
    grown: Grown, before: str, after: str, sign: int
) -> None:
    rows = {row["pid"]: row for row in grown.diff(before, after, "--by", "process")["rows"]}
    child, parent = grown.taken["child"], grown.taken["parent"]
    assert {child, parent} <= rows.keys()
    states = {pid: row["state"] for pid, row in rows.items() if row["state"]}
    assert states == {child: "came" if sign > 0 else "went"}
    for pid, row in rows.items():
        for side, moment in (("before", before), ("after", after)):
            there = pid != child or moment == "after"
            own = grown.rollup(moment, pid) if there else {"Pss": 0, "Rss": 0}
            assert abs(row[f"rss_{side}"] - own["Rss"]) <= NOISE * PAGE, row
            assert abs(row[f"pss_{side}"] - own["Pss"]) <= NOISE * PAGE, row


@steps
def test_pages_of_the_module(grown: Grown, before: str, after: str, sign: int) -> None:
    taken, free = ("after", "before") if sign > 0 else ("before", "after")
    changed = grown.diff(before, after, "--pfn")["changed"]
    leaked = covered(
        [
            run
            for run in changed
            if run[f"owner_{free}"].startswith("free:")
            and run[f"owner_{taken}"].startswith("unknown:")
        ]
    )
    pfns = set(grown.taken["leaked"])
    assert len(pfns) == LEAKED
    # What the module gives back may be taken again at once.
    assert len(pfns - leaked) <= NOISE
    assert len(leaked - pfns) <= NOISE


def test_pages_whose_use_changes(grown: Grown) -> None:
    answer = grown.diff("before", "after", "--pfn")
    found = covered([run for run in answer["changed"] if run["use_before"] != run["use_after"]])
    pages = answer["pages"]
    assert pages["both"] == len(grown.kpageflags["before"])
    assert pages["both"] - pages["same_use"] == len(found)
    assert pages["changed"] == len(covered(answer["changed"]))
    bits = np.uint64(sum(1 << bit for bit in (Kpf.BUDDY, Kpf.SLAB, Kpf.ANON, Kpf.PGTABLE)))
    before, after = (grown.kpageflags[moment] & bits for moment in ("before", "after"))
    # What a CPU took for its lists, or gave back, between a reading and its snapshot is in neither.
    moved = np.zeros(len(before), np.bool_)
    for moment in ("before", "after"):
        moved |= grown.kpageflags[moment] & bits != grown.kpageflags[f"{moment}.after"] & bits
    assert moved.mean() < MOST_MOVED
    found -= set(np.flatnonzero(moved).tolist())
    expected = set(np.flatnonzero((before != after) & ~moved).tolist())
    assert len(expected) > CHILD_PAGES + LEAKED
    assert len(expected - found) <= NOISE
    # These bits do not show what is on the lists of CPUs.
    listed = max(grown.lists(moment) for moment in ("before", "after"))
    assert len(found - expected) <= listed + NOISE


def test_what_is_given_back_leaves_no_owner(grown: Grown) -> None:
    rows = grown.diff("before", "undone", "--by", "name")["rows"]
    more = {(row["kind"], row["name"]) for row in rows if row["pages_change"] > NOISE}
    assert more - {("free", "pcp"), ("free", "buddy")} == set()
    came = {row["kind"] for row in rows if row["state"] == "came"}
    # Other processes of the guest go on, and take some anonymous memory and files.
    assert came.isdisjoint({"zsmalloc", "module"})


def test_a_snapshot_does_not_differ_from_itself(grown: Grown) -> None:
    for by in ("type", "use", "owner", "name", "process", "file", "cache", "zone"):
        answer = grown.diff("after", "after", "--by", by, "--pfn")
        assert answer["rows"] == answer["changed"] == []
        assert answer["pages"]["changed"] == 0


def test_limits(grown: Grown) -> None:
    # The device had 4 MiB, and gets 32 MiB more: what is exactly at a limit is not above it.
    for limit, status in (("zsmalloc:+10%", 4), ("zsmalloc:+32M", 0), ("zsmalloc:zram0:+8191", 4)):
        two = grown.at("before"), grown.at("after")
        done = pageinspect("diff", *two, "--fail-above", limit)
        assert done.returncode == status, done.stderr
        assert (f"limit {limit} exceeded: 4 MiB before, 36 MiB after" in done.stderr) == bool(
            status
        )


@pytest.mark.parametrize("name", REPORTS)
def test_metrics_are_the_numbers_of_json(grown: Grown, name: str) -> None:
    prefix, table, labels, numbers = REPORTS[name]
    answer, text = grown.reports[name]
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert answer[table]
    for row in answer[table]:
        key = sorted((label, str(row[column])) for column, label in labels.items())
        for column in numbers:
            assert found[f"pageinspect_{prefix}_{column}", *key] == row[column]
    assert found[f"pageinspect_{prefix}_spanned_pages",] == answer["coverage"]["spanned"]
    assert found[f"pageinspect_{prefix}_complete",] == 1
