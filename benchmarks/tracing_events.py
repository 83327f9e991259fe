# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest by tracing.py: prints what a free costs under each tracer, as JSON.

A tracer runs by itself, and pages are freed under it: first with the kernel's own accounting of BPF
programs, which gives the time of each run of the tracer's program, then without, for the time that
the load takes. Each round runs all tracers in turn, so that a slower host affects all of them.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYS_BPF = 321
_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 11, 13, 15
_NAME = slice(64, 80)
"""Where struct bpf_prog_info has the name."""
_STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")
_LOAD = Path("/opt/pageinspect/src/tests/vm/programs/free_pages.py")
_START_TIMEOUT_S = 300.0
_END_TIMEOUT_S = 120.0
_ATTACHING_S = 3.0

_EMPTY = ["bpftrace", "-e", "rawtracepoint:mm_page_free /0/ { }"]
_ONE_LINER = "rawtracepoint:mm_page_free { @[((struct page*)arg0)->page_type>>24]=count(); }"

_HELD = (
    "rawtracepoint:mm_page_alloc { @[arg0] = DEPTH; } "
    "rawtracepoint:mm_page_free { delete(@[arg0]); }"
)
_TRAFFIC = (
    "rawtracepoint:mm_page_alloc { @alloc[kstack(16)] = count(); } "
    "rawtracepoint:mm_page_free { @free[kstack(16)] = count(); }"
)
_ROOM = "BPFTRACE_MAX_MAP_KEYS=262144"

NOTHING = "no tracer"
TRACERS = {
    NOTHING: [],
    "pageinspect trace": ["pageinspect", "trace"],
    "pageinspect trace --stacks": ["pageinspect", "trace", "--stacks"],
    "bpftrace, an empty program": _EMPTY,
    "bpftrace one-liner": ["bpftrace", "-e", _ONE_LINER],
    "bcc stackcount": ["stackcount-bpfcc", "t:kmem:mm_page_free"],
}
OUTSTANDING = {
    NOTHING: [],
    "bpftrace, an empty program": _EMPTY,
    "pageinspect trace --outstanding": ["pageinspect", "trace", "--outstanding"],
    "pageinspect trace --outstanding --by order": [
        *("pageinspect", "trace", "--outstanding", "--by", "order")
    ],
    "bpftrace, kstack(16)": ["env", _ROOM, "bpftrace", "-e", _HELD.replace("DEPTH", "kstack(16)")],
    "bpftrace, kstack": ["env", _ROOM, "bpftrace", "-e", _HELD.replace("DEPTH", "kstack")],
    "bcc memleak": ["memleak-bpfcc", "-o", "1000000", "1000"],
}
ALLOC = {
    NOTHING: [],
    "bpftrace, an empty program": _EMPTY,
    "pageinspect trace --alloc": ["pageinspect", "trace", "--alloc"],
    "pageinspect trace --alloc --by order": ["pageinspect", "trace", "--alloc", "--by", "order"],
    "bpftrace, kstack(16)": ["bpftrace", "-e", _TRAFFIC],
    "bcc stackcount, frees alone": ["stackcount-bpfcc", "t:kmem:mm_page_free"],
}
SETS = {"frees": TRACERS, "outstanding": OUTSTANDING, "alloc": ALLOC}
"""Tracers that are compared with each other, by the name of the set."""


def _bpf(command: int, attr: "ctypes.Array[ctypes.c_uint32]") -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(_SYS_BPF, command, attr, ctypes.sizeof(attr)))


def _programs() -> set[int]:
    """Return the ids of the kernel's BPF programs."""
    attr = (ctypes.c_uint32 * 32)()
    found = set()
    while _bpf(_PROG_GET_NEXT_ID, attr) == 0:
        found.add(int(attr[1]))
        attr[0] = attr[1]
    return found


@dataclass(frozen=True)
class Runs:
    """Runs of BPF programs and the time they took."""

    count: int = 0
    nanoseconds: int = 0

    def __add__(self, other: "Runs") -> "Runs":
        return Runs(self.count + other.count, self.nanoseconds + other.nanoseconds)

    def __sub__(self, other: "Runs") -> "Runs":
        return Runs(self.count - other.count, self.nanoseconds - other.nanoseconds)


def _runs(program: int) -> Runs:
    attr = (ctypes.c_uint32 * 32)(program)
    descriptor = _bpf(_PROG_GET_FD_BY_ID, attr)
    if descriptor < 0:
        return Runs()
    try:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    finally:
        os.close(descriptor)
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return Runs(int(fields["run_cnt"]), int(fields["run_time_ns"]))


def _name(program: int) -> bytes:
    descriptor = _bpf(_PROG_GET_FD_BY_ID, (ctypes.c_uint32 * 32)(program))
    try:
        info = ctypes.create_string_buffer(_NAME.stop)
        # Descriptor, size, and the address in two words.
        address = ctypes.addressof(info)
        words = (descriptor, len(info), address & 0xFFFFFFFF, address >> 32)
        _bpf(_OBJ_GET_INFO_BY_FD, (ctypes.c_uint32 * 32)(*words))
    finally:
        os.close(descriptor)
    return info.raw[_NAME]


def _free(mebibytes: int, times: int) -> float:
    """Run the load that frees pages; return its seconds."""
    start = time.monotonic()
    command = [sys.executable, str(_LOAD), str(mebibytes), str(times)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


@contextlib.contextmanager
def _running(argv: list[str]) -> Iterator[set[int]]:
    """Run a tracer; give its programs once they see events. It is interrupted in the end."""
    if not argv:
        yield set()
        return
    before = _programs()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + _START_TIMEOUT_S
        while not _total(ours := _programs() - before).count:
            if process.poll() is not None or time.monotonic() > end:
                said = process.stderr.read().decode() if process.stderr is not None else ""
                raise SystemExit(f"{' '.join(argv)} did not start: {said}")
            _free(1, 1)
            time.sleep(0.2)
        # A tracer attaches its programs one after the other.
        time.sleep(_ATTACHING_S)
        _free(1, 1)
        yield {program for program in ours if _runs(program).count}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_END_TIMEOUT_S)


def _total(programs: set[int]) -> Runs:
    return sum((_runs(program) for program in programs), Runs())


def measure(argv: list[str], loads: int, mebibytes: int, times: int) -> dict[str, list[float]]:
    """Measure one tracer in one round: ns per event, and seconds of the load, `loads` of each.

    An event may run two copies of a program of ours (see trace/nested.py).
    """
    found: dict[str, list[float]] = {"ns": [], "seconds": []}
    _STATISTICS.write_text("1", encoding="ascii")
    with _running(argv) as programs:
        for _ in range(loads if programs else 0):
            before = _total(programs)
            _free(mebibytes, times)
            runs = _total(programs) - before
            names = [_name(program) for program in programs]
            copies = len(names) / len(set(names)) if argv[0] == "pageinspect" else 1
            found["ns"].append(runs.nanoseconds / runs.count * copies)
        _STATISTICS.write_text("0", encoding="ascii")
        found["seconds"] = [_free(mebibytes, times) for _ in range(loads)]
    return found


def main() -> None:
    """Measure the set argv[1]: argv[2] rounds of argv[3] loads, argv[4] MiB freed argv[5] times."""
    rounds, loads, mebibytes, times = map(int, sys.argv[2:])
    known = subprocess.run(["pageinspect", "trace", "--help"], capture_output=True, check=True)
    tracers = {
        name: argv
        for name, argv in SETS[sys.argv[1]].items()
        if "--stacks" not in argv or b"--stacks" in known.stdout
    }
    found: dict[str, dict[str, list[float]]] = {name: {"ns": [], "seconds": []} for name in tracers}
    for _ in range(rounds):
        for name, argv in tracers.items():
            for what, values in measure(argv, loads, mebibytes, times).items():
                found[name][what] += values
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
