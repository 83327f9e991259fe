# SPDX-License-Identifier: GPL-2.0-only
"""Names in the source: of files that docstrings and comments mention, and words no longer used."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import PACKAGE, ROOT, TESTS

FORMER = {"census", "untold", "barred", "survey", "book", "books"}
"""Words of earlier names."""
FOREIGN = {"libbcc.py"}
"""Files of other projects."""


def tokens(path: Path) -> Iterator[tokenize.TokenInfo]:
    return tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)


def test_files_that_docstrings_and_comments_mention_are_there() -> None:
    there = {
        str(path.relative_to(ROOT)) for top in (PACKAGE, TESTS) for path in top.rglob("*.py")
    } | {str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").rglob("*.py")}
    mentioned = {
        (str(path.relative_to(ROOT)), name)
        for path in PACKAGE.rglob("*.py")
        for token in tokens(path)
        if token.type in {tokenize.COMMENT, tokenize.STRING}
        for name in re.findall(r"[\w/]*\w\.py\b", token.string)
    }
    assert mentioned
    for path, name in mentioned:
        ends = {name.lstrip("/"), name.partition("/src/")[2] or name}
        assert name in FOREIGN or any(
            f"/{one}".endswith(f"/{end}") for one in there for end in ends
        ), path


@pytest.mark.parametrize("top", [PACKAGE, TESTS], ids=lambda top: top.name)
def test_identifiers_have_no_word_of_earlier_names(top: Path) -> None:
    for path in top.rglob("*.py"):
        names = {token.string for token in tokens(path) if token.type == tokenize.NAME}
        for name in {*names, path.stem}:
            words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
            assert not FORMER & {word.lower() for word in words}, f"{path}: {name}"
