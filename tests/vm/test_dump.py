# SPDX-License-Identifier: GPL-2.0-only
"""Dumps of busy guests: BTF against DWARF, and counts against the kernel's own counters."""

import csv
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from busy_dump import BUSY, COARSER, FILL_ZRAM, Core, counter_with_remainders, pageinspect
from drgn import Program
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn_prompt import Prompt
from elf_encrypted import encrypted
from elf_holes import without, without_note
from guest_dump import dump_unlocked
from places import DATA

import pageinspect as api
from pageinspect.cli import isolation
from pageinspect.cli.main import main
from pageinspect.inspector.inspector import Inspector, inspect
from pageinspect.layout import build_layout
from pageinspect.target.open import open_target
from pageinspect.target.symbols.sources import SymbolOptions
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

Asked = Callable[..., tuple[int, str, str]]


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
        for name, source in (("kallsyms", "/proc/kallsyms"), ("btf", "/sys/kernel/btf/vmlinux")):
            path.with_name(name).write_bytes(guest.run(["cat", source], timeout=60).stdout)
        meminfo = guest.run(["cat", "/proc/meminfo"]).stdout.decode()
        dump_unlocked(guest, path)
    fields = (line.split() for line in meminfo.splitlines())
    yield Core(
        path,
        kernel.vmlinux,
        {f[0].rstrip(":"): int(f[1]) for f in fields},
        path.with_name("kallsyms"),
        path.with_name("btf"),
    )
    path.unlink()


@pytest.fixture(scope="module")
def from_btf(core: Core) -> Inspector:
    return inspect(open_target(core.path))


def test_btf_and_dwarf_give_the_same_layout_and_memory_map(core: Core, from_btf: Inspector) -> None:
    from_dwarf = inspect(open_target(core.path, core.vmlinux))
    assert from_dwarf.target.provenance.symbols == "dwarf"
    assert from_btf.target.provenance.symbols == "btf"
    for field in from_dwarf.layout.__dataclass_fields__:
        assert getattr(from_btf.layout, field) == getattr(from_dwarf.layout, field), field
    assert from_btf.memory_map == from_dwarf.memory_map


def test_drgn_helper_gives_the_same_ranges_on_dwarf_alone(core: Core, from_btf: Inspector) -> None:
    prog = Program()
    prog.set_core_dump(core.path)
    prog.load_debug_info([core.vmlinux])
    ranges = tuple((start, end) for start, end, _ in for_each_valid_page_range(prog))
    assert from_btf.memory_map.spanned == ranges
    layout = build_layout(prog, from_btf.target.vmcoreinfo)
    assert layout.vmemmap == prog["vmemmap"].value_()


@pytest.mark.kernels("newest")
def test_drgns_prompt_has_types_symbols_and_commands(core: Core, tmp_path: Path) -> None:
    names = {line.split()[2]: line.split()[0] for line in core.kallsyms.read_text().splitlines()}
    with Prompt(core.path, tmp_path) as prompt:
        assert prompt.ask('prog.type("struct page").size') == "64\n"
        address = prompt.ask("hex(prog.symbol('init_task').address)").strip("'\n")
        assert int(address, 16) == int(names["init_task"], 16)
        for command in (
            "summary --by use",
            "page 0x1000 phys:16M --explain",
            "check",
            "list --use pcp",
            "types",
        ):
            done = pageinspect(*command.split(), "-c", core.path)
            assert prompt.ask(f"%pageinspect {command}") == done.stdout, done.stderr
        assert prompt.ask("%pageinspect list --use pcp | wc -l").strip().isdigit()
        refused = prompt.ask("%pageinspect list --use pxp")
        assert refused.startswith("drgn: error: this kernel has no use 'pxp'\n  hint: ")
        page = (
            "import pageinspect; k = pageinspect.from_program(prog); k.page(prog['vmemmap'] + 4096)"
        )
        assert prompt.ask(page) == pageinspect("page", "0x1000", "-c", core.path).stdout
    with Prompt(core.path, tmp_path, PAGEINSPECT_DRGN_PLUGIN="0") as prompt:
        assert "LookupError" in prompt.ask('prog.type("struct page")')
        assert prompt.ask("%pageinspect types") == "drgn: pageinspect: command not found\n"


@pytest.mark.kernels("newest")
def test_the_api_answers_as_the_commands_do(core: Core) -> None:
    with api.open_core(core.path) as kernel:
        answers = {
            "summary --by use": kernel.summary("use"),
            "check": kernel.check(),
            "list --use pcp": kernel.list(use="pcp"),
            "list --each --pfn 0x1000+20": kernel.list(each=True, pfn=(0x1000, 0x1014)),
            "page 0x1000 phys:16M": kernel.page(0x1000, "phys:16M"),
        }
        for command, answer in answers.items():
            done = pageinspect(*command.split(), "-c", core.path)
            assert f"{answer}\n" == done.stdout, done.stderr
            done = pageinspect(*command.split(), "-c", core.path, "--format", "csv")
            rows = list(csv.DictReader(io.StringIO(done.stdout)))
            table = answer.to_arrow()
            assert table.column_names == list(rows[0])
            assert table.num_rows == len(rows) == len(answer.to_pandas())
        use = answers["summary --by use"].to_arrow()
        assert sum(use["pages"].to_pylist()) == kernel.memory_map.spanned_pages


def test_summary_counts_what_the_kernel_counts(core: Core, from_btf: Inspector) -> None:
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
    checks = {check["name"]: check for check in report["counters"]}
    assert (checks["buddy"]["kernel"], checks["buddy"]["verdict"]) == (free, "verified")
    assert {"table", "hugetlb"} < checks.keys()
    shown = pageinspect("summary", "-c", core.path).stdout
    assert f"buddy {free:,} = NR_FREE_PAGES (verified)" in shown
    assert "verified" not in pageinspect("summary", "-c", core.path, "--pfn", "0x1000+1").stdout


@pytest.mark.parametrize("command", [["summary"], ["list"], ["check"]], ids=" ".join)
def test_dwarf_and_btf_print_the_same(core: Core, command: list[str]) -> None:
    done = {
        source: pageinspect(*command, "-c", core.path, "--format", "json", *given)
        for source, given in (("btf", ()), ("dwarf", ("-s", core.vmlinux)))
    }
    documents = {source: json.loads(each.stdout) for source, each in done.items()}
    for source, document in documents.items():
        assert document["kernel"].pop("symbols") == source
    assert documents["btf"] == documents["dwarf"]
    assert done["btf"].returncode == done["dwarf"].returncode


def test_dwarf_and_btf_export_the_same(core: Core, tmp_path: Path) -> None:
    files = {}
    for source, given in (("btf", ()), ("dwarf", ("-s", core.vmlinux))):
        flags, count = tmp_path / f"{source}.flags", tmp_path / f"{source}.count"
        done = pageinspect(
            "export", "-c", core.path, *given, "--kpageflags", flags, "--kpagecount", count
        )
        assert done.returncode == 0, done.stderr
        files[source] = flags.read_bytes(), count.read_bytes()
    assert files["btf"] == files["dwarf"]


def test_vmcoreinfo_alone_gives_the_same_or_less(core: Core, from_btf: Inspector) -> None:
    reduced = inspect(open_target(core.path, SymbolOptions(only="vmcoreinfo")))
    assert reduced.memory_map.spanned == from_btf.memory_map.spanned
    assert reduced.layout.vmemmap == from_btf.layout.vmemmap
    seen = set()
    for full, part in zip(from_btf.pages(), reduced.pages(), strict=True):
        assert (full.heads == part.heads).all()
        different = full.order != part.order
        assert {from_btf.use_name(use) for use in np.unique(full.use[different])} <= {"pcp"}
        pairs = np.unique(np.stack((full.use, part.use)), axis=1).T.tolist()
        seen |= {(from_btf.use_name(left), reduced.use_name(right)) for left, right in pairs}
    assert {("buddy", "buddy"), ("slab", "slab"), ("hugetlb", "hugetlb")} <= seen
    assert {("anon", "anon"), ("file", "file"), ("pcp", "idle")} <= seen
    for left, right in seen:
        assert right in COARSER.get(left, {left})
        assert left == right or left in reduced.layout.unavailable


@pytest.fixture
def asked(core: Core, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Run a command on the core within this process; returns its status, output and errors."""
    # A process that has read DWARF has threads, which a child would miss.
    monkeypatch.setattr(isolation, "run_isolated", lambda task, _core, **_: task())

    def run(*args: object) -> tuple[int, str, str]:
        status = main([*map(str, args), "-c", str(core.path)])
        return (status, *capsys.readouterr())

    return run


def test_vmcoreinfo_alone_reports_what_is_unsupported(asked: Asked) -> None:
    alone = ("--symbols-from", "vmcoreinfo")
    status, out, _ = asked("summary", *alone, "--by", "use", "--format", "json")
    report = json.loads(out)
    assert status == 3
    assert report["kernel"]["symbols"] == "vmcoreinfo"
    assert {"table", "pcp", "page_pool"} <= set(report["coverage"]["unsupported"])
    assert (report["freeing"], report["counters"]) == (None, [])
    status, out, _ = asked("types", *alone)
    assert status == 3
    assert "Not available from VMCOREINFO alone: " in out
    assert not re.search(r"^(table|zsmalloc|guard) ", out, re.MULTILINE)
    status, out, _ = asked("check", *alone)
    assert status in (3, 4)
    assert "Totals were not compared" in out
    status, out, _ = asked("page", "0x1000", "--explain", *alone)
    assert status == 3
    assert "\nuse " in out
    for command in (
        ["list", "--type", "table"],
        ["summary", "--use", "pcp"],
        ["summary", "--by", "zone"],
        ["list", "--freeing"],
        ["list", "--pfn", "zone:DMA32"],
        ["page", "virt:0xffffffff81000000"],
        ["export", "--kpageflags", "/dev/null"],
    ):
        status, out, error = asked(*command, *alone)
        assert (status in (1, 2), out) == (True, ""), command
        assert "VMCOREINFO alone" in error
        assert len(error.splitlines()) == 2


def test_a_dump_that_lacks_everything(core: Core, asked: Asked, tmp_path: Path) -> None:
    info = tmp_path / "vmcoreinfo"

    def uses(*given: object) -> tuple[int, str, str]:
        return asked("summary", "--by", "use", *given)

    whole = uses()
    assert whole[0] == 0
    with without_note(core.path) as text:
        status, out, error = uses()
        assert (status, out) == whole[:2], error
        assert "lacks the note VMCOREINFO; the text was found in its memory" in error
        info.write_text(text)
        assert uses("--vmcoreinfo", info) == whole
        # As kernels before 6.0, which do not say where kallsyms are, nor which build they are of.
        lines = text.splitlines(keepends=True)
        old = (line for line in lines if "kallsyms" not in line and "BUILD-ID" not in line)
        info.write_text("".join(old))
        status, out, _ = uses("--vmcoreinfo", info)
        assert status == 3
        assert "--kallsyms FILE" in out.replace("\n", " ")
        files = ("--kallsyms", core.kallsyms, "--btf", core.btf)
        assert uses("--vmcoreinfo", info, *files) == whole
        status, out, _ = uses("--vmcoreinfo", info, "-s", core.vmlinux)
        assert (status, out) == (0, whole[1].replace("types from BTF", "types from DWARF"))
        # Of another boot: all addresses elsewhere.
        info.write_text(re.sub(r"(SYMBOL\(init_uts_ns\)=f{8})(\w{4})", r"\g<1>8123", text))
        status, out, error = uses("--vmcoreinfo", info)
        assert (status, out) == (1, "")
        assert "another boot" in error


def test_files_of_another_kernel_are_refused(
    core: Core, asked: Asked, from_btf: Inspector, tmp_path: Path
) -> None:
    info, symbols = tmp_path / "vmcoreinfo", tmp_path / "kallsyms"
    # The same kernel may have been put where it was in the boot that the file is of.
    others = ((DATA / f"vmcoreinfo_{series}.txt").read_text() for series in ("6.1", "6.12"))
    own = f"OSRELEASE={from_btf.target.vmcoreinfo['OSRELEASE']}\n"
    info.write_text(next(text for text in others if own not in text))
    moved = core.kallsyms.read_text().replace(" D init_uts_ns\n", " D was_init_uts_ns\n")
    symbols.write_text(moved + "ffffffff81234567 D init_uts_ns\n")
    for option, file, message in (
        ("--vmcoreinfo", info, "another boot"),
        ("--kallsyms", symbols, "init_uts_ns is not where"),
        ("--btf", symbols, "as BTF"),
    ):
        status, out, error = asked("types", option, file)
        assert (status, out) == (1, "")
        assert message in error
        assert len(error.splitlines()) == 2


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


@pytest.mark.kernels("newest")
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


@pytest.mark.kernels("newest")
@pytest.mark.parametrize(
    ("command", "rows"), [("summary", "rows"), ("list", "runs"), ("types", "types")]
)
def test_csv_carries_the_same_values(core: Core, command: str, rows: str) -> None:
    report = json.loads(pageinspect(command, "-c", core.path, "--format", "json").stdout)
    text = pageinspect(command, "-c", core.path, "--format", "csv").stdout
    records = list(csv.DictReader(io.StringIO(text)))
    assert len(records) == len(report[rows]) >= 5
    for record, row in zip(records, report[rows], strict=True):
        if command == "summary":
            row["type"] = row.pop("name")
            row["split"] = " ".join(f"{k}:{n}" for k, n in row.get("split", {}).items())
        cells = {
            key: "" if value is None else value if isinstance(value, str) else json.dumps(value)
            for key, value in row.items()
        }
        assert {key: record[key] for key in cells} == cells


@pytest.mark.kernels("newest")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_machine_that_encrypts_memory_is_read_alike(
    core: Core, asked: Asked, from_btf: Inspector, jobs: int
) -> None:
    vmemmap, j = from_btf.layout.vmemmap, ("-j", jobs)
    stext = from_btf.target.prog.symbol("_stext").address
    pages = ("page", "0x8000", "0x9234", f"virt:{stext:#x}", f"virt:{vmemmap + 0x123440:#x}")
    commands = (("summary", "--by", "use", *j), ("list", *j), ("check", *j), pages)
    plain = [asked(*command) for command in commands]
    with encrypted(core.path, bit=47 if jobs == 1 else 51):
        for command, expected in zip(commands, plain, strict=True):
            assert asked(*command) == expected, command
    assert asked(*pages) == plain[-1]
    assert plain[-1][0] == 0


LOST = range(0x8000 + 5 * 64, 0x8000 + 8 * 64)
"""In the middle of a memory section, whose struct pages lie in one piece of memory."""


@pytest.fixture(scope="module")
def hole(core: Core) -> tuple[int, int]:
    """Give the physical addresses of the struct pages of LOST."""

    def asked(address: str) -> dict[str, Any]:
        done = pageinspect("page", address, "-c", core.path, "--format", "json")
        page: dict[str, Any] = json.loads(done.stdout)["pages"][0]
        return page

    start = int(asked(f"virt:{asked(f'{LOST[0]}')['page']}")["phys"], 0)
    return start, start + 64 * len(LOST)


@pytest.mark.kernels("newest")
@pytest.mark.parametrize("cut_off", [False, True])
def test_what_a_core_lacks_is_counted_and_exits_3(
    core: Core, hole: tuple[int, int], cut_off: bool
) -> None:
    def asked(*args: object, lost: int = len(LOST)) -> dict[str, Any]:
        done = pageinspect(*args, "-c", core.path, "--format", "json")
        assert done.returncode == 3, (args, done.stderr)
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["coverage"]["unreadable"] == lost
        return document

    with without(core.path, *hole, cut_off=cut_off):
        rows = {row["name"]: row["pages"] for row in asked("summary")["rows"]}
        assert rows["unreadable"] == len(LOST) == 192
        by_use = asked("summary", "--by", "use")
        assert {row["name"]: row["pages"] for row in by_use["rows"]}["unreadable"] == len(LOST)
        assert by_use["counters"] == []
        (run,) = asked("list", "--use", "unreadable")["runs"]
        assert range(run["start"], run["end"]) == LOST
        checked = asked("check")
        assert (checked["violations"], checked["counters"]) == ([], [])
        assert "could not be read" in checked["left_out"]
        (page,) = asked("page", LOST[-1], lost=1)["pages"]
        assert page["use"] == "unreadable"
        assert pageinspect("page", LOST.stop, "-c", core.path).returncode == 0
    assert pageinspect("summary", "-c", core.path).returncode == 0


@pytest.mark.kernels("newest")
def test_export_says_nopage_of_what_a_core_lacks(
    core: Core, hole: tuple[int, int], tmp_path: Path
) -> None:
    def exported(status: int) -> tuple[np.ndarray, np.ndarray]:
        files = [tmp_path / kind for kind in ("flags", "counts")]
        done = pageinspect(
            "export", "-c", core.path, "--kpageflags", files[0], "--kpagecount", files[1]
        )
        assert done.returncode == status, done.stderr
        return np.fromfile(files[0], np.uint64), np.fromfile(files[1], np.uint64)

    flags, counts = exported(0)
    with without(core.path, *hole):
        flags_left, counts_left = exported(3)
    nopage = 1 << 20
    flags[LOST], counts[LOST] = nopage, 0
    assert (flags == flags_left).all()
    assert (counts == counts_left).all()


@pytest.mark.kernels("newest")
@pytest.mark.parametrize(
    ("args", "status", "message", "hint"),
    [
        (["--pfn", "0xfffffff0-0xffffffff"], 2, "has a struct page", "nearest range"),
        (["--pfn", "12-"], 2, "not a pfn range", "START-END"),
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


def build_id(path: Path) -> str:
    notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True)
    return re.findall(r"Build ID: (\w+)", notes.stdout)[0]


def test_vmlinux_of_another_kernel_is_refused(core: Core) -> None:
    done = pageinspect("types", "-c", core.path, "-s", sys.executable)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2, done.stderr
    other, own = re.findall(r"\b[0-9a-f]{40}\b", done.stderr)
    ids = [build_id(path) for path in (Path(sys.executable), core.vmlinux)]
    assert ids == [other, own]
