# SPDX-License-Identifier: GPL-2.0-only
"""A dump between two readings of /proc/kpageflags and kpagecount, beside what export says of it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from guest_quiet import QUIET

from pageinspect.model.kpageflags import Kpf
from pageinspect.vm.guest import Guest

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/capture_kpageflags.py"
FILES = ("/run/flags", "/run/counts", "/run/flags.after", "/run/counts.after")
LEAST_STABLE = 0.95
"""The least share of pages that both readings agree on: a slow guest changes some 2 % of 1 GiB."""
# Pages may be taken, be in the dump so, and be given back: a few slabs', say. None was seen.
MOST_DIFFERENCES = 32
# But no page ceases to be one of these, some of them few, and becomes it again.
LASTING = (
    *(Kpf.HUGE, Kpf.THP, Kpf.ZERO_PAGE, Kpf.KSM, Kpf.HWPOISON),
    *(Kpf.RESERVED, Kpf.OFFLINE, Kpf.NOPAGE, Kpf.IDLE),
)

Entries = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Held:
    """The entries of one of the kernel's files, read on both sides of a dump, and export's own.

    The kernel goes on until the guest is paused, and does so at once when it runs again: what a
    page was in the dump is known where both readings agree.
    """

    before: Entries
    after: Entries
    ours: Entries

    @property
    def stable(self) -> Mask:
        return self.before == self.after

    @property
    def differ(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self.stable & (self.ours != self.before))


@dataclass(frozen=True)
class Capture:
    """A core, and what the guest's kernel and export say of it."""

    core: Path
    flags: Held
    counts: Held


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def capture(guest: Guest, folder: Path) -> Capture:
    """Dump the guest between two readings of its files, and export the dump."""
    guest.run(["sh", "-c", QUIET])
    program = guest.start(["python3", PROGRAM, *FILES])
    program.wait_for_output(b"captured\n", 120)
    guest.dump(folder / "core")
    guest.resume()
    program.close_stdin()
    assert program.wait(120) == 0, program.stderr
    flags, counts, flags_after, counts_after = (
        np.frombuffer(guest.run(["cat", name]).stdout, np.uint64) for name in FILES
    )
    paths = folder / "flags", folder / "counts"
    done = pageinspect(
        "export", "-c", folder / "core", "--kpageflags", paths[0], "--kpagecount", paths[1]
    )
    assert done.returncode == 0, done.stderr
    ours = [np.fromfile(path, np.uint64) for path in paths]
    return Capture(
        folder / "core",
        Held(flags, flags_after, ours[0]),
        Held(counts, counts_after, ours[1]),
    )


KPF_NAMES = {bit.value: bit.name for bit in Kpf}


def names(bits: int) -> str:
    return "|".join(KPF_NAMES.get(bit, str(bit)) for bit in range(64) if bits >> bit & 1)


def check_flags(taken: Capture) -> None:
    held, differ = taken.flags, taken.flags.differ
    lines = [
        f"{pfn:#x}: kernel {names(int(held.before[pfn]))}, we {names(int(held.ours[pfn]))}"
        for pfn in differ[:256]
    ]
    print(f"kpageflags: {len(differ)} differ", *lines, sep="\n")  # noqa: T201 - shown on failure
    assert len(differ) <= MOST_DIFFERENCES
    missed = int(np.bitwise_or.reduce(held.before[differ] & ~held.ours[differ]))
    assert names(missed & sum(1 << bit for bit in LASTING)) == ""


def check_counts(taken: Capture) -> None:
    held, differ = taken.counts, taken.counts.differ
    lines = [
        f"{pfn:#x}: kernel {held.before[pfn]}, we {held.ours[pfn]}, "
        f"{names(int(taken.flags.before[pfn]))}"
        for pfn in differ[:256]
    ]
    print(f"kpagecount: {len(differ)} differ", *lines, sep="\n")  # noqa: T201 - shown on failure
    assert len(differ) <= MOST_DIFFERENCES


def check_sizes(taken: Capture) -> None:
    """All are as long as the kernel's, and what is compared is next to all there is."""
    for held in (taken.flags, taken.counts):
        assert len(held.before) == len(held.after) == len(held.ours) == len(taken.flags.ours)
        print(f"{(~held.stable).sum()} changed")  # noqa: T201 - shown on failure
        assert held.stable.mean() > LEAST_STABLE
