"""Reports do not depend on how a walk is cut up: processes, size of pieces, mapped or read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted import COUNTERS
from drgn import FaultError
from kpageflags_rules import NEWEST
from sections import FIRST, N, census_of, sound, wounds
from synthetic import MODERN, SIZE, Memory

from pageinspect.cli import walking
from pageinspect.cli.commands import check, export, summary
from pageinspect.cli.commands import list as list_command
from pageinspect.cli.parser import build_parser
from pageinspect.inspector import check as check_module
from pageinspect.inspector import fold
from pageinspect.inspector import inspector as inspector_module
from pageinspect.inspector import summary as summary_module
from pageinspect.inspector.inspector import Inspector
from pageinspect.kernel import kpageflags_rules
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.kpageflags import Online
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target

ISLANDS = [FIRST + 2 * i * SECTION_PFNS for i in range(3)]
"""First pfns of the memory made here: each island lies in two sections, and no section is full."""
START, END = 7 * SECTION_PFNS, 13 * SECTION_PFNS
SPANNED = tuple((first, first + N) for first in ISLANDS)
COMMANDS = [
    ["summary"],
    ["summary", "--by", "use"],
    ["summary", "--by", "zone", "--by", "order", "--use", "buddy,kernel,conflict"],
    ["list", "--format", "csv"],
    ["list", "--type", "buddy,slab", "--format", "json"],
    ["check", "--format", "json"],
    ["export"],
]


@dataclass
class Reads:
    """A Program that can be asked for memory and for nothing else: no symbol, no type."""

    words: np.ndarray
    there: np.ndarray
    core_dump_path: str | None

    def read(self, address: int, size: int) -> bytes:
        first, rest = divmod(address - MODERN.vmemmap, SIZE)
        assert rest == 0
        part = slice(first - START, first - START + size // SIZE)
        if part.start < 0 or part.stop > len(self.there) or not self.there[part].all():
            raise FaultError("not there", address)
        return self.words[part].tobytes()


class Mapped:
    def __init__(self, prog: Reads) -> None:
        self._prog = prog

    def read(self, first: int, n: int) -> np.ndarray | None:
        part = slice(first - START, first - START + n)
        return self._prog.words[part] if self._prog.there[part].all() else None

    def give_back(self) -> None:
        pass


def damaged(seed: int) -> tuple[Reads, MemoryMap]:
    rng = np.random.default_rng(seed)
    words = np.zeros((END - START, SIZE // 8), np.uint64)
    there = np.zeros(len(words), np.bool_)
    for first in ISLANDS:
        memory = Memory(N, MODERN, first)
        sound(memory, rng)
        wounds(memory, rng)
        place = slice(first - START, first - START + N)
        words[place], there[place] = memory.words, True
    there[ISLANDS[1] - START + 1024 :][:64] = False
    some = census_of(rng)
    return Reads(words, there, None), MemoryMap(SPANNED, some.zones, pcp=some.pcp, max_pfn=END)


@pytest.fixture(params=range(2))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Damaged memory in place of the kernel that the commands open."""
    prog, memory_map = damaged(request.param)
    target = Target(prog, Provenance("7.0", "core", "btf"), {})  # type: ignore[arg-type]
    for module in (check, export, list_command, summary):
        monkeypatch.setattr(module, "open_target", lambda _args: target)
    monkeypatch.setattr(
        inspector_module, "inspect", lambda _: Inspector(target, MODERN, memory_map)
    )
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
