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
from functools import cached_property
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


@dataclass(frozen=True)
class Dumped:
    """A core, beside the kernel's files."""

    kernel: BuiltKernel
    core: Path

    def text(self, name: str) -> str:
        return self.core.with_name(name).read_text(errors="replace")

    def said_by(self, *args: object) -> dict[str, Any]:
        done = pageinspect(*args, "-c", self.core, "--format", "json")
        # The kernel has no modules, so owners are not complete.
        assert done.returncode in {0, 3}, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @cached_property
    def stacks(self) -> dict[int, tuple[int, list[str]]]:
        """Return order and functions of the allocation of each first page, by page_owner."""
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
        rows = self.said_by("owners", "--by", "name", "--top", 0)["rows"]
        found: Counter[str] = Counter()
        for row in rows:
            if row["kind"] in {"unknown", "large_kmalloc"}:
                found[row["name"]] += row["pages"]
        return found


@pytest.fixture(scope="module")
def kernel() -> BuiltKernel:
    try:
        return allocating_kernel()
    except PageInspectError as error:
        pytest.skip(f"{error.message} ({error.hint})")


@pytest.fixture(scope="module")
def dumped(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dumped]:
    folder = tmp_path_factory.mktemp("allocations")
    core = folder / "core"
    with Guest(kernel, memory="1G", append=COMMAND_LINE) as guest:
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
        for name in ("page_owner", "allocinfo"):
            (folder / name).write_bytes(guest.run(["cat", f"{FOLDER}/{name}"]).stdout)
    correct_header(core)
    yield Dumped(kernel, core)
    for file in folder.iterdir():
        file.unlink()
