# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel and which command vm run and vm dump are asked for."""

import argparse

import pytest

from pageinspect.cli.parser import build_parser
from pageinspect.cli.vm_options import kernel_of
from pageinspect.errors import UsageError


def _parse(text: str) -> argparse.Namespace:
    return build_parser().parse_args(text.split())


@pytest.mark.parametrize(
    ("line", "name", "command"),
    [
        ("vm run 6.12", "6.12", []),
        ("vm run 6.12 -- ls -l", "6.12", ["ls", "-l"]),
        ("vm run 6.12 --memory 1G -- ls --memory -- x", "6.12", ["ls", "--memory", "--", "x"]),
        ("vm run --memory 1G 6.12 --", "6.12", []),
        ("vm run --kernel bzImage -- uname", None, ["uname"]),
        ("vm dump 6.12 -o core -- sync", "6.12", ["sync"]),
    ],
)
def test_what_follows_the_dashes_is_the_command(
    line: str, name: str | None, command: list[str]
) -> None:
    args = _parse(line)
    assert (args.name, args.command) == (name, command)


@pytest.mark.parametrize(
    "line",
    ["vm run", "vm run 6.1 --kernel k", "vm run 6.1 --modules m", "vm run --modules m", "vm run x"],
)
def test_it_must_be_clear_which_kernel(line: str) -> None:
    with pytest.raises(UsageError) as error:
        kernel_of(_parse(line), print)
    assert "6.1, 6.12, newest" in error.value.hint
