# SPDX-License-Identifier: GPL-2.0-only
"""A dump of a busy guest, from a moment when its free lists and their counters agree."""

from pathlib import Path

from pageinspect.kernel.counters import read_counters
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest

_MOST = 20


def dump_unlocked(guest: Guest, core: Path) -> None:
    """Dump the guest while no CPU holds the lock of a zone or a list, and leave it paused.

    Under such a lock pages are on their way from one list to another, and in no count or in two.
    """
    for _ in range(_MOST):
        guest.dump(core)
        if not read_counters(open_target(core).prog).locked:
            return
        guest.resume()
    raise AssertionError(f"a lock was held in each of {_MOST} dumps")
