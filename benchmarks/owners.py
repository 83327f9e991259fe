# SPDX-License-Identifier: GPL-2.0-only
"""Owners of pages: the command beside `summary --by use`, and its work beside drgn's own ways."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drgn import FaultError, Object
from drgn.helpers.linux.fs import inode_path
from timing import Line, Timing, best, here
from workloads import drgn_loop, pageinspect

from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.inspector import Inspector
from pageinspect.inspector.owner_finder import owner_finder
from pageinspect.inspector.owners import count_owners
from pageinspect.kernel.owner_names.files import FileNames
from pageinspect.owners.table import NUMBER
from pageinspect.report.selection import Request

OWNERS = ("owners",)
SUMMARY = ("summary", "--by", "use")
_WAYS = (OWNERS, ("owners", "--by", "name", "--format", "json"), ("owners", "--by", "cgroup"))


def owner_commands(core: Path, bar: float | None, runs: int) -> list[Line]:
    """Compare the ways of the command; the bar is for the first, with its ten largest names."""
    commands = [pageinspect(*words, "-c", core) for words in (*_WAYS, SUMMARY)]
    for command in commands:
        command()  # Fills the cache of types and symbols.
    *ours, summary = best(*commands, runs=runs)
    return [
        Line(" ".join(words), " ".join(SUMMARY), taken, summary, "at most", most)
        for words, taken, most in zip(_WAYS, ours, (bar, None, None), strict=True)
    ]


def owner_parts(asked: Inspector, loop: Timing, runs: int) -> list[Line]:
    """Compare the work with `loop`, drgn's over all pages, and names of files with inode_path()."""
    (ours,) = best(
        lambda: here(lambda: count_owners(asked, "kind", Request(), fold=fold_here)), runs=runs
    )
    words = _files(asked)
    names, paths = best(
        lambda: here(lambda: FileNames(asked.target.prog).names(words)),
        lambda: here(lambda: _paths(asked, words)),
        runs=runs,
    )
    return [
        Line("owners, all names", "for_each_page(), one member", ours, loop, "at least", None),
        Line(f"names of {len(words):,} files", "inode_path()", names, paths, "at least", None),
    ]


def loop_over_pages(asked: Inspector) -> Timing:
    """Time drgn's loop over all pages, once: it takes seconds."""
    (loop,) = best(lambda: here(lambda: drgn_loop(asked)), runs=1)
    return loop


def _files(asked: Inspector) -> list[int]:
    """Return the words of all files with pages."""
    finder = owner_finder(asked)
    assigner = finder.assigner(asked.layout)
    found = [
        pieces.keys[pieces.kinds == NUMBER["file"]]
        for _, pieces in finder.walk(asked, asked.memory_map.spanned, assigner)
    ]
    return [int(word) for word in np.unique(np.concatenate(found)).tolist()]


def _paths(asked: Inspector, words: Sequence[int]) -> None:
    """Name each file by its inode, below the root of its file system."""
    for word in words:
        with contextlib.suppress(FaultError, ValueError):
            inode_path(Object(asked.target.prog, "struct address_space *", word).host)
