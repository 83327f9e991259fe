# SPDX-License-Identifier: GPL-2.0-only
"""`pageinspect trace` in guests, against loads whose typed frees are known exactly.

A tracer takes seconds to start where a guest is emulated, so tests share runs, and start together
what is to run side by side.
"""

import contextlib
import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from guest_tracer import END_TIMEOUT, START_TIMEOUT, Tracer, check_lost, check_pages, resets

from pageinspect.vm.guest import Guest

if TYPE_CHECKING:
    from pageinspect.vm.process import Completed

# Three tracers are started at once.
pytestmark = [pytest.mark.timeout(1800), pytest.mark.kernels("newest", "6.1")]

PROGRAMS = "/opt/pageinspect/src/tests/vm/programs"
PYTHON = "PYTHONPATH=/opt/pageinspect/src:/opt/pageinspect/wheels python3"

ZRAM_PAGES = (16 << 20) // 4096
BALLOON_BYTES = 64 << 20
BALLOON_PAGES = BALLOON_BYTES // 4096
RESET = "echo 1 > /sys/block/zram0/reset"

COMPILING = "pageinspect: compiling the BPF program; tracing has not begun"

OF_TRACING = re.compile(
    r"bpf_prog_[0-9a-f]{16}|bpf_trace_run|__bpf_trace_|__traceiter_|bpf_get_stackid|"
    r"__bpf_prog_(enter|exit)|count_page_free"
)
"""Frames that tracing itself puts on a stack. To load a program frees pages too: not these."""

of_one_kernel = pytest.mark.parametrize("kernel", ["newest"], indirect=True)
"""For what only user space does: it is the same on all."""


def fill_zram(guest: Guest, mib: int) -> None:
    with contextlib.suppress(Exception):
        guest.run(["modprobe", "zram", "num_devices=1"])
    fill = f"{RESET}; echo 64M > /sys/block/zram0/disksize && dd if=/dev/urandom of=/dev/zram0"
    guest.run(["sh", "-c", f"{fill} bs=1M count={mib}"])


def run_trace(guest: Guest, *arguments: str) -> "Completed":
    """Trace in the guest to the end."""
    argv = ["pageinspect", "trace", *arguments]
    return guest.run(argv, timeout=START_TIMEOUT, check=False)


def spoken(stderr: bytes) -> list[str]:
    """Return the lines on stderr after those that say that tracing begins."""
    lines = stderr.decode().splitlines()
    tracing, *lines = lines[1:] if lines[0] == COMPILING else lines
    assert tracing.startswith("pageinspect: tracing until ")
    return lines


def typed_pages(report: dict[str, Any]) -> dict[str, int]:
    return {row["type"]: row["pages"] for row in report["typed"]}


def bpf_objects(guest: Guest) -> list[int]:
    found: list[int] = json.loads(
        guest.run(["python3", f"{PROGRAMS}/bpf_objects.py"], timeout=END_TIMEOUT).stdout
    )
    return found


def left(guest: Guest, expected: list[int]) -> list[int]:
    """Wait until the kernel has dropped what it is to drop: it does so after its grace periods."""
    end = time.monotonic() + END_TIMEOUT
    while (now := bpf_objects(guest)) != expected and time.monotonic() < end:
        time.sleep(0.2)
    return now


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@dataclass(frozen=True)
class Together:
    """What three tracers saw side by side of a zram device and a balloon that gave memory back."""

    detail: dict[str, Any]
    """Of the one that ended with its command."""
    events: list[dict[str, Any]]
    chosen: dict[str, Any]
    """The events and the report of the one that was ended by SIGTERM."""
    other: list[dict[str, Any]]
    """The reports, by interval, of one that looked at another process, and was killed."""
    objects: dict[str, list[int]]
    """BPF programs, maps and links of the kernel before them, with them, and after them."""


@pytest.fixture(scope="module")
def together(guest: Guest) -> Together:
    fill_zram(guest, 16)
    guest.balloon(guest.memory - BALLOON_BYTES)
    # On older kernels the same pages are freed, only untyped.
    kinds = [] if resets(guest) else ["--type", "untyped,offline"]
    by = ["--by", "comm", "--by", "caller", "--by", "zone"]
    name = "zsmalloc" if resets(guest) else "table"
    before = bpf_objects(guest)
    # It waits for input, and frees nothing meanwhile.
    waiting = guest.start(["sh", "-c", "echo $$; exec cat"])
    waiting.wait_for_output(b"\n", END_TIMEOUT)
    pid = waiting.stdout.decode().strip()
    detail, chosen, other = tracers = (
        Tracer(guest, "detail", "--stacks", *by, "--page-pool", "--tails", *kinds),
        Tracer(guest, "chosen", "--events", "--type", name, "--pfn", "node:0", "--order", "0"),
        Tracer(guest, "other", "--pid", pid, "-i", "0.5", "--stacks", "--disallow", "buddy"),
    )
    for tracer in tracers:
        tracer.started()
    during = bpf_objects(guest)
    guest.run(["sh", "-c", RESET])
    guest.balloon(guest.memory)
    # The reading after the next one began when all had been freed.
    reports = len(other.documents())
    wait_until(lambda: len(other.documents()) > reports + 1)
    # The first to end, for it would see the maps of the others freed.
    (report,) = detail.end()
    chosen.process.send_signal(signal.SIGTERM)
    chosen.process.wait(END_TIMEOUT)
    other.process.send_signal(signal.SIGKILL)
    assert other.process.wait(END_TIMEOUT) == -signal.SIGKILL
    waiting.close_stdin()
    after = left(guest, before)
    *events, last = chosen.documents()
    # Stacks of untyped frees are many; the hash may have no place for one of them.
    check_lost(report, detail.status, *([] if resets(guest) else ["stacks"]))
    check_lost(last, chosen.status)
    objects = {"before": before, "during": during, "after": after}
    return Together(report, events, last, other.documents(), objects)


def test_each_page_of_zram_and_balloon_is_freed_typed_where_the_buddy_resets(
    guest: Guest, together: Together
) -> None:
    expected = {"zsmalloc": ZRAM_PAGES, "offline": BALLOON_PAGES} if resets(guest) else {}
    assert {name: n for name, n in typed_pages(together.detail).items() if n} == expected
    typed = [row for row in together.detail["typed"] if row["frees"]]
    assert all(row["expected"] for row in typed)
    assert all(row["orders"] == {"0": row["pages"]} for row in typed)
    untyped_at_least = 0 if resets(guest) else ZRAM_PAGES + BALLOON_PAGES
    assert together.detail["untyped"]["pages"] > untyped_at_least


def test_stacks_and_callers_name_who_freed(guest: Guest, together: Together) -> None:
    pages = {"zram_reset_device": 0, "leak_balloon": 0}
    for stack in together.detail["stacks"]:
        functions = {frame.split(" ")[0].split(".")[0] for frame in stack["frames"]}
        assert not any(map(OF_TRACING.match, stack["frames"])), stack
        for function in pages:
            if function in functions:
                pages[function] += stack["pages"]
                names = ("zsmalloc", "offline") if resets(guest) else ("untyped", "untyped")
                assert stack["type"] == names[list(pages).index(function)]
    # Where frees of all kinds are told apart, those of the zram table and the balloon's own too.
    slack = 0 if resets(guest) else 2000
    # One that found no place is counted a free.
    lost = together.detail["lost_by"]["stacks"]
    assert ZRAM_PAGES - lost <= pages["zram_reset_device"] <= ZRAM_PAGES + slack
    assert BALLOON_PAGES - lost <= pages["leak_balloon"] <= BALLOON_PAGES + slack


def test_rows_by_caller_add_up_to_the_stacks(guest: Guest, together: Together) -> None:
    assert together.detail["by"] == ["comm", "caller", "zone"]
    rows = together.detail["rows"]
    assert sum(row["frees"] for row in rows) == sum(s["frees"] for s in together.detail["stacks"])
    pages: dict[str, int] = {}
    for row in rows:
        _comm, caller, zone = row["key"]
        assert zone in ("DMA", "DMA32", "Normal")
        function = caller.split(" ")[0]
        pages[function] = pages.get(function, 0) + row["pages"]
    zsmalloc = sum(n for name, n in pages.items() if name in ZSMALLOC_CALLERS)
    # Frees whose stack found no place have no caller.
    lost = together.detail["lost_by"]["stacks"]
    assert ZRAM_PAGES - lost <= zsmalloc <= ZRAM_PAGES + (0 if resets(guest) else 200)
    balloon = sum(n for name, n in pages.items() if "balloon" in name)
    assert BALLOON_PAGES - lost <= balloon <= BALLOON_PAGES + (0 if resets(guest) else 200)


ZSMALLOC_CALLERS = ("zs_free", "__free_zspage", "free_zspage", "free_zspage_page")


def test_each_event_is_a_free_of_a_chosen_type(guest: Guest, together: Together) -> None:
    expected = ZRAM_PAGES if resets(guest) else 0
    assert [event["type"] for event in together.events] == ["zsmalloc"] * expected
    assert len({event["pfn"] for event in together.events}) == expected
    assert all(0 <= event["pfn"] < 1 << 21 for event in together.events)
    times = [event["time_ns"] for event in together.events]
    assert all(0 <= time <= together.chosen["duration_ns"] for time in times)
    assert {event["comm"] for event in together.events} <= {"sh"}


def test_types_orders_and_ranges_can_be_chosen(guest: Guest, together: Together) -> None:
    assert typed_pages(together.chosen) == (
        {"zsmalloc": ZRAM_PAGES} if resets(guest) else {"table": 0}
    )
    assert together.chosen["others"]["pages"] == (BALLOON_PAGES if resets(guest) else 0)
    assert together.chosen["filters"]["order"] == [0]
    assert together.chosen["untyped"]["frees"] == together.chosen["untyped"]["pages"]


def test_bad_pages_are_counted_where_a_typed_page_is_one(guest: Guest, together: Together) -> None:
    assert together.chosen["resets"] == resets(guest)
    assert together.chosen.get("bad_pages", "not counted") == (
        "not counted" if resets(guest) else 0
    )


def test_who_looks_at_another_process_sees_none_of_it(together: Together) -> None:
    assert {name for r in together.other for name in r["filters"]} == {"pid"}
    assert [r for r in together.other if r["typed"]] == []
    assert sum(r["untyped"]["pages"] for r in together.other) == 0


def test_nothing_is_left_behind_whatever_ends_it(together: Together) -> None:
    objects = together.objects
    assert all(
        now >= then + 3 for now, then in zip(objects["during"], objects["before"], strict=True)
    )
    assert objects["after"] == objects["before"]
    assert together.detail["command_status"] == 0
    # The command was ended with it.
    assert together.chosen["command_status"] > 128


def test_two_million_pages_are_those_of_vmstat_and_none_is_unexpected(guest: Guest) -> None:
    fill_zram(guest, 1)
    look = "grep '^pgfree ' /proc/vmstat"
    load = f"{look}; python3 {PROGRAMS}/free_pages.py 256 32; {RESET}; {look}; exit 7"
    disallow = ["--disallow", "unexpected", "--exec", "touch", "/run/fired"]
    done = run_trace(guest, "--format", "json", *disallow, "--", "sh", "-c", load)
    report = json.loads(done.stdout)
    check_lost(report, done.status)
    assert list(report) == [
        *("schema", "kernel", "resets", "resets_from", "duration_ns", "events", "lost"),
        *("lost_by", "command_status", "typed", "untyped"),
        *(() if resets(guest) else ("bad_pages",)),
        "disallowed",
    ]
    assert report["kernel"]["release"] == guest.kernel.release
    assert report["command_status"] == 7

    # stderr has what COMMAND wrote to its stdout, and would have the alarms.
    said = spoken(done.stderr)
    before, grown, after = (int(line.split()[-1]) for line in said)
    assert said == [f"pgfree {before}", str(grown), f"pgfree {after}"]
    ours = report["untyped"]["pages"] + sum(row["pages"] for row in report["typed"])
    assert grown >= 2_000_000
    # The rest is what the shell and the first program do outside of the two looks.
    check_pages(ours, report["lost_by"]["missed"], after - before)
    assert report["untyped"]["frees"] >= 2_000_000

    # The types of zram's pages are expected where they are seen.
    assert typed_pages(report) == ({"zsmalloc": (1 << 20) // 4096} if resets(guest) else {})
    assert report["disallowed"] == {"frees": 0, "pages": 0}
    assert guest.run(["test", "-e", "/run/fired"], check=False).status == 1


@of_one_kernel
def test_a_slow_reader_of_events_blocks_nothing_and_gets_the_number_of_lost_events(
    guest: Guest,
) -> None:
    tracer = Tracer(guest, "stopped", "--events", "--type", "untyped")
    tracer.started()
    pid = guest.run(["pgrep", "-f", "-o", "run/stopped.json"]).stdout.decode().strip()
    guest.run(["kill", "-STOP", pid])
    freed = int(guest.run(["python3", f"{PROGRAMS}/free_pages.py", "320", "1"]).stdout)
    guest.run(["kill", "-CONT", pid])
    # It has tens of thousands of events to write.
    *events, report = tracer.end(START_TIMEOUT)
    check_lost(report, tracer.status, "events")
    # Exact all the same are the counts.
    assert report["untyped"]["pages"] + report["lost_by"]["missed"] >= freed >= (320 << 20) // 4096
    assert report["lost_by"]["events"] > 0
    assert len(events) + report["lost_by"]["events"] == report["untyped"]["frees"]


CLEAR = "\x1b[H\x1b[2J"


@of_one_kernel
def test_intervals_follow_a_run(guest: Guest, together: Together) -> None:
    follow = ["pageinspect", "trace", "-i", "0.5"]
    lines = guest.start([*follow, "--format", "json"])
    leaves = f"{' '.join(follow)} --format csv -- sleep 600 | head -2; pgrep sleep"
    headed = guest.start(["sh", "-c", leaves])
    screen = guest.start(follow, tty=(10, 80))
    wait_until(lambda: lines.stdout.count(b"\n") > 1 and screen.stdout.count(CLEAR.encode()) > 2)
    lines.send_signal(signal.SIGHUP)
    screen.write(b"\x03")
    assert screen.wait(END_TIMEOUT) in {0, 3}, screen.stdout.decode()
    assert lines.wait(END_TIMEOUT) in {0, 3}, lines.stderr.decode()

    reports = [json.loads(line) for line in lines.stdout.splitlines()]
    assert len(reports) > 2
    assert [r["start_ns"] for r in reports[1:]] == [r["end_ns"] for r in reports[:-1]]
    assert reports[0]["start_ns"] == 0
    assert sum(r["duration_ns"] for r in reports) == reports[-1]["end_ns"]

    headed.wait(START_TIMEOUT)
    header, first = headed.stdout.decode().splitlines()
    assert header == "start_ns,end_ns,type,frees,pages,bytes,orders,verdict"
    # Of whatever type: seven commas are as many columns.
    assert first.count(",") == header.count(",")
    assert first.split(",")[3].isdigit()
    assert spoken(headed.stderr) == []
    before = together.objects["before"]
    assert left(guest, before) == before

    # Each screen starts at its top left, and none is longer than the terminal.
    shown = screen.stdout.decode().replace("\r", "").split(CLEAR)
    assert len(shown) > 3
    assert all(page.count("\n") <= 10 for page in shown[1:-1])
    assert all(page.startswith("Linux ") for page in shown[1:])


def test_a_kprobe_on_the_function_misses_what_the_tracepoint_sees(guest: Guest) -> None:
    load = ["python3", f"{PROGRAMS}/free_pages.py", "32", "4"]
    program = f"{PROGRAMS}/kprobe_beside_tracepoint.py"
    done = guest.run(["python3", program, *load], timeout=START_TIMEOUT)
    grown, found = done.stdout.splitlines()
    hits = json.loads(found)
    freed = 4 * (32 << 20) // 4096
    # By pgfree of vmstat; some pages stay in batches. The load's start and end free others.
    assert freed * 0.99 < int(grown) < hits["tracepoint"] * 1.01
    assert hits["tracepoint"] > freed
    if resets(guest):
        assert hits["kprobe"] < hits["tracepoint"] / 100
    elif guest.kernel.release.startswith("6.1."):
        assert hits["kprobe"] == "no symbol"
    else:
        # Some builds let it be probed: only compaction calls it.
        assert hits["kprobe"] == "refused" or hits["kprobe"] < hits["tracepoint"] / 100


SPOIL = """
import json, pathlib
from pageinspect.trace.compiled import CompiledProgram
(path,) = pathlib.Path("/run/kept/programs").iterdir()
program = CompiledProgram.of_json(json.loads(path.read_text()))
# r0 = r5, which nobody set, and exit
program.functions["count_page_free"] = bytes([0xBF, 0x50, *6 * [0], 0x95, *7 * [0]])
program.references["count_page_free"].clear()
path.write_text(json.dumps(program.to_json()))
"""


@of_one_kernel
def test_a_program_is_compiled_once_and_counts_the_same(guest: Guest) -> None:
    def traced(*options: str) -> tuple[bool, int, str]:
        """Return whether it was compiled, how often its compiler is mapped, and what is kept."""
        fill_zram(guest, 4)
        load = f"{RESET}; grep -c -e libbcc -e libLLVM -e libclang /proc/$PPID/maps"
        argv = ["pageinspect", "trace", "--format", "json", *options, "--", "sh", "-c", load]
        cached = ["env", "PAGEINSPECT_CACHE=/run/kept", *argv]
        done = guest.run(cached, timeout=START_TIMEOUT, check=False)
        report = json.loads(done.stdout)
        check_lost(report, done.status)
        assert typed_pages(report) == {"zsmalloc": (4 << 20) // 4096}
        (mapped,) = spoken(done.stderr)
        files = guest.run(["sh", "-c", "cd /run/kept/programs && sha256sum *"]).stdout.decode()
        return COMPILING in done.stderr.decode(), int(mapped), files

    compiled, mapped, kept = traced()
    assert compiled
    assert mapped > 0
    assert kept.count("\n") == 1
    assert traced() == (False, 0, kept)
    # The verifier refuses what is kept: it is compiled anew, and replaced.
    guest.run(["sh", "-c", f"{PYTHON} -c '{SPOIL}'"])
    compiled, mapped, again = traced()
    assert compiled
    assert mapped > 0
    assert again == kept
    compiled, _, again = traced("--no-cache", "--order", "0")
    assert compiled
    assert again == kept


@of_one_kernel
def test_an_unknown_type_is_a_usage_error_that_names_the_nearest(guest: Guest) -> None:
    done = run_trace(guest, "--type", "tabel")
    assert done.status == 2
    assert done.stdout == b""
    assert b"this kernel has no page type 'tabel'" in done.stderr
    assert b"did you mean table?" in done.stderr


@pytest.mark.parametrize("kernel", ["6.12", "newest"], indirect=True)
def test_poisoned_pages_are_counted_apart_where_the_kernel_can_poison(guest: Guest) -> None:
    poison = ["python3", f"{PROGRAMS}/poison_pages.py", "5"]
    done = run_trace(guest, "--format", "json", "--by", "zone", "--", *poison)
    # What the program says of the kernel's own count.
    assert spoken(done.stderr) == ["5"]
    report = json.loads(done.stdout)
    check_lost(report, done.status)
    assert report["hwpoison"] == {"frees": 5, "pages": 5}
    others = report["untyped"]["frees"] + sum(row["frees"] for row in report["typed"])
    assert report["events"] == others >= 5


UNSAFE = """
from pageinspect.doctor.syscalls import NOTHING
from pageinspect.trace import bpf_calls
from pageinspect.trace.kernel_errors import kernel_errors
# r0 = *(u64 *)(r2 + 0), of a register that nobody set
with kernel_errors("the BPF program"):
    bpf_calls.load(bpf_calls.SOCKET_FILTER, b"\\x79\\x20" + bytes(6) + NOTHING)
"""


@of_one_kernel
def test_a_refusal_of_the_verifier_quotes_the_verifier(guest: Guest) -> None:
    done = guest.run(["sh", "-c", f"{PYTHON} -c '{UNSAFE}'"], check=False)
    (error,) = (line for line in done.stderr.decode().splitlines() if "Error: " in line)
    assert error.endswith("Error: the kernel's verifier refuses the BPF program: R2 !read_ok")


@of_one_kernel
def test_without_privilege_it_says_what_is_missing(guest: Guest) -> None:
    argv = ["setpriv", "--reuid", "65534", "--clear-groups", "pageinspect", "trace", "-d", "1"]
    done = guest.run(argv, timeout=START_TIMEOUT, check=False)
    assert done.status == 1
    assert b"root" in done.stderr
    assert len(done.stderr.splitlines()) == 2


@of_one_kernel
def test_a_kernel_that_forbids_bpf_is_named(guest: Guest) -> None:
    drop = "-bpf,-perfmon,-sys_admin"
    argv = ["setpriv", "--bounding-set", drop, "--inh-caps", drop, "pageinspect", "trace"]
    done = guest.run([*argv, "-d", "1"], timeout=START_TIMEOUT, check=False)
    assert done.status == 1
    assert b"refuses to create the map frees: Operation not permitted" in done.stderr
    assert b"CAP_BPF and CAP_PERFMON" in done.stderr
    assert done.stdout == b""
