# SPDX-License-Identifier: GPL-2.0-only
"""Registers a kernel's BTF and kallsyms with a drgn Program.

After attach_btf(), `prog.type("struct page")`, `prog["PG_head"]`, `prog["mem_section"]` and drgn's
helpers work as with DWARF.
"""

from collections.abc import Mapping
from pathlib import Path

from drgn import FindObjectFlags, Object, Program, Type, TypeKind

from ...errors import PageInspectError
from .btf import Btf, BtfKind
from .btf_types import BtfTypes
from .cache import SymbolCache, load_cache
from .find import SymbolFinder, address_of, cached_symbols, find_btf, find_symbols, read_btf
from .kallsyms import read_kallsyms
from .keys import types_key

_NAME = "pageinspect BTF"
CONFIG = "pageinspect"
"""Key in the `config` of a Program whose types are from BTF: the value is its symbol caches."""

# BTF has the types of per-CPU variables only, and BTF of an old pahole not even these. This table
# has the types of the variables that drgn's helpers and this package use. It must include variables
# that a helper treats as optional: without __highest_present_section_nr,
# for_each_valid_page_range() reads past the sections and may return a range that does not exist;
# without nr_node_ids, for_each_online_pgdat() finds one node.
_VARIABLES = {
    "__cpu_online_mask": "struct cpumask",
    "__cpu_possible_mask": "struct cpumask",
    "__highest_present_section_nr": "unsigned long",
    "__per_cpu_offset": "unsigned long [8192]",
    "cached_stacks": "struct vm_struct *[2]",
    "init_pid_ns": "struct pid_namespace",
    "init_task": "struct task_struct",
    "max_pfn": "unsigned long",
    "mem_section": "struct mem_section **",
    "modules": "struct list_head",
    "node_data": "struct pglist_data *[1024]",
    "node_states": "nodemask_t [8]",
    "nr_cpu_ids": "unsigned int",
    "nr_node_ids": "unsigned int",
    "page_offset_base": "unsigned long",
    "runqueues": "struct rq",
    "sections_per_block": "int",
    "vm_event_states": "struct vm_event_state",
    "vmemmap_base": "unsigned long",
    "gfpflag_names": "struct trace_print_flags [1]",
    "hstates": "struct hstate [2]",
    "hugetlb_max_hstate": "int",
    "iomem_resource": "struct resource",
    "memblock": "struct memblock",
    "nr_vmap_nodes": "unsigned int",
    "pcpu_base_addr": "void *",
    "pcpu_chunk_lists": "struct list_head *",
    "pcpu_first_chunk": "struct pcpu_chunk *",
    "pcpu_nr_populated": "unsigned long",
    "pcpu_nr_slots": "int",
    "pcpu_nr_units": "int",
    "pcpu_reserved_chunk": "struct pcpu_chunk *",
    "pcpu_slot": "struct list_head *",
    "pcpu_unit_offsets": "unsigned long *",
    "vmcoreinfo_data": "unsigned char *",
    "vmcoreinfo_note": "u32 *",
    "vmap_area_root": "struct rb_root",
    "atomic_pool_dma": "struct gen_pool *",
    "atomic_pool_dma32": "struct gen_pool *",
    "atomic_pool_kernel": "struct gen_pool *",
    "block_class": "struct class",
    "boot_cpu_data": "struct cpuinfo_x86",
    "class_kset": "struct kset *",
    "d_hash_shift": "unsigned int",
    "dentry_hashtable": "struct hlist_bl_head *",
    "efi_mm": "struct mm_struct",
    "ftrace_pages_start": "struct ftrace_page *",
    "ftrace_trace_arrays": "struct list_head",
    "huge_zero_folio": "struct folio *",
    "huge_zero_page": "struct page *",
    "i_hash_mask": "unsigned int",
    "inode_hashtable": "struct hlist_head *",
    "integrity_buf_pool": "mempool_t",
    "io_tlb_default_mem": "struct io_tlb_mem",
    "ip_idents": "atomic_t *",
    "ip_idents_mask": "unsigned int",
    "ip_tstamps": "u32 *",
    "m_hash_mask": "unsigned int",
    "map_idr": "struct idr",
    "movable_gigantic_pages": "int",
    "mount_hashtable": "struct hlist_head *",
    "mountpoint_hashtable": "struct hlist_head *",
    "mp_hash_mask": "unsigned int",
    "nr_memmap_boot_pages": "atomic_long_t",
    "nr_memmap_pages": "atomic_long_t",
    "nr_vmalloc_pages": "atomic_long_t",
    "pack_list": "struct list_head",
    "poking_mm": "struct mm_struct *",
    "prog_idr": "struct idr",
    "tcp_hashinfo": "struct inet_hashinfo",
    "text_poke_mm": "struct mm_struct *",
    "savedcmd": "struct saved_cmdlines_buffer *",
    "token_hash": "struct token_bucket *",
    "token_mask": "unsigned int",
    "udp_table": "struct udp_table",
    "udplite_table": "struct udp_table",
    "vmap_nodes": "struct vmap_node *",
    "alloc_tag_ref_mask": "unsigned long",
    "alloc_tag_ref_offs": "int",
    "dummy_handle": "depot_stack_handle_t",
    "early_handle": "depot_stack_handle_t",
    "failure_handle": "depot_stack_handle_t",
    "kernel_tags": "struct alloc_tag_kernel_section",
    "mem_profiling_compressed": "struct static_key_false",
    "module_tags": "struct alloc_tag_module_section",
    "page_alloc_tagging_ops": "struct page_ext_operations",
    "page_ext_size": "unsigned long",
    "page_owner_ops": "struct page_ext_operations",
    "stack_max_pools": "unsigned int",
    "stack_pools": "void *[8192]",
    "stack_slabs": "void *[8192]",
    "timekeeper_data": "struct tk_data [1]",
    "tk_core": "struct tk_data",
}
_NEEDED = ("mem_section", "__highest_present_section_nr", "vmemmap_base")


class Finders:
    """drgn type, object and symbol finders on BTF and kallsyms."""

    def __init__(self, prog: Program, btf: Btf, symbols: SymbolFinder) -> None:
        self._prog = prog
        self._btf = btf
        self._types = BtfTypes(prog, btf)
        self.symbols = symbols

    def type(
        self, _prog: Program, kinds: set[TypeKind], name: str, filename: str | None
    ) -> Type | None:
        """Return the type of one of these kinds and this name, or None."""
        return None if filename else self._types.find(kinds, name)

    def object(
        self, _prog: Program, name: str, flags: FindObjectFlags, filename: str | None
    ) -> Object | None:
        """Return the constant or variable of this name, or None."""
        if filename:
            return None
        if flags & FindObjectFlags.CONSTANT:
            found = self._constant(name)
            if found is not None:
                return found
        return self._variable(name) if flags & FindObjectFlags.VARIABLE else None

    def _constant(self, name: str) -> Object | None:
        entry = self._btf.find_enumerator(name)
        return None if entry is None else Object(self._prog, self._types.type(entry[0]), entry[1])

    def _variable(self, name: str) -> Object | None:
        if name == "vmemmap":
            base = self._variable("vmemmap_base")
            return None if base is None else Object(self._prog, "struct page *", base.value_())
        variable = self._btf.find(BtfKind.VAR, name)
        if variable is None and name not in _VARIABLES:
            return None
        address = address_of(self._prog, self.symbols, name)
        if address is None:
            return None
        type_: Type | str = _VARIABLES[name] if variable is None else self._types.type(variable)
        return Object(self._prog, type_, address=address)


def attach_btf(
    prog: Program,
    vmcoreinfo: Mapping[str, str],
    *,
    live: bool,
    btf: Path | None = None,
    kallsyms: Path | None = None,
) -> tuple[SymbolCache, ...]:
    """Register BTF and kallsyms with `prog`, before all other sources.

    Returns the symbol caches, to be saved at the end of a successful run. Raises as find_finders().
    """
    finders, caches = find_finders(prog, vmcoreinfo, live=live, btf=btf, kallsyms=kallsyms)
    prog.register_symbol_finder(_NAME, finders.symbols, enable_index=0)
    prog.register_type_finder(_NAME, finders.type, enable_index=0)
    prog.register_object_finder(_NAME, finders.object, enable_index=0)
    return caches


def find_finders(
    prog: Program,
    vmcoreinfo: Mapping[str, str],
    *,
    live: bool,
    btf: Path | None = None,
    kallsyms: Path | None = None,
) -> tuple[Finders, tuple[SymbolCache, ...]]:
    """Return drgn finders on BTF and kallsyms, and the symbol caches.

    `btf` and `kallsyms` are files to use instead of the kernel's own data; with either, nothing is
    cached. Raises PageInspectError if BTF or symbols are missing or cannot be read.
    """
    symbols: SymbolFinder
    caches: tuple[SymbolCache, ...] = ()
    if kallsyms is not None:
        symbols = read_kallsyms(kallsyms, vmcoreinfo)
    elif btf is not None:
        symbols = find_symbols(prog, live=live)
    else:
        symbols, cache = cached_symbols(prog, vmcoreinfo, live=live)
        caches = (cache,)
    for name in _NEEDED:
        if address_of(prog, symbols, name) is None:
            raise PageInspectError(
                f"{kallsyms or 'kallsyms of this kernel'} has no {name}: it is cut off, or has no "
                "variables (CONFIG_KALLSYMS_ALL)",
                "give System.map of the same build (--kallsyms FILE), or -s VMLINUX",
            )

    def cache_of(data: bytes) -> SymbolCache:
        return load_cache(types_key(vmcoreinfo, data) if caches else None)

    types = find_btf(prog, symbols, cache_of, live=live) if btf is None else read_btf(btf)
    all_caches = (*caches, types.cache) if caches else ()
    prog.config[CONFIG] = all_caches
    return Finders(prog, types, symbols), all_caches
