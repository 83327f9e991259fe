# SPDX-License-Identifier: GPL-2.0-only
"""Reports of dump_page() as kernels print them, and what they say."""

import sys
from typing import Any

from places import DATA

from pageinspect.analysis.dump_page_text import decode

CASES = {
    path.stem: path.read_text(encoding="utf-8") for path in (DATA / "dump_page_cases").iterdir()
}
COMMAND = [sys.executable, "-m", "pageinspect", "page", "--dump-text"]


def values_of(text: str) -> list[dict[str, Any]]:
    return [{fact.name: fact.value for fact in facts} for facts in decode(text.split("\n"))]


def values(name: str) -> list[dict[str, Any]]:
    return values_of((DATA / name).read_text(encoding="utf-8"))


EXPECTED: dict[str, list[dict[str, Any]]] = {
    "count-4.20": [
        {
            "pfn": 0x136475,
            "process": "exim4",
            "use": "file",
            "type": "untyped",
            "refcount": -1,
            "reason": "PAGE_FLAGS_CHECK_AT_FREE flag(s) set",
            "flags": ["uptodate", "dirty", "lru", "private"],
            "bad_flags": ["lru", "private"],
            "printed_by": {"since": "4.18", "before": "5.2"},
        }
    ],
    "anon-5.2": [
        {
            "pfn": 0x180001,
            "use": "anon",
            "type": "untyped",
            "mapcount": 3,
            "printed_by": {"since": "5.2", "before": "5.9"},
        }
    ],
    "slab-5.15": [{"pfn": 0x104300, "use": "slab", "type": "slab", "order": 8}],
    "poisoned-6.0": [
        {"pfn": 0x121C000, "use": "kernel", "type": "untyped", "reason": "unmovable page"},
        {
            "page": "000000007d7ab72e",
            "poisoned": True,
            "use": "unknown",
            "type": None,
            "reason": "VM_BUG_ON_PAGE(PagePoisoned(p))",
        },
    ],
    "buddy-6.9": [
        {
            "use": "buddy",
            "type": "buddy",
            "word": {"raw": "0xffffff7f", "reading": "type", "value": "buddy"},
            "printed_by": {"since": "6.9", "before": "6.11"},
        }
    ],
    "slab-6.10": [
        {
            "use": "slab",
            "type": "slab",
            "order": 3,
            "memcg_data": "0xffff88801f030301",
            "page_owner": {"state": "allocated"},
            "printed_by": {"since": "6.10", "before": "6.11"},
        }
    ],
    "slab-6.11": [
        {
            "use": "slab",
            "type": "slab",
            "word": {"raw": "0xfdffffff", "reading": "type", "value": "slab"},
            "printed_by": {"since": "6.11", "before": "6.12"},
        }
    ],
    "buddy-6.11": [{"use": "buddy", "type": "buddy"}],
    "pp-6.12": [{"use": "page_pool", "type": "untyped", "reason": "page_pool leak"}],
    "interleaved": [
        {
            "pfn": 0x56780,
            "use": "file",
            "type": "untyped",
            "reason": "migration failure",
            "file": {"inode": 0x2A, "name": "log"},
        },
        {"pfn": 0x12340, "use": "idle", "type": "untyped", "process": "migrate/1"},
        {"pfn": 0x9ABC0, "use": "table", "type": "table", "reason": "table"},
    ],
    "mixed": [
        {"pfn": 0x56780, "use": "unknown", "type": None},
        {"pfn": 0x12340, "use": "unknown", "type": None},
        {"pfn": 0x9ABC0, "use": "unknown", "type": None},
        {"use": "unknown", "type": None},
    ],
    "wrapped": [
        {
            "pfn": 0x8550,
            "use": "shmem",
            "type": "untyped",
            "order": 3,
            "compound_pincount": 0,
            "file": {"inode": 0x1F43, "name": "a file"},
            "flags": ["uptodate", "head", "swapbacked"],
            "memcg_data": "0xffff888101234000",
            "reason": "VM_BUG_ON_FOLIO(folio_ref_count(folio) <= 0)",
            "page_owner": {
                "state": "allocated",
                "order": 3,
                "migratetype": "Movable",
                "gfp_mask": "0xd20c0",
                "pid": 4525,
                "command": "udevd",
            },
        }
    ],
}
WHOLE = [name for name in EXPECTED if name not in ("mixed", "wrapped")]
