# SPDX-License-Identifier: GPL-2.0-only
"""Reads the JSON document that `trace` wrote: a file of the user, which may be anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ..errors import PageInspectError
from ..units import printable
from .base import SCHEMA

T = TypeVar("T")

_MOST_BYTES = 64 << 20
_HINT = "give the output of: pageinspect trace --by caller --format json -o FILE -- COMMAND"


def of_trace(path: Path, take: Callable[[dict[str, Any]], T]) -> T:
    """Return what `take` makes of the document in a file; raises PageInspectError.

    A document that `take` cannot use, because a key is missing or a value has another type, is not
    one of trace.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PageInspectError(f"cannot read {name}: {error.strerror}", _HINT) from None
    try:
        document: Any = json.loads(text) if len(text) <= _MOST_BYTES else None
        found = document["schema"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise PageInspectError(f"{name} is not one JSON document of trace", _HINT) from None
    if found != SCHEMA:
        raise PageInspectError(
            f"{name} has schema {printable(str(found))}, and {SCHEMA} is expected",
            "read it with the version of pageinspect that wrote it",
        )
    try:
        return take(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        raise PageInspectError(f"{name} is not one JSON document of trace", _HINT) from None
