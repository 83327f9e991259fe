# SPDX-License-Identifier: GPL-2.0-only
"""What the parsers say to a command line that is wrong."""

from pathlib import Path

import pytest

from pageinspect.cli.parser import build_parser
from pageinspect.errors import UsageError


def refused(*words: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        build_parser().parse_args(words)
    return caught.value


def test_an_option_before_the_command() -> None:
    error = refused("-c", "vmcore", "page", "0x1000")
    assert error.message == "-c comes before the command"
    assert error.hint == "options follow the command: pageinspect COMMAND -c …"


def test_an_argument_too_many(tmp_path: Path) -> None:
    error = refused("summary", str(tmp_path), "zone")
    assert error.message == "unexpected argument 'zone'"
    assert error.hint == "pageinspect summary --help shows what it takes"


@pytest.mark.parametrize(
    ("words", "near"),
    [(("list", "--pfm", "0"), "--pfn"), (("summary", "--csv"), ""), (("check", "--type", "x"), "")],
)
def test_only_similar_options_are_suggested(words: tuple[str, ...], near: str) -> None:
    hint = refused(*words).hint
    assert hint.startswith(f"did you mean {near}?" if near else "pageinspect ")
