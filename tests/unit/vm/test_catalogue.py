# SPDX-License-Identifier: GPL-2.0-only
import pytest

from pageinspect.errors import UsageError
from pageinspect.vm import catalogue
from pageinspect.vm.catalogue import Kernel


def test_the_catalogue_has_three_kernels_and_says_what_each_proves() -> None:
    kernels = catalogue.kernels()
    assert [(k.name, k.suite, k.series) for k in kernels.values()] == [
        ("6.1", "bookworm", "6.1"),
        ("6.12", "trixie", "6.12"),
        ("newest", "trixie-backports", "newest"),
    ]
    assert all(kernel.proves for kernel in kernels.values())


def test_another_kernel_is_named_by_suite_and_series() -> None:
    assert catalogue.kernel("trixie-backports-6.17") == Kernel(
        "trixie-backports-6.17", "trixie-backports", "6.17", "cloud-amd64"
    )


@pytest.mark.parametrize("name", ["bookworm-6.1", "6.1"])
def test_a_kernel_of_the_catalogue_keeps_its_name(name: str) -> None:
    assert catalogue.kernel(name).name == "6.1"


@pytest.mark.parametrize("name", ["6.13", "trixie", "trixie-6", "", "../x-6.1"])
def test_an_unknown_name_is_a_usage_error_that_lists_the_known(name: str) -> None:
    with pytest.raises(UsageError) as error:
        catalogue.kernel(name)
    assert "6.1, 6.12, newest" in error.value.hint


def test_a_digest_tells_parts_apart() -> None:
    assert catalogue.digest(b"ab", b"c") != catalogue.digest(b"a", b"bc")
    assert catalogue.digest({"a": 1, "b": 2}) == catalogue.digest({"b": 2, "a": 1})
