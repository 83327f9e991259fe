"""Dumps of busy guests: BTF against DWARF, and counts against the kernel's own counters."""

import csv
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from drgn import Program
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.percpu import per_cpu_ptr

from pageinspect.layout import build_layout
from pageinspect.survey import Survey, survey
from pageinspect.target import open_target
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

FILL_ZRAM = (
    "modprobe zram num_devices=1 && echo 64M > /sys/block/zram0/disksize && "
    "dd if=/dev/urandom of=/dev/zram0 bs=1M count=32 && echo 5 > /proc/sys/vm/nr_hugepages"
)
BUSY = "while :; do head -c 3000000 /dev/urandom > /tmp/$1; ls -R /usr/lib > /dev/null; done"


@dataclass(frozen=True)
class Core:
    """A core, and what the guest's kernel said just before."""

    path: Path
    vmlinux: Path
    meminfo: dict[str, int]


@pytest.fixture(scope="module")
def core(kernel: BuiltKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """Dump a guest of each kernel while it is busy."""
    if kernel.vmlinux is None:
        pytest.skip(f"no vmlinux of {kernel.release}: pageinspect vm build --debuginfo")
    path = tmp_path_factory.mktemp("core") / "core"
    with Guest(kernel, memory="1G") as guest:
        guest.run(["sh", "-c", FILL_ZRAM])
        for name in ("a", "b", "c"):
            guest.start(["sh", "-c", BUSY, "sh", name])
        guest.run(["sleep", "2"])
        meminfo = guest.run(["cat", "/proc/meminfo"]).stdout.decode()
        guest.dump(path)
    fields = (line.split() for line in meminfo.splitlines())
    yield Core(path, kernel.vmlinux, {f[0].rstrip(":"): int(f[1]) for f in fields})
    path.unlink()


@pytest.fixture(scope="module")
def from_btf(core: Core) -> Survey:
    return survey(open_target(core.path))


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def counter_with_remainders(prog: Program, item: int) -> int:
    """Return a zone counter as the kernel's zone_page_state_snapshot() sums it."""
    total = int(prog["vm_zone_stat"][item].counter.value_())
    for pgdat in for_each_online_pgdat(prog):
        for zone in pgdat.node_zones:
            if zone.spanned_pages:
                total += sum(
                    per_cpu_ptr(zone.per_cpu_zonestats, cpu).vm_stat_diff[item].value_()
                    for cpu in for_each_possible_cpu(prog)
                )
    return total


def test_btf_and_dwarf_give_the_same_layout_and_census(core: Core, from_btf: Survey) -> None:
    from_dwarf = survey(open_target(core.path, core.vmlinux))
    assert from_dwarf.target.provenance.symbols == "dwarf"
    assert from_btf.target.provenance.symbols == "btf"
    for field in from_dwarf.layout.__dataclass_fields__:
        assert getattr(from_btf.layout, field) == getattr(from_dwarf.layout, field), field
    assert from_btf.census == from_dwarf.census


def test_drgn_helper_gives_the_same_ranges_on_dwarf_alone(core: Core, from_btf: Survey) -> None:
    prog = Program()
    prog.set_core_dump(core.path)
    prog.load_debug_info([core.vmlinux])
    ranges = tuple((start, end) for start, end, _ in for_each_valid_page_range(prog))
    assert from_btf.census.spanned == ranges
    layout = build_layout(prog, from_btf.target.vmcoreinfo)
    assert layout.vmemmap == prog["vmemmap"].value_()


def test_summary_counts_what_the_kernel_counts(core: Core, from_btf: Survey) -> None:
    done = pageinspect("summary", "-c", core.path, "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    prog = from_btf.target.prog
    free = counter_with_remainders(prog, prog.constant("NR_FREE_PAGES").value_())
    assert rows["buddy"]["pages"] == free
    assert rows["hugetlb"]["pages"] == core.meminfo["HugePages_Total"] * 512 == 5 * 512
    untyped = rows["untyped"]
    zsmalloc = rows["zsmalloc"]["pages"] if "zsmalloc" in rows else untyped["split"]["movable_ops"]
    assert zsmalloc == 8192
    assert sum(row["pages"] for row in report["rows"]) == report["coverage"]["spanned"]
    books = {book["name"]: book for book in report["counters"]}
    assert (books["buddy"]["kernel"], books["buddy"]["verdict"]) == (free, "verified")
    assert {"table", "hugetlb"} < books.keys()
    shown = pageinspect("summary", "-c", core.path).stdout
    assert f"buddy {free:,} = NR_FREE_PAGES (verified)" in shown
    assert "verified" not in pageinspect("summary", "-c", core.path, "--pfn", "0x1000+1").stdout


def test_dwarf_and_btf_print_the_same(core: Core) -> None:
    for command in (["summary"], ["list"]):
        btf = json.loads(pageinspect(*command, "-c", core.path, "--format", "json").stdout)
        dwarf = json.loads(
            pageinspect(*command, "-c", core.path, "-s", core.vmlinux, "--format", "json").stdout
        )
        assert btf["kernel"].pop("symbols") == "btf"
        assert dwarf["kernel"].pop("symbols") == "dwarf"
        assert btf == dwarf


def test_list_agrees_with_summary(core: Core) -> None:
    summary = json.loads(pageinspect("summary", "-c", core.path, "--format", "json").stdout)
    runs = json.loads(pageinspect("list", "-c", core.path, "--format", "json").stdout)["runs"]
    pages: dict[str, int] = {}
    for run in runs:
        assert run["pages"] == run["end"] - run["start"] > 0
        pages[run["type"]] = pages.get(run["type"], 0) + run["pages"]
    assert pages == {row["name"]: row["pages"] for row in summary["rows"]}
    for left, right in itertools.pairwise(runs):
        assert left["end"] <= right["start"]
        touching = left["end"] == right["start"]
        same = all(left[key] == right[key] for key in ("use", "type", "order"))
        assert not (touching and same), left


def test_a_range_that_cuts_a_huge_page(core: Core) -> None:
    runs = json.loads(
        pageinspect("list", "-c", core.path, "--type", "hugetlb", "--format", "json").stdout
    )["runs"]
    assert sum(run["pages"] for run in runs) == 5 * 512
    inside = runs[0]["start"] + 100
    cut = json.loads(
        pageinspect("list", "-c", core.path, "--pfn", f"{inside:#x}+7", "--format", "json").stdout
    )
    assert cut["runs"] == [
        {
            "start": inside,
            "end": inside + 7,
            "use": "hugetlb",
            "type": "hugetlb",
            "order": 9,
            "pages": 7,
        }
    ]
    assert (cut["coverage"]["spanned"], cut["coverage"]["read"]) == (7, 7)


@pytest.mark.parametrize(
    ("command", "rows"), [("summary", "rows"), ("list", "runs"), ("types", "types")]
)
def test_csv_carries_the_same_values(core: Core, command: str, rows: str) -> None:
    report = json.loads(pageinspect(command, "-c", core.path, "--format", "json").stdout)
    text = pageinspect(command, "-c", core.path, "--format", "csv").stdout
    records = list(csv.DictReader(io.StringIO(text)))
    assert len(records) == len(report[rows]) > 5
    for record, row in zip(records, report[rows], strict=True):
        if command == "summary":
            row["type"] = row.pop("name")
            row["split"] = " ".join(f"{k}:{n}" for k, n in row.get("split", {}).items())
        cells = {
            key: "" if value is None else value if isinstance(value, str) else json.dumps(value)
            for key, value in row.items()
        }
        assert {key: record[key] for key in cells} == cells


@pytest.mark.parametrize(
    ("args", "status", "message", "hint"),
    [
        (["--pfn", "0xfffffff0-0xffffffff"], 2, "has a struct page", "nearest range"),
        (["--pfn", "12-"], 2, "no pfn range", "START-END"),
        (["--pfn", "zone:Nope"], 2, "no zone", "DMA32"),
        (["--type", "slap"], 2, "no page type 'slap'", "did you mean slab"),
        (["-o", "/nonexistent/report"], 1, "cannot write", "folder"),
    ],
)
def test_bad_input(core: Core, args: list[str], status: int, message: str, hint: str) -> None:
    done = pageinspect("list", "-c", core.path, *args)
    assert done.returncode == status
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert message in lines[0]
    assert hint in lines[1]


def test_vmlinux_of_another_kernel_is_refused(core: Core, tmp_path: Path) -> None:
    done = pageinspect("types", "-c", core.path, "-s", sys.executable)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2, done.stderr
