# SPDX-License-Identifier: GPL-2.0-only
"""The output formats, one module each: its name is the format's, and FORMAT in it writes it."""
