# SPDX-License-Identifier: GPL-2.0-only
"""pageinspect itself as a tar archive: what is installed in every guest."""

import os
import tarfile
from pathlib import Path

from ..paths import SOURCE_TREE

_PACKAGE = Path(__file__).resolve().parent.parent

# Parts of a source tree. An installed package is archived whole, its data inside it.
_TAKEN = ("pyproject.toml", "pageinspect", "bpf", "vm-images", "tests", "benchmarks")

# Larger files, such as cores, are left out: they would fill the guest's memory.
_LARGEST_FILE = 4 << 20


def archive() -> int:
    """Return a descriptor of an anonymous file with the archive, for the caller to close."""
    descriptor = os.memfd_create("pageinspect-source")
    with os.fdopen(os.dup(descriptor), "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
        if SOURCE_TREE is None:
            tar.add(_PACKAGE, arcname="pageinspect", filter=_filter)
        else:
            for name in _TAKEN:
                if (SOURCE_TREE / name).exists():
                    tar.add(SOURCE_TREE / name, arcname=name, filter=_filter)
    return descriptor


def _filter(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    if name == "__pycache__" or name.startswith(".") or member.size > _LARGEST_FILE:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
