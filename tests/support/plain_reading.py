# SPDX-License-Identifier: GPL-2.0-only
"""A second reading of docs/uses.md: plain Python, one page at a time, nothing of pageinspect's own.

It knows the sentences there and what the kernel keeps where; a layout's numbers are given to it.
"""

from dataclasses import dataclass, field

VMEMMAP = 0xFFFFEA0000000000
SIZE = 64
DEAD = 0xDEAD000000000040
ALL_ONES = 0xFFFFFFFF
KERNEL_HALF = 0xFFFF800000000000
REFUSED_AT_FREE = [
    "lru",
    "locked",
    "private",
    "private_2",
    "writeback",
    "reserved",
    "slab",
    "active",
    "unevictable",
    "mlocked",
]


@dataclass
class Kernel:
    """What one kernel keeps where, as far as kernels differ."""

    types: dict[int, str]
    """By top byte, or by bit where types are bits."""
    flags: dict[str, int]
    bits: bool
    """A type is a cleared bit of 0xf…; several can be set."""
    order_at: int
    """Byte from the head where the order of a folio is."""
    slab_flag: int | None
    hugetlb_dtor_at: int | None
    tag: bool
    """mapping & 3 == 2 marks pages of drivers that can move them."""
    fake_heads: bool
    masks: bool
    pool_index: int
    """Bits of a page_pool signature that hold something else."""


@dataclass
class Plain:
    """Struct pages, eight words each, from the pfn `first` on."""

    kernel: Kernel
    rows: list[list[int]]
    first: int
    unreadable: set[int] = field(default_factory=set)
    lists: list[tuple[int, int]] = field(default_factory=list)
    """(pfn, order) of what is on CPUs' lists."""
    zones: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(node, number, start, end) pfns."""
    changing: bool = False

    def __post_init__(self) -> None:
        pages = range(len(self.rows))
        self.heads = [self._head(i) for i in pages]
        self.kinds = [self._kind(i) for i in pages]
        self.starts = [i for i in pages if self.begins_block(i)]

    # --- words; what lies outside was not read and is zeros

    def at(self, i: int, offset: int, size: int = 8) -> int:
        i, offset = i + offset // SIZE, offset % SIZE
        if not 0 <= i < len(self.rows):
            return 0
        return self.rows[i][offset // 8] >> 8 * (offset % 8) & (1 << 8 * size) - 1

    def flag(self, i: int, name: str) -> bool:
        return name in self.kernel.flags and bool(self.at(i, 0) >> self.kernel.flags[name] & 1)

    def refcount(self, i: int) -> int:
        count = self.at(i, 52, 4)
        return count - (1 << 32) if count >> 31 else count

    # --- folios

    def pointed_at(self, i: int, info: int) -> int:
        """Return where the compound word of a tail leads; to itself where it is nonsense."""
        pointer = info - 1
        if self.kernel.masks and info >= 0xFFFFFF0000000000:
            pointer &= VMEMMAP + (self.first + i) * SIZE
        distance = pointer - VMEMMAP
        head = distance // SIZE - self.first
        sound = distance >= 0 and distance % SIZE == 0 and 0 <= i - head < 1 << 20
        return head if sound else i

    def _head(self, i: int) -> int:
        info = self.at(i, 8)
        if info & 1:
            return self.pointed_at(i, info)
        aligned = (self.first + i) % 64 == 0 and i + 1 < len(self.rows)
        if self.kernel.fake_heads and aligned and self.flag(i, "head") and self.at(i + 1, 8) & 1:
            return self.pointed_at(i, self.at(i + 1, 8))
        return i

    def is_tail(self, i: int) -> bool:
        return self.heads[i] != i

    def order(self, head: int) -> int:
        order = self.at(head, self.kernel.order_at, 1)
        return order if self.flag(head, "head") and order <= 20 else 0

    # --- what a page_type word says

    def word(self, i: int) -> str:
        word = self.at(i, 48, 4)
        if word == ALL_ONES:
            return "reset"
        if not word >> 31:
            return "mapped"
        if not self.kernel.bits:
            byte = word >> 24
            if 0xF0 <= byte < 0xFF:
                return self.kernel.types.get(byte, f"type_{byte:#x}")
            return "odd"
        if word > ALL_ONES - 128:
            return "odd"
        cleared = ~word & 0x7F80
        names = [name for bit, name in self.kernel.types.items() if cleared & bit]
        rest = cleared & ~sum(bit for bit in self.kernel.types)
        names += [f"type_{rest:#x}"] if rest else []
        return "+".join(names) if names and word >> 28 == 0xF else "odd"

    def is_type(self, i: int) -> bool:
        return self.word(i) not in ("reset", "mapped", "odd")

    def own(self, i: int) -> str:
        kernel = self.kernel
        dtor_at = kernel.hugetlb_dtor_at
        if dtor_at is not None and self.flag(i, "head") and self.at(i, dtor_at, 1) == 2:
            return "hugetlb"
        if kernel.slab_flag is not None and self.at(i, 0) >> kernel.slab_flag & 1:
            return "slab"
        if self.is_type(i):
            return self.word(i)
        if kernel.tag and self.at(i, 24) & 3 == 2 and not self.at(i, 8) & 1:
            return "movable_ops"
        return self.word(i)

    def _kind(self, i: int) -> str:
        """Return the type of its folio, else what it is by itself."""
        of_folio = self.own(self.heads[i])
        untyped = ("reset", "mapped", "odd", "movable_ops")
        return self.own(i) if of_folio in untyped else of_folio

    # --- free memory

    def begins_block(self, i: int) -> bool:
        return self.kinds[i] == "buddy" and not self.is_tail(i)

    def block(self, i: int) -> int | None:
        """Return the page that begins the free block it lies in: the nearest before it."""
        start = max((start for start in self.starts if start <= i), default=None)
        if start is None or i >= start + (1 << min(self.at(start, 40), 10)):
            return None
        return start

    def behind_start(self, i: int) -> bool:
        return self.block(i) not in (None, i)

    def is_free(self, i: int) -> bool:
        return self.begins_block(i) or (self.behind_start(i) and self.looks_free(i))

    def looks_free(self, i: int) -> bool:
        return self.kinds[i] == "reset" and self.refcount(i) == 0 and not self.is_tail(i)

    def listed(self, i: int) -> bool:
        pfn = self.first + i
        on = any(start <= pfn < start + (1 << order) for start, order in self.lists)
        return on and self.looks_free(i)

    def in_pool(self, i: int) -> bool:
        return self.at(i, 8) & ~3 & ~self.kernel.pool_index == DEAD

    def refused(self, i: int) -> bool:
        return any(self.flag(i, name) for name in REFUSED_AT_FREE)

    def bad_if_free(self, i: int) -> bool:
        owned = self.at(i, 24) or self.at(i, 56) or self.in_pool(i) or self.refused(i)
        return bool(self.refcount(i) or self.word(i) != "reset" or owned)

    # --- contradictions

    def spans(self, i: int) -> tuple[bool, bool]:
        """Return whether the node in its flags spans it, and whether the zone does."""
        if not self.zones or self.flag(i, "reserved") or i in self.unreadable:
            return True, True
        zone, node = self.at(i, 0) >> 51 & 7, self.at(i, 0) >> 54
        if zone == 4:
            return True, True
        here = [z for z in self.zones if z[2] <= self.first + i < z[3] and z[0] == node]
        return bool(here), any(z[1] == zone for z in here)

    def tails_disagree(self, i: int) -> bool:
        if not self.flag(i, "head") or self.is_tail(i):
            return False
        # As far as the pages are known; what comes next has the order.
        known, size = len(self.rows), 1 << self.order(i)
        if self.unreadable.intersection(range(i, min(i + max(size, 2), known))):
            return False
        tails = min(i + size, known) - i - 1
        return tails == 0 or self.heads.count(i) != tails + 1

    def headless(self, i: int) -> bool:
        head = self.heads[i]
        if head == i or head in self.unreadable:
            return False
        if not self.flag(head, "head"):
            return True
        return head + 1 not in self.unreadable and i - head >= 1 << self.order(head)

    def contradictions(self, i: int) -> set[str]:
        begins, behind, size = self.begins_block(i), self.behind_start(i), min(self.at(i, 40), 10)
        mirrored = self.kernel.fake_heads and (self.first + i) % 64 == 0
        in_node, in_zone = self.spans(i)
        low = not self.kernel.bits and self.at(i, 48, 4) & 0xFFFFFF
        by_word = self.is_type(i) and self.own(i) == self.word(i) and not self.is_tail(i)
        rules = {
            "type-on-tail": self.is_tail(i) and self.is_type(i) and not mirrored,
            "type-in-free-block": behind and self.is_type(i),
            "low-bits": low and by_word and self.word(i) != "zsmalloc",
            "odd-word": self.own(i) == "odd" and i not in self.unreadable,
            "misaligned-free-block": begins and (self.first + i) % (1 << size),
            "overlapping-free-blocks": begins
            and any(k < i < k + (1 << min(self.at(k, 40), 10)) for k in self.starts),
            "free-but-referenced": begins and self.refcount(i),
            "free-but-owned": begins and (self.at(i, 24) or self.at(i, 56)),
            "free-but-flagged": self.is_free(i) and self.refused(i),
            "free-page-pool": self.is_free(i) and self.in_pool(i),
            "tail-without-head": self.headless(i),
            "free-block-order": begins and self.at(i, 40) > 10,
            "in-use-inside-free-block": behind and not self.is_type(i) and self.bad_if_free(i),
            "in-use-on-cpu-list": self.bad_if_free(i)
            and any(pfn == self.first + i for pfn, _ in self.lists),
            "head-without-tails": self.tails_disagree(i),
            "wrong-node": not in_node,
            "wrong-zone": in_node and not in_zone,
        }
        return {name for name, broken in rules.items() if broken}

    # --- the table

    def use(self, i: int) -> str:
        head, kind = self.heads[i], self.kinds[i]
        mapping, referenced = self.at(head, 24), self.refcount(head) > 0
        of_file = mapping >= KERNEL_HALF and not mapping & 3 and referenced
        aside = {"in-use-inside-free-block", "in-use-on-cpu-list"} if self.changing else set()
        swapped = self.flag(head, "owner_priv_1") and self.flag(head, "swapbacked")
        for use, holds in (
            ("unreadable", i in self.unreadable),
            ("conflict", self.contradictions(i) - aside),
            ("hwpoison", self.flag(i, "hwpoison")),
            ("zone_device", self.at(i, 0) >> 51 & 7 == 4),
            ("buddy", self.is_free(i)),
            ("pcp", self.listed(i)),
            ("type", kind not in ("reset", "mapped", "odd", "movable_ops")),
            ("movable_ops", kind == "movable_ops"),
            ("page_pool", self.in_pool(head) and referenced),
            ("reserved", self.flag(i, "reserved")),
            ("ksm", mapping & 3 == 3 and mapping >= KERNEL_HALF),
            ("anon", mapping & 3 == 1 and mapping >= KERNEL_HALF),
            ("swapcache", swapped and not mapping and referenced),
            ("shmem", of_file and self.flag(head, "swapbacked")),
            ("file", of_file),
            ("mapped", kind == "mapped" and referenced),
            ("kernel", referenced),
        ):
            if holds:
                return use
        return "idle"
