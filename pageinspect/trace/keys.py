# SPDX-License-Identifier: GPL-2.0-only
"""Keys of trace --by, by mode; in a module without numpy, so that --help stays fast."""

KEYS = ("comm", "pid", "cpu", "order", "zone", "node", "caller")

HELD_KEYS = ("caller", "stack", "comm", "pid", "order", "gfp", "migratetype")
"""Keys of trace --outstanding --by."""
ALL_KEYS = tuple(dict.fromkeys((*KEYS, *HELD_KEYS)))
