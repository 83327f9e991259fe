# SPDX-License-Identifier: GPL-2.0-only
"""What a trace that is left on loads, and when."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

WRITES = """
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from pageinspect.host.startup import configure_libraries
configure_libraries()
from synthetic import MODERN
from trace_reports import KERNEL, TABLE, counts, report
from pageinspect.kernel import boot
boot.read_boot_id, boot.read_clock = lambda _: "a boot", lambda _: boot.Clock()
from pageinspect.cli.frees_dataset import FreesDataset

args = Namespace(output=Path(sys.argv[1]), host="h", keep=1)
target = SimpleNamespace(provenance=KERNEL, prog=None, vmcoreinfo={})
dataset = FreesDataset(args, target, MODERN)
before = {*sys.modules}
dataset.write(report(counts({(TABLE, 0): 1}, {}), interval=True))
print("pyarrow.parquet" in before, sorted({*sys.modules} - before))
"""


def test_all_that_a_write_needs_is_loaded_before_tracing_begins(tmp_path: Path) -> None:
    """Loading pyarrow takes many times as long as a write, and readings wait for it."""
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", WRITES, str(tmp_path / "dataset")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.splitlines() == ["True []"]
