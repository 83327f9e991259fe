# SPDX-License-Identifier: GPL-2.0-only
"""Where things are in the source tree."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "pageinspect"
TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
DATA = SUPPORT / "data"
PROGRAMS = TESTS / "vm/programs"
