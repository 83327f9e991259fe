# SPDX-License-Identifier: GPL-2.0-only
"""What the processes of fleet import and leave behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fleet_by_hand
import pytest
from waiting import until

from pageinspect.dataset.compact import compact

FOLDER = "pageinspect-fleet-*"
# DuckDB writes to the folder while it sorts what 64 MiB do not hold.
SLOW = "SELECT host || range AS s, hash(range) AS h FROM snapshots, range(200000000) ORDER BY h, s"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "dataset"
    fleet_by_hand.write(folder, fleet_by_hand.moments()[:8])
    return folder


def test_a_report_of_merged_days_imports_neither_numpy_nor_pyarrow(dataset: Path) -> None:
    program = (
        "import sys\n"
        "from pageinspect.cli.main import main\n"
        "status = main(['fleet', sys.argv[1], 'hosts'])\n"
        "print(*{'numpy', 'pyarrow', 'drgn', 'bcc'} & {*sys.modules}, file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    compact(dataset)
    done = subprocess.run(
        [sys.executable, "-c", program, dataset], capture_output=True, text=True, check=True
    )
    assert "db-1" in done.stdout
    assert done.stderr == "\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_folder(number: int, dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pageinspect", "fleet", dataset, "--sql", SLOW]
    process = subprocess.Popen(
        [*command, "--memory", "64", "--threads", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    until(lambda: any(path.is_file() for path in tmp_path.glob(f"{FOLDER}/*")))
    process.send_signal(number)
    assert process.wait() == -number
    until(lambda: not [*tmp_path.glob(FOLDER)])


def test_the_end_leaves_no_folder(dataset: Path, tmp_path: Path) -> None:
    query = "SELECT count(*) AS n FROM owners"
    done = subprocess.run(
        [sys.executable, "-m", "pageinspect", "fleet", dataset, "--sql", query, "--format", "csv"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = sum(len(moment.owners) for moment in fleet_by_hand.moments()[:8])
    assert done.stdout == f"n\n{expected}\n"
    assert not [*tmp_path.iterdir()]
