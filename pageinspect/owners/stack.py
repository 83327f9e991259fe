# SPDX-License-Identifier: GPL-2.0-only
"""The kernel stacks of tasks."""

from .kind import Claims, Kind, claims_of_pfns
from .structures import Structures
from .vmap_parts import pieces_of, stack_labels


def _claims(structures: Structures) -> Claims:
    """Return the stacks in vmalloc areas, and those that only their tasks lead to."""
    return claims_of_pfns((*pieces_of(structures, "stack"), *stack_labels(structures)))


STACK = Kind(
    "stack",
    "Kernel stacks, by task: COMM[TID]. Stacks that a CPU keeps for the next task have the name "
    "`(cached)`.",
    "The vmalloc areas that task->stack_vm_area and the per-CPU cached_stacks refer to. Other "
    "areas that a function which creates tasks has allocated have the name `(no task)`.",
    may_claim=("kernel",),
    claims=_claims,
    needs=("tasks",),
    exact=True,
    group="task",
    counter="NR_KERNEL_STACK_KB, without cached stacks; NR_VMALLOC or nr_vmalloc_pages, together "
    "with vmalloc, module and bpf",
    commits=(
        (
            'Since Linux kernel commit 1a03d3f13ffe ("fork: Move task stack accounting to '
            'do_exit()") (in v5.18), a task that exits takes its stack from the counter before '
            "it frees the stack"
        ),
    ),
    limits="The stack of the first CPU's idle task is in the kernel image. Kernels without "
    "CONFIG_VMAP_STACK have stacks elsewhere: they are not found.",
)
