# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: take known amounts of memory, give them back, and say what the kernel says.

grow.py FOLDER: after a line of input it reads the kernel's files, says so on the console, and spins
until the next line. This happens before the memory is taken, when it is taken, and when it is given
back. FOLDER then has the kernel's files, and what was taken. The guest is to have the module
leak_pages, a device zram0 that may be written, and an empty tmpfs in /run/grown.
"""

import ctypes
import gc
import json
import mmap
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from owner_witness import AFTER, PAGE, Pages, Source, touched  # noqa: E402

MOMENTS = ("before", "after", "undone")
FILES, ZRAM_BYTES, EARLIER_BYTES, LEAKED = 200, 32 << 20, 4 << 20, 1000
CHILD, CHILD_PAGES = "grown", 4096
GROWN = Path("/run/grown")
CHUNK = 1 << 20
NOHUGEPAGE = 15
DELETE_MODULE = 176
OF_THE_KERNEL = ("/sys/block/zram0/mm_stat", "/proc/meminfo", "/proc/zoneinfo", "/proc/vmstat")


def pages_of(number: int) -> int:
    """Return the pages of a file."""
    return 1 + number % 7


class Witness:
    """Reads the kernel's files at each moment."""

    def __init__(self) -> None:
        self._console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
        self._refresh = os.open("/proc/sys/vm/stat_refresh", os.O_WRONLY)
        self._pages, self._after = (
            {moment: Pages("/proc/kpageflags", suffix) for moment in MOMENTS}
            for suffix in ("", AFTER)
        )
        self._sources: dict[str, Source] = {}
        self.texts: dict[str, dict[str, str]] = {}
        for pages in self._pages.values():
            pages.read()

    def read(self, moment: str) -> None:
        """Read all, say so, and spin until there is input."""
        paths = [
            str(path / "smaps_rollup")
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and (path / "maps").read_text()
        ]
        paths += OF_THE_KERNEL
        self._sources = {path: self._sources.get(path) or Source(path) for path in paths}
        # What was freed with a delay is free by then.
        time.sleep(1)
        self._pages[moment].read()
        os.write(self._refresh, b"1")
        for source in self._sources.values():
            source.read()
        os.write(self._console, f"grow: {moment}\n".encode())
        while not select.select([0], [], [], 0)[0]:
            pass
        self._after[moment].read()
        sys.stdin.readline()
        self.texts[moment] = {path: source.text for path, source in self._sources.items()}

    def write(self, folder: Path) -> None:
        for moment in MOMENTS:
            (folder / moment).mkdir(parents=True)
            self._pages[moment].write(folder / moment)
            self._after[moment].write(folder / moment)


class Grown:
    """The memory."""

    def __init__(self) -> None:
        self._chunk = touched(CHUNK)
        self._chunk[:] = os.urandom(CHUNK)
        self._zram = os.open("/dev/zram0", os.O_WRONLY | os.O_DIRECT)
        self._leak = os.open("/sys/module/leak_pages/parameters/pages", os.O_WRONLY)
        self._child = 0
        self._fill_zram(0, EARLIER_BYTES)
        # What a first file and a first child need is there then.
        self._write_file(FILES)
        self._path(FILES).unlink()
        self._fork(1)
        self._end_child()

    def take(self) -> None:
        self._fill_zram(EARLIER_BYTES, ZRAM_BYTES)
        for number in range(FILES):
            self._write_file(number)
        self._fork(CHILD_PAGES)
        os.write(self._leak, str(LEAKED).encode())

    def give_back(self) -> None:
        self._end_child()
        os.close(self._leak)
        assert ctypes.CDLL(None).syscall(DELETE_MODULE, b"leak_pages", 0) == 0
        for number in range(FILES):
            self._path(number).unlink()
        os.close(self._zram)
        Path("/sys/block/zram0/reset").write_text("1")

    def facts(self) -> dict[str, Any]:
        """Return what is taken."""
        leaked = Path("/sys/kernel/debug/leak_pages").read_bytes()
        return {
            "files": {str(self._path(n)): pages_of(n) for n in range(FILES)},
            "child": self._child,
            "parent": os.getpid(),
            "leaked": memoryview(leaked).cast("Q").tolist(),
        }

    def _fill_zram(self, at: int, size: int) -> None:
        for place in range(at, at + size, CHUNK):
            assert os.pwrite(self._zram, self._chunk, place) == CHUNK

    @staticmethod
    def _path(number: int) -> Path:
        return GROWN / f"file{number}"

    def _write_file(self, number: int) -> None:
        with self._path(number).open("wb", buffering=0) as file:
            file.write(self._chunk[: pages_of(number) * PAGE])

    def _fork(self, pages: int) -> None:
        end, write = os.pipe()
        self._child = os.fork()
        if not self._child:
            Path("/proc/self/comm").write_text(CHILD)
            memory = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(NOHUGEPAGE)
            for page in range(pages):
                memory[page * PAGE] = 1
            os.write(write, b"1")
            while True:
                signal.pause()
        os.read(end, 1)
        os.close(end)
        os.close(write)

    def _end_child(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)


def main() -> None:
    folder = Path(sys.argv[1])
    grown, witness = Grown(), Witness()
    gc.collect()
    gc.freeze()
    gc.disable()
    os.write(1, b"ready\n")
    sys.stdin.readline()
    witness.read("before")
    grown.take()
    facts = grown.facts()
    witness.read("after")
    grown.give_back()
    witness.read("undone")
    witness.write(folder)
    (folder / "grown.json").write_text(json.dumps({**facts, "texts": witness.texts}))


main()
