# SPDX-License-Identifier: GPL-2.0-only
"""Each form of the lines of dump_page(), as kernels print it, and what its fields are."""

import re
import time

import pytest

from pageinspect.analysis.dump_page_text import forms, reports
from pageinspect.analysis.dump_page_text.forms import FORMS, Form, find

GFP = "gfp_mask 0xd20c0(__GFP_IO|__GFP_FS|__GFP_COMP)"
LINES: list[tuple[str, str, tuple[int, int], str, dict[str, str]]] = [
    # What the line is of, its first and its last field or so, since when, and as it is printed.
    (
        "page",
        "count:",
        (4, 18),
        (
            "page:ffffea0105ca9380 count:1 mapcount:0 mapping:ffff88ff7712c180 index:0x0 "
            "compound_mapcount: 0"
        ),
        {"page": "ffffea0105ca9380", "refcount": "1", "index": "0x0", "compound_mapcount": "0"},
    ),
    (
        "page",
        "refcount:",
        (5, 2),
        (
            "page:ffffea0007561c00 refcount:1 mapcount:0 mapping:ffff8881da00c280 index:0x0 "
            "compound_mapcount: 0"
        ),
        {"page": "ffffea0007561c00", "mapping": "ffff8881da00c280", "compound_mapcount": "0"},
    ),
    (
        "page",
        "%p refcount:%d mapcount:%d mapping:%p index:%#lx",
        (5, 2),
        "page:0000000092ff6551 refcount:1 mapcount:0 mapping:0000000000000000 index:0x2 p>",
        {"page": "0000000092ff6551", "index": "0x2"},
    ),
    (
        "page",
        "head:",
        (5, 7),
        (
            "page:ffffea00025ff900 refcount:1 mapcount:-2 mapping:00000000862db9cd index:0x0 "
            "head:ffffea00025ff900 order:2 compound_mapcount:7 compound_pincount:3"
        ),
        {"mapcount": "-2", "order": "2", "compound_mapcount": "7", "compound_pincount": "3"},
    ),
    (
        "page",
        "pfn:",
        (5, 9),
        (
            "page:(____ptrval____) refcount:0 mapcount:1 mapping:(____ptrval____) "
            "index:0x55cd7e44b270 pfn:0x11"
        ),
        {"page": "(____ptrval____)", "index": "0x55cd7e44b270", "pfn": "0x11"},
    ),
    (
        "page",
        "page: ",
        (6, 9),
        "page: refcount:3 mapcount:0 mapping:0000000000000000 index:0x7ff8b9800 pfn:0x2a800",
        {"refcount": "3", "index": "0x7ff8b9800", "pfn": "0x2a800"},
    ),
    (
        "poisoned",
        "",
        (4, 18),
        "page:000000007d7ab72e is uninitialized and poisoned",
        {"page": "000000007d7ab72e"},
    ),
    ("mismatch", "", (6, 9), "page does not match folio", {}),
    (
        "head",
        "compound_pincount:",
        (5, 7),
        "head:00000000ce81ba6f order:8 compound_mapcount:1 compound_pincount:2",
        {"order": "8", "compound_mapcount": "1", "compound_pincount": "2"},
    ),
    (
        "head",
        "subpages_mapcount:",
        (6, 2),
        "head:00000000a1b2c3d5 order:9 compound_mapcount:1 subpages_mapcount:2 compound_pincount:3",
        {"compound_mapcount": "1", "subpages_mapcount": "2", "compound_pincount": "3"},
    ),
    (
        "head",
        "head:%p order:%u entire",
        (6, 3),
        "head:ffffea0000887c00 order:3 entire_mapcount:1 nr_pages_mapped:2 pincount:3",
        {"order": "3", "entire_mapcount": "1", "nr_pages_mapped": "2", "pincount": "3"},
    ),
    (
        "head",
        "head: order:%u entire",
        (6, 9),
        "head: order:3 entire_mapcount:1 nr_pages_mapped:2 pincount:3",
        {"order": "3", "entire_mapcount": "1", "nr_pages_mapped": "2", "pincount": "3"},
    ),
    (
        "head",
        "head: order:%u mapcount",
        (6, 10),
        "head: order:9 mapcount:4 entire_mapcount:1 nr_pages_mapped:2 pincount:3",
        {"order": "9", "large_mapcount": "4", "entire_mapcount": "1", "pincount": "3"},
    ),
    (
        "memcg",
        "page->",
        (4, 18),
        "page->mem_cgroup:ffff888e72e92000",
        {"mem_cgroup": "ffff888e72e92000"},
    ),
    ("memcg", "pages's", (5, 11), "pages's memcg:ffff8889a4116000", {"memcg": "ffff8889a4116000"}),
    ("memcg", "memcg:", (5, 11), "memcg:ffff8cb681234001", {"memcg": "ffff8cb681234001"}),
    ("kind", "", (5, 0), "ksm", {"kind": "ksm"}),
    (
        "file",
        "(?)",
        (5, 9),
        'aops:shmem_aops ino:1f43 dentry name(?):"a "file""',
        {"aops": "shmem_aops", "inode": "1f43", "name": 'a "file"'},
    ),
    (
        "file",
        "aops:%ps ino:%lx",
        (5, 9),
        "aops:xfs_address_space_operations [xfs] ino:41 with invalid dentry ffff888100000001",
        {"aops": "xfs_address_space_operations [xfs]", "inode": "41"},
    ),
    (
        "file",
        "mapping->aops",
        (5, 8),
        'mapping->aops:ext4_da_aops dentry name:"systemd"',
        {"aops": "ext4_da_aops", "name": "systemd"},
    ),
    ("file", '%ps name:"', (5, 4), 'ext4_da_aops name:"a b"', {"aops": "ext4_da_aops"}),
    ("file", 'name:"%pd" ', (5, 0), 'name:"stress"', {"name": "stress"}),
    ("file", "%ps ", (5, 0), "shmem_aops", {"aops": "shmem_aops"}),
    (
        "file",
        "contents",
        (5, 9),
        "failed to read mapping contents, not a valid kernel address?",
        {"problem": ""},
    ),
    (
        "file",
        "mapping->host",
        (5, 8),
        "failed to read mapping->host or a_ops, mapping not a valid kernel address?",
        {"problem": ""},
    ),
    (
        "file",
        "invalid",
        (5, 17),
        "invalid mapping:dead000000000400",
        {"problem": "dead000000000400"},
    ),
    (
        "flags",
        "%sflags: %#lx",
        (4, 18),
        "flags: 0x800000000000201c(uptodate|dirty|lru|private)",
        {"flags": "0x800000000000201c", "names": "uptodate|dirty|lru|private"},
    ),
    (
        "flags",
        "%sflags: %pGp",
        (5, 13),
        "anon flags: 0x17ffffc0080014(uptodate|lru|node=0|zone=2|lastcpupid=0x1fffff) CMA",
        {"kind": "anon", "names": "uptodate|lru|node=0|zone=2|lastcpupid=0x1fffff", "cma": " CMA"},
    ),
    (
        "type",
        "%pGt",
        (6, 4),
        "page_type: 0xfffffd7f(table|buddy)",
        {"word": "0xfffffd7f", "names": "table|buddy"},
    ),
    ("type", "%x(%s)", (6, 12), "page_type: f6((null))", {"byte": "f6", "names": "(null)"}),
    (
        "raw",
        "",
        (4, 18),
        "raw: 0017ffffc0080014 dead000000000100 dead000000000200 ffff888101a3b2c1",
        {"words": "0017ffffc0080014 dead000000000100 dead000000000200 ffff888101a3b2c1"},
    ),
    (
        "raw_head",
        "",
        (5, 7),
        "head: 00fff00000000040 ffff88801abec3c0",
        {"words": "00fff00000000040 ffff88801abec3c0"},
    ),
    (
        "reason",
        "",
        (4, 18),
        "page dumped because: VM_BUG_ON_PAGE(page_ref_count(page) == 0)",
        {"reason": "VM_BUG_ON_PAGE(page_ref_count(page) == 0)"},
    ),
    (
        "bad_page",
        "",
        (4, 18),
        "BUG: Bad page state in process kworker/u4:1 (x)  pfn:02176",
        {"process": "kworker/u4:1 (x)", "pfn": "02176"},
    ),
    (
        "bad_flags",
        "",
        (4, 18),
        "bad because of flags: 0x2010(lru|private)",
        {"flags": "0x2010", "names": "lru|private"},
    ),
    ("tracked", "", (5, 4), "page_owner tracks the page as freed", {"state": "freed"}),
    (
        "allocated",
        "",
        (4, 18),
        (
            f"page last allocated via order 3, migratetype Unmovable, {GFP}, pid 4525, tgid 4520 "
            "(a (b), c), ts 40899198633, free_ts 40892363839"
        ),
        {"order": "3", "gfp_mask": "0xd20c0", "pid": "4525", "command": "a (b), c"},
    ),
    ("end", "", (4, 18), "Modules linked in: zram", {}),
]
"""The name of the line, a part of its format string, the first release, and the line itself."""


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[3][:40])
def test_a_line_as_kernels_print_it(
    line: tuple[str, str, tuple[int, int], str, dict[str, str]],
) -> None:
    name, part, since, text, fields = line
    found = find(text, 0)
    assert found is not None
    form, match = found
    assert (form.line, form.since) == (name, since)
    assert part in form.printed
    assert fields.items() <= match.groupdict().items()
    assert set(form.fields) >= set(fields)
    # A form is found wherever it begins, behind whatever a log puts before it.
    begins = reports.BEGINNING.search(f"[    1.000000] {text}")
    assert begins is not None
    assert begins.start() == 15


def test_every_form_has_a_line_here() -> None:
    tried = {id(found[0]) for line in LINES if (found := find(line[3], 0))}
    assert [form.printed for form in FORMS if id(form) not in tried] == []


CITED = re.compile(
    r'Linux kernel commit [0-9a-f]{12} \("[^"]+"\) \(in v\d\.\d+[^)]*\)|v\d\.\d+ \("'
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.printed[:40])
def test_a_form_that_came_later_cites_its_commit(form: Form) -> None:
    if form.since > forms.FIRST:
        assert CITED.search(form.commit) or "at the latest" in form.commit
    assert form.before is None or form.since < form.before


PATTERNS = {
    **{f"{form.line} {form.printed[:24]}": form.pattern for form in FORMS},
    **{
        name: pattern
        for module in (forms, reports)
        for name, pattern in vars(module).items()
        if isinstance(pattern, re.Pattern)
    },
}
SEEDS = (
    "f",
    "0 ",
    " ",
    "(",
    ">",
    "a:",
    '"',
    "page:",
    "aops",
    "anon flags: 0x1(zone=",
    "flags: 0x1(a|",
    "raw: 0017ffffc0080014 ",
    'aops:a ino:1 dentry name:"',
    "BUG: Bad page state in process ",
    "page dumped because: ",
    "page last allocated via order 1, migratetype A, gfp_mask 0x1(A), pid 1, tgid 1 (",
    "\x1b[",
    "[ T1",
)


SIZES = (4_000, 64_000)
LINEAR = SIZES[1] / SIZES[0]


def seconds(pattern: re.Pattern[str], text: str) -> float:
    """Return the CPU time that a pattern takes for a text."""
    begin = time.thread_time()
    pattern.sub("", text)
    return time.thread_time() - begin


def is_linear(pattern: re.Pattern[str], seed: str) -> bool:
    short, long = (seconds(pattern, seed * (size // len(seed))) for size in SIZES)
    # Quadratic is LINEAR times more; what takes no time at all is all noise.
    return long < 4 * LINEAR * max(short, 1e-4)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_time_in_proportion_to_the_text(name: str) -> None:
    for seed in SEEDS:
        # Another process may get in the way of one measurement.
        assert any(is_linear(PATTERNS[name], seed) for _ in range(3)), seed
