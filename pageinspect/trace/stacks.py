# SPDX-License-Identifier: GPL-2.0-only
"""Kernel stacks as function names, without the frames of tracing, and the caller that freed."""

import itertools
import re
from collections.abc import Callable, Sequence

_TRACING_FRAMES = re.compile(
    r"(bpf_prog_[0-9a-f]{16}(_|$)|bpf_trace_run|__bpf_trace_|__traceiter_|trace_call_bpf|bpf_get_stack|bpf_raw_tp_"
    r"|____?bpf_|bpf_trampoline|trace_mm_page_(free|alloc))"
)
"""Functions between the tracepoint and the BPF program: the innermost frames of each stack."""

_UNNAMED = re.compile(r"0x[0-9a-f]+$")

_TRACING_DEPTH = 8
"""The frames of tracing are among this many innermost frames."""

_FREEING_PATH = {
    "the page allocator": (
        "free_pages_prepare __free_pages_prepare free_pcp_prepare free_unref_page_prepare "
        "free_unref_page free_unref_page_commit free_unref_page_list free_unref_folios "
        "free_frozen_page_commit free_frozen_pages __free_frozen_pages free_frozen_pages_nolock "
        "__free_pages_ok __free_pages ___free_pages free_pages free_pages_nolock free_the_page "
        "free_pages_bulk free_pages_exact free_contig_range __free_contig_range "
        "__free_contig_range_common free_contig_frozen_range"
    ),
    "release of the last reference to a page or folio": (
        "put_page __put_page __put_single_page __put_compound_page __folio_put __folio_put_small "
        "__folio_put_large folio_put free_compound_page free_transhuge_page destroy_large_folio "
        "free_zone_device_page put_pages_list"
    ),
    "batches, LRU lists, page table teardown": (
        "release_pages folios_put folios_put_refs __pagevec_release __folio_batch_release "
        "free_page_and_swap_cache free_folio_and_swap_cache free_pages_and_swap_cache "
        "folio_batch_move_lru pagevec_lru_move_fn lru_add_drain lru_add_drain_cpu "
        "lru_add_drain_per_cpu tlb_batch_pages_flush __tlb_batch_free_encoded_pages tlb_flush_mmu "
        "tlb_finish_mmu __tlb_remove_table __tlb_remove_table_free tlb_remove_table_free "
        "tlb_table_flush __tlb_remove_page_size"
    ),
}
FREEING_PATH = frozenset(name for names in _FREEING_PATH.values() for name in names.split())
"""Functions of mm that free on behalf of a caller; they are not reported as the caller."""

_ALLOCATING_PATH = {
    "the page allocator": (
        "__alloc_pages __alloc_pages_noprof __alloc_pages_nodemask __alloc_frozen_pages_noprof "
        "alloc_pages alloc_pages_noprof alloc_pages_current alloc_pages_vma alloc_page_interleave "
        "alloc_pages_mpol alloc_pages_mpol_noprof alloc_pages_preferred_many "
        "alloc_frozen_pages_noprof alloc_frozen_pages_nolock_noprof alloc_pages_nolock_noprof "
        "try_alloc_pages_noprof __folio_alloc __folio_alloc_noprof __folio_alloc_node_noprof "
        "folio_alloc folio_alloc_noprof folio_alloc_mpol_noprof vma_alloc_folio "
        "vma_alloc_folio_noprof __get_free_pages get_free_pages_noprof get_zeroed_page "
        "get_zeroed_page_noprof alloc_pages_exact alloc_pages_exact_noprof alloc_pages_exact_nid "
        "alloc_pages_exact_nid_noprof make_alloc_exact"
    ),
    "its bulk allocator": (
        "__alloc_pages_bulk alloc_pages_bulk_noprof alloc_pages_bulk_array_mempolicy "
        "alloc_pages_bulk_array_mempolicy_noprof alloc_pages_bulk_mempolicy_noprof"
    ),
    "slab": (
        "alloc_slab_page allocate_slab new_slab ___slab_alloc __slab_alloc slab_alloc_node "
        "refill_objects refill_sheaf alloc_full_sheaf alloc_from_pcs __pcs_replace_empty_main "
        "__slab_alloc_node __refill_objects_node refill_objects_node "
        "kmem_cache_alloc kmem_cache_alloc_noprof kmem_cache_alloc_lru kmem_cache_alloc_lru_noprof "
        "kmem_cache_alloc_node kmem_cache_alloc_node_noprof kmem_cache_alloc_bulk "
        "kmem_cache_alloc_bulk_noprof __kmem_cache_alloc_bulk __kmem_cache_alloc_node "
        "kmem_cache_alloc_trace kmem_cache_alloc_node_trace __kmalloc __kmalloc_noprof "
        "__kmalloc_node __kmalloc_node_noprof __kmalloc_node_track_caller "
        "__kmalloc_node_track_caller_noprof __kmalloc_track_caller __kmalloc_cache_noprof "
        "__kmalloc_cache_node_noprof __do_kmalloc_node kmalloc_trace kmalloc_node_trace "
        "kmalloc_order kmalloc_order_trace kmalloc_large kmalloc_large_node __kmalloc_large_noprof "
        "__kmalloc_large_node __kmalloc_large_node_noprof ___kmalloc_large_node"
    ),
    "vmalloc": (
        "vm_area_alloc_pages __vmalloc_area_node __vmalloc_node_range __vmalloc_node_range_noprof "
        "__vmalloc_node __vmalloc_node_noprof __vmalloc __vmalloc_noprof vmalloc vmalloc_noprof "
        "vzalloc vzalloc_noprof vmalloc_node vmalloc_node_noprof vzalloc_node vzalloc_node_noprof "
        "vmalloc_huge vmalloc_huge_node_noprof kvmalloc_node kvmalloc_node_noprof "
        "__kvmalloc_node_noprof vmalloc_user vmalloc_user_noprof"
    ),
}
ALLOCATING_PATH = frozenset(name for names in _ALLOCATING_PATH.values() for name in names.split())
"""Functions of mm that allocate on behalf of a caller; they are not reported as the caller."""

LOST = ("[stack lost]",)
"""The frames of a stack that did not fit into the map."""


def function_name(frame: str) -> str:
    """Return the function of a frame, without its module and without the compiler's suffixes."""
    return frame.split(" ", 1)[0].split(".", 1)[0]


def without_tracing_frames(frames: Sequence[str]) -> tuple[str, ...]:
    """Return the frames without those of tracing itself, innermost first."""
    last = max(
        (i for i, frame in enumerate(frames[:_TRACING_DEPTH]) if _TRACING_FRAMES.match(frame)),
        default=-1,
    )
    # Next to the program, which may be left out, is a trampoline without a name on some kernels.
    after_program = last == -1 or (last == 0 and frames[0].startswith("bpf_prog_"))
    if after_program and any(map(_UNNAMED.match, frames[last + 1 : last + 2])):
        last += 1
    return tuple(frames[last + 1 :])


def caller(frames: Sequence[str], path: frozenset[str] = FREEING_PATH) -> str:
    """Return the innermost function outside of this path of mm, else the outermost function."""
    outside = itertools.dropwhile(lambda frame: function_name(frame) in path, frames)
    return next(outside, frames[-1] if frames else "")


class Stacks:
    """The stacks of a trace by id: frames innermost first, without those of tracing itself."""

    def __init__(
        self,
        addresses: Callable[[int], Sequence[int]],
        name: Callable[[int], str],
        path: frozenset[str] = FREEING_PATH,
    ) -> None:
        """`addresses` returns a stack by its id, `name` the function at an address.

        `path` are functions that are not reported as the caller.
        """
        self._path = path
        self._addresses = addresses
        self._name = name
        self._frames: dict[int, tuple[str, ...]] = {-1: LOST}

    def frames(self, number: int) -> tuple[str, ...]:
        """Return the frames of a stack."""
        if number not in self._frames:
            names = tuple(self._name(address) for address in self._addresses(number))
            # A caller that a program found by itself is alone.
            self._frames[number] = without_tracing_frames(names) if len(names) > 1 else names
        return self._frames[number]

    def caller(self, number: int) -> str:
        """Return the function that freed or allocated, for a stack."""
        return caller(self.frames(number), self._path)
