"""The shapes of bpf/page_free.h as this machine's compiler sees them, and what docs say of them."""

import ctypes
import re
import shutil
import subprocess
from argparse import SUPPRESS

import pytest
from places import ROOT

from pageinspect.cli.parser import build_parser
from pageinspect.paths import data_folder
from pageinspect.trace import kinds, records
from pageinspect.trace.program import PageFreeProgram

SOURCE = """
#include <stddef.h>
#include <stdio.h>
typedef unsigned long u64; typedef unsigned int u32; typedef int s32;
#include "page_free.h"
#define OF(type, member) printf(#type "." #member "=%zu\\n", offsetof(struct type, member));
#define NUMBER(name) printf(#name "=%d\\n", (int)(name));
int main(void)
{
    OF(who, kind) OF(who, order) OF(who, stack) OF(who, pid) OF(who, cpu) OF(who, place)
    OF(who, comm) OF(event, time_ns) OF(event, page) OF(event, who)
    NUMBER(sizeof(struct who)) NUMBER(sizeof(struct event)) NUMBER(ORDERS) NUMBER(KINDS)
    NUMBER(KIND_UNTYPED) NUMBER(KIND_PAGE_POOL) NUMBER(KIND_UNREAD) NUMBER(MOST_WHO)
    NUMBER(KIND_HWPOISON)
    NUMBER(LOSSES) NUMBER(LOST_WHO) NUMBER(LOST_STACKS) NUMBER(LOST_EVENTS)
    return 0;
}
"""


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "shapes.c").write_text(SOURCE)
    flags = ["-DPAGE_TYPE_BIAS=0", "-DPAGE_TYPE_BELOW=0", "-DPAGE_TYPE_BASE=0"]
    flags += ["-DPAGE_TYPE_INVERT=0", "-DPAGE_TYPE_SHIFT=24", f"-I{data_folder('bpf')}"]
    subprocess.run([compiler, *flags, "-o", folder / "shapes", folder / "shapes.c"], check=True)
    lines = subprocess.run([folder / "shapes"], capture_output=True, text=True, check=True).stdout
    pairs = (line.split("=") for line in lines.splitlines())
    return {name: int(value) for name, value in pairs}


def test_records_lie_as_the_program_writes_them(header: dict[str, int]) -> None:
    for name, dtype in (("who", records.WHO), ("event", records.EVENT)):
        assert dtype.fields is not None
        for field, (_, offset, *_) in dtype.fields.items():
            assert header[f"{name}.{field}"] == offset, field
        assert header[f"sizeof(struct {name})"] == dtype.itemsize


def test_numbers_are_those_of_the_header(header: dict[str, int]) -> None:
    assert header["KINDS"] == kinds.KINDS
    assert header["KIND_UNTYPED"] == kinds.UNTYPED
    assert header["KIND_PAGE_POOL"] == kinds.PAGE_POOL
    assert header["KIND_UNREAD"] == kinds.UNREAD
    assert header["KIND_HWPOISON"] == kinds.HWPOISON
    assert header["ORDERS"] == records.ORDERS
    assert header["MOST_WHO"] == records.MOST_WHO
    assert header["LOSSES"] == records.LOSSES
    losses = [header[f"LOST_{name}"] for name in ("WHO", "STACKS", "EVENTS")]
    # As Lost() takes them after what is lost of the counts.
    assert losses == [0, 1, 2]
    assert list(records.Lost().to_json())[2:] == ["who", "stacks", "events"]


def test_docs_describe_every_option_of_trace_and_no_other() -> None:
    trace = build_parser()._subparsers._group_actions[0].choices["trace"]  # type: ignore[union-attr,index,call-overload]
    trace.load()
    shown = [action for action in trace._actions if action.help != SUPPRESS]
    options = {o for action in shown for o in action.option_strings if o.startswith("--")}
    document = (ROOT / "docs/tracing.md").read_text(encoding="utf-8")
    told = set(re.findall(r"--[a-z][a-z-]*", document))
    elsewhere = {"--help", "--duration", "--interval", "--format", "--output", "--mode"}
    assert told == options - elsewhere


def test_examples_in_docs_parse() -> None:
    document = (ROOT / "docs/tracing.md").read_text(encoding="utf-8")
    examples = re.findall(r"^    sudo pageinspect (trace.*?)(?:   .*)?$", document, re.MULTILINE)
    assert len(examples) >= 7
    for example in examples:
        build_parser().parse_args(example.split())


def test_the_readme_of_bpf_lists_every_map_and_define() -> None:
    document = (data_folder("bpf") / "README.md").read_text(encoding="utf-8")
    program = (data_folder("bpf") / "page_free.bpf.c").read_text(encoding="utf-8")
    maps = re.findall(r"^BPF_[A-Z_]+\((\w+),", program, re.MULTILINE)
    table = document.partition("## The maps")[2].partition("\n\nAll")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sorted(maps)
    switches = set(
        re.findall(r"\b(WHO_SET|EVENT_SET|STACK_SET|COUNT_\w+|BY_[A-Z]+|BAD_PAGES)\b", program)
    )
    for switch in switches:
        assert f"`{switch}`" in document, switch


def test_a_flood_of_events_is_taken_in_rounds() -> None:
    reader = PageFreeProgram.__new__(PageFreeProgram)
    reader._records = [b""] * ((1 << 16) - 2)
    event = ctypes.create_string_buffer(b"event")
    assert reader._take(None, event, 5) == 0
    assert reader._take(None, event, 5) < 0
    assert reader._records[-1] == b"event"
