# SPDX-License-Identifier: GPL-2.0-only
"""Whether textual, which draws the screen, is installed."""

from importlib.util import find_spec

from ..errors import PageInspectError


def need_textual() -> None:
    """Raise PageInspectError if it is missing. It is not imported: that takes long."""
    if find_spec("textual") is None:
        raise PageInspectError(
            "the screen needs the package textual, which is missing",
            "pip install 'pageinspect[top]'",
        )
