# SPDX-License-Identifier: GPL-2.0-only
"""Any struct page among any neighbours: one use, and the rule that a second reading finds too."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from plain_reading import DEAD, KERNEL_HALF, REFUSED_AT_FREE, Kernel, Plain
from synthetic import MODERN, OLD, SCHEMES, SIZE, VMEMMAP, Memory

from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.classify import Pages
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.classify.uses import rule_of
from pageinspect.model.memory_map import MemoryMap, PcpLists, Zone

FLAGS = (
    *MODERN.flag_bits,
    *(
        (name, 24 + i)
        for i, name in enumerate(REFUSED_AT_FREE)
        if MODERN.flag(name) is None and name != "slab"
    ),
)
BITS = {0x80: "buddy", 0x100: "offline", 0x200: "table", 0x400: "guard"}
BYTES = {
    0xF0: "buddy",
    0xF1: "offline",
    0xF2: "table",
    0xF3: "guard",
    0xF4: "hugetlb",
    0xF5: "slab",
    0xF6: "zsmalloc",
    0xF7: "unaccepted",
}
INDEX = ((1 << 32) - 1) << 7
LAYOUTS = {
    "6.1": replace(OLD, flag_bits=FLAGS, page_pool=((1 << 64) - 4, DEAD)),
    "6.12": replace(
        MODERN, flag_bits=FLAGS, scheme=SCHEMES["6.12"], movable_tag=True, resets=False
    ),
    "7.x": replace(MODERN, flag_bits=FLAGS, compound_mask=True, fake_heads=False),
}
KERNELS = {
    "6.1": Kernel(BITS, dict(FLAGS), True, SIZE + 17, 9, SIZE + 16, True, True, False, 0),
    "6.12": Kernel(BYTES, dict(FLAGS), False, SIZE, None, None, True, True, False, INDEX),
    "7.x": Kernel(
        {**BYTES, 0xF8: "large_kmalloc"},
        dict(FLAGS),
        False,
        SIZE,
        None,
        None,
        False,
        False,
        True,
        INDEX,
    ),
}
PAGES = 136
FIRST = 0x1000
TAIL_OF_61 = VMEMMAP + (FIRST + 61) * SIZE + 1
AN_ADDRESS = KERNEL_HALF | 0x8880_1234_5600

places = st.sampled_from([*range(20), *range(60, 70), *range(126, PAGES)])
page_types = st.sampled_from(
    [0, 5, 0x80000000, 0xEFFFFFFF, 0xFF000000, 0xFFFFFF80, 0xFFFFFF7F, 0xFFFFFFFE, 0xFFFFFFFF]
    + [byte << 24 for byte in range(0xF0, 0xFF)]
    + [0xF6000040, 0xF2000001, 0xF0000010]
    + [0xFFFFFFFF & ~bit for bit in (0x80, 0x100, 0x180, 0x200, 0x400, 0x800, 0x4000, 0x8000)]
)
refcounts = st.sampled_from([0, 0, 1, 1, 2, 0xFFFFFFFF, 0x80000000])
mappings = st.sampled_from(
    [0, 1, 2, 3, 0xDEAD000000000400, *(AN_ADDRESS | low for low in range(4)), 0x7FFF00000001]
)
infos = st.one_of(
    st.sampled_from(
        [0, 1, 3, DEAD, DEAD | 1 << 9, DEAD | 3, 0xDEAD000000000100, AN_ADDRESS, VMEMMAP + 1]
        + [(~((SIZE << order) - 1) & (1 << 64) - 1) | 1 for order in (1, 2, 9, 19)]
    ),
    st.builds(
        lambda i, low: VMEMMAP + (FIRST + i) * SIZE + low,
        st.integers(-3, PAGES),
        st.sampled_from([0, 1, 9]),
    ),
)
flag_words = st.one_of(
    st.sampled_from([0, 0, 1 << 9, 1 << 51, 4 << 51, 1 << 54, 9, 2]),
    st.sampled_from([bit for _, bit in FLAGS]).map(lambda bit: 1 << bit),
    st.sets(st.sampled_from([bit for _, bit in FLAGS]), max_size=3).map(
        lambda bits: sum(1 << bit for bit in bits)
    ),
)
anything = st.integers(0, (1 << 64) - 1)
orders = st.integers(0, 6)


@dataclass
class Case:
    """Memory under construction, of one kernel."""

    kernel: str
    steps: list[tuple[object, ...]]
    lists: list[tuple[int, int]]
    unreadable: set[int]
    zones: bool
    changing: bool = False

    @property
    def spans(self) -> list[tuple[int, int, int, int]]:
        middle = FIRST + 64
        ends = [
            (0, 0, FIRST, middle),
            (0, 1, middle, FIRST + 100),
            (1, 1, FIRST + 100, FIRST + PAGES),
        ]
        return ends if self.zones else []

    def build(self) -> Memory:
        memory = Memory(PAGES, LAYOUTS[self.kernel], FIRST)
        for name, i, *rest in self.steps:
            STEPS[name](memory, i, *rest)
        for i in self.unreadable:
            memory.words[i] = 0
        return memory

    def columns(self, memory: Memory) -> Pages:
        if self.unreadable:
            memory.readable = np.array([i not in self.unreadable for i in range(PAGES)])
        pfns, sizes = zip(*self.lists, strict=True) if self.lists else ((), ())
        memory.pcp = PcpLists(
            np.array(pfns, np.int64), np.array(sizes, np.uint8), np.zeros(len(pfns), np.uint16)
        )
        pages = memory.pages()
        zones = tuple(Zone(node, "Z", start, end, n) for node, n, start, end in self.spans)
        pages.memory_map = MemoryMap(
            pages.memory_map.spanned, zones, pcp=memory.pcp, changing=self.changing
        )
        return pages

    def plain(self, memory: Memory) -> Plain:
        return Plain(
            KERNELS[self.kernel],
            memory.words.tolist(),
            FIRST,
            self.unreadable,
            self.lists,
            self.spans,
            self.changing,
        )


def _block(memory: Memory, i: int, order: int) -> None:
    buddy = 0xFFFFFF7F if memory.layout.scheme.name == "bits-5.11" else 0xF0000000
    memory.free_block(i, order, buddy)


def _compound(memory: Memory, i: int, order: int) -> None:
    if i + 1 < PAGES:
        memory.compound(i, order + 1, mask=memory.layout.compound_mask)


def _mirrored(memory: Memory, i: int, order: int) -> None:
    """Make a huge page whose later struct pages are its first ones, as HVO leaves them."""
    del i, order
    memory.compound(0, 7)
    memory.words[64:128] = memory.words[:64]


STEPS = {
    "block": _block,
    "compound": _compound,
    "mirrored": _mirrored,
    "word": lambda m, i, word, refcount: m.word(i, word, refcount),
    "mapping": lambda m, i, value: m.set(i, 24, value),
    "info": lambda m, i, value: m.set(i, 8, value),
    "flags": lambda m, i, value: m.set(i, 0, int(m.words[i, 0]) | value),
    "private": lambda m, i, value: m.set(i, 40, value),
    "memcg": lambda m, i, value: m.set(i, 56, value),
    "row": lambda m, i, row: m.words.__setitem__(i, row),
}
steps = st.one_of(
    st.tuples(st.just("block"), places, orders),
    st.tuples(st.just("compound"), places, orders),
    st.tuples(st.just("mirrored"), places, orders),
    st.tuples(st.just("word"), places, page_types, refcounts),
    st.tuples(st.just("mapping"), places, mappings),
    st.tuples(st.just("info"), places, infos),
    st.tuples(st.just("flags"), places, flag_words),
    st.tuples(st.just("private"), places, st.sampled_from([0, 3, 10, 11, 1 << 40])),
    st.tuples(st.just("memcg"), places, st.sampled_from([0, 1, AN_ADDRESS | 2])),
    st.tuples(st.just("row"), places, st.lists(anything, min_size=8, max_size=8)),
)
block_lists = st.lists(
    st.tuples(st.integers(0, PAGES // 8 - 1).map(lambda i: FIRST + 8 * i), st.integers(0, 3)),
    max_size=4,
    unique_by=lambda entry: entry[0],
).map(sorted)
cases = st.builds(
    Case,
    st.sampled_from(list(LAYOUTS)),
    st.lists(steps, max_size=25),
    block_lists,
    st.one_of(st.just(set()), st.sets(places, max_size=3)),
    st.booleans(),
    st.booleans(),
)


def made(kernel: str, *steps: tuple[object, ...]) -> Case:
    return Case(kernel, list(steps), [], set(), False)


@given(cases)
# A block inside the first, after another inside it; a signature behind the start of a block; a tail
# with PG_head where HVO's copies of heads lie.
@example(made("7.x", ("block", 0, 4), ("block", 4, 0), ("block", 8, 2)))
@example(made("6.12", ("block", 0, 4), ("info", 5, DEAD)))
@example(made("7.x", ("word", 0, 0xFFFFFFFF, 1), ("flags", 0, 1 << 10 | 1 << 17)))
@example(made("6.12", ("compound", 62, 1), ("flags", 64, 1 << 6), ("info", 65, TAIL_OF_61)))
def test_a_second_reading_of_the_table_finds_the_same_rule(case: Case) -> None:
    memory = case.build()
    pages, plain = case.columns(memory), case.plain(memory)
    assert [rule_of(use).use for use in pages.use.tolist()] == [plain.use(i) for i in range(PAGES)]
    broken: dict[int, set[str]] = {i: set() for i in range(PAGES)}
    for rule in CONTRADICTIONS:
        for i in rule.broken(pages).tolist():
            broken[i].add(rule.name)
    readable = [i for i in range(PAGES) if i not in case.unreadable]
    assert {i: broken[i] for i in readable} == {i: plain.contradictions(i) for i in readable}
    # page names it, and every rule that the page breaks.
    for i in {step[1] for step in case.steps}:
        page = describe_page(pages, i, None)
        use, why = page.get("use"), page.get("why")
        assert use is not None
        assert page.readable == (i not in case.unreadable)
        if page.readable:
            assert use.raw == f"rule {plain.use(i)}"
        breaks = page.get("breaks")
        if page.readable:
            assert set(breaks.value if breaks else ()) == broken[i]
        if why is not None and use.value == "conflict":
            assert {name for name in broken[i] if f"{name}: " in why.text} == plain.contradictions(
                i
            )
