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
from collections.abc import Callable, Iterator
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
"""Pages by which a kind of owner may differ from the kernel's counters, and pages that no counter
has: what the guest does from the reading of its files to the moment that it is paused, and slabs
and page tables that it takes in between."""
PAGE = 4096
CHILD_PAGES, LEAKED = 4096, 1000
"""As in programs/grow.py."""
REPORTS = ("summary", "owners", "contiguity")
_TIMEOUT_S = 240.0


@dataclass(frozen=True, eq=False)
class Grown:
    """The snapshots of a guest, and what was known of it."""

    dataset: Path
    taken: Answer
    kpageflags: dict[str, npt.NDArray[np.uint64]]
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

    def changes(self, before: str, after: str, by: str) -> dict[Any, int]:
        """Return the change in pages by kind, or by kind and name."""
        keys = {"owner": "kind", "file": "name"}.get(by, by)
        rows = self.diff(before, after, "--by", by)["rows"]
        if by == "name":
            return {(row["kind"], row["name"]): row["pages_change"] for row in rows}
        return {row[keys]: row["pages_change"] for row in rows}

    def vmstat(self, moment: str) -> Counter[str]:
        """Return pages by kind of owner, as the kernel's own files have them."""
        lines = map(str.split, self.text(moment, "/proc/vmstat").splitlines())
        n = {name: int(number) for name, number in lines}
        lists = re.findall(r"^\s+count: (\d+)$", self.text(moment, "/proc/zoneinfo"), re.MULTILINE)
        meminfo = dict(
            re.findall(r"^(\w+):\s+(\d+) kB$", self.text(moment, "/proc/meminfo"), re.MULTILINE)
        )
        found = {
            "free": n["nr_free_pages"] + sum(map(int, lists)),
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
) -> Iterator[Grown]:
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
            moment: np.frombuffer(
                guest.run(["cat", f"{FOLDER}/{moment}/kpageflags"]).stdout, np.uint64
            )
            for moment in MOMENTS
        }
        taken = json.loads(guest.run(["cat", f"{FOLDER}/grown.json"]).stdout)
    yield Grown(dataset, taken, flags, reports)


def significant(changes: dict[Any, int]) -> dict[Any, int]:
    return {key: change for key, change in changes.items() if abs(change) > NOISE}


def covered(runs: list[Answer]) -> set[int]:
    return {pfn for run in runs for pfn in range(run["start"], run["end"])}


def of_files(grown: Grown) -> dict[str, int]:
    """Return the pages of the files that were made, by path below their mount."""
    return {f"/{Path(path).name}": pages for path, pages in grown.taken["files"].items()}


STEPS = [("before", "after", 1), ("after", "undone", -1)]
"""Two moments, and whether memory is taken or given back in between."""
steps = pytest.mark.parametrize(("before", "after", "sign"), STEPS)


@steps
def test_kinds_change_as_the_kernels_counters(
    grown: Grown, before: str, after: str, sign: int
) -> None:
    changes = Counter(grown.changes(before, after, "owner"))
    files, zram = sum(of_files(grown).values()), grown.zram(after) - grown.zram(before)
    assert changes["zsmalloc"] == zram
    assert changes["shmem"] == sign * files
    assert abs(changes["unknown"] - sign * LEAKED) <= NOISE
    expected = grown.vmstat(after)
    expected.subtract(grown.vmstat(before))
    # The kernel's counters of these have more kinds in them.
    found = changes + Counter()
    for part, whole in (("large_kmalloc", "slab"), *((k, "vmalloc") for k in VMALLOC)):
        changes[whole] += changes.pop(part, 0)
    assert found is not changes
    expected["unknown"] = sign * LEAKED
    differences = {
        kind: changes[kind] - expected[kind] for kind in changes.keys() | expected.keys()
    }
    assert {kind: n for kind, n in differences.items() if abs(n) > NOISE} == {}


VMALLOC = ("stack", "module", "bpf")


@steps
def test_names_that_change_are_those_that_took_memory(
    grown: Grown, before: str, after: str, sign: int
) -> None:
    rows = significant(grown.changes(before, after, "name"))
    child = f"grown[{grown.taken['child']}]"
    by_kind: dict[str, set[str]] = {}
    for kind, name in rows:
        by_kind.setdefault(kind, set()).add(name)
    assert by_kind == {}, (rows, child, sign)


@steps
def test_files(grown: Grown, before: str, after: str, sign: int) -> None:
    rows = grown.changes(before, after, "file")
    made = {name: sign * pages for name, pages in of_files(grown).items()}
    assert {name: rows.get(name) for name in made} == made
    assert significant({name: n for name, n in rows.items() if name not in made}) == {}


@steps
def test_processes(grown: Grown, before: str, after: str, sign: int) -> None:
    rows = grown.diff(before, after, "--by", "process")["rows"]
    print(json.dumps(rows, indent=1))
    for moment in (before, after):
        print(grown.taken["texts"][moment].keys())
    assert 0


@steps
def test_pages(grown: Grown, before: str, after: str, sign: int) -> None:
    answer = grown.diff(before, after, "--pfn")
    print(answer["pages"], len(answer["changed"]))
    ends = ("before", "after") if sign > 0 else ("after", "before")
    leaked = covered(
        [
            run
            for run in answer["changed"]
            if run[f"owner_{ends[0]}"].startswith("free")
            and run[f"owner_{ends[1]}"].startswith("unknown")
        ]
    )
    pfns = set(grown.taken["leaked"])
    assert len(pfns) == LEAKED
    print(len(pfns - leaked), len(leaked - pfns))
    mask = np.uint64(sum(1 << bit for bit in (Kpf.BUDDY, Kpf.SLAB, Kpf.ANON, Kpf.PGTABLE)))
    was, has = (grown.kpageflags[moment] & mask for moment in (before, after))
    witness = set(np.flatnonzero(was != has).tolist())
    use = covered([r for r in answer["changed"] if r["use_before"] != r["use_after"]])
    print(len(witness), len(use), len(witness - use), len(use - witness))
    pcp = [
        sum(map(int, re.findall(r"^\s+count: (\d+)$", grown.text(m, "/proc/zoneinfo"), re.M)))
        for m in (before, after)
    ]
    print(pcp)
    assert 0
