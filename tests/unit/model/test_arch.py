# SPDX-License-Identifier: GPL-2.0-only
"""Constants of the architecture are in model/arch.py alone."""

import ast
from collections import Counter

from places import PACKAGE

from pageinspect.model import arch

ELSEWHERE = {
    ("classify/runs.py", 32768): "rows per batch",
    ("target/core_formats/flattened.py", 4096): "the first block, and the unit of free space",
    ("model/saved_kernel.py", 1 << 63): "one more than the largest int64",
    ("vm/proc_snapshot.py", 4096): "bytes per read",
    ("html_report/contents.py", 4096): "rows of a table",
    ("report/listing.py", 4096): "rows per block",
    ("render/reporting_progress.py", 4096): "rows between updates of progress",
    ("analysis/dump_page_text/types.py", 4096): "a bit of a page type",
    ("kernel/ksm_flag.py", 4096): "KPF_ANON",
    ("kernel/marking.py", 32768): "tasks",
    ("kernel/online.py", 4096): "ranges",
    ("kernel/static_memory.py", 4096): "elements of a pool",
    ("kernel/dentry_paths.py", 4096): "bytes of a path, mounts, and values that are errors",
    ("kernel/name_paths.py", 4096): "bytes of a path",
    ("kernel/page_ext.py", 4096): "bytes of an entry",
    ("target/symbols/find.py", 4096): "addresses that are looked up at once",
    ("model/allocations.py", 1 << 63): "the mark of a key",
    ("kernel/xarrays.py", 4096): "values of the xarray's own",
    ("kernel/owner_names/anon.py", 4096): "memory areas",
    ("kernel/owner_names/slab_objects.py", 32768): "objects of a slab",
    ("analysis/dump_page_text/log.py", 4096): "the longest line",
    ("target/symbols/cache.py", 1 << 63): "the range of a signed integer",
}
"""Files in which one of the numbers means something else."""
PLAIN = {
    arch.IMAGE_START,
    *arch.KERNEL_HALF.values(),
    arch.ADDRESSES_OF_KERNEL,
    arch.ENTRY_ADDRESS,
    arch.ROOT_ADDRESS,
    arch.ROOT_IN_QEMU_NOTE,
    arch.PAGE_SIZE,
    arch.SECTION_PFNS,
}
NAMED = ("X86_64", "CR3", "RIP", "RSP")


def numbers(tree: ast.AST) -> Counter[int]:
    """Return the integers of a file: literals, and literals shifted by literals."""
    found: Counter[int] = Counter()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=int(value)):
                found[value] += 1
            case ast.BinOp(ast.Constant(int(value)), ast.LShift(), ast.Constant(int(shift))):
                found[value << shift] += 1
    return found


def test_numbers_of_the_architecture_are_in_one_file() -> None:
    seen = set()
    for path in PACKAGE.rglob("*.py"):
        name = str(path.relative_to(PACKAGE))
        if name != "model/arch.py":
            found = numbers(ast.parse(path.read_text()))
            seen |= {(name, number) for number in PLAIN & set(found)}
    assert seen == set(ELSEWHERE)


def test_names_of_the_architecture_are_in_one_file() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "model/arch.py":
            for node in ast.walk(ast.parse(path.read_text())):
                name = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
                assert name not in NAMED, path


def test_bits_of_page_table_entries_are_in_one_file() -> None:
    """Files that read page tables have no number that is a bit of an entry."""
    bits = {getattr(arch, name) for name in dir(arch) if name.startswith("ENTRY_")}
    bits |= {shift for levels in arch.LEVELS.values() for shift in levels.values()}
    for name in ("target/page_tables.py", "kernel/mm_tables.py"):
        found = numbers(ast.parse((PACKAGE / name).read_text()))
        # 1 is a number like any other.
        assert not (bits - {arch.ENTRY_PRESENT}) & set(found), name
