# SPDX-License-Identifier: GPL-2.0-only
"""What processes use, and which of them map a page, in a kernel made by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mapped_pages import (
    ANON,
    CORE,
    FILE,
    FOLIO,
    HUGE_ANON,
    LAYOUT,
    PAGES,
    SHMEM,
    UNMAPPED,
    ZERO,
    MappedPages,
)
from page_table_builder import PRESENT

from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector import address_spaces, fold, inspector, processes
from pageinspect.inspector.describe import describe_addresses
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.processes import list_processes
from pageinspect.model.provenance import Provenance
from pageinspect.report.processes import ProcessesReport

LIVE = Provenance("7.0", "live", "btf")
PAGE, HUGE = 4096, 2 << 20


def listed(made: MappedPages, sort: str = "pid", top: int | None = None) -> ProcessesReport:
    return list_processes(made.inspector, sort, top, fold=fold.fold_here)


def rows(report: ProcessesReport) -> dict[int, dict[str, Any]]:
    return {row["pid"]: row for row in report.to_json()["rows"]}


def numbers(row: dict[str, Any], *names: str) -> list[int]:
    return [row[name] for name in names]


def test_what_each_process_uses() -> None:
    report = listed(MappedPages())
    assert report.coverage.complete
    assert report.coverage.spanned == PAGES
    assert report.without_memory == 1
    found = rows(report)
    assert list(found) == [10, 20, 21]
    names = ("rss", "pss", "uss", "anon", "file", "shmem", "swap", "huge", "hugetlb")
    # Its file pages: one shared with 20 and 21, which count once, and one that it maps twice.
    pages = [5, 3.5, 2, 1, 3, 1, 1, 0, 0]
    huge = [1, 1, 1, 1, 0, 0, 0, 1, 0]
    assert numbers(found[10], *names) == [
        int(n * PAGE) + h * HUGE for n, h in zip(pages, huge, strict=True)
    ]
    # PTE tables at three places, below PMD tables at two more and PUD tables at two.
    assert found[10]["tables"] == (2 + 2 + 1 + 2) * PAGE
    for pid in (20, 21):
        assert numbers(found[pid], *names) == [PAGE, PAGE // 2, 0, 0, PAGE, 0, 0, 0, 0]
        assert found[pid]["tables"] == 3 * PAGE
    assert found[20]["mm"] == found[21]["mm"] != found[10]["mm"]
    assert found[10]["complete"] is True
    total = report.to_json()["total"]
    assert (total["rss"], total["pss"]) == (6 * PAGE + HUGE, 4 * PAGE + HUGE)
    assert found[10]["counters"] == {
        **dict.fromkeys(("file", "anon", "shmem", "swap"), 0),
        "tables": 0x5000,
        "hugetlb": 512 * PAGE,
    }


def test_a_table_that_cannot_be_read() -> None:
    made = MappedPages()
    way = made.tables.put(made.first, 0x1000, ANON << 12 | PRESENT)
    made.tables.lost = {way[-1]}
    report = listed(made)
    assert not report.coverage.complete
    tables, shares = report.coverage.missing
    assert tables == "Some page tables could not be read, of pid 10 (first)."
    assert shares.endswith("pss and uss of others may be too large.")
    found = rows(report)
    assert (found[10]["complete"], found[20]["complete"]) == (False, True)
    assert found[10]["rss"] == PAGE + HUGE
    made.tables.lost = {made.first, made.second}
    report = listed(made)
    assert [row["rss"] for row in report.to_json()["rows"]] == [0, 0, 0]
    assert report.coverage.missing[0] == (
        "Some page tables could not be read, of pid 10 (first), 20 (second), 21 (vfork)."
    )


def test_an_invalid_pointer_to_page_tables() -> None:
    made = MappedPages()
    made.kernel.tasks(made.kernel.task(7, mm=made.kernel.mm(-5, [0] * 4, [[0] * 4] * 2)))
    (row,) = listed(made).to_json()["rows"]
    assert (row["rss"], row["tables"], row["complete"]) == (None, None, False)
    assert listed(made, "rss").total["rss"] == 0


def test_tasks_that_cannot_be_read() -> None:
    made = MappedPages()
    made.kernel.lost = {made.kernel.variables["init_task"][1]}
    report = listed(made)
    assert report.to_json()["rows"] == []
    (sentence,) = report.coverage.missing
    assert sentence == (
        "1 list of tasks could not be followed to the end: processes may be missing."
    )
    made = MappedPages()
    del made.kernel.variables["init_task"]
    (sentence,) = listed(made).coverage.missing
    assert sentence.startswith("Processes could not be read: list of tasks: ")


def test_a_cgroup_that_cannot_be_read() -> None:
    made = MappedPages()
    kernel = made.kernel
    cgroups = kernel.css_set(kernel.cgroup("a"), 0), kernel.css_set(kernel.cgroup("b"), 0)
    mm = kernel.mm(made.second, [0] * 4, [[0] * 4] * 2)
    kernel.tasks(
        *(kernel.task(7 + i, mm=mm, cgroups=address) for i, address in enumerate(cgroups)),
        kernel.task(9, cgroups=cgroups[1]),
    )
    assert [row["cgroup"] for row in listed(made).to_json()["rows"]] == ["/a", "/b"]
    kernel.write(cgroups[1], 1 << 62)
    report = listed(made)
    assert [row["cgroup"] for row in report.to_json()["rows"]] == ["/a", None]
    assert report.coverage.missing == ("Processes whose cgroup could not be read: 1.",)


def test_stacks_that_cannot_be_read_do_not_matter() -> None:
    made = MappedPages()
    area = made.kernel.stack(10, 11)
    made.kernel.place(0x200)
    made.kernel.tasks(made.kernel.task(7, stack=area))
    made.kernel.lost = {area}
    assert listed(made).coverage.complete


def test_struct_pages_that_cannot_be_read() -> None:
    made = MappedPages()
    made.memory.readable = np.zeros(PAGES, np.bool_)
    report = listed(made)
    assert report.coverage.unreadable == PAGES
    assert not report.coverage.complete


def test_only_struct_pages_near_mapped_pages_are_read() -> None:
    made = MappedPages()
    spanned = ((0, PAGES), (0x10000, 0x20000))
    asked = []

    def noted(inspector: Inspector, wanted: Any, work: Any, *, streamed: bool = False) -> Any:
        asked.append(wanted)
        return fold.fold_here(inspector, wanted, work, streamed=streamed)

    memory_map = replace(made.inspector().memory_map, spanned=spanned)
    list_processes(lambda: made.inspector(memory_map=memory_map), "pid", 0, fold=noted)
    assert asked == [[(0, PAGES)]]


def test_a_running_kernel_is_read_again() -> None:
    made = MappedPages(LIVE)
    made.tables.lost = {made.first}
    opened = []

    def open_again() -> Inspector:
        opened.append(1)
        if len(opened) == 3:
            made.tables.lost = set()
        return made.inspector()

    report = list_processes(open_again, "pid", None, fold=fold.fold_here)
    assert (len(opened), report.coverage.complete) == (3, True)
    made.tables.lost = {made.first}
    opened = [1, 1, 1]
    report = list_processes(open_again, "pid", None, fold=fold.fold_here)
    assert (len(opened), report.coverage.complete) == (7, False)
    made = MappedPages(CORE)
    made.tables.lost = {made.first}
    opened = []
    assert not list_processes(open_again, "pid", None, fold=fold.fold_here).coverage.complete
    assert len(opened) == 1


def test_a_process_that_ended_while_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MappedPages(LIVE)
    read = processes.read_tasks

    def without_20(*args: Any) -> Any:
        tasks = read(*args)
        kept = tuple(process for process in tasks.processes if process.pid != 20)
        return replace(tasks, processes=kept)

    def only_10(*args: Any) -> Any:
        tasks = read(*args)
        kept = tuple(process for process in tasks.processes if process.pid == 10)
        return replace(tasks, processes=kept)

    monkeypatch.setattr(processes, "read_tasks", without_20)
    report = listed(made)
    assert (list(rows(report)), report.ended) == ([10, 21], 1)
    assert report.coverage.complete
    # What is read of its page tables may be anything.
    made.tables.lost = {made.second}
    monkeypatch.setattr(processes, "read_tasks", only_10)
    report = listed(made)
    assert (list(rows(report)), report.ended) == ([10], 2)
    assert report.coverage.complete
    made.tables.lost = set()
    # A list that cannot be followed says nothing about who has ended.
    monkeypatch.setattr(
        processes, "read_tasks", lambda *args: replace(without_20(*args), unreadable_lists=1)
    )
    assert (len(rows(listed(made))), listed(made).ended) == (3, 0)


def test_what_cannot_be_asked() -> None:
    made = MappedPages()
    with pytest.raises(UsageError, match="cannot be sorted by 'nope'"):
        listed(made, "nope")
    alone = replace(LAYOUT, unavailable=("table",))
    with pytest.raises(PageInspectError, match="not available from VMCOREINFO alone"):
        list_processes(lambda: made.inspector(layout=alone), "pid", 0, fold=fold.fold_here)


@pytest.mark.parametrize("top", [-1, 1.5, "3"])
def test_a_number_of_processes_that_is_none(top: Any) -> None:
    with pytest.raises(UsageError):
        MappedPages().inspector().processes(top=top)


def test_the_method_is_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MappedPages()
    monkeypatch.setattr(inspector, "inspect", lambda _: made.inspector())
    result = made.inspector().processes(sort="uss", top=1)
    assert result.to_dict() == listed(made, "uss", 1).to_json()
    frame = result.to_pandas()
    assert frame["pid"].tolist()[0] == 10
    assert result.to_arrow().num_rows == 2


def described(made: MappedPages, *pfns: int) -> list[dict[str, Any]]:
    pages = describe_addresses(made.inspector(), [str(pfn) for pfn in pfns], explain=False)
    found: list[dict[str, Any]] = pages.to_json()["pages"]
    return found


def test_who_maps_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = MappedPages(), []
    kept = address_spaces.read_tasks
    monkeypatch.setattr(
        address_spaces, "read_tasks", lambda *args: (read.append(1), kept(*args))[1]
    )
    pages = described(made, FILE, ANON, SHMEM, FOLIO + 2, FOLIO, UNMAPPED)
    assert len(read) == 1
    assert pages[0]["mapped_by"] == [
        {"pid": 10, "comm": "first", "address": "0x0"},
        {"pid": 20, "comm": "second", "address": "0x5000"},
        {"pid": 21, "comm": "vfork", "address": "0x5000"},
    ]
    assert [page["mappings"] for page in pages] == [3, 1, 1, 2, 0, 0]
    assert [each["address"] for each in pages[3]["mapped_by"]] == ["0x4000", "0x7f0000000000"]
    assert [page.get("file_offset") for page in pages] == [0, None, 0, 0x32000, 0x30000, 0]


def test_pages_that_nobody_maps_need_no_page_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(address_spaces, "read_tasks")
    made = MappedPages()
    unmapped, kernel = described(made, UNMAPPED, ZERO)
    assert (unmapped["mapped_by"], unmapped["mappings"]) == ([], 0)
    assert "mapped_by" not in kernel


def test_a_huge_page_is_mapped_as_a_whole() -> None:
    made = MappedPages()
    (page,) = described(made, HUGE_ANON + 5)
    assert page["mapped_by"] == [{"pid": 10, "comm": "first", "address": "0x40005000"}]


def test_page_tables_that_are_lost_are_said() -> None:
    made = MappedPages()
    made.tables.lost = {made.second}
    report = describe_addresses(made.inspector(), [str(FILE)], explain=False)
    assert not report.coverage.complete
    assert any("of pid 20 (second), 21 (vfork)" in text for text in report.coverage.missing)
    (page,) = report.to_json()["pages"]
    assert page["mappings"] == 1


def lines(made: MappedPages, change: Callable[[list[str]], None] = lambda _: None) -> list[str]:
    report = describe_addresses(made.inspector(), [str(FILE)], explain=False)
    found = [f"{name}|{value}" for name, value in report.view().table.rows]
    change(found)
    return found


def test_the_text_has_a_line_a_mapping_and_names_are_escaped() -> None:
    shown = lines(MappedPages(comm=b"\x1b[2J\nfirst"))
    at = shown.index(next(line for line in shown if line.startswith("mapped_by|")))
    assert shown[at : at + 3] == [
        r"mapped_by|10 (\x1b[2J first) at 0x0",
        "|20 (second) at 0x5000",
        "|21 (vfork) at 0x5000",
    ]


def test_many_mappings_are_counted() -> None:
    made = MappedPages()
    for i in range(40):
        made.tables.put(made.second, 0x100000 + (i << 12), FILE << 12 | PRESENT)
    (page,) = described(made, FILE)
    assert (page["mappings"], len(page["mapped_by"])) == (1 + 2 * 41, 16)
    assert "|and 67 more" in lines(made)


def test_vmcoreinfo_alone_does_not_say_who_maps_a_page() -> None:
    made = MappedPages()
    alone = replace(LAYOUT, unavailable=("table",))
    report = describe_addresses(made.inspector(layout=alone), [str(FILE)], explain=False)
    (page,) = report.to_json()["pages"]
    assert page["mapped_by"] is None
