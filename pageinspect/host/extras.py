# SPDX-License-Identifier: GPL-2.0-only
"""Imports of libraries that only some features need, which extras of the package install."""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import PageInspectError


def load_library(module: str, extra: str) -> Any:
    """Import and return a module. Raises PageInspectError if its library is not installed."""
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != library:
            raise
        raise _missing(library, extra) from None


def need_library(module: str, extra: str) -> None:
    """Raise PageInspectError if a module is not installed. It is not imported: that takes long."""
    if find_spec(module) is None:
        raise _missing(module, extra)


def _missing(library: str, extra: str) -> PageInspectError:
    return PageInspectError(
        f"{library} is not installed, which the extra {extra} has",
        f"{sys.executable} -m pip install 'pageinspect[{extra}]'",
    )
