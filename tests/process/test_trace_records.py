# SPDX-License-Identifier: GPL-2.0-only
"""The shapes of the headers of bpf/ as this machine's compiler sees them."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from pageinspect.paths import data_folder
from pageinspect.trace import frame_sizes, held_blocks, kinds, life_records, records

COUNTERS = [each.name for each in fields(held_blocks.HeldCounts)]
SOURCE = """
#include <stddef.h>
#include <stdio.h>
typedef unsigned long u64; typedef unsigned int u32; typedef int s32;
#include "page_free.h"
#include "page_caller.h"
#include "page_held.h"
#define OF(type, member) printf(#type "." #member "=%zu\\n", offsetof(struct type, member));
#define NUMBER(name) printf(#name "=%d\\n", (int)(name));
int main(void)
{
    OF(who, kind) OF(who, order) OF(who, stack) OF(who, pid) OF(who, cpu) OF(who, place)
    OF(who, comm) OF(event, time_ns) OF(event, page) OF(event, who)
    NUMBER(sizeof(struct who)) NUMBER(sizeof(struct event)) NUMBER(ORDERS) NUMBER(KINDS)
    NUMBER(KIND_UNTYPED) NUMBER(KIND_PAGE_POOL) NUMBER(KIND_UNREAD)
    NUMBER(KIND_HWPOISON)
    OF(held, time_ns) OF(held, freed) OF(held, stack) OF(held, gfp) OF(held, pid)
    OF(held, migratetype) OF(held, caller) OF(held, comm)
    NUMBER(sizeof(struct held)) NUMBER(sizeof(struct held_counts)) NUMBER(ORDER_BITS)
    NUMBER(BLOCK_BYTES) NUMBER(PATH_BITS) NUMBER(FRAME_OUTSIDE) NUMBER(FRAME_UNKNOWN)
    COUNTERS
    NUMBER(LOSSES) NUMBER(LOST_WHO) NUMBER(LOST_STACKS) NUMBER(LOST_EVENTS)
    return 0;
}
"""


LIFE_SOURCE = """
#include <stddef.h>
#include <stdio.h>
typedef unsigned long u64; typedef unsigned int u32; typedef int s32;
#include "page_life.h"
#define OF(member) printf(#member "=%zu\\n", offsetof(struct life_event, member));
#define NUMBER(name) printf(#name "=%d\\n", (int)(name));
int main(void)
{
    OF(time_ns) OF(page) OF(end) OF(inode) OF(index) OF(device) OF(what) OF(gfp) OF(migratetype)
    OF(page_type) OF(stack) OF(pid) OF(cpu) OF(comm)
    NUMBER(sizeof(struct life_event)) NUMBER(LOSSES) NUMBER(LOST_STACKS) NUMBER(LOST_EVENTS)
    @NUMBERS@
    return 0;
}
"""


def values(source: str, folder: Path) -> dict[str, int]:
    """Return what a program prints, NAME=NUMBER a line."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    (folder / "shapes.c").write_text(source)
    flags = ["-DPAGE_TYPE_BIAS=0", "-DPAGE_TYPE_BELOW=0", "-DPAGE_TYPE_BASE=0"]
    flags += ["-DPAGE_TYPE_INVERT=0", "-DPAGE_TYPE_SHIFT=24", f"-I{data_folder('bpf')}"]
    subprocess.run([compiler, *flags, "-o", folder / "shapes", folder / "shapes.c"], check=True)
    lines = subprocess.run([folder / "shapes"], capture_output=True, text=True, check=True).stdout
    pairs = (line.split("=") for line in lines.splitlines())
    return {name: int(value) for name, value in pairs}


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    counters = " ".join(f"OF(held_counts, {name})" for name in COUNTERS)
    source = SOURCE.replace("COUNTERS", counters)
    return values(source, tmp_path_factory.mktemp("shapes"))


def test_events_of_a_life_have_the_layout_of_the_program(tmp_path: Path) -> None:
    text = (data_folder("bpf") / "page_life.h").read_text()
    names = text.partition("enum what {")[2].partition("}")[0].replace(",", "").split()
    header = values(
        LIFE_SOURCE.replace("@NUMBERS@", "".join(f"NUMBER({n})" for n in names)), tmp_path
    )
    assert life_records.LIFE_EVENT.fields is not None
    for field, (_, offset, *_) in life_records.LIFE_EVENT.fields.items():
        assert header[field] == offset, field
    assert header["sizeof(struct life_event)"] == life_records.LIFE_EVENT.itemsize
    assert (header["LOSSES"], header["LOST_STACKS"], header["LOST_EVENTS"]) == (2, 0, 1)
    assert life_records.LOSSES == 2
    # A function of the program passes the number of its own tracepoint.
    source = (data_folder("bpf") / "page_life.bpf.c").read_text()
    functions = re.findall(r"^int (on_\w+)\(.*\n\{\n((?:.*\n)*?)\}", source, re.MULTILINE)
    passed = {
        function: [n for n in names if re.search(rf"\b{n}\b", body)] for function, body in functions
    }
    assert passed == {
        point.function: [names[number]] for number, point in enumerate(life_records.POINTS)
    }
    assert [header[name] for name in names] == list(range(len(life_records.POINTS)))


def test_records_have_the_layout_of_the_program(header: dict[str, int]) -> None:
    shapes = (("who", records.WHO), ("event", records.EVENT), ("held", held_blocks.HELD))
    for name, dtype in shapes:
        assert dtype.fields is not None
        for field, (_, offset, *_) in dtype.fields.items():
            assert header[f"{name}.{field}"] == offset, field
        assert header[f"sizeof(struct {name})"] == dtype.itemsize


def test_the_counters_of_allocations_are_in_order(header: dict[str, int]) -> None:
    offsets = [header[f"held_counts.{name}"] for name in COUNTERS]
    assert offsets == list(range(0, 8 * held_blocks.COUNTS, 8))
    assert header["sizeof(struct held_counts)"] == 8 * held_blocks.COUNTS


def test_numbers_are_those_of_the_header(header: dict[str, int]) -> None:
    assert header["ORDER_BITS"] == held_blocks.ORDER_BITS
    assert header["BLOCK_BYTES"] == frame_sizes.BLOCK_BYTES
    assert header["PATH_BITS"] == frame_sizes._PATH_BITS
    assert header["FRAME_OUTSIDE"] == frame_sizes.OUTSIDE
    assert header["FRAME_UNKNOWN"] == frame_sizes.UNKNOWN
    assert header["KINDS"] == kinds.KINDS
    assert header["KIND_UNTYPED"] == kinds.UNTYPED
    assert header["KIND_PAGE_POOL"] == kinds.PAGE_POOL
    assert header["KIND_UNREAD"] == kinds.UNREAD
    assert header["KIND_HWPOISON"] == kinds.HWPOISON
    assert header["ORDERS"] == records.ORDERS
    assert header["LOSSES"] == records.LOSSES
    losses = [header[f"LOST_{name}"] for name in ("WHO", "STACKS", "EVENTS")]
    # As Lost() takes them after what is lost of the counts.
    assert losses == [0, 1, 2]
    assert list(records.Lost().to_json())[2:] == ["who", "stacks", "events"]
