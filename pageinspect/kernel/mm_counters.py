"""The counters of an mm: how many pages of each kind it maps, by the kernel's own count.

Since Linux kernel commit f1a7941243c1 ("mm: convert mm's rss stats into percpu_counter") (in v6.2)
they are an array of struct percpu_counter; before, struct mm_rss_stat, to which each thread adds
what it kept back in task_struct.rss_stat.
"""

import struct
from collections.abc import Mapping, Sequence

from drgn import Program, sizeof
from drgn.helpers.linux.cpumask import for_each_possible_cpu

from ..model.processes import MmCounters
from .members import Members

_ITEMS = ("MM_FILEPAGES", "MM_ANONPAGES", "MM_SHMEMPAGES", "MM_SWAPENTS")
_NEAR = 64
"""Bytes within which the counters of an mm mostly lie: they are read at once."""


class MmCounterReader:
    """Reads the counters out of the bytes of a struct mm_struct."""

    def __init__(self, prog: Program) -> None:
        """Raise LookupError for a kernel that counts otherwise."""
        self._prog = prog
        self._items = [int(prog.constant(item).value_()) for item in _ITEMS]
        type_ = prog.type("struct mm_struct")
        member = type_.member("rss_stat")
        self._at = member.bit_offset // 8
        self._mm = Members(prog, "struct mm_struct", optional=("pgtables_bytes", "hugetlb_usage"))
        self._percpu: Members | None = None
        if member.type.type_name().startswith("struct percpu_counter"):
            self._percpu = Members(prog, "struct percpu_counter", "count", "counters")
            offsets = prog["__per_cpu_offset"]
            self._cpus = [offsets[cpu].value_() for cpu in for_each_possible_cpu(prog)]
        self._split_at, self._split_length = _kept_back(prog)

    def read(self, mm: bytes, kept_back: Mapping[int, int]) -> MmCounters:
        """Return the counters in an mm's bytes, with what its threads kept back.

        `kept_back` has their sums by the number of the counter. Raises FaultError.
        """
        if self._percpu is None:
            pages = [
                struct.unpack_from("<q", mm, self._at + 8 * item)[0] + kept_back.get(item, 0)
                for item in self._items
            ]
        else:
            pages = self._sums(mm, self._percpu)
        optional = {
            member: self._mm.of(mm, member) if member in self._mm else None
            for member in ("pgtables_bytes", "hugetlb_usage")
        }
        file, anon, shmem, swap = pages
        return MmCounters(
            file, anon, shmem, swap, optional["pgtables_bytes"], optional["hugetlb_usage"]
        )

    def kept_back(self, task: bytes) -> Sequence[int]:
        """Return what a thread kept back, in the order of the kernel; nothing since v6.2."""
        if self._split_at is None:
            return ()
        return struct.unpack_from(f"<{self._split_length}i", task, self._split_at)

    def _sums(self, mm: bytes, percpu: Members) -> list[int]:
        counts, pointers = [], []
        for item in self._items:
            at = self._at + item * percpu.size
            counts.append(struct.unpack_from("<q", mm, at + percpu.at["count"])[0])
            pointers.append(struct.unpack_from("<Q", mm, at + percpu.at["counters"])[0])
        first, last = min(pointers), max(pointers)
        for cpu in self._cpus:
            if last - first <= _NEAR:
                data = self._prog.read((first + cpu) & (1 << 64) - 1, last - first + 4)
                added = [struct.unpack_from("<i", data, p - first)[0] for p in pointers]
            else:
                words = [self._prog.read((p + cpu) & (1 << 64) - 1, 4) for p in pointers]
                added = [struct.unpack("<i", word)[0] for word in words]
            counts = [count + more for count, more in zip(counts, added, strict=True)]
        return counts


def _kept_back(prog: Program) -> tuple[int | None, int]:
    """Return where a task has what it kept back, None where it keeps nothing, and the length."""
    task = prog.type("struct task_struct")
    if not task.has_member("rss_stat"):
        return None, 0
    member = task.member("rss_stat")
    count = member.type.member("count")
    return (member.bit_offset + count.bit_offset) // 8, sizeof(count.type) // 4
