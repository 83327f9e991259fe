# SPDX-License-Identifier: GPL-2.0-only
"""Reads the RSS counters of an mm.

Since Linux kernel commit f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter") (in v6.2),
they are an array of struct percpu_counter. Before, they are a struct mm_rss_stat, and deltas that
threads have not added yet are in task_struct.rss_stat.
"""

import struct
from collections.abc import Mapping, Sequence

from drgn import Program, TypeKind, sizeof
from drgn.helpers.linux.cpumask import for_each_possible_cpu

from ..model.processes import MmCounters
from .members import Members

RSS_COUNTERS = "rss_stat"
OTHER_COUNTERS = ("pgtables_bytes", "hugetlb_usage")
"""Further members of struct mm_struct. hugetlb_usage needs CONFIG_HUGETLB_PAGE."""
RSS_DELTAS = "rss_stat"
"""Member of struct task_struct with the deltas of a thread, up to v6.1."""

_WORD = (1 << 64) - 1
_ITEMS = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SHMEMPAGES", "MM_SWAPENTS")
_NEAR = 64
"""If the counters of an mm are within this many bytes, as usual, they are read at once."""


class MmCounterReader:
    """Extracts the counters from the bytes of a struct mm_struct."""

    def __init__(self, prog: Program, mm: Members, task: Members) -> None:
        """Prepare for `mm` with RSS_COUNTERS and OTHER_COUNTERS, `task` with RSS_DELTAS.

        Raises LookupError for an unknown form of the counters.
        """
        self._prog = prog
        self._mm = mm
        self._items = [int(prog.constant(item).value_()) for item in _ITEMS]
        self._percpu: Members | None = None
        counted = prog.type("struct mm_struct").member(RSS_COUNTERS).type
        if counted.kind == TypeKind.ARRAY:
            self._percpu = Members(prog, "struct percpu_counter", "count", "counters")
            offsets = prog["__per_cpu_offset"]
            self._cpus = [int(offsets[cpu].value_()) for cpu in for_each_possible_cpu(prog)]
        self._deltas_at, self._deltas_length = 0, 0
        if RSS_DELTAS in task:
            count = prog.type("struct task_struct").member(RSS_DELTAS).type.member("count")
            self._deltas_at = task.at[RSS_DELTAS] + count.bit_offset // 8
            self._deltas_length = sizeof(count.type) // 4

    def read(self, mm: bytes, rss_deltas: Mapping[int, int]) -> MmCounters:
        """Return the counters in the bytes of an mm, including the deltas of its threads.

        `rss_deltas` has the sums of the deltas by counter number. Raises FaultError.
        """
        at = self._mm.at[RSS_COUNTERS]
        if self._percpu is None:
            pages = [
                struct.unpack_from("<q", mm, at + 8 * item)[0] + rss_deltas.get(item, 0)
                for item in self._items
            ]
        else:
            pages = self._sums(mm, at, self._percpu)
        file, anon, shmem, swap = pages
        table_bytes, hugetlb = (
            self._mm.of(mm, member) if member in self._mm else None for member in OTHER_COUNTERS
        )
        return MmCounters(file, anon, shmem, swap, table_bytes, hugetlb)

    def rss_deltas(self, task: bytes) -> Sequence[int]:
        """Return the deltas in the bytes of a thread, by counter number; empty since v6.2."""
        return struct.unpack_from(f"<{self._deltas_length}i", task, self._deltas_at)

    def _sums(self, mm: bytes, at: int, percpu: Members) -> list[int]:
        places = [at + item * percpu.size for item in self._items]
        counts = [struct.unpack_from("<q", mm, p + percpu.at["count"])[0] for p in places]
        pointers = [struct.unpack_from("<Q", mm, p + percpu.at["counters"])[0] for p in places]
        first, length = min(pointers), max(pointers) - min(pointers) + 4
        for cpu in self._cpus:
            if length <= _NEAR:
                data = self._prog.read((first + cpu) & _WORD, length)
                added = [struct.unpack_from("<i", data, p - first)[0] for p in pointers]
            else:
                words = [self._prog.read((p + cpu) & _WORD, 4) for p in pointers]
                added = [struct.unpack("<i", word)[0] for word in words]
            counts = [count + more for count, more in zip(counts, added, strict=True)]
        return counts
