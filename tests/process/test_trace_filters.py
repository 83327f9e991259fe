# SPDX-License-Identifier: GPL-2.0-only
"""The filters and sets of bpf/page_filter.h, compiled for this machine, against plain Python."""

import ctypes
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic import MODERN

from pageinspect.errors import UsageError
from pageinspect.paths import data_folder
from pageinspect.trace.kinds import KINDS, PAGE_POOL, UNTYPED, mask
from pageinspect.trace.options import MOST_RANGES, Filters, layout_defines

SOURCE = """
typedef unsigned long u64; typedef unsigned int u32; typedef int s32;
static u64 pid_tgid; static const char *comm;
static u64 bpf_get_current_pid_tgid(void) { return pid_tgid; }
static void bpf_get_current_comm(void *into, u32 size) { __builtin_memcpy(into, comm, size); }
#include "page_filter.h"
#ifdef ONLY_PAGES
struct range ranges[ONLY_PAGES];
static inline const struct range *range_at(u32 number)
{
    return number < ONLY_PAGES ? &ranges[number] : 0;
}
#endif
int free_passes(u64 page, u32 order, u32 tgid, const char *name)
{
    pid_tgid = (u64)tgid << 32 | 12345;
    comm = name;
    return passes(page, order);
}
int is_in_set(u32 kind) { return in_set(kind, SET); }
"""


def compiled(tmp_path: Path, filters: Filters, kinds: set[int]) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "filter.c", tmp_path / "filter.so"
    source.write_text(SOURCE)
    numbers = layout_defines(MODERN) | filters.defines(MODERN) | {"SET": mask(kinds)}
    flags = [f"-D{name}={value}" for name, value in numbers.items()]
    flags += ["-O2", "-shared", "-fPIC", f"-I{data_folder('bpf')}"]
    subprocess.run([compiler, *flags, "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library))
    if filters.pfns:
        table = filters.ranges(MODERN)
        ctypes.memmove(
            ctypes.addressof(ctypes.c_char.in_dll(loaded, "ranges")),
            table.ctypes.data,
            table.nbytes,
        )
    loaded.free_passes.argtypes = [ctypes.c_ulong, ctypes.c_uint, ctypes.c_uint, ctypes.c_char_p]
    return loaded


def passes(library: ctypes.CDLL, pfn: int, order: int, tgid: int = 7, comm: bytes = b"sh") -> bool:
    page = MODERN.vmemmap + pfn * MODERN.struct_size
    return bool(library.free_passes(page, order, tgid, comm.ljust(16, b"\0")))


def test_every_kind_is_in_the_sets_that_name_it(tmp_path: Path) -> None:
    rng = random.Random(0)  # noqa: S311 - any choice will do
    for kinds in (
        {0, 63, 64, 191, 192, 255},
        {UNTYPED},
        {PAGE_POOL},
        set(rng.sample(range(258), 99)),
    ):
        library = compiled(tmp_path, Filters(), kinds)
        assert {kind for kind in range(KINDS) if library.is_in_set(kind)} == kinds
        tmp_path = tmp_path / "next"
        tmp_path.mkdir()


def test_no_filter_passes_all(tmp_path: Path) -> None:
    library = compiled(tmp_path, Filters(), set())
    assert all(passes(library, pfn, order) for pfn in (0, 1 << 30) for order in range(11))


@pytest.mark.parametrize(
    "ranges",
    [
        ((100, 104),),
        ((100, 104), (4096, 4097)),
        ((0, 61), (100, 104), (4096, 4097)),
        tuple((start, start + 3) for start in range(2, 5000, 5)),
    ],
)
def test_a_free_passes_when_any_of_its_pages_is_in_a_range(
    tmp_path: Path, ranges: tuple[tuple[int, int], ...]
) -> None:
    library = compiled(tmp_path, Filters(pfns=ranges), set())
    for order in (0, 1, 3, 10):
        for pfn in (*range(60, 140), *range(3000, 4200)):
            expected = any(start < pfn + (1 << order) and pfn < end for start, end in ranges)
            assert passes(library, pfn, order) == expected, (pfn, order)


def test_many_ranges_are_a_table_and_too_many_are_refused() -> None:
    ranges = tuple((2 * i, 2 * i + 1) for i in range(MOST_RANGES + 1))
    most = Filters(pfns=ranges[:-1])
    assert most.defines(MODERN) == {"ONLY_PAGES": str(MOST_RANGES)}
    # What is compiled and what people read do not grow with them.
    assert len(most.describe()) < 300
    assert most.describe().endswith(" and 65,528 ranges more")
    assert len(most.to_json()["pfn"]) == MOST_RANGES
    with pytest.raises(UsageError, match="selects 65,537 separate ranges"):
        Filters(pfns=ranges).defines(MODERN)


def test_orders_pid_and_comm(tmp_path: Path) -> None:
    filters = Filters(orders=(0, 9), pid=77, comm="kworker/u8:3-ev_and_more")
    library = compiled(tmp_path, filters, set())
    comm = b"kworker/u8:3-ev"
    assert passes(library, 0, 0, 77, comm)
    assert passes(library, 0, 9, 77, comm)
    assert not passes(library, 0, 1, 77, comm)
    assert not passes(library, 0, 0, 78, comm)
    assert not passes(library, 0, 0, 77, b"kworker/u8:3-e")
    assert not passes(library, 0, 0, 77, b"kworker/u8:3-eV")
