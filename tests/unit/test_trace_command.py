"""The command line of trace, and its errors, without a kernel."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic import SCHEMES

from pageinspect.commands.trace import check_output, check_types
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.trace.program import refusal


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


def test_an_output_that_cannot_be_written_is_told_before_tracing() -> None:
    check_output(None)
    check_output(Path("report"))
    with pytest.raises(PageInspectError, match="cannot write /no/such/folder/report"):
        check_output(Path("/no/such/folder/report"))


def test_known_types_pass() -> None:
    check_types(None, SCHEMES["6.16"])
    check_types(("zsmalloc", "table"), SCHEMES["6.16"])


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
        check_types(names, SCHEMES[scheme])
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("number", "lockdown", "hint"),
    [
        (errno.EPERM, "", "CAP_BPF"),
        (errno.EPERM, "none [integrity] confidentiality", "CAP_BPF"),
        (errno.EPERM, "none integrity [confidentiality]", "locked down"),
        (errno.ENOENT, "", "no tracepoint mm_page_free"),
        (errno.EINVAL, "", "Linux 5.8"),
    ],
)
def test_a_kernel_that_refuses_says_what_to_do(number: int, lockdown: str, hint: str) -> None:
    error = refusal(number, "the BPF program", lockdown)
    assert error.message.startswith("the kernel refuses the BPF program: ")
    assert hint in error.hint
