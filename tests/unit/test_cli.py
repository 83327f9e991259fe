"""The command line without a kernel: help, exit codes, bad input, quiet ends."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from pageinspect.commands import COMMANDS, vm

HEAVY = ("drgn", "_drgn", "bcc", "numpy", "tabulate", "tqdm", "dataclasses", "inspect", "json")
HEAVY_FOR_HELP = (*HEAVY, "typing", "pathlib", "subprocess", "tempfile", "importlib.metadata")


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def help_and_imports(*command: str) -> tuple[str, set[str]]:
    """Return what --help says, and all modules that are imported when it has said it."""
    program = (
        "import sys\n"
        "from pageinspect.__main__ import main\n"
        f"try: main({[*command, '--help']})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout, set(done.stderr.split())


def test_help_names_every_command_and_imports_next_to_nothing() -> None:
    text, imported = help_and_imports()
    assert "argparse" in imported
    assert not imported & set(HEAVY_FOR_HELP)
    ours = {name for name in imported if name.startswith("pageinspect")}
    assert ours == {"pageinspect", "pageinspect.__main__", "pageinspect.commands"}
    for command in COMMANDS:
        assert f"    {command} " in text


@pytest.mark.parametrize(
    "command", [*((name,) for name in COMMANDS), *(("vm", name) for name in vm.COMMANDS)]
)
def test_help_of_a_command_says_what_its_module_does(command: tuple[str, ...]) -> None:
    summary = COMMANDS[command[0]] if len(command) == 1 else vm.COMMANDS[command[1]]
    module = import_module(f"pageinspect.commands.{'_'.join(command)}")
    text, imported = help_and_imports(*command)
    assert (module.__doc__ or "").startswith(f"{summary}.")
    assert module.__doc__ in text
    assert not imported & set(HEAVY)
    others = {f"pageinspect.commands.{name}" for name in COMMANDS if name not in command}
    assert not imported & others - {"pageinspect.commands.vm"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"not a core at all\n" * 100, "is not a core"),
        (b"\x7fELF" + bytes(100), "not a core"),
        (b"KDUMP   " + bytes(4096), "is cut off"),
        (b"KDUMP   " + bytes(9999), "is not a core"),
    ],
)
@pytest.mark.parametrize("command", ["summary", "list", "types"])
def test_what_is_no_core(tmp_path: Path, command: str, content: bytes | None, message: str) -> None:
    core = tmp_path / "core"
    if content is not None:
        core.write_bytes(content)
    done = pageinspect(command, "-c", core)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert message in lines[0]
    assert str(core) in lines[0]
    assert lines[1].startswith("  hint: ")


def test_a_folder_is_no_core(tmp_path: Path) -> None:
    done = pageinspect("types", "-c", tmp_path)
    assert done.returncode == 1
    assert "is a directory" in done.stderr


def test_usage_errors_exit_2() -> None:
    for args in (["frobnicate"], ["summary", "--nope"], ["summary", "--format", "xml"], []):
        done = pageinspect(*args)
        assert done.returncode == 2, args
        assert "usage: pageinspect" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-s", "FILE", "--btf", "FILE"], "-s is where types and symbols come from"),
        (["-s", "FILE", "--symbols-from", "vmcoreinfo"], "-s is where types and symbols come"),
        (["--symbols-from", "vmcoreinfo", "--kallsyms", "FILE"], "takes nothing else"),
        (["--symbols-from", "dwarf"], "invalid choice"),
        (["--vmcoreinfo", "FILE"], "is for cores"),
    ],
)
def test_sources_of_symbols_that_do_not_go_together(
    tmp_path: Path, options: list[str], message: str
) -> None:
    file = tmp_path / "file"
    file.touch()
    done = pageinspect("types", *(file if o == "FILE" else o for o in options))
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("option", ["--btf", "--kallsyms", "--vmcoreinfo", "-s"])
def test_files_of_symbols_that_are_not_there(tmp_path: Path, option: str) -> None:
    core = tmp_path / "core"
    core.touch()
    done = pageinspect("types", "-c", core, option, tmp_path / "gone")
    assert done.returncode == 1
    assert f"{tmp_path / 'gone'}: no such file" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_a_reader_that_leaves_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "pageinspect", "vm", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_stdout_that_cannot_be_written_is_one_line_and_a_hint() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pageinspect", "vm", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot write the report: No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_help_on_a_terminal_that_knows_ascii_alone() -> None:
    environment = os.environ | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "pageinspect", command, "--help"],
            capture_output=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_ctrl_c_at_any_moment_is_quiet() -> None:
    for delay in (0.02, 0.06, 0.1, 0.15, 0.2):
        with subprocess.Popen(
            [sys.executable, "-m", "pageinspect", "vm", "list"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
        # Before Python has reached main(), it is Python's own to say.
        assert not re.search(rb'__main__\.py", line \d+, in (main|_run)', said), said


@pytest.mark.parametrize("option", [["--type", ","], ["--type", ""], ["--use", ","]])
def test_a_list_of_no_names_is_a_usage_error(option: list[str]) -> None:
    assert pageinspect("list", "-c", "/nonexistent", *option).returncode == 2


@pytest.mark.parametrize(
    "option",
    [
        ["--cpus", "0"],
        ["--timeout", "-1"],
        ["--memory", "0"],
        ["--memory", "1K"],
        ["--cpus", "999"],
    ],
)
def test_nonsense_guests_are_usage_errors(option: list[str]) -> None:
    assert pageinspect("vm", "run", "newest", *option, "--", "true").returncode == 2
