# SPDX-License-Identifier: GPL-2.0-only
"""Guests for tests, and what happens where there can be none.

A test that takes `guest` runs once for each kernel of the catalogue, in a guest that the tests of
its module share; one that takes `shared_guest`, in a guest that several modules share, which is to
stay as it is but for pages that are taken. A test that needs one of its own boots
`Guest(ready(name), ...)`. What cannot run is skipped with the reason; with
PAGEINSPECT_REQUIRE_ALL=1 a skip is a failure.

A test that takes `owned` has a dump of a guest with memory of many owners, and what its kernel says
of it: one for each kernel and session, for any module that asks only for a dump. `owned_idle` is of
a guest with 4 GiB that has nothing to do.

`pytest.mark.kernels("newest", ...)` names the kernels that `make test` runs a test with; with the
others of the catalogue it runs in `make test-all` alone. The mark of a test is before that of its
module.

Run side by side (pytest -n 2 --dist loadscope), tests that share guests or dumps stay together:
those of a module and of one kernel (see support/scopes.py).
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from owned_guest import Makedumpfile, Owned
from owned_guest import owned as owned_guest
from scopes import DUMPED, SHARED

from pageinspect.errors import PageInspectError
from pageinspect.vm import catalogue, initrd, tools
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel, build
from pageinspect.vm.root import root

_HERE = Path(__file__).parent
_built: dict[str, BuiltKernel | PageInspectError] = {}


LONGEST = (
    *("test_allocations", "test_kdump", "test_trace", "test_trace_types", "test_trace_options"),
    *("test_soak", "test_check", "test_fast", "test_dump", "test_export", "test_vm_run"),
    *("test_fragmentation", "test_differences", "test_over_time", "test_snapshot_reports"),
    *("test_outstanding", "test_trace_life"),
)
"""Modules that take longest, which are begun first."""


def _order(item: pytest.Item) -> tuple[int, bool]:
    """Order the longest first; a guest that is shared stays to the end, and so comes late."""
    if not item.path.is_relative_to(_HERE):
        return 2, False
    shared = "shared_guest" in getattr(item, "fixturenames", ())
    return int(shared), item.path.stem not in LONGEST


def _is_repeat(item: pytest.Item) -> bool:
    """Return whether a test has other kernels than those of its mark `kernels`."""
    mark, call = item.get_closest_marker("kernels"), getattr(item, "callspec", None)
    if mark is None or call is None:
        return False
    others = catalogue.kernels().keys() - set(mark.args)
    return any(isinstance(value, str) and value in others for value in call.params.values())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.guest)
            if _is_repeat(item):
                item.add_marker(pytest.mark.whole)
    # Tests without a guest are short: they fill what the last guests leave of the time.
    items.sort(key=_order)


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


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, id=f"{SHARED}{name}") for name in catalogue.kernels()],
)
def shared_kernel(request: pytest.FixtureRequest) -> BuiltKernel:
    """Each kernel of the catalogue in turn, built."""
    return kernel_or_skip(request.param)


@pytest.fixture(scope="session")
def shared_guest(shared_kernel: BuiltKernel) -> Iterator[Guest]:
    """A running guest with each kernel in turn, 2 GiB and 2 CPUs, shared by modules."""
    with Guest(shared_kernel) as running:
        yield running


@pytest.fixture(scope="session")
def makedumpfile(tmp_path_factory: pytest.TempPathFactory) -> Makedumpfile:
    """Run the makedumpfile of the guest root on this host: the host's own may know no zstd."""
    folder = tmp_path_factory.mktemp("makedumpfile") / "root"
    libraries = "usr/lib/x86_64-linux-gnu"
    names = ("ld-linux-x86-64", "libc", "libz", "libzstd", "liblzo2", "libdw", "libelf")
    wanted = [f"{libraries}/{name}.so*" for name in (*names, "liblzma", "libbz2")]
    unpack = ["unsquashfs", "-no-progress", "-dest", folder, root(), "usr/bin/makedumpfile"]
    subprocess.run([*unpack, *wanted, f"{libraries}/lib*-*.so"], check=True, capture_output=True)
    where = folder / libraries
    program = (where / "ld-linux-x86-64.so.2", "--library-path", where)

    def run(*args: object, stdin: Path | None = None) -> bytes:
        command = [*program, folder / "usr/bin/makedumpfile", "--message-level", "4", *args]
        with (stdin or Path("/dev/null")).open("rb") as source:
            done = subprocess.run(
                list(map(str, command)), stdin=source, capture_output=True, check=True
            )
        return done.stdout

    return run


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, id=f"{DUMPED}{name}") for name in catalogue.kernels()],
)
def dumped_kernel(request: pytest.FixtureRequest) -> BuiltKernel:
    """Each kernel of the catalogue in turn, built, of which modules share dumps."""
    return kernel_or_skip(request.param)


@pytest.fixture(scope="session")
def owned(
    dumped_kernel: BuiltKernel,
    makedumpfile: Makedumpfile,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Owned]:
    """A dump of level 0 of a guest with memory of many owners, 2 GiB."""
    with owned_guest(dumped_kernel, tmp_path_factory.mktemp("owned"), makedumpfile) as taken:
        yield taken


@pytest.fixture(scope="session")
def owned_idle(
    dumped_kernel: BuiltKernel,
    makedumpfile: Makedumpfile,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Owned]:
    """A dump of level 0 of a guest that has nothing to do, 4 GiB."""
    folder = tmp_path_factory.mktemp("idle")
    with owned_guest(dumped_kernel, folder, makedumpfile, memory="4G", idle=True) as taken:
        yield taken
