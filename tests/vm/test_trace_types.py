"""`pageinspect trace` of frees that only a kernel bug makes: a module makes them in the guest."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guest_module import NAME, modules

from pageinspect.vm import catalogue
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

PARAMETERS = f"/sys/module/{NAME}/parameters"
HEADER = "/usr/src/linux-headers-*-common/include/linux/page-flags.h"
STICKY = {"offline", "zsmalloc"}
LARGE, OF_POOL = 4, 3
BAD_TYPE, BAD_POOL = "nonzero mapcount", "page_pool leak"


@pytest.fixture(scope="session")
def built(ready: Callable[[str], BuiltKernel]) -> dict[str, Path]:
    """The module for each kernel of the catalogue, by release."""
    return modules([ready(name) for name in catalogue.kernels()])


@pytest.fixture(scope="module")
def wrong(guest: Guest, built: dict[str, Path]) -> Guest:
    """A guest with the module in it."""
    load = "cat > /run/module.ko && insmod /run/module.ko"
    guest.run(["sh", "-c", load], input=built[guest.kernel.release].read_bytes())
    return guest


def words(guest: Guest) -> dict[str, int]:
    """Return the page_type word of each type by its name, as the kernel's own header has them."""
    header = guest.run(["sh", "-c", f"cat {HEADER}"]).stdout.decode()
    of_byte = {
        name: int(value, 16) << 24
        for name, value in re.findall(r"\bPGTY_(\w+)\s*=\s*(0x\w+)", header)
        if name != "mapcount_underflow"
    }
    bits = re.findall(r"^#define PG_(\w+)\s+(0x\w+)$", header, re.MULTILINE)
    return of_byte or {name: 0xFFFFFFFF & ~int(bit, 16) for name, bit in bits}


def bad_pages(guest: Guest, reason: str) -> int:
    """Return how many pages the kernel has found bad for this reason."""
    return guest.run(["dmesg"]).stdout.decode().count(f"page dumped because: {reason}\n")


@dataclass(frozen=True)
class Freed:
    """What was freed wrongly in one run of the tracer, and what was said of it."""

    report: dict[str, Any]
    orders: dict[str, int]
    """Of the frees of each type."""
    times: dict[str, int]
    bad_types: int
    """Pages that the kernel found bad for their type, and for their page_pool."""
    bad_pools: int
    resets: bool


@pytest.fixture(scope="module")
def freed(wrong: Guest) -> Freed:
    """Trace frees with each type of the kernel, some times each, and of a page_pool's pages."""
    by_name = words(wrong)
    assert {"buddy", "offline", "table", "guard"} <= set(by_name)
    # Up to v6.1 pages of small orders are checked only when they leave the per-CPU lists.
    small = 0 if "slab" in by_name else LARGE
    orders = {name: LARGE if i % 2 else small for i, name in enumerate(by_name)}
    # Few, for the kernel's log holds some forty complaints.
    times = {name: 1 + i for i, name in enumerate(by_name)}
    writes = [f"echo {by_name[n]:#x} {orders[n]} {times[n]} > {PARAMETERS}/typed" for n in by_name]
    writes.append(f"echo {OF_POOL} > {PARAMETERS}/page_pool")
    argv = ["pageinspect", "trace", "--format", "json", "--", "sh", "-c", " && ".join(writes)]
    report = json.loads(wrong.run(argv).stdout)
    bad_types, bad_pools = bad_pages(wrong, BAD_TYPE), bad_pages(wrong, BAD_POOL)
    resets = wrong.kernel.release.startswith("7.")
    return Freed(report, orders, times, bad_types, bad_pools, resets)


def test_all_was_freed_and_counted(freed: Freed) -> None:
    assert (freed.report["command_status"], freed.report["lost"]) == (0, 0)


def test_every_type_of_the_kernel_is_counted_under_its_name(freed: Freed) -> None:
    found = {
        row["type"]: (row["frees"], row["pages"], row["orders"], row["expected"])
        for row in freed.report["typed"]
    }
    assert found == {
        name: (times, times << order, {str(order): times}, freed.resets and name in STICKY)
        for (name, times), order in zip(freed.times.items(), freed.orders.values(), strict=True)
    }


def test_a_kernel_that_does_not_reset_a_type_finds_the_page_bad(freed: Freed) -> None:
    assert freed.bad_types == (0 if freed.resets else sum(freed.times.values()))


def test_pages_of_a_page_pool_have_no_type(freed: Freed, guest: Guest) -> None:
    assert "page_pool" not in {row["type"] for row in freed.report["typed"]}
    assert freed.report["untyped"]["frees"] >= OF_POOL
    # That they came to be freed is what the kernel says, where it looks for the signature.
    looks = not guest.kernel.release.startswith("6.1.")
    assert freed.bad_pools == (OF_POOL if looks else 0)
