# SPDX-License-Identifier: GPL-2.0-only
"""Who allocated pages that nothing leads to, against what a kernel says that keeps it.

The kernel is built for this (support/allocating_kernel.py). Its own files of allocations were read
right before the dump.
"""

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


KINDS = ("unknown", "large_kmalloc")
"""Kinds whose names are sites."""
BOOTS = {
    "tags and stacks": COMMAND_LINE,
    "stacks": f"{COMMAND_LINE} sysctl.vm.mem_profiling=never",
    "tags": "",
}
MOST_MOVED = 4
"""Allocations that may come or go between the readings and the dump."""
SHOWN = 200
"""Pages of which all facts are compared."""


@dataclass(frozen=True)
class Dumped:
    """A core, beside the kernel's files."""

    kernel: BuiltKernel
    core: Path

    def text(self, name: str) -> str:
        return self.core.with_name(name).read_text(errors="replace")

    @cache  # noqa: B019 - it lives as long as the dump
    def said_by(self, *args: object) -> dict[str, Any]:
        done = pageinspect(*args, "-c", self.core, "--format", "json")
        # The kernel has no modules, so owners are not complete.
        assert done.returncode in {0, 3}, done.stderr
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
        found: Counter[str] = Counter()
        for row in self.said_by("owners", "--by", "name", "--top", 0)["rows"]:
            if row["kind"] in KINDS:
                found[row["name"]] += row["pages"]
        return found

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
        program.close_stdin()
        assert program.wait(120) == 0, program.stderr
        for name in guest.run(["ls", FOLDER]).stdout.decode().split():
            (folder / name).write_bytes(guest.run(["cat", f"{FOLDER}/{name}"]).stdout)
    correct_header(core)
    yield Dumped(kernel, core)
    for file in folder.iterdir():
        file.unlink()
