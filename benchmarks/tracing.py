# SPDX-License-Identifier: GPL-2.0-only
"""Measures what an event costs each tracer, compared with bpftrace and bcc, in one guest.

Nanoseconds per event are the kernel's own (kernel.bpf_stats_enabled, run_time_ns / run_cnt of the
program). An empty program shows how much of them the accounting takes. The slow-down is that of a
load that does little but allocate, touch and free pages. All figures are medians.
"""

import argparse
import json
import statistics
from pathlib import Path

from results import accelerator, print_table, write_json
from tracing_events import NOTHING

from pageinspect.vm.guest import Guest

OURS = {
    "frees": "pageinspect trace",
    "outstanding": "pageinspect trace --outstanding",
    "alloc": "pageinspect trace --alloc",
}
"""The tracer whose cost is divided by that of the others, in each set."""
PACKAGES = ("bpftrace", "bpfcc-tools")
PROGRAM = "/opt/pageinspect/src/benchmarks/tracing_events.py"
MEBIBYTES, TIMES = 64, 8


def main() -> None:
    """Measure, print the table and write the json that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="newest", metavar="KERNEL")
    parser.add_argument("--tracers", choices=OURS, default="frees", help="which are compared")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="starts of each tracer")
    parser.add_argument("--loads", type=int, default=3, metavar="N", help="loads of each start")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    with Guest(args.kernel, packages=PACKAGES) as guest:
        under = accelerator(guest)
        numbers = map(str, (args.rounds, args.loads, MEBIBYTES, TIMES))
        argv = ["python3", PROGRAM, args.tracers, *numbers]
        found = json.loads(guest.run(argv, timeout=None).stdout)
        release = guest.kernel.release
    medians = {
        name: {what: statistics.median(values) for what, values in each.items() if values}
        for name, each in found.items()
    }
    result = {"release": release, "accelerator": under, "median": medians, "all": found}
    write_json(args.output, result)
    print(f"Linux {release} under {under}\n{TIMES} times {MEBIBYTES} MiB freed page by page\n")
    alone, ours = medians[NOTHING]["seconds"], medians[OURS[args.tracers]]["ns"]
    print_table(
        ("tracer", "ns per event", "ours / its", "load", "slow-down"),
        [
            (
                name,
                f"{each['ns']:.0f}" if "ns" in each else "",
                f"{ours / each['ns']:.2f}" if "ns" in each else "",
                f"{each['seconds']:.2f} s",
                f"{each['seconds'] / alone - 1:+.0%}",
            )
            for name, each in medians.items()
        ],
    )


if __name__ == "__main__":
    main()
