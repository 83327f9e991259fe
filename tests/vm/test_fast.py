# SPDX-License-Identifier: GPL-2.0-only
"""The fast ways of reading give what the plain one does, on cores of real kernels."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

SECTION = 32768
FILL = """
echo 6 > /proc/sys/vm/nr_hugepages
echo always > /sys/kernel/mm/transparent_hugepage/enabled
find /usr/lib -type f -size -64k -exec cat {} + > /dev/null
"""


def dumped(guest: Guest, script: str, core: Path) -> Path:
    """Write an ELF core, and beside it one of each compressed format that QEMU knows."""
    guest.run(["sh", "-c", script])
    guest.dump(core)
    known = guest.qmp("query-dump-guest-memory-capability")["formats"]
    for form in {"kdump-lzo", "kdump-snappy", "kdump-zlib"} & set(known):
        place = f"file:{core.with_suffix('.' + form)}"
        guest.qmp("dump-guest-memory", timeout=300.0, paging=False, protocol=place, format=form)
    return core


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("6.1", marks=pytest.mark.whole),
        # The same kernel with HVO has more ways to map its vmemmap.
        pytest.param("6.12", marks=pytest.mark.whole),
        "newest",
        "6.12 with HVO",
    ],
)
def core(
    request: pytest.FixtureRequest,
    ready: Callable[[str], BuiltKernel],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A core of each kernel, and of one whose vmemmap is in pages of 4 KiB, many of them one."""
    name, _, hvo = request.param.partition(" with ")
    place = tmp_path_factory.mktemp("fast") / "core"
    append = "hugetlb_free_vmemmap=on" if hvo else ""
    fill = FILL.replace("6 >", "32 >") if hvo else FILL
    with Guest(ready(name), memory="1G", append=append) as guest:
        yield dumped(guest, fill, place)
    for file in place.parent.iterdir():
        file.unlink()


def output(*args: object) -> str:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr
    return done.stdout


def test_mapped_words_are_those_that_drgn_reads(core: Path) -> None:
    asked: Inspector = inspect(open_target(core)).mapping()
    mapped, size = asked.mapped, asked.layout.struct_size
    assert mapped is not None
    for start, end in asked.memory_map.spanned:
        for first in range(start, end, SECTION):
            n = min(SECTION, end - first)
            words = mapped.read(first, n)
            assert words is not None
            read = asked.target.prog.read(asked.layout.vmemmap + first * size, n * size)
            assert np.array_equal(words.reshape(-1), np.frombuffer(read, np.uint64))


@pytest.mark.parametrize(
    "command",
    [
        ["summary", "--by", "use"],
        ["summary", "--by", "type"],
        ["summary", "--by", "zone", "--by", "order", "--use", "buddy,file"],
        ["list", "--format", "csv"],
        ["list", "--pfn", "0x7f00+0x300", "--pfn", "0x10001+0xffff"],
        ["check", "--format", "json"],
    ],
    ids=" ".join,
)
def test_answers_do_not_depend_on_jobs(core: Path, command: list[str]) -> None:
    plain = output(*command, "-c", core, "-j", 1)
    assert len(plain) > 200
    assert output(*command, "-c", core, "-j", 3) == plain
    assert output(*command, "-c", core) == plain


def test_answers_do_not_depend_on_the_format(core: Path) -> None:
    others = sorted(core.parent.glob("core.kdump-*"))
    assert others
    for command in (["summary", "--by", "use"], ["list"], ["check"]):
        plain = output(*command, "-c", core, "-j", 1)
        for other in others:
            for jobs in (1, 3):
                assert output(*command, "-c", other, "-j", jobs) == plain, (other, jobs)


def test_export_does_not_depend_on_jobs(core: Path, tmp_path: Path) -> None:
    files = [(tmp_path / f"flags{jobs}", tmp_path / f"counts{jobs}") for jobs in (1, 3)]
    for jobs, (flags, counts) in zip((1, 3), files, strict=True):
        output("export", "-c", core, "--kpageflags", flags, "--kpagecount", counts, "-j", jobs)
    for plain, fast in zip(*files, strict=True):
        assert plain.read_bytes() == fast.read_bytes()


def test_runs_are_what_pages_are(core: Path) -> None:
    asked = inspect(open_target(core))
    for detail in ("use", "all"):
        runs = list(asked.runs(detail=detail))  # type: ignore[arg-type]
        for name in ("use", "code", "order", "head", "freeing"):
            plain = np.concatenate([getattr(pages, name) for pages in asked.pages()])
            spread = [np.repeat(getattr(pages, name), pages.lengths) for pages in runs]
            assert np.array_equal(np.concatenate(spread), plain), name


def test_cached_symbols_change_nothing(
    core: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    first = output("page", "0x4000", "0x8001", "-c", core)
    kept = sorted((tmp_path / "symbols").iterdir())
    assert len(kept) == 2
    before = [file.stat().st_mtime_ns for file in kept]
    assert output("page", "0x4000", "0x8001", "-c", core) == first
    assert [file.stat().st_mtime_ns for file in kept] == before
