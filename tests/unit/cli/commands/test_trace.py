# SPDX-License-Identifier: GPL-2.0-only
"""The command line of trace, and its errors, without a kernel."""

from itertools import permutations

import pytest

from pageinspect.cli.commands.trace import check_together
from pageinspect.cli.main import main
from pageinspect.cli.parser import build_parser
from pageinspect.model.arch import MAX_ORDER


@pytest.mark.parametrize("option", ["-d", "-i"])
@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_seconds_are_a_positive_number(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", option, value]) == 2
    assert "number of seconds" in capsys.readouterr().err


def test_a_command_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "--", "no-such-command", "-d", "x"]) == 1
    done = capsys.readouterr()
    assert done.out == ""
    assert len(done.err.splitlines()) == 2
    assert "command not found" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--events", "-i", "1"], "cannot be combined"),
        (["--folded", "--format", "json"], "a format of its own"),
        (["--folded", "--events"], "a format of its own"),
        (["--folded", "--by", "comm"], "--folded and --by cannot be combined"),
        (["--exec", "true"], "--exec needs --disallow"),
        (["--disallow", "table", "--exec"], "names no program"),
        (["--top", "3"], "needs groups to choose from"),
        (["--top", "0", "--stacks"], "not a positive number"),
        (["--order", str(MAX_ORDER + 1)], "not an order (0 to 10)"),
        (["--order", "1,x"], "'x' is not an order (0 to 10)"),
        (["--pid", "-1"], "process id"),
        (["--comm", ""], "name of a task"),
        (["--by", "colour"], "choose from comm, pid, cpu, order, zone, node, caller; with --out"),
        (["--by", "gpf"], "did you mean gfp?"),
        (["--type", ","], "list of names"),
        (["--every", "1"], "no dataset is named"),
        (["--every", "1", "-o", "d", "-i", "1"], "--every and -i cannot be combined"),
        (["--every", "1", "-o", "d", "--events"], "--every and --events cannot be combined"),
        (["--every", "1", "-o", "d", "--tails"], "--every and --tails cannot be combined"),
        (["--every", "1", "-o", "d", "--mode", "644"], "--every and --mode cannot be combined"),
        (["--every", "1", "-o", "d", "--mode", "000"], "--every and --mode cannot be combined"),
        (["--every", "1", "-o", "d", "--format", "json"], "--every writes a dataset"),
        (["--every", "1", "-o", "d", "--by", "comm,caller"], "frees by type and caller"),
        (["--every", "1", "-o", "d", "--host", ""], "name of the host is empty"),
        (["--every", "0", "-o", "d"], "not a number of seconds"),
        (["--keep", "2"], "--host and --keep need --every"),
        (["-i", "1", "--format", "prometheus"], "is written as a whole"),
        (["-i", "1", "--format", "prometheus", "-o", "f", "--by", "comm", "--top", "1"], "--top"),
        (["--events", "--format", "prometheus", "-o", "f"], "is written at the end"),
        (["--life"], "--life needs pages to watch"),
        (["--life", "--pfn", "1", "-i", "1"], "--life and -i cannot be combined"),
        (["--life", "--pfn", "1", "--comm", "sh"], "--life and --comm cannot be combined"),
        (["--life", "--pfn", "1", "--pid", "0"], "--life and --pid cannot be combined"),
        (["--life", "--pfn", "1", "--format", "prometheus"], "--life has no metrics"),
        (["--types-at-alloc", "--disallow", "table"], "and --disallow cannot be combined"),
        (["--types-at-alloc", "--life", "--pfn", "1"], "choose one of them"),
        (["--older", "3"], "--older needs --outstanding"),
        (["--most", "3"], "--most needs --outstanding"),
        (["--by", "gfp"], "only --outstanding and --alloc have --by gfp"),
        (["--outstanding", "--by", "cpu"], "--outstanding has no --by cpu"),
        (["--outstanding", "--most", "0"], "not a number of allocations"),
        (["--outstanding", "--older", "0"], "number of seconds"),
        (["--outstanding", "--older", "60", "-d", "10"], "no allocation is 60 s old after 10 s"),
        (["--outstanding", "--stacks"], "--outstanding and --stacks cannot be combined"),
        (["--outstanding", "--type", "slab"], "--outstanding and --type cannot be combined"),
        (["--outstanding", "--disallow", "slab"], "--outstanding and --disallow cannot be"),
        (["--outstanding", "--events"], "--outstanding and --events cannot be combined"),
        (["--outstanding", "--every", "1", "-o", "d"], "--outstanding and --every cannot be"),
        (["--life", "--pfn", "1", "--outstanding"], "--life and --outstanding cannot be combined"),
        (["--alloc", "--outstanding"], "--alloc and --outstanding cannot be combined"),
        (["--alloc", "--life", "--pfn", "1"], "--alloc and --life cannot be combined"),
        (["--alloc", "--types-at-alloc"], "--alloc and --types-at-alloc cannot be combined"),
        (["--alloc", "--stacks"], "write --by stack"),
        (["--alloc", "--pfn", "1"], "--alloc and --pfn cannot be combined"),
        (["--alloc", "--disallow", "slab"], "--alloc and --disallow cannot be combined"),
        (["--alloc", "--every", "1", "-o", "d"], "--alloc and --every cannot be combined"),
        (["--alloc", "--by", "cpu"], "--alloc has no --by cpu"),
        (["--alloc", "--older", "3"], "--older needs --outstanding"),
        (["--alloc", "-i", "1", "--format", "prometheus", "-o", "f"], "is written at the end"),
        (["-c", "x"], "-c: trace counts what the running kernel frees"),
        (["--pause"], "--pause: trace counts what the running kernel frees"),
        (["-s", "x"], "-s: trace takes types and symbols from the running kernel"),
        (["--btf", "x"], "--btf: trace takes types and symbols from the running kernel"),
        (["--symbols-from=btf"], "--symbols-from: trace takes types and symbols from the"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", *options]) == 2
    assert message in capsys.readouterr().err


MODES = {
    "--every": ["--every", "1", "-o", "d"],
    "--life": ["--life", "--pfn", "1"],
    "--types-at-alloc": ["--types-at-alloc"],
    "--outstanding": ["--outstanding"],
    "--alloc": ["--alloc"],
}


@pytest.mark.parametrize(("one", "other"), [*permutations(MODES, 2)])
def test_a_trace_answers_one_question(
    one: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", *MODES[one], *MODES[other]]) == 2
    said = capsys.readouterr().err
    assert "cannot be combined" in said
    assert {one, other} <= {*said.replace(",", " ").split()}


def test_an_age_that_the_trace_reaches_is_accepted() -> None:
    args = build_parser().parse_args(["trace", "--outstanding", "--older", "10", "-d", "10"])
    check_together(args)


def test_every_order_of_a_free_block_can_be_asked_for() -> None:
    args = build_parser().parse_args(["trace", "--order", f"0,{MAX_ORDER}"])
    assert args.order == (0, MAX_ORDER)


def test_the_program_to_run_ends_at_the_dashes() -> None:
    words = ["--disallow", "table", "--exec", "logger", "-t", "x", "--", "sh", "-c", "true"]
    args = build_parser().parse_args(["trace", *words])
    assert args.exec == ["logger", "-t", "x"]
    assert args.command == ["sh", "-c", "true"]
    assert build_parser().parse_args(["trace", "--disallow", "table"]).exec is None


def test_a_missing_program_to_run_is_reported_before_tracing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trace", "--disallow", "table", "--exec", "no-such-program"]) == 1
    assert "no-such-program: command not found" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["prometheus_client", "pyarrow"])
def test_a_library_that_is_missing_is_reported_before_tracing_begins(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pageinspect.host.extras.find_spec", lambda _: None)
    form = {"prometheus_client": "prometheus", "pyarrow": "parquet"}[library]
    assert main(["trace", "--outstanding", "--format", form, "-o", "x", "-d", "1"]) == 1
    assert f"{library} is not installed" in capsys.readouterr().err


def test_the_help_names_what_the_other_questions_take(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["trace", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "which frees, allocations or pages (default: all)",
        "with --outstanding and --alloc by these: caller, stack, comm, pid, order, gfp",
        "with --life and --types-at-alloc, add the stacks",
        "(--outstanding: about all that is outstanding)",
        "with --every, FILE is the folder of a dataset",
    ):
        assert part in shown
