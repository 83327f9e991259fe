# SPDX-License-Identifier: GPL-2.0-only
"""Reports do not depend on how a walk is cut up: processes, size of pieces, mapped or read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted import COUNTERS
from damaged_memory import ISLANDS, SPANNED, Mapped, Reads, damaged
from kpageflags_rules import NEWEST
from sections import N
from synthetic import MODERN

from pageinspect.cli import options, walking
from pageinspect.cli.commands import check, export
from pageinspect.cli.parser import build_parser
from pageinspect.inspector import check as check_module
from pageinspect.inspector import fold, source
from pageinspect.inspector import inspector as inspector_module
from pageinspect.inspector import summary as summary_module
from pageinspect.inspector.inspector import Inspector
from pageinspect.kernel import kpageflags_rules
from pageinspect.model.kpageflags import Online
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target

COMMANDS = [
    ["summary"],
    ["summary", "--by", "use"],
    ["summary", "--by", "zone", "--by", "order", "--use", "buddy,kernel,conflict"],
    ["list", "--format", "csv"],
    ["list", "--type", "buddy,slab", "--format", "json"],
    ["check", "--format", "json"],
    ["export"],
]


@pytest.fixture(params=range(2))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Damaged memory in place of the kernel that the commands open."""
    prog, memory_map = damaged(request.param)
    target = Target(prog, Provenance("7.0", "core", "btf"), {})  # type: ignore[arg-type]
    for module in (check, export, options):
        monkeypatch.setattr(module, "open_target", lambda _args: target)
    for opening in (inspector_module, source):
        monkeypatch.setattr(opening, "inspect", lambda _: Inspector(target, MODERN, memory_map))
    monkeypatch.setattr(inspector_module, "map_vmemmap", lambda prog, *_: Mapped(prog))
    for module in (check_module, summary_module):
        monkeypatch.setattr(module, "read_counters", lambda _prog: COUNTERS)
    monkeypatch.setattr(kpageflags_rules, "build_rules", lambda *_: NEWEST)
    monkeypatch.setattr(kpageflags_rules, "find_online", lambda *_: Online(SPANNED, frozenset()))
    monkeypatch.setattr(kpageflags_rules, "check_length", lambda *_: None)
    return prog


def written(command: list[str], folder: Path, *options: str) -> tuple[int, list[bytes]]:
    """Return the status of a command, and what it wrote."""
    files = [folder / "one", folder / "two"]
    if command == ["export"]:
        names = ["--kpageflags", str(files[0]), "--kpagecount", str(files[1])]
    else:
        names = ["-o", str(files.pop(0))]
        files = [Path(names[1])]
    args: Any = build_parser().parse_args([*command, *names, *options])
    return args.run(args), [file.read_bytes() for file in files]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_reports_do_not_depend_on_pieces(
    command: list[str], kernel: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(len(command))
    some = [f"--pfn={first + int(rng.integers(0, N))}+{rng.integers(1, N)}" for first in ISLANDS]
    for wanted in ([],) if command == ["export"] else ([], some):
        monkeypatch.setattr(fold, "SECTIONS_READ", 64)
        whole = written(command, tmp_path, "-j1", *wanted)
        assert len(whole[1][0]) > 300
        for jobs in (1, 2, 5):
            sections = int(rng.integers(1, 5))
            monkeypatch.setattr(fold, "SECTIONS_READ", sections)
            monkeypatch.setattr(walking, "_MOST_SECTIONS", sections)
            for core in (None, "core"):
                kernel.core_dump_path = core
                assert written(command, tmp_path, f"-j{jobs}", *wanted) == whole, (jobs, sections)
