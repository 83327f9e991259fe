# SPDX-License-Identifier: GPL-2.0-only
"""Measures how long `trace -- true` takes to start, compiled and from the cache, in one guest.

Cold is with an empty page cache and an empty cache folder, so that both ways compile. All figures
are medians. Ends with 1 if a warm start from the cache takes more than the bar.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from results import accelerator, print_table, write_json
from start_steps import COMPILED, KEPT, TOTAL

from pageinspect.vm.guest import Guest

PROGRAM = "/opt/pageinspect/src/benchmarks/start_steps.py"
BAR = 0.6


def main() -> None:
    """Measure, print the table and write the json that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="newest", metavar="KERNEL")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="starts of each way")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    with Guest(args.kernel) as guest:
        under = accelerator(guest)
        done = guest.run(["python3", PROGRAM, str(args.rounds)], timeout=None)
        found = json.loads(done.stdout)
        release = guest.kernel.release
    medians = {
        (state, way): {step: statistics.median(run[step] for run in runs) for step in runs[0]}
        for state, ways in found.items()
        for way, runs in ways.items()
    }
    ratios = {
        state: medians[state, KEPT][TOTAL] / medians[state, COMPILED][TOTAL] for state in found
    }
    result = {"release": release, "accelerator": under, "ratio": ratios, "all": found}
    write_json(args.output, result)
    print(f"Linux {release} under {under}\nSeconds of `trace -- true`\n")
    steps = next(iter(medians.values()))
    print_table(
        ("step", *(f"{state}, {way}" for state, way in medians)),
        [(step, *(f"{each[step]:.2f}" for each in medians.values())) for step in steps],
    )
    print("\nfrom the cache / compiled: " + ", ".join(f"{s} {r:.2f}" for s, r in ratios.items()))
    sys.exit(int(ratios["warm"] > BAR))


if __name__ == "__main__":
    main()
