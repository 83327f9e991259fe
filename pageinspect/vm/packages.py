# SPDX-License-Identifier: GPL-2.0-only
"""Which packages of a suite make up a kernel: its image, modules and, where they exist, headers."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .catalogue import NEWEST, Kernel
from .debian import Package
from .errors import BuildError


class Index(Protocol):
    """Queries that resolve() makes; `Archive` implements them."""

    suite: str

    def names(self, prefix: str) -> list[str]:
        """Return the names of all packages that start with `prefix`."""

    def packages(self, names: Iterable[str]) -> dict[str, Package]:
        """Return the newest version of each named package; unknown names are left out."""


@dataclass(frozen=True)
class Resolved:
    """The packages of one kernel release. `debuginfo` is None where the suite has none."""

    release: str
    packages: tuple[Package, ...]
    has_headers: bool
    debuginfo: Package | None


# From 6.19 on an image package is empty and depends on binary, modules and base; headers depend on
# common headers and kbuild. The compiler, initramfs tools and the plain linux-base are not needed.
_PARTS = re.compile(r"linux-(image|binary|modules|base|headers|kbuild)-\d.*")


def releases(names: Iterable[str], flavour: str) -> list[str]:
    """Return the kernel releases in the names of image packages, oldest first."""
    image = re.compile(rf"linux-image-(\d.*-{re.escape(flavour)})(-unsigned)?")
    matches = (image.fullmatch(name) for name in names)
    return sorted({match[1] for match in matches if match}, key=_order)


def resolve(kernel: Kernel, index: Index) -> Resolved:
    """Choose the release of a kernel and collect its packages.

    Raises BuildError when the suite no longer has the series, listing those that it has.
    """
    names = index.names("linux-image-")
    known = releases(names, kernel.flavour)
    fitting = [each for each in known if kernel.series in (NEWEST, series_of(each))]
    if not fitting:
        have = ", ".join(dict.fromkeys(map(series_of, known))) or "none"
        raise BuildError(
            f"{kernel.suite} has no {kernel.flavour} kernel {kernel.series}; it has {have}",
            f"build one that it has: pageinspect vm build --suite {kernel.suite} --series X.Y",
        )
    release = fitting[-1]
    image = f"linux-image-{release}"
    found = _closure(image if image in names else f"{image}-unsigned", index)
    if found is None:
        raise BuildError(
            f"{kernel.suite} has {image} but not all packages that it depends on",
            "try again later: the suite is being updated",
        )
    headers = _closure(f"linux-headers-{release}", index)
    debuginfo = f"{image}-dbg"
    return Resolved(
        release,
        tuple((found | (headers or {})).values()),
        headers is not None,
        index.packages([debuginfo]).get(debuginfo),
    )


def series_of(release: str) -> str:
    """Return the series of a release: 6.12 of 6.12.117+deb13-cloud-amd64."""
    return ".".join(release.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split(".")[:2])


def _order(release: str) -> tuple[int, ...]:
    """Sort key of a release: the numbers of 6.1.0-50-cloud-amd64 before the flavour."""
    return tuple(
        int(number) for number in re.findall(r"\d+", re.sub(r"\+.*|-[a-z].*", "", release))
    )


def _closure(name: str, index: Index) -> dict[str, Package] | None:
    """Return a package and the kernel parts it depends on; None when one it needs is missing."""
    found: dict[str, Package] = {}
    wanted = [name]
    while wanted:
        fetched = index.packages(wanted)
        # linux-base-RELEASE (the configuration) is optional: guests do not need it, and the archive
        # drops it first.
        if any(not part.startswith("linux-base-") for part in set(wanted) - set(fetched)):
            return None
        found |= fetched
        parts = {part for each in fetched.values() for part in _parts(each)}
        wanted = sorted(parts - set(found) - set(wanted))
    return found


def _parts(package: Package) -> Iterator[str]:
    for alternatives in package.depends:
        # Headers of 6.12 depend on the image, signed or not: the image is there already.
        if _PARTS.fullmatch(alternatives[0]) and not alternatives[0].startswith("linux-image-"):
            yield alternatives[0]
