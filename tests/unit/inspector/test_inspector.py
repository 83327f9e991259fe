# SPDX-License-Identifier: GPL-2.0-only
"""An Inspector answers what the commands answer, and lets go of what it holds."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from counted import COUNTERS
from damaged_memory import ISLANDS, Reads, damaged
from synthetic import MODERN

import pageinspect
from pageinspect.cli import options
from pageinspect.cli.commands import check
from pageinspect.cli.parser import build_parser
from pageinspect.inspector import check as check_module
from pageinspect.inspector import fold, opening, source
from pageinspect.inspector import inspector as inspector_module
from pageinspect.inspector import summary as summary_module
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.results import Result
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import GuestState, Provenance
from pageinspect.target.open import Target

CORE = Provenance("7.0", "core", "btf")
SOME = [ISLANDS[0] + 5, (ISLANDS[1], ISLANDS[1] + 0x1000)]
SOME_TEXTS = ["--pfn", f"{ISLANDS[0] + 5}", "--pfn", f"{ISLANDS[1]}+{0x1000}"]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Inspector:
    """Damaged memory, for the commands too."""
    prog, memory_map = damaged(0)
    target = Target(prog, CORE, {})  # type: ignore[arg-type]
    inspector = Inspector(target, MODERN, memory_map)
    for module in (check, options):
        monkeypatch.setattr(module, "open_target", lambda _args: target)
    for part in (check_module, summary_module):
        monkeypatch.setattr(part, "read_counters", lambda _prog: COUNTERS)
    for opening_module in (inspector_module, source):
        monkeypatch.setattr(opening_module, "inspect", lambda _: inspector)
    return inspector


@pytest.mark.parametrize(
    ("ask", "command"),
    [
        (lambda k: k.summary(), ["summary"]),
        (lambda k: k.summary("use"), ["summary", "--by", "use"]),
        (
            lambda k: k.summary(["zone", "use"], use="buddy,kernel", pfn=SOME),
            ["summary", "--by", "zone,use", "--use", "buddy,kernel", *SOME_TEXTS],
        ),
        (lambda k: k.check(), ["check"]),
        (lambda k: k.check(pfn=SOME), ["check", *SOME_TEXTS]),
        (lambda k: k.list(type=("buddy", "slab")), ["list", "--type", "buddy,slab"]),
        (
            lambda k: k.list(each=True, pfn=SOME, freeing=False),
            ["list", "--each", *SOME_TEXTS],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_answer_is_that_of_the_command(
    kernel: Inspector, ask: Callable[[Inspector], Result], command: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "report"
    options = ["--format", "json", "-o", str(path), "-j1"]
    args: Any = build_parser().parse_args([*command, *options])
    args.run(args)
    answer = ask(kernel)
    assert json.dumps(answer.to_dict()) == json.dumps(json.loads(path.read_text()))
    args = build_parser().parse_args([*command, "-o", str(path), "-j1"])
    args.run(args)
    assert str(answer) == path.read_text().rstrip("\n")


def test_counters_are_left_alone_when_nobody_asks(
    kernel: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MemoryMap(((ISLANDS[0], ISLANDS[0] + 0x1000),), kernel.memory_map.zones)
    monkeypatch.setattr(summary_module, "marking_of", lambda _target: None)
    sound = replace(kernel, memory_map=whole)
    assert sound.summary().counters
    monkeypatch.delattr(summary_module, "read_counters")
    assert not sound.summary(counters=False).counters


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda k: k.summary("colour"), "pages cannot be counted by 'colour'"),
        (lambda k: k.summary(()), "no dimension to count by"),
        (lambda k: k.summary(("use", "use")), "the same dimension was given twice"),
        (lambda k: k.summary(type="slap"), "no page type 'slap'"),
        (lambda k: k.list(use="anom"), "no use 'anom'"),
        (lambda k: k.check(pfn="12-"), "not a pfn range"),
    ],
)
def test_what_is_wrong_is_an_error_with_a_hint(
    kernel: Inspector, ask: Callable[[Inspector], Result], message: str
) -> None:
    with pytest.raises(pageinspect.UsageError, match=message) as raised:
        ask(kernel)
    assert raised.value.__notes__ == [f"hint: {raised.value.hint}"]


WRONG: list[Callable[[Inspector], object]] = [
    lambda k: k.page(),
    lambda k: k.page(1.5),
    lambda k: k.page(None),
    lambda k: k.page([1, 2]),
    lambda k: k.runs(detail="zz"),
    lambda k: k.runs(detail=["use"]),
    lambda k: k.runs("zone:DMA"),
    lambda k: k.pages("zone:DMA"),
    lambda k: k.pages(5),
    lambda k: k.pages([5]),
    lambda k: k.pages((5, 8)),
    lambda k: k.pages([(1.5, 8)]),
    lambda k: k.pages([(5, 8, 9)]),
    lambda k: k.pages([(8, 5)]),
    lambda k: k.pages([(-8, 5)]),
    lambda k: k.ranges(5),
    lambda k: k.ranges(None),
    lambda k: k.list(pfn=1.5),
    lambda k: k.list(pfn=None),
    lambda k: k.list(pfn=[(1, 2, 3)]),
    lambda k: k.list(pfn=[b"5"]),
    lambda k: k.list(type=5),
    lambda k: k.list(use=[5]),
    lambda k: k.summary(None),
    lambda k: k.summary(("use", "use")),
    lambda k: next(k.pages()).own(999),
    lambda k: next(k.pages()).own(-8),
    lambda k: next(k.pages()).own(4),
    lambda k: next(k.pages()).own(64),
    lambda k: next(k.pages()).own("flags"),
    lambda k: next(k.pages()).of_head(128),
    lambda _: pageinspect.from_program(3),
    lambda _: pageinspect.open_core(b"core"),
    lambda _: pageinspect.open_core(None),
    lambda _: pageinspect.open_core("a\0b"),
    lambda _: pageinspect.open_core("core", symbols_from="dwarf"),
    lambda _: pageinspect.open_core("core", symbols=b"vmlinux"),
    lambda _: pageinspect.open_live(btf=5),
    lambda _: pageinspect.open_guest("a\0b"),
]  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_usage_errors(
    kernel: Inspector, ask: Callable[[Inspector], object]
) -> None:
    with pytest.raises(pageinspect.UsageError) as raised:
        ask(kernel)
    message, hint = raised.value.message, raised.value.hint
    assert message
    assert hint
    assert "--" not in message
    assert "\n" not in message + hint


def test_wanted_ranges_are_sorted_and_joined(kernel: Inspector) -> None:
    first = ISLANDS[0]
    ranges = [(first + 100, first + 40000), (first + 5, first + 8), (first + 90, first + 120)]
    found = [pfn for pages in kernel.pages(ranges) for pfn in pages.pfns.tolist()]
    spanned = {pfn for start, end in kernel.memory_map.spanned for pfn in range(start, end)}
    asked = {pfn for start, end in ranges for pfn in range(start, end)}
    assert found == sorted(spanned & asked)
    assert sum(pages.lengths.sum() for pages in kernel.runs(ranges)) == len(found)


def test_a_listing_is_read_when_it_is_shown_and_once_alone(
    kernel: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "SECTIONS_READ", 1)
    reads = 0
    read = Reads.read

    def counted(prog: Reads, address: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(prog, address, size)

    monkeypatch.setattr(Reads, "read", counted)
    listing = kernel.list()
    assert reads == 0
    assert repr(listing).endswith("print() shows all.")
    first = reads
    assert first
    whole = str(listing)
    every = reads
    assert every > first
    assert str(listing) == whole
    document = listing.to_dict()
    assert sum(run["pages"] for run in document["runs"]) == kernel.memory_map.spanned_pages
    assert document["coverage"]["unreadable"] == listing.coverage.unreadable == 64
    assert reads == every


def test_a_listing_yields_typed_rows_while_it_is_read_and_again(
    kernel: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "SECTIONS_READ", 1)
    reads = 0
    read = Reads.read

    def counted(prog: Reads, address: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(prog, address, size)

    monkeypatch.setattr(Reads, "read", counted)
    listing = kernel.list()
    rows = iter(listing)
    first = next(rows)
    some = reads
    whole = [first, *rows]
    assert some < reads
    assert sum(run.pages for run in whole) == kernel.memory_map.spanned_pages
    assert all(run.bytes == 4096 * (run.end - run.start) == 4096 * run.pages for run in whole)
    # Iterating does not change what a rendering counts.
    shown = str(listing)
    remarks = listing._remarks
    monkeypatch.setattr(listing, "_remarks", lambda: (*listing, *remarks())[len(whole) :])
    assert str(listing) == shown
    assert list(listing) == whole


@pytest.mark.parametrize("each", [False, True])
def test_an_empty_listing_is_three_lines(kernel: Inspector, each: bool) -> None:
    pfn = kernel.memory_map.spanned[0][0]
    lines = str(kernel.list(pfn=pfn, use="zone_device", each=each)).split("\n")
    assert lines[1:] == ["", "No page matches."]


def test_rows_of_listings_are_those_of_their_tables(kernel: Inspector) -> None:
    for listing in (kernel.list(pfn=SOME), kernel.list(pfn=SOME, each=True)):
        (table,) = listing.tables()
        records = list(table.records())
        rows: list[Any] = list(listing)
        assert [{**row._asdict()} for row in rows] == [
            {key: tuple(cell) if key == "flags" else cell for key, cell in record.items()}
            for record in records
        ]
    assert {row.order for row in rows} > {None}


def test_coverage_of_a_listing_is_of_all_of_it(kernel: Inspector) -> None:
    assert kernel.list().coverage.unreadable == 64
    assert kernel.list(each=True, pfn=SOME).coverage.unreadable == 64


def test_a_walk_that_failed_is_no_short_listing(
    kernel: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "SECTIONS_READ", 1)
    listing = kernel.list()
    repr(listing)

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Reads, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            str(listing)
    with pytest.raises(pageinspect.PageInspectError, match="ended with an error"):
        str(listing)


def test_a_running_kernel_is_asked_for_its_memory_map_each_time(
    kernel: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Target] = []

    def inspect(target: Target) -> Inspector:
        taken.append(target)
        return replace(kernel, target=target)

    monkeypatch.setattr(inspector_module, "inspect", inspect)
    kernel.summary()
    kernel.check()
    assert not taken
    running = replace(
        kernel, target=replace(kernel.target, provenance=replace(CORE, source="live"))
    )
    running.summary(counters=False)
    running.list()
    assert len(taken) == 2
    running.check(pfn=SOME)
    assert 3 <= len(taken) <= 4
    assert list(running.ranges()) == list(kernel.ranges())
    assert len(taken) <= 4
    assert running.refreshed().session is running.session


class PreparedCore(AbstractContextManager[Target]):
    """A guest that is held while it is looked at."""

    def __init__(self, target: Target) -> None:
        self.target, self.held, self.errors = target, False, []  # type: ignore[var-annotated]

    def __enter__(self) -> Target:
        self.held = True
        return self.target

    def __exit__(self, *error: object) -> None:
        self.held = False
        self.errors.append(error[0])


@pytest.fixture
def guest(kernel: Inspector, monkeypatch: pytest.MonkeyPatch) -> PreparedCore:
    provenance = Provenance("7.0", "qemu", "btf", guest=GuestState(paused=True, denied=""))
    opened = PreparedCore(replace(kernel.target, provenance=provenance))
    monkeypatch.setattr(opening.qemu, "open_guest", lambda *_args, **_options: opened)
    monkeypatch.setattr(opening, "inspect", lambda target: replace(kernel, target=target))
    return opened


def test_a_guest_is_let_go_with_its_inspector(guest: PreparedCore) -> None:
    with pageinspect.open_guest("/run/qmp", pause=True) as inspector:
        assert guest.held
        listing = inspector.list()
    assert not guest.held
    for ask in (
        inspector.summary,
        inspector.check,
        inspector.list,
        inspector.refreshed,
        lambda: inspector.page(0x1000),
        lambda: next(inspector.pages()),
        lambda: next(inspector.runs()),
        lambda: str(listing),
    ):
        with pytest.raises(pageinspect.PageInspectError, match="is closed"):
            ask()
    inspector.close()
    assert guest.errors == [None]


def test_a_guest_is_let_go_after_an_error(
    guest: PreparedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ZeroDivisionError), pageinspect.open_guest("/run/qmp"):
        raise ZeroDivisionError
    assert guest.errors == [ZeroDivisionError]

    def fails(_target: Target) -> Inspector:
        raise pageinspect.PageInspectError("no", "none")

    monkeypatch.setattr(opening, "inspect", fails)
    with pytest.raises(pageinspect.PageInspectError):
        pageinspect.open_guest("/run/qmp")
    assert guest.errors[1:] == [pageinspect.PageInspectError]


def test_an_inspector_says_what_it_looks_at(kernel: Inspector) -> None:
    assert repr(kernel) == "<Inspector: Linux 7.0, a core, types from BTF>"
