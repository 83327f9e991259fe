# SPDX-License-Identifier: GPL-2.0-only
"""Describes a page from its columns and from the kernel structures that they point to."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...classify import Code, Pages, code_name, marker_of, use_name
from ...classify.contradictions import CONTRADICTIONS, Contradiction
from ...classify.uses import Rule, rule_of
from ...model.arch import SECTION_PFNS
from ...model.memory_map import TRYLOCK
from ...model.page_types import SLOTS
from ...model.table import Absent
from . import flags
from .facts import Fact, PageFacts
from .reader import KernelReader, UnreadableError
from .words import low_bits_of, mapcounts, word_fact, words_read


def describe_page(pages: Pages, i: int, kernel: KernelReader | None = None) -> PageFacts:
    """Describe page number i of a batch; without a `kernel`, from its struct page alone."""
    page = _Page(pages, i, kernel)
    if page.type_name == "unreadable":
        use = Fact("use", "unreadable", "unreadable", "", rule_of(page.use).sentence)
        return PageFacts(page.pfn, readable=False, facts=(*page.addresses(), use, *page.section()))
    facts = (
        *page.addresses(),
        *page.use_facts(),
        *page.counts(),
        *page.flag_facts(),
        *page.folio(),
        *page.location(),
        *page.section(),
        *page.owner(),
        *page.free_lists(),
    )
    return PageFacts(page.pfn, readable=True, facts=facts)


def _hex(name: str, value: int, rule: str = "", raw: str = "") -> Fact:
    return Fact(name, f"{value:#x}", f"{value:#x}", raw, rule)


class _Page:
    """Makes the facts of one page of a batch."""

    def __init__(self, pages: Pages, i: int, kernel: KernelReader | None) -> None:
        self.pages, self.i, self.kernel = pages, i, kernel
        self.layout = pages.layout
        self.pfn = pages.batch.first + i
        self.head = int(pages.heads[i])
        self.use = int(pages.use[i])
        self.code = int(pages.code[i])
        self.type_name = code_name(self.layout.scheme, self.code)
        self.tail = bool(pages.tail[i])

    def own(self, offset: int) -> int:
        return int(self.pages.own(offset)[self.i])

    def of_head(self, offset: int) -> int:
        return int(self.pages.of_head(offset)[self.i])

    def struct_page(self, pfn: int) -> int:
        return self.layout.vmemmap + pfn * self.layout.struct_size

    def from_kernel(
        self,
        name: str,
        read: Callable[[KernelReader], Any],
        text: Callable[[Any], str],
        raw: str,
        rule: str,
    ) -> Fact:
        """Return a fact that needs a KernelReader; an Absent value if it cannot be read."""
        if self.kernel is None:
            return Fact(name, Absent.UNAVAILABLE, "unknown", raw, rule)
        try:
            value = read(self.kernel)
            return Fact(name, value, text(value), raw, rule)
        except UnreadableError as error:
            why = f"cannot be read: {error}"
            return Fact(name, Absent.UNREADABLE, why, raw, rule, error.fault)

    def addresses(self) -> list[Fact]:
        layout, phys = self.layout, self.pfn << self.layout.page_shift
        facts = [
            Fact("pfn", self.pfn, f"{self.pfn:#x} ({self.pfn})"),
            _hex(
                "page",
                self.struct_page(self.pfn),
                "vmemmap + pfn * sizeof(struct page).",
                f"{layout.vmemmap:#x} + {self.pfn:#x} * {layout.struct_size}",
            ),
            _hex("phys", phys, "pfn << PAGE_SHIFT.", f"{self.pfn:#x} << {layout.page_shift}"),
        ]
        if self.kernel is not None:
            base = self.kernel.page_offset_base()
            facts.append(
                _hex("virt", base + phys, "page_offset_base + phys: the direct map.", f"{base:#x}")
            )
        return facts

    def use_facts(self) -> list[Fact]:
        pages, i, layout = self.pages, self.i, self.layout
        rule = rule_of(self.use)
        name = use_name(layout, self.use)
        broken = [c for c in CONTRADICTIONS if i in c.broken(pages)]
        named = " ".join(f"{c.name}: {c.sentence}" for c in broken)
        why = named if rule.use == "conflict" else rule.sentence
        word = int(pages.word[i])
        return [
            Fact(
                "use",
                name,
                name,
                f"rule {rule.use}",
                rule.commit or "In every kernel from v4.18 on.",
            ),
            Fact("why", why, why, self._words_of(rule, broken)),
            *self._broken(broken, "" if rule.use == "conflict" else named),
            Fact("type", self.type_name, self.type_name, *self._type_origin()),
            word_fact(layout, word, int(pages.own_code[i])),
            *low_bits_of(layout, word, self.type_name, tail=self.tail),
            *self._freeing(),
        ]

    def _words_of(self, rule: Rule, broken: Sequence[Contradiction]) -> str:
        """Return the words that the rule of the page's use reads, as text."""
        asked = [c.reads for c in broken] if rule.use == "conflict" else [rule.reads]
        words = words_read(self.pages, self.i, [read for reads in asked for read in reads])
        return f"reads {words}" if words else ""

    def _broken(self, rules: Sequence[Contradiction], without_use: str) -> list[Fact]:
        """Return the fact about broken rules; `without_use` is the text if they gave no use."""
        if not rules:
            return []
        return [
            Fact(
                "breaks",
                [rule.name for rule in rules],
                without_use
                and f"{without_use} This kernel is running: it may be so only for a moment.",
                self._words(),
                "The rules of `pageinspect check`, which on a running kernel reads the page again.",
            )
        ]

    def _words(self) -> str:
        words = self.pages.batch.words[self.i].tolist()
        return " ".join(f"{word:016x}" for word in words)

    def _freeing(self) -> list[Fact]:
        if self.layout.frozen is None:
            return []
        freeing = bool(self.pages.freeing[self.i])
        return [
            Fact(
                "freeing",
                freeing,
                "yes: its type is set and it has no references" if freeing else "no",
                f"type {self.type_name}, refcount {int(self.pages.head_refcount[self.i])}",
                "Its type is set, it has no references, and pages of this type usually have some.",
            )
        ]

    def _type_origin(self) -> tuple[str, str]:
        """Return where the type was read, and the rule."""
        marker = marker_of(self.layout, self.code)
        if marker is not None:
            kind = "page flag" if marker.kind == "flag" else "compound destructor"
            return (
                f"word at +{marker.offset} & {marker.mask:#x} == {marker.equals:#x}",
                f"Not a page type in this kernel, but a {kind}.",
            )
        scheme = self.layout.scheme
        if self.layout.compound is None:
            return f"{scheme.word_name} of the page itself", f"Scheme {scheme.name}."
        origin = f"{scheme.word_name} of the folio's head, pfn {self.head:#x}"
        if self.type_name == "buddy" and self.pages.block[self.i] >= 0:
            start = self.pages.batch.first + int(self._block_head())
            origin = f"page_type of the free block's first page, pfn {start:#x}"
        return origin, f"Scheme {scheme.name}; only the head of a folio has a type."

    def counts(self) -> list[Fact]:
        pages, i = self.pages, self.i
        own = int(pages.refcount[i])
        raw = f"{own & 0xFFFFFFFF:#010x}"
        facts = [Fact("refcount", own, str(own), raw, "_refcount of the page.")]
        if self.layout.refcount is None:
            facts = []
        if self.tail:
            of_head = int(pages.head_refcount[i])
            raw = f"{of_head & 0xFFFFFFFF:#010x}"
            facts.append(
                Fact("head_refcount", of_head, str(of_head), raw, "_refcount of the head.")
            )
        large = bool(pages.folio_order[i])
        return facts + mapcounts(
            self.layout, int(pages.word[i]), self.code, self.of_head, large=large
        )

    def flag_facts(self) -> list[Fact]:
        layout, word = self.layout, self.own(self.layout.flags)
        rule = "enum pageflags."
        if layout.unavailable:
            rule = "VMCOREINFO, which has the names of only a few flags."
        shown = word
        if layout.order is not None and self._order_is_in_flags():
            shown &= ~layout.order.mask
            rule = (
                'Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail '
                'page") (in v6.6), the low byte of flags of a first tail is the order of its folio.'
            )
        names = flags.names(layout, shown)
        use = use_name(layout, self.use)
        meant = {} if self.tail else flags.meanings(layout, names, use)
        text = ", ".join(f"{n} ({meant[n]})" if n in meant else n for n in names)
        if meant:
            rule += f" {flags.REUSED}"
        facts = [Fact("flags", names, text or "none", f"{word:#x}", rule)]
        if self.tail:
            head_word = self.of_head(layout.flags)
            of_head = flags.names(layout, head_word)
            meant = flags.meanings(layout, of_head, use)
            text = ", ".join(f"{n} ({meant[n]})" if n in meant else n for n in of_head)
            facts.append(
                Fact("head_flags", of_head, text or "none", f"{head_word:#x}", "flags of the head.")
            )
        if meant:
            # Only for JSON: the text shows the meaning after each flag.
            facts.append(Fact("flag_meanings", meant, ""))
        if self.type_name == "hugetlb" and layout.private is not None:
            facts.append(self._hugetlb_flags(layout.private))
        return facts

    def _hugetlb_flags(self, offset: int) -> Fact:
        private = self.of_head(offset)
        return self.from_kernel(
            "hugetlb_flags",
            lambda kernel: kernel.hugetlb_flags(private),
            lambda names: ", ".join(names) or "none",
            f"{private:#x}",
            "private of the head, by enum hugetlb_page_flags.",
        )

    def _order_is_in_flags(self) -> bool:
        return self.layout.order_in_flags and self.pfn == self.head + 1 and self.tail

    def folio(self) -> list[Fact]:
        order = int(self.pages.order[self.i])
        fields = self._order_fields()
        facts = [] if self.layout.compound is None else self._place_in_folio(self.layout.compound)
        if fields:
            facts.append(Fact("order", order, str(order), self._order_raw(), " ".join(fields)))
        return facts

    def _place_in_folio(self, compound: int) -> list[Fact]:
        index = self.pfn - self.head
        return [
            Fact(
                "head",
                self.head,
                f"{self.head:#x}",
                f"{self.own(compound):#x}",
                "The compound word of a tail has bit 0 set, and the other bits point to the head. "
                'Since Linux kernel commit 8c846c879e22 ("mm: rework compound_head() for '
                'power-of-2 sizeof(struct page)") (in v7.1), they may be a mask for the '
                "address of the tail.",
            ),
            Fact(
                "index_in_folio",
                index,
                str(index),
                f"{self.pfn:#x} - {self.head:#x}",
                "pfn - pfn of the head.",
            ),
        ]

    def _order_fields(self) -> list[str]:
        """Return where this kernel stores the order of free blocks and of folios."""
        layout, where = self.layout, []
        if layout.private is not None:
            where.append("For a free block: private of its first page.")
        if layout.order is not None:
            where.append(f"For a folio: byte {layout.order.offset} from its head.")
        return where

    def _order_raw(self) -> str:
        private, order = self.layout.private, self.layout.order
        if self.pages.block[self.i] >= 0 and private is not None:
            return f"{int(self.pages.own(private)[self._block_head()]):#x}"
        if order is None or not self.pages.folio_order[self.i]:
            return "not a folio of several pages" if order else "not in a free block"
        return f"{self.of_head(order.offset - order.offset % 8):#x}"

    def location(self) -> list[Fact]:
        pages, i = self.pages, self.i
        node = int(pages.node[i])
        word = f"{self.own(self.layout.flags):#x}"
        rule = "Bits of flags, from bit {} on."
        facts = []
        if self.layout.zone_field is not None:
            number = int(pages.zone[i])
            name = pages.memory_map.zone_name(number)
            what = pages.memory_map.explain_zone_number(number)
            shift = self.layout.zone_field.shift
            text = f"{name}: {what}" if what else name
            facts.append(Fact("zone", name, text, word, rule.format(shift)))
        shift = self.layout.node_field.shift
        return [*facts, Fact("node", node, str(node), word, rule.format(shift))]

    def section(self) -> list[Fact]:
        number = self.pfn // SECTION_PFNS
        return [
            Fact("section", number, str(number), "", f"pfn // {SECTION_PFNS}."),
            self.from_kernel(
                "section_flags",
                lambda kernel: kernel.section_flags(number),
                str,
                f"mem_section {number}",
                "The low bits of section_mem_map of its struct mem_section.",
            ),
        ]

    def owner(self) -> list[Fact]:
        layout = self.layout
        facts = []
        if self.type_name == "slab":
            head = self._slab()
            facts.append(
                self.from_kernel(
                    "slab_cache",
                    lambda kernel: kernel.slab_cache(head),
                    str,
                    f"{head:#x}",
                    "The name of the struct kmem_cache that its struct slab points to.",
                )
            )
        else:
            facts += self._mapping()
        if layout.memcg is not None and self.of_head(layout.memcg) and self.type_name != "slab":
            data = self.of_head(layout.memcg)
            facts.append(
                _hex(
                    "memcg_data",
                    data,
                    "The low bits are flags: what kind of structure the word points to.",
                    f"{data:#x}",
                )
            )
            facts.append(
                self.from_kernel(
                    "memcg",
                    lambda kernel: kernel.cgroup_name(data),
                    str,
                    f"{data:#x}",
                    "The cgroup of the struct mem_cgroup or obj_cgroup that memcg_data points to.",
                )
            )
        return facts

    def _slab(self) -> int:
        """Return the address of the struct slab: the head's struct page, or the memdesc pointer."""
        scheme = self.layout.scheme
        if scheme.has_mapcount:
            return self.struct_page(self.head)
        return int(self.pages.word[self.i]) & ~scheme.reduced_from()[0]

    def _mapping(self) -> list[Fact]:
        if self.layout.mapping is None:
            return self._index("index of the page.")
        mapping = int(self.pages.mapping[self.i])
        use = use_name(self.layout, self.use)
        if (self.code < SLOTS and use != "hugetlb") or self.code == Code.MOVABLE_OPS:
            owned = "A word of the head; for this type its meaning is defined by the owner."
            return [_hex("mapping", mapping, owned, f"{mapping:#x}"), *self._index(owned)]
        rule = "mapping of the head; the low two bits are its kind (1 anon, 2 movable_ops, 3 KSM)."
        facts = [_hex("mapping", mapping, rule, f"{mapping:#x}")]
        if use in ("file", "shmem", "hugetlb") and mapping and not mapping & 3:
            facts.append(
                self.from_kernel(
                    "file",
                    lambda kernel: kernel.file_of(mapping),
                    lambda file: ", ".join(f"{k} {v}" for k, v in file.items()),
                    f"{mapping:#x}",
                    "host of the struct address_space: its superblock, inode number and one path.",
                )
            )
        facts += self._index("index of the head: its offset in the file or mapping, in pages.")
        if use in ("file", "shmem") and mapping and not mapping & 3:
            facts += self._file_offset()
        return facts

    def _index(self, rule: str) -> list[Fact]:
        offset = self.layout.index
        if offset is None:
            return []
        index = self.of_head(offset)
        return [_hex("index", index, rule, f"{index:#x}")]

    def _file_offset(self) -> list[Fact]:
        """Return the offset of the page in its file; hugetlb counts its index differently."""
        if self.layout.index is None:
            return []
        index, place = self.of_head(self.layout.index), self.pfn - self.head
        offset = (index + place) << self.layout.page_shift
        raw = f"({index:#x} + {place}) << {self.layout.page_shift}"
        rule = "index of the head, plus the page's place in the folio, in bytes."
        return [Fact("file_offset", offset, f"{offset:#x} ({offset})", raw, rule)]

    def _block_head(self) -> np.int64:
        head: np.int64 = self.pages.buddy_heads[self.pages.block[self.i]]
        return head

    def free_lists(self) -> list[Fact]:
        pages, i = self.pages, self.i
        facts = []
        block = int(pages.block[i])
        if block >= 0:
            start = pages.batch.first + int(self._block_head())
            order = int(pages.buddy_orders[block])
            facts.append(
                Fact(
                    "block",
                    {"start": start, "order": order},
                    f"from {start:#x}, order {order}",
                    "",
                    "The nearest free block that begins at or before the page, if it contains it.",
                )
            )
        if pages.on_pcp_list[i]:
            pcp = pages.memory_map.pcp
            entry = int(np.searchsorted(pcp.pfns, self.pfn, "right")) - 1
            start, order, cpu = (int(c[entry]) for c in (pcp.pfns, pcp.orders, pcp.cpus))
            trylock = cpu == TRYLOCK
            which = "trylock list of its zone" if trylock else f"list of CPU {cpu}"
            facts.append(
                Fact(
                    "pcp",
                    {"cpu": None if trylock else cpu, "start": start, "order": order},
                    f"{which}, from {start:#x}, order {order}",
                    "",
                    "The free lists of every CPU and zone were followed. Since Linux kernel commit "
                    '8c57b687e833 ("mm, bpf: Introduce free_pages_nolock()") (in v6.15), zones '
                    "also have trylock lists.",
                )
            )
        return facts
