# SPDX-License-Identifier: GPL-2.0-only
"""What is read of a running kernel again and again: snapshots, readings of -i, and metrics.

The guest has pyarrow and prometheus_client on a disk (support/guest_libraries.py).
"""

import io
import itertools
import json
import re
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import guest_libraries
import pytest
from guest_process import ONE
from guest_tracer import START_TIMEOUT
from owned_guest import pageinspect
from places import DOCS
from prometheus_client.parser import text_string_to_metric_families

from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.process import GuestProcess

pytestmark = pytest.mark.timeout(1200)

PAGE = 4096
HELD = 64 << 20
"""Bytes of the file that a process takes between two readings."""
NOISE = 64
"""Pages of tmpfs that others may take meanwhile; the readings are not written there."""
HOLD = f"""
import mmap, pathlib
pathlib.Path("/proc/self/comm").write_text("holder")
with open("/run/held", "w+b") as file:
    file.truncate({HELD})
    memory = mmap.mmap(file.fileno(), {HELD})
for at in range(0, {HELD}, {PAGE}):
    memory[at] = 1
print("held", flush=True)
input()
"""
FREED = 1024
"""Pages of zram that are freed with their type."""
READINGS = {
    "summary": ("summary", "--by", "use"),
    "owners": ("owners",),
    "processes": ("processes", "--sort", "rss"),
}
TRACE = "pageinspect-trace.service"
COMPLETE = {0, 3}
"""3: this kernel changed while it was read."""

Row = dict[str, Any]


@pytest.fixture(scope="module")
def guest(ready: Callable[[str], BuiltKernel]) -> Iterator[Guest]:
    kernel = ready(ONE)
    with guest_libraries.disk() as scratch, Guest(kernel, scratch=scratch) as running:
        guest_libraries.mount(running)
        yield running


def rows_of(text: bytes) -> list[Row]:
    """Return the rows of all lines of JSON that have been written to their end."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def dataset_of(guest: Guest, folder: Path, name: str = "data") -> Path:
    """Copy a dataset of a guest, from /run."""
    archive = guest.run(["tar", "-C", "/run", "-c", name]).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder / name


@pytest.fixture(scope="module")
def dataset(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snapshots that the guest took of itself, until Ctrl-C."""
    command = ["pageinspect", "snapshot", "-o", "/run/data", "--every", "1", "--keep", "2"]
    process = guest.start(command)
    end = time.monotonic() + START_TIMEOUT
    while process.stdout.count(b"\n") < 3:
        assert process.status is None, process.stderr
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(START_TIMEOUT) == 0, process.stderr
    assert process.stderr == b""
    path = dataset_of(guest, tmp_path_factory.mktemp("over_time"))
    taken = [line.split(": ")[0].split() for line in process.stdout.decode().splitlines()]
    assert [[entry.host, entry.time] for entry in snapshots(path)] == taken[-2:]
    return path


def test_snapshots_that_are_kept_are_whole(guest: Guest, dataset: Path) -> None:
    boot = guest.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.decode().strip()
    for entry in snapshots(dataset):
        snapshot = read_snapshot(dataset, entry.host, entry.time)
        assert snapshot.header("source") == "live"
        assert snapshot.header("release") == guest.kernel.release
        assert snapshot.header("boot_id") in (None, boot)
        runs, spanned = snapshot.tables["runs"], snapshot.header("spanned")
        assert sum(runs["pages"].tolist()) == spanned == guest.memory // PAGE
        assert snapshot.header("missing") == []


def test_reports_of_the_copied_dataset(dataset: Path) -> None:
    kept = snapshots(dataset)
    for command, place in (("summary", ""), ("owners", "@-1"), ("owners", "@-2")):
        done = pageinspect(command, "-c", f"{dataset}{place}", "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        answer = json.loads(done.stdout)
        expected = kept[0 if place == "@-2" else -1]
        assert answer["kernel"]["snapshot"]["time"] == expected.time
        total = sum(row["pages"] for row in answer["rows"])
        assert total == answer["coverage"]["spanned"]


@dataclass
class Reading:
    """A command that reads again and again, and what it wrote."""

    status: int
    rows: list[Row]
    before: str
    """The last reading before the memory was taken."""
    times: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.times = list(dict.fromkeys(row["time"] for row in self.rows))

    def of(self, **key: object) -> list[Row]:
        """Return the rows of the readings that have these values."""
        return [row for row in self.rows if key.items() <= row.items()]


@pytest.fixture(scope="module")
def readings(guest: Guest) -> dict[str, Reading]:
    """All commands at once, with memory that is taken between their first and third readings."""

    def written(name: str) -> list[str]:
        return list(dict.fromkeys(row["time"] for row in rows_of(processes[name].stdout)))

    def wait(name: str, least: int, after: str = "") -> list[str]:
        """Wait for so many readings, of which the last was begun later."""
        end = time.monotonic() + START_TIMEOUT
        while len(times := written(name)) < least or times[-1] <= after:
            assert time.monotonic() < end
            assert processes[name].status is None, processes[name].stderr
            time.sleep(0.2)
        return times

    processes = {
        name: guest.start(["pageinspect", *words, "-i", "1", "--format", "jsonl"])
        for name, words in READINGS.items()
    }
    before = {name: wait(name, 1)[-1] for name in processes}
    holder = guest.start(["python3", "-c", HOLD])
    holder.wait_for_output(b"held", START_TIMEOUT)
    held = guest.run(["date", "-u", "+%Y%m%dT%H%M%SZ"]).stdout.decode().strip()
    for name, process in processes.items():
        wait(name, 3, held)
        process.send_signal(signal.SIGINT)
    statuses = {name: process.wait(START_TIMEOUT) for name, process in processes.items()}
    holder.close_stdin()
    holder.wait(START_TIMEOUT)
    return {
        name: Reading(statuses[name], rows_of(process.stdout), before[name])
        for name, process in processes.items()
    }


def test_ctrl_c_ends_readings_with_success(readings: dict[str, Reading]) -> None:
    assert {name: reading.status for name, reading in readings.items()} == dict.fromkeys(
        READINGS, 0
    )
    assert all(len(reading.times) >= 3 for reading in readings.values())


@pytest.mark.parametrize(
    ("name", "key"), [("summary", {"use": "shmem"}), ("owners", {"kind": "shmem"})]
)
def test_what_a_file_takes_is_the_change(
    readings: dict[str, Reading], name: str, key: dict[str, str]
) -> None:
    rows = readings[name].of(**key)
    assert len(rows) == len(readings[name].times)
    assert rows[0].get("change") is None
    for last, row in itertools.pairwise(rows):
        assert row["change"] == row["pages"] - last["pages"]
    later = [row["change"] for row in rows if row["time"] > readings[name].before]
    assert abs(sum(later) - HELD // PAGE) <= NOISE


def test_a_process_that_came_is_the_change(readings: dict[str, Reading]) -> None:
    reading = readings["processes"]
    rows = reading.of(comm="holder")
    assert rows[0]["time"] >= reading.before
    assert rows[0]["change"] == rows[0]["rss"]
    assert sum(row["change"] for row in rows) == rows[-1]["rss"] > HELD
    agent = [row["change"] for row in reading.of(pid=1)]
    assert agent[0] is None
    assert None not in agent[1:]
    assert sum(map(abs, agent[1:])) < HELD // 8


def unit(name: str, service: str = "pageinspect-metrics.service") -> list[str]:
    """Return the values of a setting of a service."""
    text = (DOCS / "examples" / service).read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def values(text: str) -> Counter[tuple[str, frozenset[tuple[str, str]]]]:
    """Return what a file for Prometheus has, by name and labels; an empty label is none."""
    found = {
        (sample.name, frozenset(each for each in sample.labels.items() if each[1])): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found
    return Counter(found)


def test_the_units_commands_need_no_more_than_its_capabilities(guest: Guest) -> None:
    (capabilities,) = unit("CapabilityBoundingSet")
    allowed = [name.removeprefix("CAP_").lower() for name in capabilities.split()]
    bounding = ",".join(["-all", *(f"+{name}" for name in allowed)])
    restricted = ["setpriv", f"--bounding-set={bounding}", "--no-new-privs"]
    guest.run(["sh", "-c", "mkdir /run/metrics; echo 1 > /proc/sys/kernel/kptr_restrict"])
    commands = unit("ExecStart")
    assert len(commands) == 3
    for command in commands:
        words = command.replace("${FOLDER}", "/run/metrics").split()
        assert words.pop(0) == "/usr/bin/pageinspect"
        done = guest.run([*restricted, "pageinspect", *words], timeout=START_TIMEOUT, check=False)
        assert done.status in COMPLETE, done.stderr
        path = words[words.index("-o") + 1]
        assert guest.run(["stat", "-c", "%a", path]).stdout == b"644\n"
        found = values(guest.run(["cat", path]).stdout.decode())
        if words[0] in {"summary", "owners"}:
            total = sum(n for (name, _), n in found.items() if re.search(r"_pages$", name))
            assert total >= guest.memory // PAGE, found
    without = ["setpriv", "--bounding-set=-sys_rawio", "pageinspect", "summary"]
    assert guest.run(without, timeout=START_TIMEOUT, check=False).status == 1


AS_SERVICE = """
rm -rf /run/state; mkdir /run/state; chown 65534 /run/state; ulimit -l unlimited
echo 1 > /proc/sys/kernel/kptr_restrict
{
    for i in $(seq 2000); do [ ! -e /run/state/begun ] || break; sleep 0.2; done
    RESET
    touch /run/state/freed
} > /dev/null 2>&1 &
exec "$@"
"""
COUNT_FUNCTIONS = (
    "from pageinspect.trace.symbolizer import _Modules; print(len(_Modules()._functions))"
)
UNTIL_FREED = "touch /run/state/begun; while [ ! -e /run/state/freed ]; do sleep 0.2; done"


def user_with(capabilities: list[str]) -> list[str]:
    """Return words that run a command as a user with these capabilities alone."""
    held = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)])
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    return [*user, f"--inh-caps={held}", f"--ambient-caps={held}", f"--bounding-set={held}"]


def traced(guest: Guest, capabilities: list[str]) -> tuple[int, str]:
    """Run the command of the trace service, as a user with these capabilities, while zram frees."""
    (command,) = unit("ExecStart", TRACE)
    words = command.replace("${STATE_DIRECTORY}", "/run/state").split()[1:]
    own = ["env", "PAGEINSPECT_CACHE=/run/state/cache", "pageinspect", *words]
    script = AS_SERVICE.replace("RESET", RESET)
    done = guest.run(
        ["sh", "-c", script, "-", *user_with(capabilities), *own, "--", "sh", "-c", UNTIL_FREED],
        timeout=START_TIMEOUT,
        check=False,
    )
    return done.status, done.stderr.decode()


def callers_of_zram(guest: Guest, folder: Path) -> set[str]:
    path = dataset_of(guest, folder, "state") / "frees"
    return {caller for kind, caller, _ in rows_of_frees(path) if kind == "zsmalloc"}


def test_the_trace_service_has_enough_capabilities(guest: Guest, tmp_path: Path) -> None:
    guest.run(["modprobe", "zram", "num_devices=1"])
    (bounding,), (ambient,) = (
        unit(name, TRACE) for name in ("CapabilityBoundingSet", "AmbientCapabilities")
    )
    assert bounding == ambient
    status, said = traced(guest, bounding.split())
    assert status in COMPLETE, said
    assert all(caller.startswith("zs_") for caller in callers_of_zram(guest, tmp_path))


@pytest.mark.whole
def test_the_trace_service_needs_each_capability(guest: Guest) -> None:
    guest.run(["modprobe", "zram", "num_devices=1"])
    (bounding,) = unit("CapabilityBoundingSet", TRACE)
    for name in bounding.split():
        if name != "CAP_SYSLOG":
            status, said = traced(guest, [each for each in bounding.split() if each != name])
            assert status == 1, f"without {name}: {said}"
    # Without it functions in modules have no names.
    count = ["env", "PYTHONPATH=/opt/pageinspect/src:/opt/pageinspect/wheels"]
    count += ["python3", "-P", "-c", COUNT_FUNCTIONS]
    assert int(guest.run([*user_with([]), *count]).stdout) <= 1
    assert int(guest.run([*user_with(["CAP_SYSLOG"]), *count]).stdout) > 10


@pytest.mark.whole
def test_metrics_of_a_trace(guest: Guest) -> None:
    command = ["pageinspect", "trace", "--format", "prometheus", "--", "true"]
    done = guest.run(command, timeout=START_TIMEOUT, check=False)
    assert done.status in COMPLETE, done.stderr
    found = values(done.stdout.decode())
    release = {(name, dict(labels).get("release")) for name, labels in found}
    assert ("pageinspect_trace_info", guest.kernel.release) in release
    untyped = frozenset({("type", "untyped")})
    pages = found["pageinspect_trace_pages", untyped]
    assert found["pageinspect_trace_bytes", untyped] == pages * PAGE > 0


RESET = f"""
    echo 16M > /sys/block/zram0/disksize
    dd if=/dev/urandom of=/dev/zram0 bs={PAGE} count={FREED} 2> /dev/null
    sync
    echo 1 > /sys/block/zram0/reset
"""


def rows_of_frees(path: Path) -> list[tuple[str, str, int]]:
    """Return type, caller and pages of each row of the frees in a dataset."""
    frees = [read_snapshot(path, e.host, e.time).tables["frees"] for e in snapshots(path)]
    columns = [[table[name].tolist() for name in ("type", "caller", "pages")] for table in frees]
    return [row for each in columns for row in zip(*each, strict=True)]


def wait_for(found: Callable[[], bool], process: GuestProcess) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not found():
        assert process.status is None, process.stderr
        assert time.monotonic() < end
        time.sleep(1)


def test_a_trace_that_is_left_on_loses_no_free_to_a_full_disk(guest: Guest, tmp_path: Path) -> None:
    guest.run(["sh", "-ec", "modprobe zram num_devices=1; mkdir /run/small"])
    # Each interval takes some 16 KiB of it, and a busy host many intervals for the steps below.
    guest.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", "/run/small"])
    command = ["pageinspect", "trace", "--every", "1", "--by", "caller", "-o", "/run/small/data"]
    process = guest.start(command)
    wait_for(lambda: b"tracing until" in process.stderr, process)
    guest.run(["sh", "-ec", RESET])
    find = ["find", "/run/small", "-path", "*/snapshots/*", "-name", "part.parquet"]
    wait_for(lambda: bool(guest.run(find).stdout), process)
    guest.run(["sh", "-c", "! dd if=/dev/zero of=/run/small/filler bs=4k"])
    wait_for(lambda: b"No space left on device; the next interval" in process.stderr, process)
    guest.run(["sh", "-ec", RESET])
    guest.run(["rm", "/run/small/filler"])
    process.send_signal(signal.SIGTERM)
    assert process.wait(START_TIMEOUT) in COMPLETE, process.stderr
    guest.run(["cp", "-a", "/run/small/data", "/run/traced"])
    path = dataset_of(guest, tmp_path, "traced")
    taken = snapshots(path)
    assert len(taken) > 1
    typed = rows_of_frees(path)
    assert sum(pages for kind, _, pages in typed if kind == "zsmalloc") == 2 * FREED
    assert all(caller.startswith("zs_") for kind, caller, _ in typed if kind == "zsmalloc")
    done = pageinspect("fleet", str(path), "frees", "--format", "json")
    (row,) = (row for row in json.loads(done.stdout)["frees"] if row["type"] == "zsmalloc")
    assert row["pages"] == 2 * FREED


def test_metrics_of_a_trace_that_is_left_on_only_grow(guest: Guest) -> None:
    command = ["pageinspect", "trace", "-i", "1", "--format", "prometheus", "-o", "/run/trace.prom"]
    process = guest.start(command)
    key = (
        "pageinspect_trace_pages_total",
        frozenset({("type", "zsmalloc"), ("verdict", "expected")}),
    )
    seen = []

    def counted(pages: int) -> bool:
        text = guest.run(["sh", "-c", "cat /run/trace.prom || :"]).stdout.decode()
        if text:
            seen.append(values(text))
        return bool(seen) and seen[-1][key] == pages

    wait_for(lambda: counted(0), process)
    for n in (1, 2):
        guest.run(["sh", "-ec", RESET])
        wait_for(lambda n=n: counted(n * FREED), process)  # type: ignore[misc]
    process.send_signal(signal.SIGINT)
    assert process.wait(START_TIMEOUT) in COMPLETE, process.stderr
    for then, now in itertools.pairwise(seen):
        assert all(now[each] >= then[each] for each in then)


def test_frees_of_a_snapshot_are_those_of_the_trace(guest: Guest, tmp_path: Path) -> None:
    script = f"""
    modprobe zram num_devices=1
    echo 16M > /sys/block/zram0/disksize
    dd if=/dev/urandom of=/dev/zram0 bs={PAGE} count={FREED} 2> /dev/null
    sync
    pageinspect trace --by caller --format json -o /run/trace.json -- \\
        sh -c 'echo 1 > /sys/block/zram0/reset'
    pageinspect snapshot -o /run/data --host traced --trace /run/trace.json
    """
    done = guest.run(["sh", "-c", script], timeout=START_TIMEOUT, check=False)
    assert done.status in COMPLETE, done.stderr
    (trace,) = rows_of(guest.run(["cat", "/run/trace.json"]).stdout)
    path = dataset_of(guest, tmp_path)
    (entry,) = (entry for entry in snapshots(path) if entry.host == "traced")
    frees = read_snapshot(path, entry.host, entry.time).tables["frees"]
    found: Counter[str] = Counter()
    for kind, pages in zip(frees["type"].tolist(), frees["pages"].tolist(), strict=True):
        found[kind] += pages
    assert found["zsmalloc"] == FREED
    assert found == {row["type"]: row["pages"] for row in trace["typed"]}
    callers = {row["key"][0] for row in trace["rows"] if row["type"] == "zsmalloc"}
    assert {*frees["caller"].tolist()} == callers
    assert all(caller.startswith("zs_") for caller in callers)
