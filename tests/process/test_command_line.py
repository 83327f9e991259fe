# SPDX-License-Identifier: GPL-2.0-only
"""The command line without a kernel: help, exit codes, bad input, quiet ends."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from pageinspect.cli.commands import vm
from pageinspect.cli.main import main
from pageinspect.cli.options import read_errors
from pageinspect.cli.parser import COMMANDS, build_parser
from pageinspect.errors import PageInspectError

HEAVY = ("drgn", "_drgn", "bcc", "numpy", "tabulate", "tqdm", "dataclasses", "inspect", "json")
HEAVY_FOR_HELP = (*HEAVY, "pathlib", "subprocess", "tempfile", "importlib.metadata")


def pageinspect(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def help_and_imports(*command: str) -> tuple[str, set[str]]:
    """Return what --help says, and all modules that are imported when it has said it."""
    program = (
        "import sys\n"
        "from pageinspect.cli.main import main\n"
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
    assert ours == {
        "pageinspect",
        "pageinspect.cli",
        "pageinspect.cli.main",
        "pageinspect.cli.parser",
        "pageinspect.errors",
        "pageinspect.version",
    }
    for command in COMMANDS:
        assert f"    {command} " in text


@pytest.mark.parametrize(
    "command", [*((name,) for name in COMMANDS), *(("vm", name) for name in vm.COMMANDS)]
)
def test_help_of_a_command_says_what_its_module_does(command: tuple[str, ...]) -> None:
    summary = COMMANDS[command[0]] if len(command) == 1 else vm.COMMANDS[command[1]]
    module = import_module(f"pageinspect.cli.commands.{'_'.join(command)}")
    text, imported = help_and_imports(*command)
    assert (module.__doc__ or "").startswith(f"{summary}.")
    assert " ".join((module.__doc__ or "").split()) in " ".join(text.split())
    assert not imported & set(HEAVY)
    others = {f"pageinspect.cli.commands.{name}" for name in COMMANDS if name not in command}
    assert not imported & others - {"pageinspect.cli.commands.vm"}


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
def test_files_that_are_not_cores(
    tmp_path: Path, command: str, content: bytes | None, message: str
) -> None:
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


def test_a_folder_is_not_a_core(tmp_path: Path) -> None:
    done = pageinspect("types", "-c", tmp_path)
    assert done.returncode == 1
    assert "is a directory" in done.stderr
    assert "a dataset of snapshots has a folder snapshots" in done.stderr


def test_a_dataset_that_is_missing(tmp_path: Path) -> None:
    done = pageinspect("types", "-c", tmp_path / "none@-2")
    assert done.returncode == 1
    assert "or of the dataset, which ends before @ or #" in done.stderr


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["sumary"], "there is no command sumary", "did you mean summary? pageinspect --help"),
        (["vm", "rum"], "there is no command vm rum", "did you mean run? pageinspect vm --help"),
        (
            ["summary", "--us=x"],
            "there is no option --us",
            "did you mean --use? pageinspect",
        ),
        (
            ["diff", "-c", "a", "b"],
            "there is no option -c",
            "both as arguments: pageinspect diff X Y",
        ),
        (["--nope"], "there is no option --nope", "pageinspect --help"),
        (["list", "core", "it"], "unexpected argument 'it'", "pageinspect list --help"),
        (["list", "--format", "jso"], "--format: there is no 'jso'", "did you mean json? choose"),
        (["list", "core", "a\x1b[31mb"], "unexpected argument 'a\\x1b[31mb'", "--help"),
        (["list", "--a\x1b[31mb"], "there is no option --a\\x1b[31mb", "--help"),
        (["trace", "-c", "core"], "not what is in a core", "pageinspect vm run"),
        (["trace", "--qemu=socket"], "not what is in a core", "pageinspect vm run"),
        (["trace", "-i", "soon"], "'soon' is not a number of seconds (0.01 to", "trace --help"),
        (["summary", "--by", "type,zoon"], "no 'zoon'; did you mean zone?", "summary --help"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(
    args: list[str], message: str, hint: str
) -> None:
    done = pageinspect(*args)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("pageinspect: error: ")
    assert message in first
    assert second.startswith("  hint: ")
    assert hint in second


@pytest.mark.parametrize("args", [[], ["vm"]])
def test_without_a_command_it_shows_help_and_exits_2(args: list[str]) -> None:
    done = pageinspect(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == pageinspect(*args, "--help").stdout


def test_what_a_list_counts_by_is_one_word_or_many() -> None:
    parse = build_parser().parse_args
    for words in (["--by", "zone,type"], ["--by", "zone", "--by", "type"]):
        assert parse(["summary", *words]).by == ["zone", "type"]
    assert parse(["trace", "--by", "comm,caller", "--by", "cpu"]).by == ["comm", "caller", "cpu"]


def test_what_fails_to_be_read_is_not_called_a_report_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/proc/kcore")

    monkeypatch.setattr("pageinspect.vm.kernel.all_kernels", fail)
    assert main(["vm", "list"]) == 1
    monkeypatch.undo()
    # The report is half written then.
    monkeypatch.setattr("pageinspect.report.kernels.KernelsReport.view", fail)
    assert main(["vm", "list", "-o", str(tmp_path / "report")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == told[2] == "pageinspect: error: /proc/kcore: Input/output error"
    assert [line[:8] for line in told[1::2]] == ["  hint: "] * 2


def test_a_report_that_a_file_does_not_take_names_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["vm", "list", "-o", "/dev/full"]) == 1
    assert "cannot write /dev/full: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [[2], [0, 2], [0, 1, 2]])
def test_closed_standard_streams_are_no_files_of_ours(tmp_path: Path, closed: list[int]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    report = tmp_path / "report"
    command = [sys.executable, "-m", "pageinspect", "vm", "list", "-o"]
    run = partial(subprocess.run, stdin=0, stdout=1, stderr=2, preexec_fn=close, check=False)
    assert run([*command, str(report)]).returncode == 0
    assert report.read_text().startswith("kernel ")
    assert run([*command, str(tmp_path)]).returncode == 1


def test_a_user_without_a_home_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PAGEINSPECT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert main(["vm", "list"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert "no home folder" in told[0]
    assert "PAGEINSPECT_CACHE" in told[1]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"release": 1}', "\x00", "[" * 100_000], ids=range(7)
)
@pytest.mark.parametrize("command", [["list"], ["run", "6.1", "--", "true"]])
def test_a_broken_description_of_a_kernel(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str,
    command: list[str],
) -> None:
    monkeypatch.setenv("PAGEINSPECT_CACHE", str(tmp_path))
    current = tmp_path / "kernels/bookworm-6.1/current"
    current.mkdir(parents=True)
    (current / "kernel.json").write_text(content)
    assert main(["vm", *command]) in {1, 125}
    told = capsys.readouterr().err.splitlines()
    assert told == [
        f"pageinspect: error: {current / 'kernel.json'} is damaged",
        f"  hint: remove {current}: pageinspect vm build makes it again",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-s", "FILE", "--btf", "FILE"], "-s provides all types and symbols"),
        (["-s", "FILE", "--symbols-from", "vmcoreinfo"], "-s provides all types and symbols"),
        (["--symbols-from", "vmcoreinfo", "--kallsyms", "FILE"], "uses no other source"),
        (["--symbols-from", "dwarf"], "choose from btf, vmcoreinfo"),
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
        assert not re.search(rb'main\.py", line \d+, in (main|_run)', said), said


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


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in ([], ["vm"], *([name] for name in COMMANDS), *(["vm", n] for n in vm.COMMANDS)):
        help_ = pageinspect(*command, "--help").stdout
        longest = max(help_.splitlines(), key=len)
        assert len(longest) <= columns, longest


def test_an_error_of_a_producer_is_distinguished_from_one_of_its_consumer() -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise OSError(errno.EIO, os.strerror(errno.EIO), "/proc/kcore")

    with pytest.raises(PageInspectError, match="/proc/kcore: Input/output error"):
        list(read_errors(fail()))

    def use() -> None:
        for _ in read_errors(fail()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        use()


@pytest.mark.parametrize("call", ["say('x')", "write_line('x')", "write('x')"])
def test_a_full_standard_error_ends_no_run(call: str) -> None:
    program = f"from pageinspect.host.terminal import *; {call}; print('went on')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert (done.returncode, done.stdout) == (0, b"went on\n")
