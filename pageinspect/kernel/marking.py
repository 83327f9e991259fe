# SPDX-License-Identifier: GPL-2.0-only
"""Finds tasks that are inside functions which mark pages and count them, on a stopped machine.

The kernel marks a page (type or mapping) and updates a counter in two steps. If a CPU stopped or a
task was preempted between them, the counter differs by that page, and the function is on the stack.
Stacks are searched for return addresses from the stack pointer up, without unwinding: return
addresses of earlier calls that are still in a frame match as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.sched import cpu_curr

from ..model.arch import ADDRESSES_OF_KERNEL, PAGE_SIZE
from ..target.open import Registers

_STACK = 4 * PAGE_SIZE
"""THREAD_SIZE in bytes, also of interrupt stacks. With KASAN stacks are larger."""
_UNKNOWN_SIZE = 1024
"""Assumed size in bytes of a function whose symbol has no size."""
_MAX_TASKS = 1 << 15

_SHMEM = ("shmem_add_to_page_cache", "shmem_delete_from_page_cache", "shmem_replace_folio")
_SWAP = (
    "__delete_from_swap_cache",
    "__swap_cache_add_folio",
    "__swap_cache_del_folio",
    "__swap_cache_replace_folio",
    "add_to_swap_cache",
    "delete_from_swap_cache",
    "swap_cache_del_folio",
)
_CACHES = (
    "__add_to_page_cache_locked",
    "__delete_from_page_cache",
    "__filemap_add_folio",
    "__filemap_remove_folio",
    "__folio_migrate_mapping",
    "__remove_mapping",
    "collapse_file",
    "delete_from_page_cache",
    "delete_from_page_cache_batch",
    "filemap_remove_folio",
    "folio_migrate_mapping",
    "migrate_page_move_mapping",
    "replace_page_cache_folio",
    "replace_page_cache_page",
)
_FUNCTIONS = {
    "slab": (
        "___kmalloc_large_node",
        "__free_slab",
        "__kmalloc_large_node",
        "allocate_slab",
        "discard_slab",
        "free_large_kmalloc",
        "free_slab",
        "kmalloc_order",
        "new_slab",
        "rcu_free_slab",
    ),
    "table": (
        "___p4d_free_tlb",
        "___pmd_free_tlb",
        "___pte_free_tlb",
        "___pud_free_tlb",
        "__p4d_alloc",
        "__pmd_alloc",
        "__pte_alloc",
        "__pte_alloc_kernel",
        "__pud_alloc",
        "__tlb_remove_table_one_rcu",
        "native_tlb_remove_table",
        "pagetable_free",
        "pagetable_free_kernel",
        "pgd_alloc",
        "pgd_free",
        "pmd_free_pte_page",
        "pte_alloc_one",
        "pte_free_defer",
        "pte_free_now",
        "pud_free_pmd_page",
        "tlb_remove_table",
        "tlb_remove_table_rcu",
    ),
    "zsmalloc": ("__free_zspage", "alloc_zspage", "async_free_zspage", "free_zspage", "zs_malloc"),
    "anon": (
        "folio_add_anon_rmap_pmd",
        "folio_add_anon_rmap_ptes",
        "folio_add_new_anon_rmap",
        "folio_remove_rmap_pmd",
        "folio_remove_rmap_ptes",
        "page_add_anon_rmap",
        "page_add_new_anon_rmap",
        "page_remove_rmap",
    ),
    "shmem": (*_CACHES, *_SHMEM),
    "file": (*_CACHES, *_SHMEM, *_SWAP),
    "swapcache": (*_CACHES, *_SWAP),
    "offline": (
        "balloon_page_dequeue",
        "balloon_page_enqueue",
        "balloon_page_insert",
        "balloon_page_list_dequeue",
        "balloon_page_list_enqueue",
        "balloon_page_migrate",
    ),
}
"""Functions that mark and count pages, by the name of the counter check. The table also has the
callers of functions that a kernel may inline."""
_PARTS = ("", ".cold", ".constprop.0", ".isra.0", ".part.0")


@dataclass(frozen=True)
class _Text:
    """Functions and their addresses, `ends` exclusive, sorted by address."""

    names: list[str]
    starts: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.uint64]

    def named(self, addresses: npt.NDArray[np.uint64]) -> set[str]:
        """Return the names of the functions that contain these addresses."""
        at = np.searchsorted(self.starts, addresses, "right") - 1
        inside = (at >= 0) & (addresses < self.ends[at])
        return {self.names[i] for i in np.unique(at[inside]).tolist()}


def read_marking(prog: Program, registers: Registers | None = None) -> dict[str, tuple[str, ...]]:
    """Return by counter check the functions that tasks and CPUs are in, one per task or CPU.

    `registers` are those of a guest's CPUs; None uses the registers in the core. Stacks, tasks and
    symbols that cannot be read are skipped.
    """
    text = _text(prog)
    found: dict[str, list[str]] = {name: [] for name in _FUNCTIONS}
    if text is None:
        return {}
    for stack in _stacks(prog, registers):
        named = text.named(stack)
        for check, functions in _FUNCTIONS.items():
            in_check = sorted(named.intersection(functions))
            found[check] += in_check[:1]
    found["movable_ops"] = found["zsmalloc"]
    return {check: tuple(functions) for check, functions in found.items()}


def _text(prog: Program) -> _Text | None:
    rows: list[tuple[int, int, str]] = []
    for name in {name for functions in _FUNCTIONS.values() for name in functions}:
        for part in _PARTS:
            try:
                symbol = prog.symbol(name + part)
            except LookupError:
                continue
            size = symbol.size if symbol.size > 1 else _UNKNOWN_SIZE
            rows.append((symbol.address, symbol.address + size, name))
    if not rows:
        return None
    starts, ends, names = zip(*sorted(rows), strict=True)
    return _Text(list(names), np.array(starts, np.uint64), np.array(ends, np.uint64))


def _stacks(prog: Program, registers: Registers | None) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the words on the stack of each CPU and of each task that is not running."""
    running: set[int] = set()
    try:
        for cpu in for_each_online_cpu(prog):
            task = cpu_curr(prog, cpu)
            running.add(task.value_())
            yield _of_cpu(prog, cpu, task, registers)
        for task in islice(for_each_task(prog), _MAX_TASKS):
            if task.value_() not in running:
                stack = task.stack.value_()
                yield _words(prog, task.thread.sp.value_(), stack, stack + _STACK)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - of a damaged core drgn's helpers may raise anything
        return


def _of_cpu(
    prog: Program, cpu: int, task: Object, registers: Registers | None
) -> npt.NDArray[np.uint64]:
    """Return the words on a CPU's stacks, and its program counter."""
    pc, sp = _registers(prog, task) if registers is None else registers.get(cpu, (0, 0))
    if not pc & ADDRESSES_OF_KERNEL:
        return np.empty(0, np.uint64)
    stack = task.stack.value_()
    words = _words(prog, sp, stack, stack + _STACK)
    if not stack <= sp < stack + _STACK:
        # An interrupt has its own stack, which has the saved stack pointer of the task.
        words = _words(prog, sp, sp, sp + _STACK)
        inside = words[(words >= np.uint64(stack)) & (words < np.uint64(stack + _STACK))]
        if len(inside):
            behind = _words(prog, int(inside.min()), stack, stack + _STACK)
            words = np.concatenate((words, behind))
    return np.append(words, np.uint64(pc))


def _registers(prog: Program, task: Object) -> tuple[int, int]:
    """Return the program counter and stack pointer of a CPU from the core; (0, 0) if missing."""
    try:
        frame = prog.stack_trace(task)[0]
        found = frame.pc, frame.sp
    except (LookupError, ValueError, FaultError):
        return 0, 0
    return found


def _words(prog: Program, sp: int, start: int, end: int) -> npt.NDArray[np.uint64]:
    """Return the words from the stack pointer to the end of a stack, up to an unreadable page."""
    if not start <= sp < end:
        return np.empty(0, np.uint64)
    data = b""
    at = sp & -8
    while at < end:
        following = min((at | (PAGE_SIZE - 1)) + 1, end)
        try:
            data += prog.read(at, following - at)
        except FaultError:
            break
        at = following
    return np.frombuffer(data[: len(data) & -8], np.uint64)
