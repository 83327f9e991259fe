# SPDX-License-Identifier: GPL-2.0-only
"""What rules declare to read: nothing else can be read, and runs follow from it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sections import FIRST, N, by_section, columns, memory_map_of, said, sound, wounds
from synthetic import HEAD, MODERN, OLD, SIZE, Memory

from pageinspect.classify import Pages, uses
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.classify.details import DETAILS, Detail
from pageinspect.classify.reads import (
    Bits,
    Declared,
    DeclaredColumn,
    Declaring,
    Places,
    UndeclaredError,
    reads_of,
)
from pageinspect.classify.runs import in_runs
from pageinspect.classify.selected import SelectedPages
from pageinspect.classify.uses import RULES, Rule
from pageinspect.classify.words import FLAGS, bits, flag_bit, flag_bits, int32, whole
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.batch import PageBatch
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap, PcpLists, Zone

LAYOUTS = {
    "modern": MODERN,
    "old": OLD,
    "masks": replace(MODERN, compound_mask=True, fake_heads=False),
}
COLUMNS = [
    each
    for kind in Pages.__mro__
    for each in vars(kind).values()
    if isinstance(each, DeclaredColumn)
]
DECLARED = tuple(dict.fromkeys((*COLUMNS, *(each for kept in DETAILS.values() for each in kept))))


def unread() -> int:
    """Return the offset of a word of struct page that nothing declares in any layout."""
    read = {
        part.offset % SIZE
        for layout in LAYOUTS.values()
        for read in reads_of(
            (*DECLARED, *(r for what in (*RULES, *CONTRADICTIONS) for r in what.reads))
        )
        for part in Places(layout)[read]
    }
    return max({*range(0, SIZE, 8)} - read)


UNREAD = unread()
OF_HEAD = bits("unread", "", lambda _layout: Bits(UNREAD), "folio")
OWN = bits("unread", "", lambda _layout: Bits(UNREAD))


def fifth(pages: Any) -> Any:
    return pages.read(OF_HEAD) == 5


def rule(reads: tuple[Declared, ...]) -> Rule:
    return Rule("fifth", "It is the fifth of its file.", "", fifth, reads)


def add(monkeypatch: pytest.MonkeyPatch, added: Rule) -> None:
    monkeypatch.setattr(uses, "RULES", (RULES[0], added, *RULES[1:]))
    monkeypatch.setattr(uses, "USE", {**uses.USE, added.use: 4000})


def by_pages(memory: Memory, memory_map: MemoryMap, **asked: bool) -> dict[str, np.ndarray]:
    whole = PageBatch(memory.first, memory.words, None, None)
    parts = [said(columns(memory, memory_map, part), **asked) for part in by_section(whole)]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def by_runs(
    memory: Memory, memory_map: MemoryMap, detail: Detail, **asked: bool
) -> dict[str, np.ndarray]:
    whole = PageBatch(memory.first, memory.words, None, None)
    found = in_runs(memory.layout, memory_map, by_section(whole), detail)
    parts = [said(columns(memory, memory_map, part), **asked) for part in found]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


# --- a rule on a word that nothing else reads


def files() -> tuple[Memory, MemoryMap]:
    """Make pages of a file, one of which is the fifth of it, and a large folio that begins so."""
    memory = Memory(64, MODERN, FIRST)
    for i in range(32):
        memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.mapping, 0xFFFF888000000040)
    memory.set(9, UNREAD, 5).set(20, UNREAD, 6)
    memory.compound(32, 3).set(32, UNREAD, 5).set(34, UNREAD, 7)
    return memory, MemoryMap(((FIRST, FIRST + 64),), ())


@pytest.mark.parametrize("detail", ["use", "all"])
def test_a_rule_that_reads_one_more_word_holds_of_runs_as_of_pages(
    detail: Detail, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, memory_map = files()
    before = by_runs(memory, memory_map, detail, rules=False, uses=True)["use"]
    assert (before[:32] == before[9]).all()
    add(monkeypatch, rule((OF_HEAD,)))
    pages = by_pages(memory, memory_map, rules=False, uses=True)["use"]
    assert np.flatnonzero(pages == 4000).tolist() == [9, *range(32, 40)]
    assert (by_runs(memory, memory_map, detail, rules=False, uses=True)["use"] == pages).all()


def test_a_rule_gets_nothing_that_it_does_not_declare(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, memory_map = files()
    add(monkeypatch, rule(()))
    with pytest.raises(UndeclaredError, match=r"the rule fifth reads unread of the head, which it"):
        by_pages(memory, memory_map, rules=False, uses=True)
    pages = memory.pages()
    for read in (
        lambda pages: pages.own(UNREAD),
        lambda pages: pages.of_head(UNREAD),
        lambda pages: pages.index,
        lambda pages: pages.code,
        lambda pages: pages.read(OWN),
        lambda pages: pages.flag("lru"),
    ):
        undeclared = Rule("x", "", "", read, (OF_HEAD, FLAGS))
        with pytest.raises((UndeclaredError, AttributeError)):
            undeclared.holds(pages)
    # What was computed before is not given either.
    assert pages.code is not None
    with pytest.raises(UndeclaredError):
        Rule("x", "", "", lambda pages: pages.code, ()).holds(pages)


def test_a_run_gives_only_what_all_its_pages_agree_in() -> None:
    memory, memory_map = files()
    whole = PageBatch(FIRST, memory.words, None, None)
    for detail, refused in (
        ("type", ("use", "mapping", "flags", "head_flags")),
        ("use", ("mapping", "flags", "head_flags")),
        ("all", ()),
    ):
        (batch,) = in_runs(MODERN, memory_map, [whole], detail)
        pages = SelectedPages(columns(memory, memory_map, batch))
        for name in vars(SelectedPages):
            if not isinstance(vars(SelectedPages)[name], property) or name == "readable":
                continue
            if name in refused:
                with pytest.raises(UndeclaredError, match=f"runs of the detail '{detail}'"):
                    getattr(pages, name)
            else:
                assert len(getattr(pages, name)) == len(pages)
        with pytest.raises(UndeclaredError, match=f"the word {UNREAD} bytes into struct page"):
            pages.own(UNREAD)
        if detail == "all":
            assert len(pages.own(MODERN.mapping)) == len(pages)
            assert pages.flag("owner_priv_1").sum() == 0


def test_the_same_declaration_is_the_same_read() -> None:
    assert whole("index", "folio") is whole("index", of="folio")
    assert whole("index") is whole("index", "page")
    assert whole("index") is not whole("index", "folio")
    assert int32("refcount") is int32("refcount")
    assert flag_bit("lru") is flag_bit("lru", "page")
    assert flag_bits("x", ("lru", "head")) is flag_bits("x", ("lru", "head"))


# --- what is declared is what is read


class Recorder:
    """A batch that notes which words of struct page are asked for."""

    def __init__(self, batch: PageBatch) -> None:
        self._batch = batch
        self.offsets: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        assert name != "words"
        return getattr(self._batch, name)

    def __len__(self) -> int:
        return len(self._batch)

    def word(self, offset: int) -> np.ndarray:
        self.offsets.add(offset - offset % 8)
        return self._batch.word(offset)


def memories() -> Iterator[tuple[Memory, MemoryMap]]:
    for layout in LAYOUTS.values():
        for seed in range(4):
            rng = np.random.default_rng(seed)
            memory = Memory(N, layout, FIRST)
            sound(memory, rng)
            wounds(memory, rng)
            memory.readable = np.ones(N, np.bool_)
            memory.readable[1000:1064] = False
            memory.words[1000:1064] = 0
            yield memory, memory_map_of(rng)


def recorded(memory: Memory, memory_map: MemoryMap) -> tuple[Pages, Recorder]:
    pages = columns(
        memory, memory_map, PageBatch(memory.first, memory.words, memory.readable, None)
    )
    recorder = Recorder(pages.batch)  # type: ignore[arg-type]
    pages.batch = recorder  # type: ignore[assignment]
    return pages, recorder


def undeclared(what: Declaring, memory: Memory, memory_map: MemoryMap) -> set[int]:
    """Return which words it reads, by whatever way, and does not declare."""
    pages, recorder = recorded(memory, memory_map)
    what.computed(pages)
    places = Places(memory.layout)
    parts = [part for read in reads_of(what.reads) for part in places[read]]
    declared = {part.offset for part in parts}
    if any(part.offset >= SIZE for part in parts):
        # Of heads alone.
        declared.add(memory.layout.flags)
    return recorder.offsets - declared


def test_every_rule_and_column_declares_the_words_that_it_reads() -> None:
    behind = Rule("x", "", "", lambda pages: pages.batch.word(UNREAD) == 5, ())
    for memory, memory_map in memories():
        for what in (*RULES, *CONTRADICTIONS, *COLUMNS):
            assert undeclared(what, memory, memory_map) == set(), str(what)
        assert undeclared(behind, memory, memory_map) == {UNREAD}


def test_every_rule_and_column_reads_what_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[tuple[Any, Any]] = set()
    check = Declaring.check

    def noted(self: Declaring, read: Declared) -> None:
        asked.add((self, read))
        check(self, read)

    monkeypatch.setattr(Declaring, "check", noted)
    own = [each for each in COLUMNS if type(each) is DeclaredColumn]
    seen: list[Declaring] = [*RULES, *CONTRADICTIONS, *own]
    for memory, memory_map in memories():
        pages, _ = recorded(memory, memory_map)
        for what in seen:
            what.computed(pages)
    # These follow from what head_pfns() found.
    given = {Pages.heads, Pages.tails, Pages.tail, Pages.folio_read}
    for what in seen:
        for read in () if what in given else what.reads:
            assert (what, read) in asked, (str(what), str(read))
            # A column of rules reads what these do.
            if type(read) is DeclaredColumn and read not in seen:
                seen.append(read)


# --- any bit of any word


pages_of = st.integers(0, 159)
words = st.one_of(
    st.sampled_from([0, 1, 2, 3, 5, 9, HEAD, 0xFFFFFFFF, 0xF5000000, 0xDEAD000000000040]),
    st.sampled_from([0xFFFF888000001000 | low for low in range(4)]),
    st.integers(0, 63).map(lambda bit: 1 << bit),
    st.integers(0, (1 << 64) - 1),
)
steps = st.one_of(
    st.tuples(st.just("block"), pages_of, st.integers(0, 6)),
    st.tuples(st.just("compound"), pages_of, st.integers(1, 6)),
    st.tuples(st.just("alike"), pages_of, st.integers(1, 60), st.integers(0, 7), words),
    st.tuples(st.just("set"), pages_of, st.integers(0, 7), words),
    st.tuples(st.just("flip"), pages_of, st.integers(0, 7), words),
)


def made(layout: PageLayout, first: int, todo: Iterable[tuple[Any, ...]]) -> Memory:
    memory = Memory(160, layout, first)
    for name, i, *rest in todo:
        if name == "block":
            memory.free_block(i, rest[0], 0xF0000000 if layout.scheme.one_of else 0xFFFFFF7F)
        elif name == "compound" and i < 159:
            memory.compound(i, rest[0], mask=layout.compound_mask)
        elif name == "alike":
            memory.set(slice(i, i + rest[0]), 8 * rest[1], rest[2])
        elif name == "set":
            memory.set(i, 8 * rest[0], rest[1])
        elif name == "flip":
            memory.words[i, rest[0]] ^= np.uint64(rest[1])
    return memory


@given(
    st.sampled_from(sorted(LAYOUTS)),
    # The end of a memory section divides some.
    st.sampled_from([0x1000, 8 * SECTION_PFNS - 70]),
    st.lists(steps, max_size=12),
    st.sets(pages_of, max_size=4),
    st.booleans(),
)
@example(
    "modern",
    0x1000,
    [
        ("alike", 0, 60, 6, 1 << 32),
        ("alike", 0, 60, 3, 0xFFFF888000001000),
        ("set", 7, UNREAD // 8, 5),
    ],
    set(),
    False,
)
def test_any_word_of_any_page(
    name: str, first: int, todo: list[tuple[Any, ...]], listed: set[int], changing: bool
) -> None:
    memory = made(LAYOUTS[name], first, todo)
    zones = (Zone(0, "A", first, first + 90, 0), Zone(0, "B", first + 90, first + 160, 1))
    starts = np.array(sorted(listed), np.int64) + first
    lists = PcpLists(starts, np.arange(len(starts)).astype(np.uint8), np.zeros(len(starts), "u2"))
    memory_map = MemoryMap(((first, first + 160),), zones, pcp=lists, changing=changing)
    with pytest.MonkeyPatch.context() as patch:
        add(patch, rule((OF_HEAD,)))
        for detail in DETAILS:
            asked = {"rules": detail == "all", "uses": detail != "type"}
            pages = by_pages(memory, memory_map, **asked)
            runs = by_runs(memory, memory_map, detail, **asked)
            for key, expected in pages.items():
                differ = np.flatnonzero(runs[key] != expected)
                assert not len(differ), (detail, key, differ.tolist()[:5])
