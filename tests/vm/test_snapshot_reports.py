# SPDX-License-Identifier: GPL-2.0-only
"""Reports of a snapshot of a guest are those of its core, but for where they come from."""

import json
from pathlib import Path

import pytest
from owned_guest import Owned, pageinspect

# A snapshot has names: what its reports say of them is the same for every kernel.
pytestmark = pytest.mark.kernels("newest")

REPORTS = (
    ("summary",),
    ("summary", "--by", "use"),
    ("summary", "--by", "zone,node,order"),
    ("summary", "--by", "owner,type", "--pfn", "phys:0x1234000+77M"),
    ("list",),
    ("list", "--owner", "slab", "--owner", "file"),
    ("list", "--use", "anon,kernel", "--pfn", "zone:DMA32"),
    *(("owners", "--by", by) for by in ("kind", "name", "cache", "file", "caller", "task")),
    ("owners", "--type", "untyped", "--pfn", "0x1007-0x24681"),
    ("processes", "--sort", "rss"),
    ("contiguity",),
    *(("contiguity", "--order", order) for order in (3, 10, 18)),
)


@pytest.fixture(scope="module")
def dataset(owned_idle: Owned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core as a snapshot."""
    path = tmp_path_factory.mktemp("dataset")
    done = pageinspect("snapshot", owned_idle.core, "-o", path, "--host", "idle")
    assert (done.returncode, done.stderr) == (0, "")
    return path


@pytest.mark.parametrize("report", REPORTS)
def test_reports(owned_idle: Owned, dataset: Path, report: tuple[object, ...]) -> None:
    done = pageinspect(*report, "-c", f"{dataset}@-1#idle", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["kernel"].pop("snapshot")["host"] == "idle"
    assert found == owned_idle.said_by(*report)
