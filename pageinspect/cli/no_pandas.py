# SPDX-License-Identifier: GPL-2.0-only
"""Keeps pyarrow from importing pandas at its first array, which takes long."""

import sys


class _NoPandas:
    """Finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Raise ModuleNotFoundError for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def do_without_pandas() -> None:
    """Make this process find no pandas."""
    sys.meta_path.insert(0, _NoPandas())
