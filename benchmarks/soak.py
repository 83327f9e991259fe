# SPDX-License-Identifier: GPL-2.0-only
"""Checks that the tracer leaks nothing: many starts and stops beside one that runs for long.

All in one guest of the newest kernel, while pages are freed. Fails unless the kernel has as many
BPF programs, maps and links afterwards as before, and the resident memory of the tracer that ran
through has no slope over its readings (tests/support/slope.py). Frees that it lost to interrupts of
its own program are printed.
"""

import argparse
import json
import statistics
from operator import gt
from pathlib import Path
from typing import Any

from results import accelerator, print_table, write_json

from pageinspect.vm.guest import Guest

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/soak.py"


def soak(guest: Guest, starts: int, seconds: float) -> dict[str, Any]:
    """Run the soak in a guest and return what its program prints."""
    argv = ["python3", PROGRAM, str(starts), str(seconds)]
    result: dict[str, Any] = json.loads(guest.run(argv, timeout=None).stdout)
    return result


def _growth(result: dict[str, Any]) -> str:
    """Return by how much resident memory grew at each reading, with the standard error."""
    growth, error = (1024 * kib for kib in result["slope_kib"])
    return f"{growth:+.1f} bytes a reading, standard error {error:.1f}"


def problems(result: dict[str, Any]) -> list[str]:
    """Return the checks that failed, as text."""
    objects = result["objects"]
    failed = {
        "programs, maps or links stayed behind": objects["after"] != objects["before"],
        "tracers left some beside another": any(map(gt, objects["beside"], objects["alone"])),
        "the tracer failed": result["status"] != (3 if result["lost"] else 0),
        f"resident memory grew by {_growth(result)}": not result["flat"],
    }
    return [problem for problem, is_so in failed.items() if is_so]


def main() -> None:
    """Soak as long as the command line says; exits 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=100, metavar="N")
    parser.add_argument("--seconds", type=float, default=600, metavar="SECONDS")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write json there")
    args = parser.parse_args()
    with Guest("newest") as guest:
        under = accelerator(guest)
        result = soak(guest, args.starts, args.seconds)
    write_json(args.output, {"accelerator": under, **result})
    times, memory = result["starts_s"], result["memory_kib"]
    print(
        f"{len(times)} tracers beside one that ran for {memory[-1][0]:.0f} s, under {under}\n"
        f"start to end of each: median {statistics.median(times):.1f} s, "
        f"longest {max(times):.1f} s\n"
    )
    objects = result["objects"]
    kinds = ("programs", "maps", "links")
    rows = [(kind, *(str(of[i]) for of in objects.values())) for i, kind in enumerate(kinds)]
    print_table(("BPF objects", *objects), rows)
    kib = [value for _, value in memory]
    print(
        f"\nthe tracer that ran through lost {result['lost']:,} frees\n"
        f"its resident memory: {kib[0]:,} KiB first, {max(kib):,} at most, {kib[-1]:,} last; "
        f"{len(kib):,} readings, {_growth(result)}"
    )
    if found := problems(result):
        raise SystemExit("; ".join(found))


if __name__ == "__main__":
    main()
