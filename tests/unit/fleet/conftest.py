# SPDX-License-Identifier: GPL-2.0-only
from pathlib import Path

import fleet_by_hand
import pytest


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of fleet_by_hand.py, in a folder whose name has characters of patterns."""
    folder = tmp_path_factory.mktemp("fleet") / "it's [all] *"
    fleet_by_hand.write(folder, fleet_by_hand.moments())
    return folder
