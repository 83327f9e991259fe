# SPDX-License-Identifier: GPL-2.0-only
"""A guest whose memory has owners of every kind, dumped, beside what its kernel says of it.

The guest is paused right after its own files were read (tests/vm/programs/owner_witness.py), so
that the core shows what they say.
"""

import functools
import json
import os
import re
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pageinspect.vm.errors import GuestTimeoutError
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

PROGRAM = "/opt/pageinspect/src/tests/vm/programs/make_owners.py"
FOLDER = "/run/owners"
CAPTURED = b"owners: captured"
BALLOON = 64 << 20
CRASHKERNEL = 64 << 20
PAGE = 4096
_DISK = 64 << 20
_TIMEOUT_S = 480.0
_EHDR = 64

Makedumpfile = Callable[..., bytes]
Words = npt.NDArray[np.uint64]

_LEAST_STAYED = 0.95
"""The least share of pages of which kpageflags says the same on both sides of the dump."""


@contextmanager
def formatted_disk() -> Iterator[int]:
    """Give a descriptor of a disk with an empty file system, ext2, which ext4's driver mounts."""
    disk = os.memfd_create("data")
    try:
        os.truncate(disk, _DISK)
        # The page cache has whole blocks: of smaller ones parts of a page may be read alone.
        subprocess.run(
            ["busybox", "mke2fs", "-F", "-b", str(PAGE), f"/proc/self/fd/{disk}"],
            pass_fds=[disk],
            check=True,
            capture_output=True,
        )
        yield disk
    finally:
        os.close(disk)


def correct_header(core: Path) -> None:
    """Complete the header of QEMU's ELF core, and move its segments to where makedumpfile looks.

    QEMU before 8.0 writes a wrong e_ehsize, and section headers first.
    """
    with core.open("r+b") as file:
        header = bytearray(file.read(_EHDR))
        (place,) = struct.unpack_from("<Q", header, 32)
        (number,) = struct.unpack_from("<H", header, 56)
        file.seek(place)
        segments = file.read(56 * number)
        assert _EHDR + len(segments) <= struct.unpack_from("<Q", segments, 8)[0]
        struct.pack_into("<QQ", header, 32, _EHDR, 0)
        struct.pack_into("<H", header, 52, _EHDR)
        struct.pack_into("<HH", header, 60, 0, 0)
        file.seek(0)
        file.write(header + segments)


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Owned:
    """A core of level 0, and what was known of its guest."""

    kernel: BuiltKernel
    core: Path
    witness: dict[str, Any]
    makedumpfile: Makedumpfile

    def refiltered(self, level: int) -> Path:
        """Return the core without the pages of a dump level, made when it is first asked for."""
        path = self.core.with_name(f"level-{level}")
        if not path.exists():
            self.makedumpfile("-l", "-d", level, self.core, path)
        return path

    def text(self, name: str) -> str:
        """Return a file of /proc."""
        text: str = self.witness["texts"][f"/proc/{name}"]
        return text

    @functools.cached_property
    def meminfo(self) -> dict[str, int]:
        """Return pages, not kB; HugePages_* are huge pages."""
        found = {}
        for line in self.text("meminfo").splitlines():
            name, number, *unit = line.replace(":", "").split()
            found[name] = int(number) // 4 if unit else int(number)
        return found

    @functools.cached_property
    def vmstat(self) -> dict[str, int]:
        return {name: int(n) for name, n in map(str.split, self.text("vmstat").splitlines())}

    def of_processes(self, name: str) -> dict[int, str]:
        """Return a file of every process by pid."""
        found = {}
        for path, text in self.witness["texts"].items():
            match = re.fullmatch(rf"/proc/(\d+)/{name}", path)
            if match is not None:
                found[int(match[1])] = text
        return found

    def pages_of(self, name: str) -> Words:
        """Return the kernel's file of 8 bytes per pfn."""
        return np.fromfile(self.core.with_name(name), np.uint64)

    @functools.cached_property
    def stayed(self) -> npt.NDArray[np.bool_]:
        """Return by pfn of which pages kpageflags said the same before the dump and after it.

        Of others it is not known what they were in the dump: CPUs give back what is on their lists.
        """
        before, after = (self.pages_of(f"kpageflags{suffix}") for suffix in ("", ".after"))
        same: npt.NDArray[np.bool_] = before == after
        assert same.mean() > _LEAST_STAYED
        return same

    def said_by(self, *args: object) -> dict[str, Any]:
        """Return what a command says of the core: a JSON document, asked for once."""
        return _answer(self.core, args)

    def rows(self, by: str) -> list[dict[str, Any]]:
        """Return the rows of owners, without the sums of pages that have no such owner."""
        rows: list[dict[str, Any]] = self.said_by("owners", "--by", by)["rows"]
        return [row for row in rows if row["name"] not in ("(other kinds)", "(not charged)")]

    def by(self, by: str, kind: str | None = None) -> Counter[str]:
        """Return the pages of each name, of one kind or of all."""
        found: Counter[str] = Counter()
        for row in self.rows(by):
            if kind is None or row["kind"] == kind:
                found[row["name"] or ""] += row["pages"]
        return found

    @property
    def kinds(self) -> Counter[str]:
        return Counter({row["kind"]: row["pages"] for row in self.rows("kind")})


@functools.cache
def _answer(core: Path, args: tuple[object, ...]) -> dict[str, Any]:
    done = pageinspect(*args, "-c", core, "--format", "json")
    # What it could not read is in the document, and there are tests that there is nothing.
    assert done.returncode in {0, 3}, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@contextmanager
def owned(
    kernel: BuiltKernel,
    folder: Path,
    makedumpfile: Makedumpfile,
    *,
    memory: str = "2G",
    idle: bool = False,
) -> Iterator[Owned]:
    """Dump a guest with memory of many owners; or with `idle` one that has nothing to do."""
    core = folder / "core"
    append = "" if idle else f"crashkernel={CRASHKERNEL >> 20}M"
    with (
        formatted_disk() as disk,
        Guest(kernel, memory=memory, append=append, scratch={"data": disk}) as guest,
    ):
        if not idle:
            guest.balloon(guest.memory - BALLOON)
        program = guest.start(["python3", "-P", PROGRAM, FOLDER, *(["--idle"] if idle else [])])
        end = time.monotonic() + _TIMEOUT_S
        while CAPTURED not in guest.log.read_bytes():
            assert time.monotonic() < end, guest.log
            try:
                # Shortly: until the guest is paused, its kernel may change what was read.
                raise AssertionError(f"it ended with {program.wait(0.02)}: {program.stderr!r}")
            except GuestTimeoutError:
                pass
        guest.dump(folder / "elf")
        guest.resume()
        program.close_stdin()
        assert program.wait(120) == 0, program.stderr
        for name in guest.run(["ls", FOLDER]).stdout.decode().split():
            (folder / name).write_bytes(guest.run(["cat", f"{FOLDER}/{name}"]).stdout)
    correct_header(folder / "elf")
    makedumpfile("-l", "-d", "0", folder / "elf", core)
    (folder / "elf").unlink()
    yield Owned(kernel, core, json.loads((folder / "witness.json").read_text()), makedumpfile)
    for file in folder.iterdir():
        file.unlink()
