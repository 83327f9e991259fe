# SPDX-License-Identifier: GPL-2.0-only
"""Keys of trace --by; in a module without numpy, so that --help stays fast."""

KEYS = ("comm", "pid", "cpu", "order", "zone", "node", "caller")
