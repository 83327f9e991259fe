# SPDX-License-Identifier: GPL-2.0-only
"""Opens a QEMU guest from outside. monitor.py imports neither drgn nor numpy."""
