# SPDX-License-Identifier: GPL-2.0-only
"""The line of keys, and what keys that change nothing are answered with."""

_KEYS = ("r read", "m mark", "s sort", "/ filter", "Enter open", "Esc back", "p pause")
_LAST = ("? help", "q quit")
"""In a screen of any width."""
_GAP = "  "

UNCHANGING = {
    "r": "nothing to read again",
    "m": "no changes to count",
    "p": "nothing to pause",
    "+-": "no interval",
}
"""By key: why it does nothing on memory that does not change."""


def key_line(width: int) -> str:
    """Return as many keys as fit, of which the last are those for help and to quit."""
    keys = list(_KEYS)
    while keys and len(_joined(keys)) > width:
        keys.pop()
    return _joined(keys)


def _joined(keys: list[str]) -> str:
    return _GAP.join((*keys, *_LAST))
