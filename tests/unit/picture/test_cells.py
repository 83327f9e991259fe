# SPDX-License-Identifier: GPL-2.0-only
"""Cells from runs, compared with counting page by page."""

from collections import Counter

import numpy as np
import pytest

from pageinspect.picture import cells as module
from pageinspect.picture.cells import NOTHING, CodedRuns, cells_of, differing


def made(*runs: tuple[int, int, int]) -> CodedRuns:
    starts, lengths, codes = (np.array(column) for column in zip(*runs, strict=True))
    return CodedRuns(starts.astype(np.int64), lengths.astype(np.int64), codes.astype(np.uint8))


def at_random(seed: int, pages: int) -> CodedRuns:
    rng = np.random.default_rng(seed)
    edges = np.unique(rng.integers(0, pages, pages // 5))
    runs = CodedRuns(
        edges[:-1], np.diff(edges), rng.integers(0, 5, len(edges) - 1).astype(np.uint8)
    )
    # Some pfns have none.
    return runs.where(rng.random(len(runs)) < 0.8)


def pages_of(runs: CodedRuns) -> dict[int, int]:
    rows = zip(runs.starts.tolist(), runs.lengths.tolist(), runs.codes.tolist(), strict=True)
    return {pfn: code for start, n, code in rows for pfn in range(start, start + n)}


@pytest.mark.parametrize("shift", [0, 1, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_a_cell_is_what_most_of_its_pages_are(
    shift: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    runs = at_random(seed, 1000)
    pages, size = pages_of(runs), 1 << shift
    windows = [(0, 128), (192, 1024)]
    found = cells_of(runs, windows, shift)
    firsts = [pfn for start, end in windows for pfn in range(start, end, size)]
    assert len(found.codes) == len(firsts)
    for i, first in enumerate(firsts):
        counts = Counter(pages[pfn] for pfn in range(first, first + size) if pfn in pages)
        assert found.pages[i] == counts.total()
        if not counts:
            assert found.codes[i] == NOTHING
            assert found.shares[i] == 0
            continue
        assert found.codes[i] == min(c for c, n in counts.items() if n == max(counts.values()))
        assert found.shares[i] == pytest.approx(max(counts.values()) / size)


def test_parts_of_runs_within_ranges() -> None:
    runs = at_random(1, 500)
    wanted = [(3, 40), (41, 42), (300, 900)]
    pages = {p: c for p, c in pages_of(runs).items() if any(a <= p < b for a, b in wanted)}
    assert pages_of(runs.within(wanted)) == pages
    assert len(runs.within([])) == 0


@pytest.mark.parametrize("piece", [1, 2, 1000])
def test_windows_are_whole_multiples_that_have_pages(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    runs = made((5, 2, 1), (7, 10, 2), (32, 1, 1), (64, 1, 1), (160, 32, 0))
    assert runs.windows(16) == [(0, 48), (64, 80), (160, 192)]
    assert runs.where(np.zeros(5, np.bool_)).windows(16) == []
    assert runs.pages(4).tolist() == [32, 4, 10, 0]


@pytest.mark.parametrize("seed", range(3))
def test_pages_that_differ(seed: int) -> None:
    left, right = at_random(seed, 400), at_random(seed + 50, 400)
    ours, theirs = pages_of(left), pages_of(right)
    expected = {p: int(ours.get(p) != theirs.get(p)) for p in {**ours, **theirs}}
    assert pages_of(differing(left, right)) == expected
    assert set(pages_of(differing(left, left)).values()) == {0}
