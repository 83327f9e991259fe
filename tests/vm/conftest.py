"""Guests for tests, and what happens where there can be none.

A test that takes `guest` runs once for each kernel of the catalogue, in a guest that the tests of
its module share. A test that needs one of its own boots `Guest(ready(name), ...)`. What cannot run
is skipped with the reason; with PAGEINSPECT_REQUIRE_ALL=1 a skip is a failure. Run side by side
(pytest -n 2 --dist loadscope), the tests of a module stay together, as they share guests.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pageinspect.errors import PageInspectError
from pageinspect.vm import catalogue, initrd, tools
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel, build
from pageinspect.vm.root import root

_HERE = Path(__file__).parent
_built: dict[str, BuiltKernel | PageInspectError] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.guest)


def _build(name: str) -> BuiltKernel | PageInspectError:
    """Build all that a guest needs once a session, a failure as well."""
    try:
        tools.require(["qemu-system-x86_64", "setpriv"])
        root()
        initrd.base()
        return build(catalogue.kernel(name))
    except PageInspectError as error:
        return error


def kernel_or_skip(name: str) -> BuiltKernel:
    if name not in _built:
        _built[name] = _build(name)
    kernel = _built[name]
    if isinstance(kernel, PageInspectError):
        pytest.skip(f"no guest with {name}: {kernel.message} ({kernel.hint})")
    return kernel


@pytest.fixture(scope="session")
def ready() -> Callable[[str], BuiltKernel]:
    """Give the kernel of a name, built; or skip the test."""
    return kernel_or_skip


@pytest.fixture(scope="module", params=list(catalogue.kernels()))
def kernel(request: pytest.FixtureRequest) -> BuiltKernel:
    """Each kernel of the catalogue in turn, built."""
    return kernel_or_skip(request.param)


@pytest.fixture(scope="module")
def guest(kernel: BuiltKernel) -> Iterator[Guest]:
    """A running guest with each kernel in turn, 2 GiB and 2 CPUs, shared by a module."""
    with Guest(kernel) as running:
        yield running
