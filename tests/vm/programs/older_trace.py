# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: `pageinspect trace` as on a kernel without BTF, ring buffer and newer helpers.

The arguments are those of trace.
"""

import sys
from pathlib import Path

from pageinspect.cli.main import main
from pageinspect.target.symbols import find
from pageinspect.trace import abilities

NOWHERE = Path("/nonexistent")

find.LIVE_BTF = abilities.LIVE_BTF = NOWHERE  # type: ignore[attr-defined]
abilities._has_ring_buffer = lambda: False
abilities._kallsyms = lambda: ""
sys.exit(main(["trace", *sys.argv[1:]]))
