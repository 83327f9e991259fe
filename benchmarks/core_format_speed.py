# SPDX-License-Identifier: GPL-2.0-only
"""Measures how fast each format of a core is read: core_format_speed.py FILE...

The files are one core in several formats; the first is the reference of the ratios. Each is opened
again for every round, so that no decompressed data is reused. The best round counts.
"""

import sys
import time
from pathlib import Path

from drgn import Program

from pageinspect.inspector.inspector import inspect
from pageinspect.target import core_formats
from pageinspect.target.open import target_from_program

ROUNDS = 7


def measure(core: Path) -> tuple[float, float, int]:
    """Return the seconds to open a core, those to read all its struct pages, and their number."""
    prog = Program()
    prog.set_enabled_debug_info_finders([])
    start = time.perf_counter()
    prog.set_core_dump(core_formats.prepare(core).source)
    opened = time.perf_counter()
    asked = inspect(target_from_program(prog))
    begun = time.perf_counter()
    pages = sum(len(each) for each in asked.pages())
    return opened - start, time.perf_counter() - begun, pages


def main() -> None:
    """Print a line for each form."""
    first = None
    print(f"{'form':<16} {'MiB':>7} {'open ms':>8} {'read ms':>8} {'Mpages/s':>9} {'ratio':>6}")
    for name in sys.argv[1:]:
        core = Path(name)
        rounds = [measure(core) for _ in range(ROUNDS)]
        opened, read = min(each[0] for each in rounds), min(each[1] for each in rounds)
        first = first or read
        size = core.stat().st_size / (1 << 20)
        print(
            f"{core.name:<16} {size:>7.1f} {opened * 1e3:>8.1f} {read * 1e3:>8.1f} "
            f"{rounds[0][2] / read / 1e6:>9.1f} {read / first:>6.1f}"
        )


main()
