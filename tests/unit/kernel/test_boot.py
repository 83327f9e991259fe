# SPDX-License-Identifier: GPL-2.0-only
"""The boot id, the clock and the name of a machine, in memory made by hand."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from drgn import Program, ProgramFlags
from kernel_by_hand import Kernel

from pageinspect.kernel import boot
from pageinspect.kernel.boot import Clock, crash_time, read_boot_id, read_clock, read_host

SECONDS = 1_764_439_274
OFFS_REAL, OFFS_BOOT = 1_764_439_255_709_689_123, 5_000_000_000


def with_symbol(kernel: Kernel, name: str, address: int) -> Program:
    kernel.symbols({name: (address, 16)})
    return kernel.prog


def timekeeper(kernel: Kernel) -> tuple[Any, bytes]:
    """Return struct timekeeper, and one with these times."""
    long = kernel.prog.int_type("long", 8, is_signed=True)
    of = kernel.struct("timekeeper", xtime_sec=kernel.ulong, offs_real=long, offs_boot=long)
    numbers = (SECONDS, OFFS_REAL, OFFS_BOOT)
    return of, b"".join(number.to_bytes(8, "little") for number in numbers)


@pytest.mark.parametrize("name", ["timekeeper_data", "tk_core"])
def test_clock(name: str) -> None:
    kernel = Kernel()
    of, data = timekeeper(kernel)
    holder = kernel.struct("tk_data", seq=kernel.ulong, timekeeper=of)
    address = kernel.room(32, 8)
    kernel.write(address + 8, data)
    kind = kernel.array(holder, 1) if name == "timekeeper_data" else holder
    kernel.variable(name, kind, at=address)
    boot = (OFFS_REAL - OFFS_BOOT) // 1000
    assert read_clock(kernel.prog) == Clock(SECONDS * 1_000_000, boot)
    # 2025-11-29 18:00:50 UTC
    assert boot // 1_000_000 == 1_764_439_250


def test_clock_behind_a_symbol_whose_type_has_no_name() -> None:
    kernel = Kernel()
    _, data = timekeeper(kernel)
    count = kernel.struct("seqcount_raw_spinlock", sequence=kernel.uint, filler=kernel.uint)
    kernel.typedef("seqcount_raw_spinlock_t", count)
    address = kernel.room(32, 8)
    kernel.write(address + 8, data)
    with_symbol(kernel, "tk_core", address)
    assert read_clock(kernel.prog).now == SECONDS * 1_000_000


def test_a_kernel_without_a_clock_has_no_times() -> None:
    assert read_clock(Kernel().prog) == Clock(None, None)


def test_a_damaged_clock_has_no_times() -> None:
    kernel = Kernel()
    of, _ = timekeeper(kernel)
    holder = kernel.struct("tk_data", seq=kernel.ulong, timekeeper=of)
    address = kernel.room(32, 8)
    kernel.write(address, b"\xa5" * 32)
    kernel.variable("tk_core", holder, at=address)
    assert read_clock(kernel.prog) == Clock(None, None)


def test_boot_id() -> None:
    kernel = Kernel()
    address = kernel.room(16, 8)
    prog = with_symbol(kernel, "sysctl_bootid", address)
    # It was not read since boot.
    assert read_boot_id(prog) is None
    kernel.write(address, bytes(range(16)))
    assert read_boot_id(prog) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert read_boot_id(Kernel().prog) is None
    assert read_boot_id(with_symbol(Kernel(), "sysctl_bootid", 0x1000)) is None


def test_the_running_kernel_makes_its_boot_id_when_it_is_first_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel()
    address = kernel.room(16, 8)
    prog = with_symbol(kernel, "sysctl_bootid", address)
    file = SimpleNamespace(read_bytes=lambda: kernel.write(address, bytes(range(16))))
    monkeypatch.setattr(boot, "_ID_FILE", file)
    assert read_boot_id(prog) is None
    flags = ProgramFlags.IS_LIVE | ProgramFlags.IS_LOCAL
    live = SimpleNamespace(flags=flags, symbol=prog.symbol, read=prog.read)
    assert read_boot_id(cast("Any", live)) == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_host() -> None:
    kernel = Kernel()
    names = kernel.room(4 + 65 * 3, 8)
    kernel.write(names + 4, b"Linux".ljust(65, b"\0") + b"a\x1b\xff" + bytes(62) + b"7.3")
    info = {"SYMBOL(init_uts_ns)": f"{names:x}", "OFFSET(uts_namespace.name)": "4"}
    assert read_host(kernel.prog, info) == "a\x1b\ufffd"
    assert read_host(kernel.prog, {}) == ""
    assert read_host(kernel.prog, {**info, "SYMBOL(init_uts_ns)": "1000"}) == ""


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1764439274", SECONDS * 1_000_000),
        ("", None),
        ("-5", None),
        ("9" * 30, None),
        ("0", None),
        ("²", None),
    ],
)
def test_crash_time(text: str, time: int | None) -> None:
    assert crash_time({"CRASHTIME": text}) == time
    assert crash_time({}) is None
