# SPDX-License-Identifier: GPL-2.0-only
"""The version, used by packaging and --version."""

__version__ = "0.1.0"
