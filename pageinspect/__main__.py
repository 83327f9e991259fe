# SPDX-License-Identifier: GPL-2.0-only
"""`python -m pageinspect`."""

from .cli.main import entry

entry()
