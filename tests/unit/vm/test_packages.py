# SPDX-License-Identifier: GPL-2.0-only
from collections.abc import Iterable

import pytest

from pageinspect.vm.catalogue import Kernel
from pageinspect.vm.debian import Package, choose_mirror, parse_stanza
from pageinspect.vm.errors import BuildError
from pageinspect.vm.packages import releases, resolve, series_of

_FLAVOUR = "cloud-amd64"


class FakeIndex:
    """A suite with given packages and their dependencies."""

    suite = "trixie-backports"

    def __init__(self, **depends: str) -> None:
        self._packages = {
            name: Package(name, "1", 10, tuple((each,) for each in needs.split()))
            for name, needs in depends.items()
        }

    def names(self, prefix: str) -> list[str]:
        return [name for name in self._packages if name.startswith(prefix)]

    def packages(self, names: Iterable[str]) -> dict[str, Package]:
        return {name: self._packages[name] for name in names if name in self._packages}


def _kernel(series: str) -> Kernel:
    return Kernel("any", "trixie-backports", series, _FLAVOUR)


_SPLIT = {
    "linux-image-7.3.4+deb13-cloud-amd64": "linux-binary-7.3.4+deb13-cloud-amd64"
    " linux-modules-7.3.4+deb13-cloud-amd64 linux-base-7.3.4+deb13-cloud-amd64 initramfs-tools",
    "linux-binary-7.3.4+deb13-cloud-amd64": "linux-base-7.3.4+deb13-cloud-amd64",
    "linux-modules-7.3.4+deb13-cloud-amd64": "kmod",
    "linux-base-7.3.4+deb13-cloud-amd64": "",
    "linux-image-7.3.4+deb13-cloud-amd64-dbg": "linux-base-7.3.4+deb13-cloud-amd64",
    "linux-headers-7.3.4+deb13-cloud-amd64": "linux-headers-7.3.4+deb13-common"
    " linux-kbuild-7.3.4+deb13 gcc-14 linux-base linux-image-7.3.4+deb13-cloud-amd64",
    "linux-headers-7.3.4+deb13-common": "",
    "linux-kbuild-7.3.4+deb13": "libc6",
    "linux-image-cloud-amd64": "linux-image-7.3.4+deb13-cloud-amd64",
}
_OLDER = {"linux-image-6.17.8+deb13-cloud-amd64": "", "linux-image-6.17.13+deb13-cloud-amd64": ""}


def test_a_split_kernel_is_all_its_parts_and_nothing_else() -> None:
    resolved = resolve(_kernel("newest"), FakeIndex(**_SPLIT, **_OLDER))
    assert resolved.release == "7.3.4+deb13-cloud-amd64"
    assert {package.name for package in resolved.packages} == {
        name for name in _SPLIT if name[-1].isdigit() or "-7" in name
    } - {"linux-image-7.3.4+deb13-cloud-amd64-dbg", "linux-image-cloud-amd64"}
    assert resolved.has_headers
    assert resolved.debuginfo is not None


def test_a_series_is_its_highest_version_even_without_headers() -> None:
    resolved = resolve(_kernel("6.17"), FakeIndex(**_SPLIT, **_OLDER))
    assert resolved.release == "6.17.13+deb13-cloud-amd64"
    assert not resolved.has_headers
    assert resolved.debuginfo is None


def test_incomplete_headers_are_no_headers() -> None:
    incomplete = {name: needs for name, needs in _SPLIT.items() if "kbuild" not in name}
    assert not resolve(_kernel("newest"), FakeIndex(**incomplete)).has_headers


def test_an_incomplete_image_is_an_error() -> None:
    incomplete = {name: needs for name, needs in _SPLIT.items() if "modules" not in name}
    with pytest.raises(BuildError, match="not all packages"):
        resolve(_kernel("newest"), FakeIndex(**incomplete))


def test_a_release_of_old_boots_without_its_configuration() -> None:
    image = "linux-image-6.18.15+deb13-cloud-amd64"
    old = {image: "kmod linux-base-6.18.15+deb13-cloud-amd64"}
    resolved = resolve(_kernel("6.18"), FakeIndex(**_SPLIT, **old))
    assert [package.name for package in resolved.packages] == [image]
    assert not resolved.has_headers


def test_an_unsigned_image_serves_where_no_signed_one_is() -> None:
    resolved = resolve(
        _kernel("6.12"), FakeIndex(**{"linux-image-6.12.9-cloud-amd64-unsigned": ""})
    )
    assert [package.name for package in resolved.packages] == [
        "linux-image-6.12.9-cloud-amd64-unsigned"
    ]


def test_a_series_that_is_gone_lists_those_that_are_there() -> None:
    with pytest.raises(
        BuildError, match=r"(?m)no cloud-amd64 kernel 6.1; it has 6.17, 7.3$"
    ) as error:
        resolve(_kernel("6.1"), FakeIndex(**_SPLIT, **_OLDER))
    assert "--suite trixie-backports" in error.value.hint


def test_releases_are_in_order_of_their_numbers() -> None:
    names = [
        "linux-image-6.1.0-9-cloud-amd64",
        "linux-image-6.1.0-50-cloud-amd64",
        "linux-image-6.1.0-50-amd64",
        "linux-image-6.1.0-50-rt-amd64",
        "linux-image-6.1.0-47-cloud-amd64-unsigned",
        "linux-image-6.1.0-47-cloud-amd64-dbg",
    ]
    numbers = [release.split("-")[1] for release in releases(names, _FLAVOUR)]
    assert numbers == ["9", "47", "50"]


@pytest.mark.parametrize(
    ("release", "series"),
    [("6.1.0-50-cloud-amd64", "6.1"), ("6.12.117+deb13-cloud-amd64", "6.12"), ("7.4-cloud", "7.4")],
)
def test_series_of(release: str, series: str) -> None:
    assert series_of(release) == series


def test_a_stanza_is_parsed_with_alternatives() -> None:
    text = (
        "Package: p\nVersion: 1:2-3\nDepends: a (>= 1), b | c:any (= 2), d\nSize: 42\nMD5sum: 0\n"
    )
    assert parse_stanza(text) == Package("p", "1:2-3", 42, (("a",), ("b", "c"), ("d",)))


@pytest.mark.parametrize(
    ("lines", "mirror"),
    [
        ("http://m.example/debian bookworm main", "http://m.example/debian"),
        ("http://m.example/debian/ trixie-updates main", "http://m.example/debian"),
        ("http://s.example/debian-security bookworm-security main", None),
        ("http://p.example/apt bookworm-pgdg main", None),
        ("http://d.example/debian bookworm stable", None),
        ("http://u.example/ubuntu noble main", None),
        ("", None),
    ],
)
def test_the_mirror_is_the_hosts_debian_archive(lines: str, mirror: str | None) -> None:
    assert choose_mirror(f"http://x.example/nodesource nodistro main\n{lines}\n") == mirror
