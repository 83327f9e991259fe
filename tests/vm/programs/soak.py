# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: one tracer runs for argv[2] seconds and longer, argv[1] others beside it.

While it reports five times a second, pages are freed, and the others start and stop one after the
other. Prints as JSON how many BPF programs, maps and links the kernel had before, with the one
tracer alone, beside it and at the end, its anonymous resident memory over time and by how much it
grew at each reading, what it lost, and how long the others took.
"""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from operator import gt
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "support"))

from slope import Slope  # noqa: E402 - in a guest, only this program's folder is searched

TRACE = ["pageinspect", "trace", "--format", "json"]
STALL_TIMEOUT_S = 120.0


def python(program: str, *arguments: str) -> str:
    command = [sys.executable, str(HERE / program), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def objects() -> list[int]:
    counts: list[int] = json.loads(python("bpf_objects.py"))
    return counts


def anonymous_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:"))


def settled(expected: list[int]) -> list[int]:
    """Wait until the kernel has dropped what it is to drop; it takes its time for that.

    It may have been late with something when it had what is expected.
    """
    end = time.monotonic() + STALL_TIMEOUT_S
    while any(map(gt, now := objects(), expected)) and time.monotonic() < end:
        time.sleep(0.2)
    return now


def steady() -> list[int]:
    """Wait until two looks agree: what a start only tried goes a little later as well."""
    now = objects()
    while True:
        time.sleep(2)
        then, now = now, objects()
        if now == then:
            return now


def main() -> None:
    starts, seconds = int(sys.argv[1]), float(sys.argv[2])
    before = objects()
    with subprocess.Popen([*TRACE, "-i", "0.2"], stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout is not None
        # Its first report says that it counts.
        told = [json.loads(tracer.stdout.readline())["lost"]]
        begin = time.monotonic()
        memory: list[tuple[float, int]] = []

        def follow(lines: Iterable[str]) -> None:
            for line in lines:
                told.append(json.loads(line)["lost"])
                with contextlib.suppress(StopIteration):  # it is about to end
                    memory.append((round(time.monotonic() - begin, 1), anonymous_kib(tracer.pid)))

        reader = threading.Thread(target=follow, args=(tracer.stdout,))
        reader.start()
        alone = steady()
        took: list[float] = []
        while tracer.poll() is None and (
            len(took) < starts or not memory or memory[-1][0] < seconds
        ):
            python("free_pages.py", "16", "2")
            if len(took) < starts:
                start = time.monotonic()
                other = subprocess.run([*TRACE, "--", "true"], check=False, capture_output=True)
                # It may miss frees by interrupts as well.
                assert other.returncode in {0, 3}, other.stderr
                took.append(round(time.monotonic() - start, 2))
        beside = settled(alone)
        tracer.send_signal(signal.SIGINT)
        reader.join()
        status = tracer.wait()
    slope = Slope.of([kib for _, kib in memory])
    json.dump(
        {
            "objects": {
                "before": before,
                "alone": alone,
                "beside": beside,
                "after": settled(before),
            },
            "status": status,
            "lost": sum(told),
            "starts_s": took,
            "memory_kib": memory,
            "slope_kib": [slope.growth, slope.error],
            "flat": slope.is_flat,
        },
        sys.stdout,
    )


main()
