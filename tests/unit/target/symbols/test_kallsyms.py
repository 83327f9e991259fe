# SPDX-License-Identifier: GPL-2.0-only
"""A saved /proc/kallsyms beside a core."""

from pathlib import Path

import pytest
from drgn import Architecture, Platform, Program

from pageinspect.errors import PageInspectError
from pageinspect.target.symbols.kallsyms import read_kallsyms

STEXT = 0xFFFFFFFF81000000


UTS = 0xFFFFFFFF82000000


MAP = (
    f"0000000000000000 A fixed_percpu_data\n{STEXT:016x} T _stext\n{UTS:016x} D init_uts_ns\n"
    f"ffffffffc0000000 t helper\t[module]\n{UTS + 64:016x} d a_variable\n"
)


def moved(by: int) -> dict[str, str]:
    return {
        "SYMBOL(_stext)": f"{STEXT + by:x}",
        "SYMBOL(init_uts_ns)": f"{UTS + by:x}",
        # Of variables that are pointers it has the value.
        "SYMBOL(mem_section)": "ffff888000001000",
        "SYMBOL(not_in_the_file)": "ffffffff83000000",
    }


@pytest.mark.parametrize("by", [0, 0x3A400000])
def test_symbols_move_with_the_kernel(tmp_path: Path, by: int) -> None:
    path = tmp_path / "System.map"
    path.write_text(MAP)
    symbols = read_kallsyms(path, moved(by))
    prog = Program(Platform(Architecture.X86_64))
    found = {s.name: s.address for s in symbols(prog, None, None, False)}
    assert found == {
        "fixed_percpu_data": 0,
        "_stext": STEXT + by,
        "init_uts_ns": UTS + by,
        "a_variable": UTS + 64 + by,
    }


@pytest.mark.parametrize(
    ("content", "info", "message"),
    [
        (MAP, moved(0) | {"SYMBOL(init_uts_ns)": f"{UTS + 64:x}"}, "init_uts_ns is not where"),
        (MAP, moved(0x1000), "_stext is not where"),
        (MAP.replace("_stext", "_etext"), moved(0), "is not where"),
        ("0000000000000000 T _stext\n", moved(0), "hides the addresses"),
        ("", moved(0), "has no symbols"),
        ("\x7fELF" * 9, moved(0), "has no symbols"),
    ],
)
def test_symbols_of_another_kernel(
    tmp_path: Path, content: str, info: dict[str, str], message: str
) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(content)
    with pytest.raises(PageInspectError, match=message):
        read_kallsyms(path, info)
