# SPDX-License-Identifier: GPL-2.0-only
"""drgn's own command line with the plugin, on a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from drgn_prompt import Prompt
from made_kernel import IMAGE, SYMBOLS, Kernel


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "core"
    Kernel().write_core(path)
    return path


def test_the_prompt_has_types_symbols_and_a_command(core: Path, tmp_path: Path) -> None:
    with Prompt(core, tmp_path) as prompt:
        assert "missing debugging symbols" in prompt.banner
        assert prompt.ask('prog.type("struct mem_section").size') == "16\n"
        place = prompt.ask('hex(prog.symbol("mem_section").address)')
        assert place == f"'{IMAGE + SYMBOLS['mem_section']:#x}'\n"
        assert prompt.ask("%pageinspect summary --help | head -1").startswith("usage: %pageinspect")
        wrong = prompt.ask("%pageinspect page 0x1000")
        assert wrong.startswith("drgn: error: struct page has 16 bytes")
        assert wrong.count("\n") == 2
        assert prompt.ask("print(1 + 1)") == "2\n"


def test_the_prompt_without_the_plugin(core: Path, tmp_path: Path) -> None:
    with Prompt(core, tmp_path, PAGEINSPECT_DRGN_PLUGIN="0") as prompt:
        assert "LookupError: could not find 'struct mem_section'" in prompt.ask(
            'prog.type("struct mem_section")'
        )
        assert prompt.ask("%pageinspect types") == "drgn: pageinspect: command not found\n"


def test_drgn_starts_without_numpy_btf_or_a_walk(core: Path) -> None:
    code = (
        "import json, sys; print(json.dumps([m for m in sys.modules if m.split('.')[0] in "
        "('pageinspect', 'numpy')]))"
    )
    command = [sys.executable, "-m", "drgn", "-q", "-c", str(core), "-e", code]
    # A command that ran in this process has switched drgn's plugins off.
    plain = {name: value for name, value in os.environ.items() if "DRGN" not in name}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    loaded = set(json.loads(done.stdout))
    assert "pageinspect.cli.drgn_plugin" in loaded
    assert "numpy" not in loaded
    packages = {name.split(".")[1] for name in loaded if "." in name}
    assert packages <= {"cli", "errors", "host", "target", "units", "version"}
    assert not any(name.startswith("pageinspect.target.symbols") for name in loaded)


def test_our_own_command_line_has_no_plugin(core: Path) -> None:
    program = (
        "import sys; from pageinspect.host.startup import configure_libraries; "
        "configure_libraries(); "
        "import drgn; p = drgn.Program(); p.set_core_dump(sys.argv[1]); "
        "print('pageinspect.cli.drgn_plugin' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(core)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
