# SPDX-License-Identifier: GPL-2.0-only
"""The plugin of drgn: whom it serves, with what, and that nothing comes out of it but answers."""

import logging
from collections.abc import Iterator
from pathlib import Path

import drgn
import pytest
from drgn import Program
from drgn.commands import CommandError, CommandNotFoundError, run_command
from made_kernel import IMAGE, NUM_SYMS, SYMBOLS, Kernel

from pageinspect.cli import drgn_plugin
from pageinspect.target.open import target_from_program
from pageinspect.target.symbols import finders

NAME = "pageinspect plugin"


@pytest.fixture(autouse=True)
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what is learnt here, and let no Program stay drgn's own."""
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PAGEINSPECT_DRGN_PLUGIN", raising=False)
    yield
    drgn.set_default_prog(None)


def opened(folder: Path, kernel: Kernel | None = None, *, by_hook: bool = True) -> Program:
    """Return a Program that looks at a core, as drgn's command line makes one."""
    path = folder / "core"
    (kernel or Kernel(kaslr=0x200000)).write_core(path)
    prog = Program()
    prog.set_core_dump(path)
    # drgn has called it, unless its plugins were disabled when this process made the first Program.
    if by_hook and NAME not in prog.registered_type_finders():
        drgn_plugin.drgn_prog_set(prog)
    return prog


def test_drgns_own_program_gets_types_constants_variables_and_symbols(tmp_path: Path) -> None:
    prog = opened(tmp_path)
    for registered in (
        prog.enabled_type_finders(),
        prog.enabled_object_finders(),
        prog.enabled_symbol_finders(),
    ):
        assert registered[-1] == NAME
        assert len(registered) > 1
    with pytest.raises(LookupError):
        prog.type("struct mem_section")
    drgn.set_default_prog(prog)
    assert prog.type("struct mem_section").size == 16
    assert prog["PG_head"].value_() == 6
    place = IMAGE + 0x200000 + SYMBOLS["mem_section"]
    assert prog["mem_section"].address_ == prog.symbol("mem_section").address == place
    assert prog.symbol(place).name == "mem_section"
    for ask in (
        lambda: prog.type("struct nix"),
        lambda: prog["nix"],
        lambda: prog.symbol("nix"),
        lambda: prog.type("struct mem_section", "mm/sparse.c"),
    ):
        with pytest.raises(LookupError):
            ask()


def test_an_inspector_of_it_takes_its_types_for_what_they_are(tmp_path: Path) -> None:
    prog = opened(tmp_path)
    drgn.set_default_prog(prog)
    for _ in range(2):
        target = target_from_program(prog)
        assert target.provenance.symbols == "btf"
        assert len(target.symbol_caches) == 2


def test_a_second_inspector_of_a_program_knows_what_the_first_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGEINSPECT_DRGN_PLUGIN", "0")
    prog = opened(tmp_path)
    assert [target_from_program(prog).provenance.symbols for _ in range(2)] == ["btf", "btf"]


def test_a_program_that_has_them_already_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prog = opened(tmp_path)
    target_from_program(prog)
    drgn.set_default_prog(prog)
    monkeypatch.delattr(finders, "find_finders")
    with pytest.raises(LookupError):
        prog.type("struct nix")


def test_debug_information_leaves_nothing_to_add(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prog = opened(tmp_path)
    drgn.set_default_prog(prog)
    with monkeypatch.context() as patched:
        patched.setattr(drgn_plugin, "has_debug_info", lambda _prog: True)
        with pytest.raises(LookupError):
            prog.type("struct mem_section")
        assert not prog.config
        other = Program()
        other.set_core_dump(tmp_path / "core")
        names = other.registered_type_finders()
        drgn_plugin.drgn_prog_set(other)
        assert other.registered_type_finders() == names - ({NAME} if NAME not in names else set())
    assert prog.type("struct mem_section").size == 16
    # Loaded at the prompt, it takes the place of what was added.
    monkeypatch.setattr(drgn_plugin, "has_debug_info", lambda _prog: True)
    with pytest.raises(LookupError):
        prog.type("struct page")


def test_the_switch_leaves_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEINSPECT_DRGN_PLUGIN", "0")
    prog = opened(tmp_path)
    assert NAME not in prog.registered_type_finders()
    with pytest.raises(CommandNotFoundError):
        run_command(prog, "pageinspect types")


def test_what_is_no_kernel_is_let_be() -> None:
    prog = Program()
    drgn_plugin.drgn_prog_set(prog)
    assert NAME not in prog.registered_type_finders()
    with pytest.raises(CommandNotFoundError):
        run_command(prog, "pageinspect types")


def test_a_damaged_kernel_is_one_line_in_drgns_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = Kernel()
    kernel.memory[NUM_SYMS : NUM_SYMS + 4] = bytes(4)
    prog = opened(tmp_path, kernel)
    drgn.set_default_prog(prog)
    with caplog.at_level(logging.WARNING, "drgn"):
        for _ in range(2):
            with pytest.raises(LookupError):
                prog.type("struct mem_section")
    (line,) = caplog.messages
    assert line.startswith("pageinspect: no symbols from the kallsyms tables in the core")
    assert "-s VMLINUX" in line
    assert "\n" not in line


def test_nothing_is_raised_whatever_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prog = opened(tmp_path)
    drgn.set_default_prog(prog)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("\x1b[2J")

    monkeypatch.setattr(finders, "find_finders", fails)
    with pytest.raises(LookupError, match="could not find"):
        prog.type("struct mem_section")
    assert caplog.messages == ["pageinspect: \\x1b[2J"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("vm list", "there is no command vm"),
        ("page -c other.core 0x1000", "there is no option -c"),
        ("page", "page takes either ADDR or --dump-text FILE"),
        ("page --dump-text /nonexistent", "cannot read /nonexistent"),
        ("types", "struct page has 16 bytes"),
    ],
)
def test_what_goes_wrong_is_an_error_of_the_prompt(
    command: str, message: str, tmp_path: Path
) -> None:
    prog = opened(tmp_path)
    with pytest.raises(CommandError, match=message) as raised:
        run_command(prog, f"pageinspect {command}")
    assert str(raised.value).count("\n  hint: ") == 1


def test_help_does_not_end_drgn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prog = opened(tmp_path)
    run_command(prog, "pageinspect summary --help")
    text = capsys.readouterr().out
    assert text.startswith("usage: %pageinspect summary ")
    assert "--core" not in text
    assert "--qemu" not in text
