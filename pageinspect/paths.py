# SPDX-License-Identifier: GPL-2.0-only
"""Paths of the data folders bpf/ and vm-images/, and of the user's cache folder."""

import os
from pathlib import Path

from .errors import PageInspectError

_PACKAGE = Path(__file__).resolve().parent
SOURCE_TREE = _PACKAGE.parent if (_PACKAGE.parent / "pyproject.toml").is_file() else None


def cache_folder() -> Path:
    """Return $PAGEINSPECT_CACHE, or the folder for pageinspect in the XDG cache home.

    Raises PageInspectError for a user without a home folder.
    """
    named = os.environ.get("PAGEINSPECT_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(named) if named else Path(home).expanduser() / "pageinspect"
    except RuntimeError:
        raise PageInspectError(
            "this user has no home folder, so there is no cache folder",
            "set PAGEINSPECT_CACHE to a folder that you can write to",
        ) from None


def data_folder(name: str) -> Path:
    """Return the data folder `name` ("bpf" or "vm-images") of the source tree, else of the wheel.

    Raises PageInspectError if neither has it.
    """
    candidates = [_PACKAGE / "_data" / name]
    if SOURCE_TREE is not None:
        candidates.insert(0, SOURCE_TREE / name)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise PageInspectError(
        f"the data folder {name}/ of pageinspect is missing",
        "reinstall pageinspect: its wheel contains this folder",
    )
