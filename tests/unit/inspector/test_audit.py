# SPDX-License-Identifier: GPL-2.0-only
"""What a core lacks, in a kernel made by hand beside a kdump with some of its pages."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dump_builder import BLOCK, Kdump
from elf_builder import elf, segment
from owned_pages import FREE, FREE_PAGES, PAGES, OwnedPages
from synthetic import MODERN

from pageinspect.errors import MISSING_MEMORY_HINT, Exit, PageInspectError, UsageError
from pageinspect.inspector import audit, lost_pages
from pageinspect.inspector.audit import COMPOUND_INFO, audit_core, audit_file
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.owners import count_owners
from pageinspect.inspector.selection import select
from pageinspect.inspector.summary import summarise
from pageinspect.model.elf import LOAD
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import Provenance
from pageinspect.report.audit import AuditReport
from pageinspect.report.selection import Request

CONTENT = bytes(BLOCK)
POINTER = "The core lacks pages that it should have: see pageinspect audit -c 'my core'."


def core_of(
    made: OwnedPages,
    folder: Path,
    missing: Iterable[int] = (),
    *,
    outside: Iterable[int] = (),
    level: int = 31,
) -> Inspector:
    """Return the Inspector of a kdump without the pages `missing`, and `outside` its bitmaps."""
    path, covered = folder / "core", set(range(PAGES)) - set(outside)
    there = sorted(covered - set(missing))
    path.write_bytes(
        Kdump(dict.fromkeys(there, CONTENT), dumpable=covered, level=level, pfns=PAGES).make()
    )
    return of_file(made, path)


def of_file(made: OwnedPages, path: Path) -> Inspector:
    inspector = made.inspector()
    provenance = replace(inspector.target.provenance, target="my core")
    return replace(inspector, target=replace(inspector.target, core=path, provenance=provenance))


def pages_of(made: OwnedPages, use: str) -> list[int]:
    """Return the pfns of a use."""
    inspector = made.inspector()
    (pages,) = inspector.pages()
    return [i for i in range(PAGES) if inspector.use_name(int(pages.use[i])) == use]


def fates(report: AuditReport) -> Counter[tuple[str, str]]:
    rows = [row for row in report.to_json()["rows"] if row["pages"]]
    return Counter(
        {
            (row["kind"], fate): n
            for row in rows
            for fate, n in row.items()
            if fate not in ("use", "kind", "pages") and n
        }
    )


def test_a_core_that_has_all_pages(made: OwnedPages, tmp_path: Path) -> None:
    report = audit_core(core_of(made, tmp_path), fold=fold_here)
    assert report.status == Exit.COMPLETE
    assert (report.lost, report.ranges, report.uncovered) == ((), [], ())
    total = report.to_json()["total"]
    assert (total["pages"], total["present"], total["absent"]) == (PAGES, PAGES, 0)
    assert (report.form, report.level, report.state) == ("kdump", 31, "whole")
    # The kinds are those of `owners`.
    kinds: Counter[str] = Counter()
    for row in report.rows:
        kinds[row.kind] += row.pages
    owners = count_owners(core_of(made, tmp_path), "kind", Request(), fold=fold_here)
    assert kinds == {row.kind: row.pages for row in owners.rows}


def test_pages_that_the_level_excludes(made: OwnedPages, tmp_path: Path) -> None:
    free = range(FREE, FREE + FREE_PAGES)
    for level, allowed in ((31, True), (16, True), (15, False), (0, False)):
        report = audit_core(core_of(made, tmp_path, free, level=level), fold=fold_here)
        assert report.status == (Exit.COMPLETE if allowed else Exit.FINDING)
        assert fates(report)["free", "free" if allowed else "lost"] == FREE_PAGES
        assert fates(report)["free", "absent"] == FREE_PAGES
        firsts = [row.pfns for row in report.lost]
        assert firsts == ([] if allowed else [tuple(range(FREE, FREE + 10))])


def test_lost_pages_have_owners_and_pfns(made: OwnedPages, tmp_path: Path) -> None:
    slabs = pages_of(made, "slab")
    lost = [*slabs[1:4], *slabs[7:8]]
    report = audit_core(core_of(made, tmp_path, lost), fold=fold_here)
    assert report.status == Exit.FINDING
    assert [row[2:] for row in report.lost] == [
        ("dentry", 3, (*lost[:3],)),
        ("inode", 1, (lost[3],)),
    ]
    assert report.ranges == [(slabs[1], slabs[4]), (slabs[7], slabs[8])]
    assert report.causes["excluded"] == 4
    (sentence,) = report.to_json()["consequences"]
    assert sentence.startswith("slab: 4 pages (dentry; inode): ")
    (remedy,) = report.to_json()["remedies"]
    assert "-d 23" in remedy


def test_owners_with_one_name_are_one_row(made: OwnedPages, tmp_path: Path) -> None:
    again = made.slab("dentry", 12)
    # The cache with the higher address has the first page.
    caches = made.memory.words[:, (MODERN.slab_cache or 0) // 8]
    first = pages_of(made, "slab")[0]
    caches[first], caches[again.start : again.stop] = caches[again.start], caches[first]
    lost = [pages_of(made, "slab")[0], *again]
    report = audit_core(core_of(made, tmp_path, lost), fold=fold_here)
    (row,) = report.lost
    assert (row.name, row.pages, row.pfns) == ("dentry", 13, tuple(sorted(lost)[:10]))


def test_memory_that_no_part_covers(made: OwnedPages, tmp_path: Path) -> None:
    outside = [*range(0x10), *range(FREE, PAGES)]
    report = audit_core(core_of(made, tmp_path, outside=outside), fold=fold_here)
    assert report.uncovered == ((0, 0x10, 0x10), (FREE, PAGES, FREE_PAGES))
    assert report.causes["uncovered"] == 0x10 + FREE_PAGES
    assert fates(report)["free", "lost"] == FREE_PAGES
    assert any("not covered" in text for text in report.to_json()["remedies"])


def test_second_pages_need_a_word_that_old_makedumpfiles_do_not_know(
    made: OwnedPages, tmp_path: Path
) -> None:
    head = made.slab("of pairs", 2, order=1)[0]
    inspector = core_of(made, tmp_path, [head + 1])
    assert audit_core(inspector, fold=fold_here).unknown_tails == 0
    inspector = replace(
        inspector, target=replace(inspector.target, vmcoreinfo={COMPOUND_INFO: "8"})
    )
    report = audit_core(inspector, fold=fold_here)
    assert report.unknown_tails == 1
    (remedy,) = report.to_json()["remedies"]
    assert "f50c015" in remedy


def elf_of(made: OwnedPages, folder: Path, *segments: bytes) -> Inspector:
    path = folder / "core"
    with path.open("wb") as file:
        file.write(elf(*segments))
        file.truncate(BLOCK * (PAGES + 1))
    return of_file(made, path)


def test_an_elf_core_and_its_level(made: OwnedPages, tmp_path: Path) -> None:
    slabs, size = pages_of(made, "slab"), BLOCK * PAGES
    gap = slabs[0] * BLOCK
    whole = elf_of(made, tmp_path, segment(LOAD, BLOCK, 0, size))
    assert audit_core(whole, fold=fold_here).status == Exit.COMPLETE
    some = (
        segment(LOAD, BLOCK, 0, gap, gap + BLOCK),
        segment(LOAD, BLOCK, gap + BLOCK, size - gap - BLOCK),
    )
    for level, status in ((None, 3), (31, 3), (1, 3), (30, 4), (0, 4)):
        report = audit_core(elf_of(made, tmp_path, *some), fold=fold_here, dump_level=level)
        assert (report.level, report.status) == (level, status)
        assert fates(report)["slab", "lost" if status == Exit.FINDING else "undecided"] == 1


def test_an_elf_core_without_one_of_its_segments(made: OwnedPages, tmp_path: Path) -> None:
    slabs, size = pages_of(made, "slab"), BLOCK * PAGES
    gap, end = slabs[0] * BLOCK, (slabs[-1] + 1) * BLOCK
    rest = (segment(LOAD, BLOCK, 0, gap), segment(LOAD, BLOCK, end, size - end))
    report = audit_core(elf_of(made, tmp_path, *rest), fold=fold_here)
    assert report.status == Exit.FINDING
    assert report.uncovered == ((slabs[0], slabs[-1] + 1, len(slabs)),)
    assert {row.name: row.pages for row in report.lost} == {"dentry": 7, "inode": 3}


def test_a_core_that_is_cut_off(made: OwnedPages, tmp_path: Path) -> None:
    size = BLOCK * PAGES
    inspector = elf_of(made, tmp_path, segment(LOAD, BLOCK, 0, size))
    with (tmp_path / "core").open("r+b") as file:
        file.truncate(BLOCK * (FREE + 11))
    report = audit_core(inspector, fold=fold_here)
    assert (report.state, report.status) == ("cut off", Exit.FINDING)
    assert report.ranges == [(FREE + 10, PAGES)]
    assert report.causes["cut_off"] == FREE_PAGES - 10


def test_a_kdump_has_its_level(made: OwnedPages, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has its dump level, 31, in its header"):
        audit_core(core_of(made, tmp_path), fold=fold_here, dump_level=31)


@pytest.mark.parametrize("source", ["live", "qemu"])
def test_what_is_not_a_core(made: OwnedPages, source: str) -> None:
    made.provenance = Provenance("7.0", source, "btf")  # type: ignore[arg-type]
    with pytest.raises(PageInspectError, match="only a core") as error:
        made.inspector().audit()
    assert error.value.exit_code == Exit.INCOMPLETE


def test_the_method_returns_a_result(made: OwnedPages, tmp_path: Path) -> None:
    result = core_of(made, tmp_path, [0x20]).audit()
    assert result.to_dict()["total"]["absent"] == 1
    assert "A kdump of dump level 31." in str(result)
    core = elf_of(made, tmp_path, segment(LOAD, BLOCK, 0, BLOCK * PAGES))
    assert core.audit(dump_level=31).level == 31
    for level in (-1, 32):
        with pytest.raises(UsageError):
            core.audit(dump_level=level)


# --- without the memory map, or without uses


class Opening:
    """Opens a core in which something that leads to the uses of pages is missing."""

    def __init__(self, inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inspector = inspector
        self.core = inspector.target.core
        self.fails = {"inspect"}
        monkeypatch.setattr(audit, "inspect", partial(self.step, "inspect"))
        monkeypatch.setattr(audit, "build_layout", partial(self.step, "build_layout"))
        monkeypatch.setattr(audit, "inspector_of", self.inspector_of)

    def step(self, name: str, *_: object) -> object:
        if name in self.fails:
            raise PageInspectError(f"{name} fails", MISSING_MEMORY_HINT)
        return self.inspector.target if name == "open" else self.inspector.layout

    def inspector_of(self, _: object, layout: object, memory_map: MemoryMap) -> Inspector:
        assert layout == self.inspector.layout
        return replace(self.inspector, memory_map=memory_map)

    def audit(self, dump_level: int | None = None) -> AuditReport:
        return audit_file(
            partial(self.step, "open"),  # type: ignore[arg-type]
            self.core,
            fold=fold_here,
            dump_level=dump_level,
        )


def test_uses_are_found_without_the_memory_map(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slabs = pages_of(made, "slab")
    inspector = core_of(made, tmp_path, slabs[:2], outside=range(FREE + 8, PAGES))
    opening = Opening(inspector, monkeypatch)
    report = opening.audit()
    assert report.status == Exit.FINDING
    assert [row[:1] + row[2:] for row in report.lost] == [("slab", "dentry", 2, (*slabs[:2],))]
    assert report.total.pages == FREE + 8
    assert report.coverage.missing == ("The memory map of the kernel is missing: inspect fails.",)
    # The path is that of the opened Target as well.
    opening.core = None
    assert opening.audit().to_json() == report.to_json()


@pytest.mark.parametrize("fails", ["open", "build_layout"])
def test_lost_pages_are_found_without_uses(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    opening = Opening(core_of(made, tmp_path, range(50, 60)), monkeypatch)
    opening.fails.add(fails)
    (tmp_path / "core").write_bytes((tmp_path / "core").read_bytes()[:-400])
    cut = audit.read_presence(tmp_path / "core")
    lost = cut.kept.minus(cut.present)
    assert len(lost) > 10
    report = opening.audit()
    assert (report.status, report.state) == (Exit.FINDING, "cut off")
    assert report.ranges == lost.ranges()
    answer = report.to_json()
    assert {key: n for key, n in answer["total"].items() if n} == {
        "pages": PAGES,
        "present": PAGES - 10 - len(lost),
        "absent": 10 + len(lost),
        "undecided": 10,
        "lost": len(lost),
    }
    firsts = [pfn for a, b in lost.ranges() for pfn in range(a, b)][:10]
    assert report.lost[0].pfns == tuple(firsts)
    (row,) = answer["lost"]
    assert (row["use"], row["pages"]) == ("unreadable", len(lost))
    pfns = [pfn for run in row["pfns"] for pfn in range(run["start"], run["end"])]
    assert pfns == firsts
    assert answer["causes"] == {"excluded": 0, "cut_off": len(lost), "uncovered": 0}
    assert answer["coverage"]["read"] == 0
    assert any(f"{fails} fails" in text for text in answer["consequences"])
    assert any("copy it again" in text for text in answer["remedies"])
    assert answer["kernel"]["source"] == "core"
    with pytest.raises(UsageError, match="dump level"):
        opening.audit(dump_level=31)


def test_a_core_that_claims_more_memory_than_it_can_describe(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To walk it would take years.
    inspector = elf_of(made, tmp_path, segment(LOAD, BLOCK, 0, 1 << 50))
    report = Opening(inspector, monkeypatch).audit()
    assert report.status == Exit.FINDING
    assert report.ranges == [(PAGES, 1 << 38)]
    assert report.coverage.unreadable == 1 << 38


def test_what_fails_for_another_reason(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Opening(core_of(made, tmp_path), monkeypatch)
    for fails in ("inspect", "build_layout", "open"):
        opening.fails.add(fails)
        with pytest.raises(PageInspectError) as error:
            opening.audit()
        assert error.value.exit_code == Exit.ERROR
        # audit itself does not point to audit.
        assert "checksum" in error.value.hint
    (tmp_path / "core").write_bytes(b"text")
    with pytest.raises(PageInspectError, match="open fails") as error:
        opening.audit()
    assert error.value.exit_code == Exit.ERROR
    (tmp_path / "core").write_bytes(Kdump({0: CONTENT}).make()[: 4 * BLOCK])
    with pytest.raises(PageInspectError, match="cut off in its bitmap") as error:
        opening.audit()
    assert error.value.exit_code == Exit.INCOMPLETE


# --- other commands


def pointed(inspector: Inspector) -> list[bool]:
    """Return which commands point to audit."""
    options = {"fold": fold_here}
    coverages = [
        count_owners(inspector, "kind", Request(), **options).coverage,  # type: ignore[arg-type]
        summarise(inspector, ["owner"], Request(), **options).coverage,  # type: ignore[arg-type]
        summarise(inspector, ["use"], Request(), **options).coverage,  # type: ignore[arg-type]
    ]
    _, selection = select(inspector, Request(owners=["slab"]))
    found = [each.missing for each in coverages] + [selection.missing]
    return [missing[-1:] == (POINTER,) for missing in found]


def test_commands_point_to_audit_if_something_is_missing(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inspector, "refreshed", lambda inspector: inspector)
    slab, free = pages_of(made, "slab")[:1], range(FREE, FREE + FREE_PAGES)
    assert not any(pointed(core_of(made, tmp_path, slab)))
    made.problems = ("tasks: 3 items could not be read",)
    assert pointed(core_of(made, tmp_path, slab)) == [True, True, False, True]
    assert pointed(core_of(made, tmp_path, [*free, *slab])) == [True, True, False, True]
    # Pages that the level excludes are no reason.
    assert not any(pointed(core_of(made, tmp_path, free)))
    assert not any(pointed(core_of(made, tmp_path)))
    # Reports of a core that is cut off have a note on it.
    made.provenance = replace(made.provenance, is_whole=False)
    assert not any(pointed(core_of(made, tmp_path, slab)))
    made.provenance = Provenance("7.0", "live", "btf")
    assert not any(pointed(core_of(made, tmp_path, slab)))


def test_memory_is_walked_once_at_most_to_find_a_lost_page(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Inspector] = []
    walk = Inspector.sections_in_runs

    def noted(inspector: Inspector, *args: Any) -> Any:
        walks.append(inspector)
        return walk(inspector, *args)

    monkeypatch.setattr(Inspector, "sections_in_runs", noted)
    slab, free = pages_of(made, "slab")[:1], range(FREE, FREE + FREE_PAGES)
    for missing, has_lost in (([*slab, *free], True), (free, False)):
        inspector = core_of(made, tmp_path, missing)
        for copy in (inspector, replace(inspector), inspector):
            assert bool(lost_pages.pointed(copy, ("Something.",))[1:]) == has_lost
        assert len(walks) == 1
        walks.clear()
    inspector = core_of(made, tmp_path, free)
    content = bytearray((tmp_path / "core").read_bytes())
    # The last page's contents are missing: what its struct page shows does not matter.
    (tmp_path / "core").write_bytes(content[:-100])
    assert lost_pages.pointed(inspector, ("Something.",)) == ("Something.", POINTER)
    assert walks == []


def test_struct_pages_that_are_missing_point_to_audit(made: OwnedPages, tmp_path: Path) -> None:
    inspector = core_of(made, tmp_path, pages_of(made, "slab")[:1])
    inspector = replace(inspector, memory_map=MemoryMap(((0, PAGES), (0x8000, 0x8040)), ()))
    report = summarise(inspector, ["use"], Request(), fold=fold_here)
    assert report.coverage.unreadable == 0x40
    assert report.coverage.missing == (POINTER,)


def test_lost_pages_at_addresses_are_named(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slabs = pages_of(made, "slab")
    monkeypatch.setattr(lost_pages, "_pfn", lambda _, address: address or None)
    inspector = core_of(made, tmp_path, [*slabs, FREE])
    named, pointer = lost_pages.described(inspector, [slabs[0], slabs[0], FREE, 0, 0x10])
    assert named == f"Pages are missing: pfn {slabs[0]:#x} (slab)."
    assert pointer == POINTER
    assert lost_pages.described(inspector, [FREE, 0x10, 0]) == ()
    assert lost_pages.described(inspector, []) == ()
    many, _ = lost_pages.described(inspector, slabs[::2])
    assert many.endswith("(slab) and 1 more.")
