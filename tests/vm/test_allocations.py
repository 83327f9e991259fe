# SPDX-License-Identifier: GPL-2.0-only
"""Who allocated pages that nothing leads to, against what a kernel says that keeps it.

The kernel is built for this (support/allocating_kernel.py). Its own files of allocations were read
right before the dump.
"""

import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
from allocating_kernel import COMMAND_LINE, allocating_kernel
from owned_guest import correct_header, pageinspect

from pageinspect.errors import PageInspectError
from pageinspect.vm.errors import GuestTimeoutError
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

pytestmark = [pytest.mark.whole, pytest.mark.timeout(3600)]

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/allocations.py"
FOLDER = "/run/allocations"
CAPTURED = b"allocations: captured"
PIPE_PAGES, PIPES = 256, 4
"""As in programs/allocations.py."""
_TIMEOUT_S = 600.0


STATUSES = {0, 3}
"""3: without memory hotplug, the kernel frees its list of boot-time allocations."""
KINDS = ("unknown", "large_kmalloc")
"""Kinds whose names are sites."""
BOOTS = {
    "tags and stacks": COMMAND_LINE,
    "stacks": f"{COMMAND_LINE} sysctl.vm.mem_profiling=never",
    "tags": "",
}
MOST_MOVED = 4
"""Allocations that may come or go between the readings and the dump."""
MOST_UNNAMED = 64
"""Pages without a site: those from before the kernel kept any, but for reserved ones."""
SHOWN = 100
"""Allocations of which all facts are compared."""


def named(answer: dict[str, Any]) -> Counter[str]:
    """Return pages by name, of the kinds whose names are sites."""
    found: Counter[str] = Counter()
    for row in answer["rows"]:
        if row["kind"] in KINDS:
            found[row["name"]] += row["pages"]
    return found


@dataclass(frozen=True, eq=False)
class Dumped:
    """A core, beside the kernel's files."""

    kernel: BuiltKernel
    core: Path
    live: dict[str, Any]
    """What `owners --by name` said in the guest, after the dump."""

    def text(self, name: str) -> str:
        path = self.core.with_name(name)
        return path.read_text(errors="replace") if path.exists() else ""

    @cache  # noqa: B019 - it lives as long as the dump
    def said_by(self, *args: object) -> dict[str, Any]:
        done = pageinspect(*args, "-c", self.core, "--format", "json")
        assert done.returncode in STATUSES, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @cached_property
    def stacks(self) -> dict[int, tuple[int, list[str]]]:
        """Return order and functions of each allocation by its first pfn, as page_owner has it."""
        found = {}
        for text in self.text("page_owner").split("\n\n"):
            head = re.match(r"Page allocated via order (\d+),.*\nPFN (0x[0-9a-f]+|\d+) ", text)
            if head:
                functions = re.findall(r"^ ([\w.]+)\+0x", text, re.MULTILINE)
                found[int(head[2], 0)] = int(head[1]), functions
        return found

    @cached_property
    def tags(self) -> Counter[str]:
        """Return bytes by tag, as the names of owners have it."""
        found: Counter[str] = Counter()
        line = re.compile(r"\s*(-?\d+)\s+\d+ (\S+):(\d+) func:(\S+)")
        for match in map(line.match, self.text("allocinfo").splitlines()):
            if match:
                found[f"{match[4]} ({match[2]}:{match[3]})"] += int(match[1])
        return found

    @cached_property
    def names(self) -> Counter[str]:
        """Return pages by name, of the kinds whose names are sites."""
        return named(self.said_by("owners", "--by", "name", "--top", 0))

    @cached_property
    def pfns(self) -> set[int]:
        """Return the pfns of these kinds."""
        owners = [word for kind in KINDS for word in ("--owner", kind)]
        runs = self.said_by("list", *owners)["runs"]
        return {pfn for run in runs for pfn in range(run["start"], run["end"])}

    @cached_property
    def allocations(self) -> dict[int, tuple[int, list[str]]]:
        """Return those of `stacks` whose first pages are of these kinds."""
        return {pfn: stack for pfn, stack in self.stacks.items() if pfn in self.pfns}


@pytest.fixture(scope="module")
def kernel() -> BuiltKernel:
    try:
        return allocating_kernel()
    except PageInspectError as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.fixture(scope="module", params=BOOTS)
def dumped(
    request: pytest.FixtureRequest, kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dumped]:
    folder = tmp_path_factory.mktemp("allocations")
    core = folder / "core"
    with Guest(kernel, memory="1G", append=BOOTS[request.param]) as guest:
        program = guest.start(["python3", "-P", PROGRAM, FOLDER])
        end = time.monotonic() + _TIMEOUT_S
        while CAPTURED not in guest.log.read_bytes():
            assert time.monotonic() < end, guest.log
            try:
                raise AssertionError(f"it ended with {program.wait(0.2)}: {program.stderr!r}")
            except GuestTimeoutError:
                pass
        guest.dump(core)
        guest.resume()
        command = ["pageinspect", "owners", "--by", "name", "--top", "0", "--format", "json"]
        live = guest.run(command, timeout=300, check=False)
        assert live.status in STATUSES, live.stderr
        program.close_stdin()
        assert program.wait(120) == 0, program.stderr
        for name in guest.run(["ls", FOLDER]).stdout.decode().split():
            (folder / name).write_bytes(guest.run(["cat", f"{FOLDER}/{name}"]).stdout)
    correct_header(core)
    yield Dumped(kernel, core, json.loads(live.stdout))
    for file in folder.iterdir():
        file.unlink()


def pipes(dumped: Dumped) -> int:
    """Return the pages that are named as those with the data of pipes."""
    return sum(pages for name, pages in dumped.names.items() if name.startswith("pipe_write "))


def test_pages_have_the_names_of_those_who_allocated_them(dumped: Dumped) -> None:
    assert pipes(dumped) == PIPES * PIPE_PAGES
    unnamed = {name: pages for name, pages in dumped.names.items() if ", order " in name}
    early = sum(pages for name, pages in unnamed.items() if not name.startswith("reserved"))
    assert early <= MOST_UNNAMED, unnamed
    assert "unreadable" not in dumped.names


def test_pages_by_tag_are_those_of_allocinfo(dumped: Dumped) -> None:
    if not any(dumped.tags.values()):
        pytest.skip("this boot keeps no tags")
    tagged = {name: pages for name, pages in dumped.names.items() if name in dumped.tags}
    assert sum(tagged.values()) > PIPES * PIPE_PAGES
    bytes_of = {name: pages * 4096 for name, pages in tagged.items()}
    # A tag may have pages of other kinds as well, or objects in slabs.
    assert all(size <= dumped.tags[name] for name, size in bytes_of.items()), bytes_of
    exact = [name for name, size in bytes_of.items() if size == dumped.tags[name]]
    assert len(exact) >= len(tagged) - 2, {n: (bytes_of[n], dumped.tags[n]) for n in tagged}


def test_pages_by_stack_are_those_of_page_owner(dumped: Dumped) -> None:
    if any(dumped.tags.values()):
        pytest.skip("names are those of tags in this boot")
    pairs = {name: tuple(name.split(" via ")) for name in dumped.names if " via " in name}
    assert len(pairs) > 5
    expected: Counter[str] = Counter()
    for order, functions in dumped.allocations.values():
        # Innermost first, so the allocator comes before the one that called it.
        calls = set(itertools.pairwise(functions))
        names = [name for name, (caller, entry) in pairs.items() if (entry, caller) in calls]
        assert len(names) <= 1, functions
        for name in names:
            expected[name] += 1 << order
    found = Counter({name: pages for name, pages in dumped.names.items() if name in pairs})
    moved = (expected - found).total() + (found - expected).total()
    assert moved <= MOST_MOVED, (expected - found, found - expected)


def test_a_page_shows_its_tag_and_its_stack(dumped: Dumped) -> None:
    step = max(len(dumped.pfns) // SHOWN, 1)
    chosen = sorted(dumped.allocations or dumped.pfns)[::step]
    pages = dumped.said_by("page", *chosen)["pages"]
    assert len(pages) == len(chosen)
    wrong = []
    for page in pages:
        tag, stack = page.get("allocation_tag"), page.get("allocation_stack")
        if tag is not None:
            assert page["owner"]["name"] == f"{tag['function']} ({tag['file']}:{tag['line']})"
            assert page["owner"]["name"] in dumped.tags
        if stack is None:
            continue
        expected = dumped.allocations[page["pfn"]]
        if (stack["order"], stack["functions"]) != expected:
            wrong.append((page["pfn"], stack, expected))
    assert len(wrong) <= MOST_MOVED, wrong
    assert any("allocation_tag" in page for page in pages) == any(dumped.tags.values())
    assert any("allocation_stack" in page for page in pages) == bool(dumped.stacks)


def test_the_counters_agree(dumped: Dumped) -> None:
    answer = dumped.said_by("owners")
    verdicts = {check["name"]: check["verdict"] for check in answer["counters"]}
    assert set(verdicts.values()) <= {"verified", "explained"}, answer["counters"]
    assert verdicts["memmap"] == "verified"
    assert answer["total"]["pages"] == answer["coverage"]["spanned"]


def test_debug_information_changes_nothing(dumped: Dumped) -> None:
    vmlinux = dumped.kernel.vmlinux
    answer = dumped.said_by("owners", "--by", "name", "--top", 0, "-s", vmlinux)
    # It may lead to memory of more variables, whose pages have signatures otherwise.
    sites = [
        {k: n for k, n in of.items() if ", order " not in k} for of in (named(answer), dumped.names)
    ]
    assert sites[0] == sites[1]


def test_a_live_kernel(dumped: Dumped) -> None:
    found = named(dumped.live)
    assert {name for name in found if "pipe_write " in name} <= set(dumped.names)
    assert sum(pages for name, pages in found.items() if name.startswith("pipe_write ")) >= (
        PIPES * PIPE_PAGES
    )
