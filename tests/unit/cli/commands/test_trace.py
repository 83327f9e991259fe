"""The command line of trace, and its errors, without a kernel."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from synthetic import MODERN, SCHEMES

from pageinspect.cli.commands.trace import _announce, check_types, trace_options
from pageinspect.cli.output import check_output
from pageinspect.cli.parser import build_parser
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.host import capabilities
from pageinspect.model.arch import MAX_ORDER
from pageinspect.model.layout import PageLayout
from pageinspect.trace.compile import compile_program, refusal
from pageinspect.trace.kinds import PAGE_POOL, TYPED, UNTYPED, mask
from pageinspect.trace.options import Filters, TraceOptions

if TYPE_CHECKING:
    from types import ModuleType


def pageinspect(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pageinspect", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("option", ["-d", "-i"])
@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_seconds_are_a_positive_number(option: str, value: str) -> None:
    done = pageinspect("trace", option, value)
    assert done.returncode == 2
    assert "number of seconds" in done.stderr


def test_a_command_that_is_not_there() -> None:
    done = pageinspect("trace", "--", "no-such-command", "-d", "x")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 2
    assert "command not found" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--events", "-i", "1"], "two ways to follow"),
        (["--folded", "--format", "json"], "a form of its own"),
        (["--folded", "--events"], "a form of its own"),
        (["--folded", "--by", "comm"], "has stacks, and no --by"),
        (["--exec", "true"], "nothing to wait for"),
        (["--disallow", "table", "--exec"], "names no program"),
        (["--top", "3"], "nothing to choose from"),
        (["--top", "0", "--stacks"], "not a positive number"),
        (["--order", str(MAX_ORDER + 1)], "not an order (0 to 10)"),
        (["--order", "1,x"], "'x' is not an order (0 to 10)"),
        (["--pid", "-1"], "process id"),
        (["--comm", ""], "name of a task"),
        (["--by", "colour"], "choose from comm, pid"),
        (["--type", ","], "list of names"),
        (["-c", "x"], "-c: trace counts what the running kernel frees"),
        (["--pause"], "--pause: trace counts what the running kernel frees"),
        (["-s", "x"], "-s: trace takes types and symbols from the running kernel"),
        (["--btf", "x"], "--btf: trace takes types and symbols from the running kernel"),
        (["--symbols-from=btf"], "--symbols-from: trace takes types and symbols from the"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(options: list[str], message: str) -> None:
    done = pageinspect("trace", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_every_order_of_a_free_block_can_be_asked_for() -> None:
    args = build_parser().parse_args(["trace", "--order", f"0,{MAX_ORDER}"])
    assert args.order == (0, MAX_ORDER)


def test_the_program_to_run_ends_at_the_dashes() -> None:
    words = ["--disallow", "table", "--exec", "logger", "-t", "x", "--", "sh", "-c", "true"]
    args = build_parser().parse_args(["trace", *words])
    assert args.exec == ["logger", "-t", "x"]
    assert args.command == ["sh", "-c", "true"]
    assert build_parser().parse_args(["trace", "--disallow", "table"]).exec is None


def test_a_program_to_run_that_is_not_there_is_told_before_tracing() -> None:
    done = pageinspect("trace", "--disallow", "table", "--exec", "no-such-program")
    assert done.returncode == 1
    assert "no-such-program: command not found" in done.stderr


def asked(*words: str, layout: PageLayout = MODERN) -> TraceOptions:
    return trace_options(build_parser().parse_args(["trace", *words]), layout, Filters())


def test_what_is_unexpected_is_all_but_the_sticky_types() -> None:
    options = asked("--disallow", "unexpected")
    assert {0xF1, 0xF6}.isdisjoint(options.disallowed)
    assert {0xF0, 0xF2, 0xF5, 0xF8, 0xF9, PAGE_POOL} <= options.disallowed
    assert options.page_pool
    assert options.with_stacks
    older = asked("--disallow", "unexpected", layout=replace(MODERN, resets=False))
    assert {0xF1, 0xF6} <= older.disallowed


def test_page_pool_costs_nothing_unless_asked_for() -> None:
    assert not asked().page_pool
    assert asked("--page-pool").page_pool
    assert asked("--type", "page_pool").page_pool
    assert asked("--disallow", "page_pool").page_pool
    assert "PAGE_POOL_MASK" not in asked().defines(MODERN)


def test_a_plain_run_compiles_nothing_in() -> None:
    assert asked().defines(MODERN) == {}
    assert asked().defines(replace(MODERN, resets=False)) == {"BAD_PAGES": "1"}


def test_types_choose_what_is_told_of_who_freed() -> None:
    assert asked("--by", "comm").kinds == frozenset([*range(256), PAGE_POOL])
    assert asked("--by", "comm", "--type", "untyped,table").kinds == {UNTYPED, 0xF2}
    both = asked("--by", "comm", "--by", "comm", "--by", "cpu")
    assert both.by == ("comm", "cpu")
    assert {"WHO_SET", "BY_COMM", "BY_CPU"} == set(both.defines(MODERN))


def test_stacks_are_taken_of_those_frees_whose_stack_is_wanted() -> None:
    one = frozenset({3})
    for options, of in (
        (TraceOptions(by=("comm",), disallowed=one), one),
        (TraceOptions(by=("caller",), disallowed=one), TYPED),
        (TraceOptions(stacks=True, kinds=frozenset({4}), disallowed=one), frozenset({3, 4})),
    ):
        defines = options.defines(MODERN)
        assert defines["STACK_SET"] == mask(of)
        assert ("BY_STACK" in defines) == (of != one)
    assert "STACK_SET" not in TraceOptions(by=("comm",), events=True).defines(MODERN)


def test_an_output_that_cannot_be_written_is_told_before_tracing() -> None:
    check_output(None)
    check_output(Path("report"))
    with pytest.raises(PageInspectError, match="cannot write /no/such/folder/report"):
        check_output(Path("/no/such/folder/report"))


def test_known_types_pass() -> None:
    check_types(None, MODERN)
    check_types(("zsmalloc", "table"), MODERN)
    check_types(("untyped", "page_pool"), MODERN, "untyped", "page_pool")
    with pytest.raises(UsageError, match="no page_pool that could be told"):
        check_types(("page_pool",), replace(MODERN, page_pool=None), "page_pool")


@pytest.mark.parametrize(
    ("names", "scheme", "message", "hint"),
    [
        (("zsmaloc",), "6.16", "no page type 'zsmaloc'", "did you mean zsmalloc? it has"),
        (("table", "qqq"), "6.16", "no page type 'qqq'", "it has: buddy, offline"),
        # A flag, not a page type, in that kernel.
        (
            ("slab",),
            "5.11",
            "no page type 'slab'",
            "buddy, offline, table, guard",
        ),
    ],
)
def test_unknown_types_are_usage_errors(
    names: tuple[str, ...], scheme: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_types(names, replace(MODERN, scheme=SCHEMES[scheme]))
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("number", "lockdown", "hint"),
    [
        (errno.EPERM, "", "CAP_BPF and CAP_PERFMON"),
        (errno.EPERM, "none [integrity] confidentiality", "CAP_BPF and CAP_PERFMON"),
        (errno.EPERM, "none integrity [confidentiality]", "locked down"),
        (errno.ENOENT, "", "no tracepoint mm_page_free"),
        (errno.EINVAL, "", "Linux 5.8"),
        (errno.ENOSYS, "", "CONFIG_BPF_SYSCALL"),
    ],
)
def test_a_kernel_that_refuses_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, lockdown: str, hint: str
) -> None:
    monkeypatch.setattr(capabilities, "lacking", lambda needed, _root: needed)
    if lockdown:
        file = tmp_path / "sys/kernel/security/lockdown"
        file.parent.mkdir(parents=True)
        file.write_text(lockdown, encoding="ascii")
    error = refusal(number, "the BPF program", tmp_path)
    assert error.message.startswith("the kernel refuses the BPF program: ")
    assert hint in error.hint


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.ENOMEM, errno.EINVAL])
def test_a_map_that_the_kernel_refuses_is_told_by_its_own_errno(number: int) -> None:
    class Library:
        __version__ = "0"

        @staticmethod
        def BPF(**_: object) -> None:  # noqa: N802 - bcc's own name
            line = f"could not open bpf map: frees, error: {os.strerror(number)}\n"
            os.write(2, line.encode())
            raise Exception("Failed to compile BPF module")  # noqa: TRY002 - as bcc does

    with pytest.raises(PageInspectError, match=f"(?m)refuses a map .*: {os.strerror(number)}$"):
        compile_program(cast("ModuleType", Library), Path("x.c"), {})


def test_it_says_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    for words, until in (
        ([], "Ctrl-C"),
        (["-d", "2.5"], "2.5 s or Ctrl-C"),
        (["-d", "60", "--", "a\x1bb", "c"], "the end of a\\x1bb or 60 s or Ctrl-C"),
    ):
        _announce(build_parser().parse_args(["trace", *words]))
        assert capsys.readouterr().err == f"pageinspect: tracing until {until}\n"
