"""`pageinspect trace` in guests, against loads whose typed frees are known exactly."""

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pageinspect.vm.guest import Guest

if TYPE_CHECKING:
    from pageinspect.vm.process import GuestProcess

PROGRAMS = "/opt/pageinspect/src/tests/vm/programs"
START_TIMEOUT = 120.0
RESETS = "7."
"""Of the kernels tried, those of this release let the buddy reset types."""

ZRAM_PAGES = (32 << 20) // 4096
BALLOON_BYTES = 128 << 20


def resets(guest: Guest) -> bool:
    return guest.kernel.release.startswith(RESETS)


@pytest.fixture(scope="module")
def zram(guest: Guest) -> Guest:
    guest.run(["modprobe", "zram", "num_devices=1"])
    return guest


def fill_zram(guest: Guest) -> None:
    fill = "echo 64M > /sys/block/zram0/disksize && dd if=/dev/urandom of=/dev/zram0 bs=1M count=32"
    guest.run(["sh", "-c", fill])


def trace(guest: Guest, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Trace in the guest to the end, and return the json report."""
    argv = ["pageinspect", "trace", "--format", "json", *arguments]
    done = guest.run(argv, timeout=START_TIMEOUT, check=False)
    assert done.status == status, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def typed(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["type"]: row for row in report["typed"]}


class Tracer:
    """A tracer in the guest that counts until it is told to end."""

    def __init__(self, guest: Guest, name: str, *arguments: str) -> None:
        self._guest = guest
        self._output = f"/run/{name}.json"
        argv = ["pageinspect", "trace", "--format", "json", "-o", self._output, *arguments]
        wait = ["--", "sh", "-c", "echo started; read line"]
        self.process: GuestProcess = guest.start(["sh", "-c", 'exec "$@" 2>&1', "-", *argv, *wait])
        self.process.wait_for_output(b"started", timeout=START_TIMEOUT)
        assert self.process.status is None, self.process.stdout.decode()

    def end(self) -> dict[str, Any]:
        self.process.write(b"\n")
        assert self.process.wait(60) == 0, self.process.stdout.decode()
        report: dict[str, Any] = json.loads(self._guest.run(["cat", self._output]).stdout)
        return report


def bpf_objects(guest: Guest) -> list[int]:
    found: list[int] = json.loads(
        guest.run(["python3", f"{PROGRAMS}/bpf_objects.py"], timeout=60).stdout
    )
    return found


def test_zram_reset_frees_each_zsmalloc_page_typed_where_the_buddy_resets(zram: Guest) -> None:
    fill_zram(zram)
    report = trace(zram, "--", "sh", "-c", "echo 1 > /sys/block/zram0/reset")
    expected = (
        {
            "zsmalloc": {
                "type": "zsmalloc",
                "frees": ZRAM_PAGES,
                "pages": ZRAM_PAGES,
                "expected": True,
                "orders": {"0": ZRAM_PAGES},
            }
        }
        if resets(zram)
        else {}
    )
    assert typed(report) == expected
    assert report["lost"] == 0
    assert report["command_status"] == 0
    # The pages were freed on older kernels as well, only untyped.
    untyped_at_least = 0 if resets(zram) else ZRAM_PAGES
    assert report["untyped"]["pages"] > untyped_at_least


def test_balloon_deflate_frees_each_offline_page_typed_where_the_buddy_resets(
    guest: Guest,
) -> None:
    guest.balloon(guest.memory - BALLOON_BYTES)
    tracer = Tracer(guest, "balloon")
    guest.balloon(guest.memory)
    report = tracer.end()
    pages = BALLOON_BYTES // 4096
    found = {name: (row["pages"], row["expected"]) for name, row in typed(report).items()}
    assert found == ({"offline": (pages, True)} if resets(guest) else {})
    assert report["lost"] == 0
    assert report["untyped"]["pages"] >= (0 if resets(guest) else pages)


def test_a_kprobe_on_the_function_misses_what_the_tracepoint_sees(guest: Guest) -> None:
    load = ["python3", f"{PROGRAMS}/free_pages.py", "32", "4"]
    program = f"{PROGRAMS}/kprobe_beside_tracepoint.py"
    done = guest.run(["python3", program, *load], timeout=START_TIMEOUT)
    hits = json.loads(done.stdout.splitlines()[-1])
    assert hits["tracepoint"] > 4 * (32 << 20) // 4096
    if resets(guest):
        assert hits["kprobe"] < hits["tracepoint"] / 100
    else:
        # v6.1 has no such symbol, and v6.12 one that only compaction calls and some builds refuse.
        assert (hits["kprobe"] or 0) < hits["tracepoint"] / 100


def test_pages_counted_are_those_that_vmstat_counts(guest: Guest) -> None:
    script = f"python3 {PROGRAMS}/free_pages.py 64 16 > /run/pgfree"
    report = trace(guest, "--", "sh", "-c", script)
    grown = int(guest.run(["cat", "/run/pgfree"]).stdout)
    ours = report["untyped"]["pages"] + sum(row["pages"] for row in report["typed"])
    assert grown >= 16 * (64 << 20) // 4096
    # Ours also has what the interpreter frees when it starts and ends.
    assert grown <= ours < grown * 1.02
    assert report["events"] == report["untyped"]["frees"]


def test_the_json_report_has_the_documented_shape(guest: Guest) -> None:
    report = trace(guest, "-d", "0.5")
    assert list(report) == [
        "schema",
        "kernel",
        "duration_ns",
        "events",
        "lost",
        "command_status",
        "typed",
        "untyped",
    ]
    assert report["kernel"]["release"] == guest.kernel.release
    assert report["kernel"]["source"] == "live"
    assert 0.5e9 <= report["duration_ns"] < 2e9
    assert report["command_status"] is None


def test_the_status_of_the_command_is_reported_and_not_returned(guest: Guest) -> None:
    report = trace(guest, "--", "sh", "-c", "echo to the command; exit 7")
    assert report["command_status"] == 7
    killed = trace(guest, "--", "sh", "-c", "kill -9 $$")
    assert killed["command_status"] == 128 + signal.SIGKILL


def test_stdout_has_the_report_alone(guest: Guest) -> None:
    argv = ["pageinspect", "trace", "--format", "json", "--", "echo", "of the command"]
    done = guest.run(argv, timeout=START_TIMEOUT)
    json.loads(done.stdout)
    assert done.stderr == b"of the command\n"


def test_a_command_that_outlives_the_run_is_ended(guest: Guest) -> None:
    report = trace(guest, "-d", "0.5", "--", "sleep", "600")
    assert report["command_status"] == 128 + signal.SIGTERM
    assert report["duration_ns"] < 2e9
    assert guest.run(["pgrep", "sleep"], check=False).status == 1


def test_a_command_that_is_not_there_is_an_error_before_tracing(guest: Guest) -> None:
    done = guest.run(["pageinspect", "trace", "--", "no-such-command"], check=False)
    assert done.status == 1
    assert done.stdout == b""
    assert done.stderr.decode().splitlines()[0] == (
        "pageinspect: error: no-such-command: command not found, or not executable"
    )


def test_intervals_are_documents_of_a_line_each_that_add_up(guest: Guest) -> None:
    argv = ["pageinspect", "trace", "--format", "json", "-i", "0.5", "-d", "1.8"]
    done = guest.run(argv, timeout=START_TIMEOUT)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == 4
    assert [r["start_ns"] for r in reports[1:]] == [r["end_ns"] for r in reports[:-1]]
    assert reports[0]["start_ns"] == 0
    assert sum(r["duration_ns"] for r in reports) == reports[-1]["end_ns"]
    assert 1.8e9 <= reports[-1]["end_ns"] < 4e9


def test_a_reader_that_leaves_ends_the_run(guest: Guest) -> None:
    before = bpf_objects(guest)
    script = "pageinspect trace -i 0.2 --format csv -- sleep 600 | head -2; pgrep sleep"
    done = guest.run(["sh", "-c", script], timeout=START_TIMEOUT, check=False)
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("end_ns,type,frees,pages,bytes,orders,verdict")
    assert len(lines) == 2
    assert ",untyped," in lines[1]
    assert done.stderr == b""
    assert bpf_objects(guest) == before


def test_ctrl_c_ends_it_with_the_report(guest: Guest) -> None:
    argv = ["pageinspect", "trace", "--format", "json", "-o", "/run/ctrl-c.json"]
    process = guest.start(argv, tty=(24, 80))
    process.wait_for_output("tracing… Ctrl-C ends it".encode(), timeout=START_TIMEOUT)
    # An idle guest may free nothing for seconds.
    guest.run(["python3", f"{PROGRAMS}/free_pages.py", "4", "1"])
    process.write(b"\x03")
    assert process.wait(30) == 0, process.stdout.decode()
    report = json.loads(guest.run(["cat", "/run/ctrl-c.json"]).stdout)
    assert report["untyped"]["pages"] >= (4 << 20) // 4096
    assert report["command_status"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_with_the_report(guest: Guest, number: signal.Signals) -> None:
    tracer = Tracer(guest, "signal")
    tracer.process.send_signal(number)
    assert tracer.process.wait(30) == 0, tracer.process.stdout.decode()
    report = json.loads(guest.run(["cat", "/run/signal.json"]).stdout)
    assert report["command_status"] > 128


def test_two_tracers_count_the_same(zram: Guest) -> None:
    fill_zram(zram)
    first, second = Tracer(zram, "first"), Tracer(zram, "second")
    zram.run(["sh", "-c", "echo 1 > /sys/block/zram0/reset"])
    reports = [first.end(), second.end()]
    expected = {"zsmalloc": ZRAM_PAGES} if resets(zram) else {}
    for report in reports:
        assert {name: row["pages"] for name, row in typed(report).items()} == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(guest: Guest, number: signal.Signals) -> None:
    before = bpf_objects(guest)
    tracer = Tracer(guest, "left")
    during = bpf_objects(guest)
    assert all(now > then for now, then in zip(during[:2], before[:2], strict=True))
    tracer.process.send_signal(number)
    tracer.process.wait(30)
    assert bpf_objects(guest) == before


def test_types_can_be_chosen(zram: Guest) -> None:
    fill_zram(zram)
    reset = ["--", "sh", "-c", "echo 1 > /sys/block/zram0/reset"]
    report = trace(zram, "--type", "buddy,table", *reset)
    assert [(row["type"], row["pages"]) for row in report["typed"]] == [("buddy", 0), ("table", 0)]
    assert report["others"]["pages"] == (ZRAM_PAGES if resets(zram) else 0)


def test_an_unknown_type_is_a_usage_error_that_names_the_nearest(guest: Guest) -> None:
    done = guest.run(["pageinspect", "trace", "--type", "tabel"], timeout=60, check=False)
    assert done.status == 2
    assert done.stdout == b""
    assert b"this kernel has no page type 'tabel'" in done.stderr
    assert b"did you mean table?" in done.stderr


def test_without_privilege_it_says_what_is_missing(guest: Guest) -> None:
    argv = ["setpriv", "--reuid", "65534", "--clear-groups", "pageinspect", "trace", "-d", "1"]
    done = guest.run(argv, timeout=60, check=False)
    assert done.status == 1
    assert b"root" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_kernel_that_forbids_bpf_is_named(guest: Guest) -> None:
    drop = "-bpf,-perfmon,-sys_admin"
    argv = ["setpriv", "--bounding-set", drop, "--inh-caps", drop, "pageinspect", "trace"]
    done = guest.run([*argv, "-d", "1"], timeout=START_TIMEOUT, check=False)
    assert done.status == 1
    assert b"refuses a map of the BPF program: Operation not permitted" in done.stderr
    assert b"CAP_BPF" in done.stderr
    assert done.stdout == b""
