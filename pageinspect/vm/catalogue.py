# SPDX-License-Identifier: GPL-2.0-only
"""The recipes of vm-images/ as data: which kernels, and what a guest is made of."""

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from ..errors import UsageError
from ..paths import data_folder

NEWEST = "newest"
"""The series that means the highest version a suite has."""

_OTHER = re.compile(rf"(?P<suite>[a-z][a-z-]*)-(?P<series>{NEWEST}|\d+\.\d+)")


@dataclass(frozen=True)
class Kernel:
    """One kernel to build: `series` of a Debian `suite`, e.g. 6.12 of trixie."""

    name: str
    suite: str
    series: str
    flavour: str
    proves: str = ""


@dataclass(frozen=True)
class InitrdRecipe:
    """Modules of the initrd: required ones, and ones that are included if the kernel has them."""

    required: tuple[str, ...]
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class RootRecipe:
    """The guest root: Debian packages of `suite`, and its Python."""

    suite: str
    packages: tuple[str, ...]
    python: str
    exclude: tuple[str, ...]


def digest(*parts: object) -> str:
    """Return a short hash of a recipe: text, bytes, and dataclasses or lists of plain data."""
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]


@cache
def kernels() -> dict[str, Kernel]:
    """Return the kernels of kernels.toml by name, in its order."""
    data = _load("kernels.toml")
    return {
        name: Kernel(name=name, flavour=data["flavour"], **entry)
        for name, entry in data["kernels"].items()
    }


def kernel(name: str) -> Kernel:
    """Return the kernel of that name: one of the catalogue, or SUITE-SERIES for any other.

    Raises UsageError that lists the catalogue.
    """
    if name in kernels():
        return kernels()[name]
    if match := _OTHER.fullmatch(name):
        return kernel_of(match["suite"], match["series"])
    raise UsageError(
        f"no kernel {name} in the catalogue",
        f"choose one of {', '.join(kernels())}, or name another as SUITE-SERIES:"
        " trixie-backports-6.17",
    )


def kernel_of(suite: str, series: str) -> Kernel:
    """Return the kernel for a suite and series: the catalogue's, or one named SUITE-SERIES."""
    for known in kernels().values():
        if (known.suite, known.series) == (suite, series):
            return known
    return Kernel(f"{suite}-{series}", suite, series, _load("kernels.toml")["flavour"])


@cache
def initrd_recipe() -> InitrdRecipe:
    """Return the initrd's part of guest.toml."""
    entry = _load("guest.toml")["initrd"]
    return InitrdRecipe(tuple(entry["required"]), tuple(entry["wanted"]))


@cache
def root_recipe() -> RootRecipe:
    """Return the guest root's part of guest.toml."""
    entry = _load("guest.toml")["root"]
    lists = {key: tuple(entry[key]) for key in ("packages", "exclude")}
    return RootRecipe(suite=entry["suite"], python=entry["python"], **lists)


def recipe_digest(recipe: InitrdRecipe | RootRecipe, *files: str) -> str:
    """Return the hash of a recipe and of the files of vm-images/ that go into the result."""
    folder = data_folder("vm-images")
    return digest(asdict(recipe), *((folder / name).read_bytes() for name in files))


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((data_folder("vm-images") / name).read_text())
