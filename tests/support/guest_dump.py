# SPDX-License-Identifier: GPL-2.0-only
"""A dump of a guest from a moment when its free lists and their counters agree, or it is idle."""

import time
from collections.abc import Callable
from pathlib import Path

from drgn import Program
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.sched import cpu_curr

from pageinspect.kernel import marking
from pageinspect.kernel.counters import read_counters
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest

_MOST = 20
_BETWEEN_S = 0.1
_IN_HEADS_AND_TAILS = (
    *("get_page_from_freelist", "prep_compound", "prep_new_page", "alloc_contig"),
    *("free_unref", "free_pcp_prepare", "__free_pages", "___free_pages", "free_frozen_pages"),
    *("__free_frozen_pages", "free_compound_page", "destroy_large_folio", "split_page", "__split"),
)
"""How the names begin of functions that set and clear the words of heads and tails one by one."""


def dump_unlocked(guest: Guest, core: Path) -> None:
    """Dump the guest while no CPU holds the lock of a zone or a list, and leave it paused.

    Under such a lock pages are on their way from one list to another, and in no count or in two.
    Nor does a CPU make or free a folio: its head has not all of its tails then.
    """
    _dump_when(_is_settled, guest, core)


def dump_idle(guest: Guest, core: Path) -> None:
    """Do the same while no CPU has a task to run either: what ran last may not have ended."""
    _dump_when(_is_idle, guest, core)


def _dump_when(is_so: Callable[[Program], bool], guest: Guest, core: Path) -> None:
    for _ in range(_MOST):
        guest.dump(core)
        if is_so(open_target(core).prog):
            return
        guest.resume()
        time.sleep(_BETWEEN_S)
    raise AssertionError(f"{is_so.__name__} was false in each of {_MOST} dumps")


def _is_settled(prog: Program) -> bool:
    return not read_counters(prog).locked and not any(
        name.startswith(_IN_HEADS_AND_TAILS) for name in _functions_of_cpus(prog)
    )


def _functions_of_cpus(prog: Program) -> set[str]:
    """Return the functions whose addresses are on the stacks of CPUs, as marking.py finds them."""
    start, end = (prog.symbol(name).address for name in ("_stext", "_etext"))
    found = set()
    for cpu in for_each_online_cpu(prog):
        words = marking._of_cpu(prog, cpu, cpu_curr(prog, cpu), None).tolist()
        # A call that does not return is the last of its function: the address is of the next one.
        found |= {prog.symbol(word - 1).name for word in words if start < word <= end}
    return found


def _is_idle(prog: Program) -> bool:
    running = (cpu_curr(prog, cpu).pid.value_() for cpu in for_each_online_cpu(prog))
    return not any(running) and _is_settled(prog)
