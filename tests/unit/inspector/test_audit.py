# SPDX-License-Identifier: GPL-2.0-only
"""What a core lacks, in a kernel made by hand beside a kdump with some of its pages."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from dump_builder import BLOCK, Kdump
from elf_builder import elf, segment
from owned_pages import FREE, FREE_PAGES, PAGES, OwnedPages
from synthetic import MODERN

from pageinspect.errors import Exit, PageInspectError, UsageError
from pageinspect.inspector import audit, lost_pages
from pageinspect.inspector.audit import COMPOUND_INFO, LostMemoryError, audit_core, inspect_core
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
    return replace(inspector, target=replace(inspector.target, core=path))


def pages_of(made: OwnedPages, use: str) -> list[int]:
    """Return the pfns of a use."""
    inspector = made.inspector()
    (pages,) = inspector.pages()
    return [i for i in range(PAGES) if inspector.use_name(int(pages.use[i])) == use]


def fates(report: AuditReport) -> Counter[tuple[str, str]]:
    rows = [row for row in report.to_json()["rows"] if row["pages"]]
    return Counter(
        {
            (row["owner"], fate): n
            for row in rows
            for fate, n in row.items()
            if fate not in ("use", "owner", "pages") and n
        }
    )


def test_a_core_that_has_all_pages(made: OwnedPages, tmp_path: Path) -> None:
    report = audit_core(core_of(made, tmp_path), fold=fold_here)
    assert report.status == Exit.COMPLETE
    assert (report.lost, report.ranges, report.uncovered) == ((), (), ())
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
    assert report.ranges == ((slabs[1], slabs[4]), (slabs[7], slabs[8]))
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
    assert report.ranges == ((FREE + 10, PAGES),)
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


def test_the_memory_map_is_missing(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_target: object) -> Inspector:
        raise PageInspectError("cannot read the zones", "hint")

    monkeypatch.setattr(audit, "inspect", fail)
    whole = core_of(made, tmp_path).target
    with pytest.raises(PageInspectError, match="cannot read the zones") as error:
        inspect_core(whole)
    assert error.value.exit_code == Exit.ERROR
    content = whole.core.read_bytes()  # type: ignore[union-attr]
    (tmp_path / "core").write_bytes(content[: len(content) - 100])
    cut = replace(whole, provenance=replace(whole.provenance, is_whole=False))
    with pytest.raises(LostMemoryError, match=r"has lost \d+ pages of 1,024, .* zones") as lost:
        inspect_core(cut)
    assert lost.value.exit_code == Exit.FINDING
    assert "copy it again" in lost.value.hint


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
    return [missing[-1:] == (lost_pages.POINTER,) for missing in found]


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


def test_struct_pages_that_are_missing_point_to_audit(made: OwnedPages, tmp_path: Path) -> None:
    inspector = core_of(made, tmp_path, pages_of(made, "slab")[:1])
    inspector = replace(inspector, memory_map=MemoryMap(((0, PAGES), (0x8000, 0x8040)), ()))
    report = summarise(inspector, ["use"], Request(), fold=fold_here)
    assert report.coverage.unreadable == 0x40
    assert report.coverage.missing == (lost_pages.POINTER,)


def test_lost_pages_at_addresses_are_named(
    made: OwnedPages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slabs = pages_of(made, "slab")
    monkeypatch.setattr(lost_pages, "_pfn", lambda _, address: address or None)
    inspector = core_of(made, tmp_path, [*slabs, FREE])
    named, pointer = lost_pages.described(inspector, [slabs[0], slabs[0], FREE, 0, 0x10])
    assert named == f"Pages are missing: pfn {slabs[0]:#x} (slab)."
    assert pointer == lost_pages.POINTER
    assert lost_pages.described(inspector, [FREE, 0x10, 0]) == ()
    assert lost_pages.described(inspector, []) == ()
    many, _ = lost_pages.described(inspector, slabs[::2])
    assert many.endswith("(slab) and 1 more.")
