# SPDX-License-Identifier: GPL-2.0-only
"""Real kdumps: what the kernel said right before it panicked, and every form of the same core.

One dump of each kernel is converted, by makedumpfile on this host, into the forms of FORMS. All of
KERNELS x FORMS x SYMBOLS is `make test-all`; what CI runs touches each form, with each kind of
symbols.
"""

import functools
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pytest
from guest_quiet import QUIET
from owned_guest import Makedumpfile
from places import DOCS

from pageinspect.model.kpageflags import Kpf
from pageinspect.target.core_formats import flattened
from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

MEMORY = "512M"
MOST_DIFFERENCES = 64
BUSY = """
modprobe zram num_devices=1
echo 64M > /sys/block/zram0/disksize
dd if=/dev/urandom of=/dev/zram0 bs=1M count=16
echo 5 > /proc/sys/vm/nr_hugepages
echo always > /sys/kernel/mm/transparent_hugepage/enabled
python3 -c '
import mmap, time
held = mmap.mmap(-1, 24 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
held.madvise(mmap.MADV_HUGEPAGE)
held.write(b"x" * (20 << 20))
print("held", flush=True)
time.sleep(1e6)
' > /run/held 2>&1 &
until grep -q held /run/held; do sleep 0.1; done
"""

FORMS = {
    "elf": None,  # as the capture kernel wrote it
    "zlib": ["-c"],
    "lzo": ["-l"],
    "zstd": ["-z"],
    "snappy": None,  # which Debian's makedumpfile cannot write: see to_snappy()
    "flattened": ["-F", "-l"],
    "flattened elf": ["-F", "-E"],
    "level 31": ["-l", "-d", "31"],
    "elf level 31": ["-E", "-d", "31"],
}
KERNELS = tuple(catalogue.kernels())
SYMBOLS = ("btf", "dwarf")
ALL = list(itertools.product(KERNELS, FORMS, SYMBOLS))
IN_CI = [
    *itertools.product(["newest"], FORMS, SYMBOLS),
    ("6.1", "elf", "dwarf"),
    ("6.1", "zlib", "btf"),
]


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def uses(core: Path, symbols: Path | None = None, jobs: int = 1) -> dict[str, Any]:
    """Return the answer of `summary --by use`, but for where it comes from."""
    options = ("--by", "use", "--format", "json", "-j", jobs)
    from_dwarf = () if symbols is None else ("-s", symbols)
    done = pageinspect("summary", "-c", core, *from_dwarf, *options)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["kernel"].pop("symbols") == ("btf" if symbols is None else "dwarf")
    notes = answer["kernel"].pop("notes", [])
    assert [f"pageinspect: {note}" for note in notes] == done.stderr.splitlines()
    return answer


@dataclass
class Dumped:
    """A kdump of one kernel, and the folder with what the kernel said."""

    kernel: BuiltKernel
    core: Path
    makedumpfile: Makedumpfile

    @property
    def said(self) -> Path:
        return self.core.with_name(f"{self.core.name}.kernel")

    @functools.cached_property
    def uses(self) -> dict[str, Any]:
        return uses(self.core)

    def to(self, form: str) -> Path:
        """Return the core in a form, converted the first time that it is asked for."""
        path = self.core.with_name(form.replace(" ", "-"))
        options = FORMS[form]
        if form == "elf":
            return self.core
        if path.exists():
            return path
        if form == "snappy":
            to_snappy(self.to("zlib"), path)
        elif options and "-F" in options:
            path.write_bytes(self.makedumpfile(*options, self.core))
        else:
            self.makedumpfile(*(options or ()), self.core, path)
        return path


def to_snappy(source: Path, target: Path) -> None:
    """Write a core that is compressed with zlib as the one that snappy would have given."""
    old = bytearray(source.read_bytes())
    block, sub_blocks, bitmap_blocks = struct.unpack_from("<iiI", old, 428)
    bitmaps = (1 + sub_blocks) * block
    table = bitmaps + bitmap_blocks * block
    dumped = old[bitmaps + bitmap_blocks * block // 2 : table]
    count = int(np.unpackbits(np.frombuffer(bytes(dumped), np.uint8)).sum())
    old[424:428] = struct.pack("<I", 4)
    page = struct.Struct("<qIIQ")
    index, data = bytearray(), bytearray()
    places: dict[int, tuple[int, int, int]] = {}
    for number in range(count):
        offset, size, flags, page_flags = page.unpack_from(old, table + number * page.size)
        if offset not in places:
            stored = bytes(old[offset : offset + size])
            assert flags in {0, 1}
            raw = zlib.decompress(stored) if flags else stored
            small = bytes(cramjam.snappy.compress_raw(raw))
            put = (small, 4) if len(small) < block else (raw, 0)
            places[offset] = (table + count * page.size + len(data), len(put[0]), put[1])
            data += put[0]
        index += page.pack(*places[offset], page_flags)
    target.write_bytes(bytes(old[:table] + index + data))


def dump(kernel: BuiltKernel, core: Path) -> None:
    """Have a guest with pages of many kinds panic and dump itself."""
    done = pageinspect(
        *("vm", "dump", kernel.name, "--memory", MEMORY, "--kdump=elf", "-o", core),
        # Nothing can be read after a panic: what would change pages until then is to be over.
        *("--", "sh", "-c", f"{BUSY}{QUIET}exit 3"),
    )
    assert done.returncode == 3, done.stderr
    assert "assembling the core" in done.stderr


@pytest.fixture(scope="module")
def dump_once(
    ready: Callable[[str], BuiltKernel],
    makedumpfile: Makedumpfile,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Dumped]]:
    """Give the dump of a kernel, made the first time that it is asked for."""
    dumps: dict[str, Dumped] = {}
    folder = tmp_path_factory.mktemp("kdump")

    def give(name: str) -> Dumped:
        if name not in dumps:
            core = folder / name / "core"
            core.parent.mkdir()
            kernel = ready(name)
            dump(kernel, core)
            dumps[name] = Dumped(kernel, core, makedumpfile)
        return dumps[name]

    yield give
    shutil.rmtree(folder)


@pytest.fixture
def dumped(request: pytest.FixtureRequest, dump_once: Callable[[str], Dumped]) -> Dumped:
    return dump_once(request.param)


each_kernel = pytest.mark.parametrize("dumped", KERNELS, indirect=True)
one_kernel = pytest.mark.parametrize("dumped", ["newest"], indirect=True)


@each_kernel
def test_the_core_is_what_the_kernel_said_right_before(dumped: Dumped, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("kpageflags", "kpagecount")]
    done = pageinspect(
        "export", "-c", dumped.core, "--kpageflags", paths[0], "--kpagecount", paths[1]
    )
    assert done.returncode == 0, done.stderr
    names = ("kpageflags", "kpagecount", "kpageflags.again")
    flags, counts, again = (np.fromfile(dumped.said / name, np.uint64) for name in names)
    ours = [np.fromfile(path, np.uint64) for path in paths]
    stable = flags == again
    assert stable.mean() > 0.99
    for said, found in zip((flags, counts), ours, strict=True):
        assert len(said) == len(found)
        assert int(((said != found) & stable).sum()) <= MOST_DIFFERENCES
    for bit, least in {Kpf.BUDDY: 20_000, Kpf.SLAB: 1000, Kpf.HUGE: 5 * 512, Kpf.THP: 512}.items():
        assert int((flags >> np.uint64(bit) & np.uint64(1)).sum()) >= least, bit.name


@each_kernel
def test_the_other_files_are_the_guests(dumped: Dumped) -> None:
    said = {path.name: path.read_bytes() for path in dumped.said.iterdir()}
    assert b"HugePages_Total:       5\n" in said["meminfo"]
    assert b"nr_zspages 0" not in said["vmstat"]
    assert said["slabinfo"].startswith(b"slabinfo - version")
    assert b"zone    DMA32" in said["zoneinfo"]
    assert said["buddyinfo"].startswith(b"Node 0, zone")


@pytest.mark.parametrize(
    ("dumped", "form", "symbols"),
    [
        pytest.param(*case, marks=() if case in IN_CI else pytest.mark.whole, id=" ".join(case))
        for case in ALL
    ],
    indirect=["dumped"],
)
def test_every_form_answers_the_same(dumped: Dumped, form: str, symbols: str) -> None:
    vmlinux = dumped.kernel.vmlinux
    if symbols == "dwarf" and vmlinux is None:
        pytest.skip(f"no vmlinux of {dumped.kernel.release}: pageinspect vm build --debuginfo")
    for jobs in (1, 2):
        found = uses(dumped.to(form), vmlinux if symbols == "dwarf" else None, jobs)
        assert found == dumped.uses, jobs


def test_ci_touches_every_value() -> None:
    for axis, values in enumerate((pytestmark.args, FORMS, SYMBOLS)):
        assert {case[axis] for case in IN_CI} == set(values)


def test_the_document_lists_every_form() -> None:
    document = (DOCS / "formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9 ]+) \|", document, re.MULTILINE)
    assert set(rows) - {"form", "split"} == set(FORMS)
    for form, options in FORMS.items():
        (row,) = re.findall(rf"^\| {form} \|.*$", document, re.MULTILINE)
        assert options is None or f"`makedumpfile {' '.join(options)}`" in row


@one_kernel
@pytest.mark.whole
@pytest.mark.parametrize("level", range(32))
def test_every_dump_level_answers_the_same(dumped: Dumped, level: int, tmp_path: Path) -> None:
    dumped.makedumpfile("-l", "-d", level, dumped.core, tmp_path / "core")
    assert uses(tmp_path / "core") == dumped.uses


@one_kernel
def test_a_split_dump_is_joined_first(dumped: Dumped, tmp_path: Path) -> None:
    parts = tmp_path / "part1", tmp_path / "part2"
    dumped.makedumpfile("--split", "-l", dumped.core, *parts)
    for part in parts:
        done = pageinspect("summary", "-c", part)
        assert done.returncode == 1
        message, hint = done.stderr.splitlines()
        assert "one part of a split dump" in message
        assert "makedumpfile --reassemble" in hint
    dumped.makedumpfile("--reassemble", *parts, tmp_path / "core")
    assert uses(tmp_path / "core") == dumped.uses


def descriptor(core: bytearray, pfn: int) -> int:
    """Return where the descriptor of a page is in a kdump: three words from there on."""
    block, sub_blocks, bitmap_blocks = struct.unpack_from("<iiI", core, 428)
    table = (1 + sub_blocks + bitmap_blocks) * block
    bits = np.frombuffer(bytes(core[table - bitmap_blocks * block // 2 : table]), np.uint8)
    dumped = np.unpackbits(bits, bitorder="little")
    assert dumped[pfn]
    return table + 24 * int(dumped[:pfn].sum())


def asked(core: Path, *args: object) -> tuple[int, dict[str, Any], str]:
    """Return status, answer and errors of a command on a core."""
    done = pageinspect(*args, "-c", core, "--format", "json")
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def physical(core: Path, address: str) -> int:
    """Return the pfn that an address of the kernel is mapped to."""
    _, answer, _ = asked(core, "page", f"virt:{address}")
    return int(answer["pages"][0]["phys"], 0) // 4096


LOST = range(0x8000 + 5 * 64, 0x8000 + 6 * 64)


@one_kernel
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_kdump_that_is_cut_off(dumped: Dumped, jobs: int, tmp_path: Path) -> None:
    source, core = dumped.to("lzo"), tmp_path / "core"
    _, answer, _ = asked(source, "page", LOST[0])
    pfn = physical(source, answer["pages"][0]["page"])
    content = bytearray(source.read_bytes())
    # The contents of a page of struct pages go to the end, just before a page of the file ends.
    at = descriptor(content, pfn)
    offset, size, flags, _ = struct.unpack_from("<QIIQ", content, at)
    end = -(-(len(content) + 64) // 4096) * 4096 - 64
    struct.pack_into("<QII", content, at, end, size, flags)
    content = content.ljust(end, b"\0") + content[offset : offset + size]
    assert size > 64
    core.write_bytes(content)
    assert uses(core, jobs=jobs) == dumped.uses
    core.write_bytes(content[:-1])
    # Only up to where a page of the file ends can it be read.
    for length in (end + 10, end + 64, len(content) - 1):
        core.write_bytes(content[:length])
        status, answer, error = asked(core, "summary", "--by", "use", "-j", jobs)
        assert status == 3, error
        assert "is cut off: the contents of 1 page of memory are missing" in error
        assert answer["coverage"]["unreadable"] == len(LOST)
        (note,) = answer["kernel"]["notes"]
        assert note in error
    status, answer, _ = asked(core, "list", "--use", "unreadable", "-j", jobs)
    assert status == 3
    assert [(run["start"], run["end"]) for run in answer["runs"]] == [(LOST.start, LOST.stop)]
    assert asked(core, "check", "-j", jobs)[0] == 3
    assert asked(core, "page", LOST[0])[0] == 3
    assert asked(core, "page", LOST.stop)[0] == 0


@one_kernel
def test_only_memory_that_is_not_to_be_dumped_is_outside(dumped: Dumped) -> None:
    for form in ("elf", "lzo", "flattened"):
        status, answer, _ = asked(dumped.to(form), "audit")
        assert (status, answer["total"]["lost"], answer["total"]["absent"]) == (0, 0, 0)
        (row,) = [row for row in answer["rows"] if row["kind"] == "crashkernel"]
        assert row["outside"] == row["pages"] > 0
        outside = sum(extent["pages"] for extent in answer["uncovered"])
        assert outside == answer["total"]["outside"]
        assert outside + answer["total"]["present"] == answer["total"]["pages"]


@one_kernel
def test_a_page_that_a_dump_should_have(dumped: Dumped, tmp_path: Path) -> None:
    source, core = dumped.to("lzo"), tmp_path / "core"
    _, answer, _ = asked(source, "list", "--use", "file")
    start = answer["runs"][0]["start"]
    _, answer, _ = asked(source, "page", start)
    (page,) = answer["pages"]
    assert page["file"]["inode"]
    pfn = physical(source, page["mapping"])
    content = bytearray(source.read_bytes())
    # Contents of no length: it stays so that no page behind it moves.
    struct.pack_into("<QII", content, descriptor(content, pfn), 0, 0, 0)
    core.write_bytes(content)
    status, answer, error = asked(core, "page", start)
    assert (status, error) == (3, "")
    assert answer["pages"][0]["file"] is None
    missing = answer["coverage"]["missing"]
    assert f"Pages are missing: pfn {pfn:#x} (slab)." in missing
    assert f"pageinspect audit -c {core}" in missing[-1]
    status, answer, _ = asked(core, "audit")
    assert status == 4
    assert answer["ranges"] == [{"start": pfn, "end": pfn + 1, "pages": 1}]
    shown = pageinspect("page", start, "-c", core).stdout
    assert f"pfn {pfn:#x} (slab)" in shown.replace("\n", " ")
    assert asked(source, "page", start)[0] == 0


@one_kernel
def test_a_path_of_any_bytes(dumped: Dumped, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9\x1b")
    folder.mkdir()
    for form in ("elf", "lzo"):
        core = folder / form
        core.symlink_to(dumped.to(form))
        for jobs in (1, 2):
            assert uses(core, jobs=jobs) == dumped.uses
    core = folder / "cut"
    core.write_bytes(dumped.to("lzo").read_bytes()[:-1])
    done = pageinspect("summary", "-c", core, "--format", "json")
    assert done.returncode == 3
    (note,) = json.loads(done.stdout)["kernel"]["notes"]
    assert r"/caf\udce9\x1b/cut is cut off" in note
    assert note in done.stderr


@one_kernel
def test_a_flattened_core_that_is_cut_off(dumped: Dumped, tmp_path: Path) -> None:
    whole, core = dumped.to("flattened").read_bytes(), tmp_path / "core"
    core.write_bytes(whole[:-16])
    status, answer, error = asked(core, "summary", "--by", "use")
    assert status == 3
    assert "is cut off, after the last page of memory" in error
    assert answer["rows"] == dumped.uses["rows"]
    core.write_bytes(whole[: len(whole) // 2])
    done = pageinspect("summary", "-c", core)
    notes = [line for line in done.stderr.splitlines() if "is cut off: the contents of" in line]
    assert (done.returncode, len(notes)) == (1, 1)


@one_kernel
def test_a_flattened_core_says_what_is_faster(dumped: Dumped) -> None:
    core = dumped.to("flattened")
    done = pageinspect("types", "-c", core)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert f"makedumpfile -R CORE < {core}" in line


def test_qemus_own_kdump(
    ready: Callable[[str], BuiltKernel], makedumpfile: Makedumpfile, tmp_path: Path
) -> None:
    """QEMU writes it flattened, with a header that drgn does not take."""
    with Guest(ready("6.12"), memory=MEMORY) as guest:
        guest.dump(tmp_path / "elf")
        qemus, joined = tmp_path / "kdump", tmp_path / "joined"
        asked = {"paging": False, "protocol": f"file:{qemus}", "format": "kdump-zlib"}
        guest.qmp("dump-guest-memory", timeout=600.0, **asked)
    makedumpfile("-R", joined, stdin=qemus)
    with qemus.open("rb") as source, (tmp_path / "ours").open("wb") as ours:
        flattened.rearrange(source, ours)
    assert (tmp_path / "ours").read_bytes() == joined.read_bytes()
    expected = uses(tmp_path / "elf")
    for core in (qemus, joined):
        before = core.read_bytes()
        assert uses(core) == expected
        assert core.read_bytes() == before
        (line,) = pageinspect("types", "-c", core).stderr.splitlines()
        assert "temporary copy with a completed header" in line


def test_a_guest_that_cannot_dump_itself_is_one_line(
    ready: Callable[[str], BuiltKernel], tmp_path: Path
) -> None:
    options = ("--kdump", "--append", "crashkernel=0", "-o", tmp_path / "core")
    done = pageinspect("vm", "dump", ready("6.12").name, *options)
    assert done.returncode == 125
    said = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(said) == 1, done.stderr
    assert "crashkernel" in said[0]
    assert list(tmp_path.iterdir()) == []
