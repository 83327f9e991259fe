# SPDX-License-Identifier: GPL-2.0-only
"""Build kernels and the guest root from Debian's archive.

Without KERNEL, all kernels of the catalogue are built. A kernel that is already built is built
again only with --refresh.
"""

import argparse

from ...errors import Exit, UsageError
from ...host.terminal import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", metavar="KERNEL", nargs="*", help="kernels of `vm list`")
    parser.add_argument("--suite", help="build a kernel from this Debian suite")
    parser.add_argument(
        "--series", metavar="X.Y", help='with --suite: the series of the kernel, or "newest"'
    )
    parser.add_argument("--debuginfo", action="store_true", help="also fetch vmlinux with DWARF")
    parser.add_argument(
        "--refresh", action="store_true", help="build the newest version that the archive has now"
    )


def run(args: argparse.Namespace) -> int:
    """Build, and print a line for each kernel."""
    from ...vm import catalogue, initrd
    from ...vm.kernel import build
    from ...vm.root import root

    if (args.suite is None) != (args.series is None) or (args.suite and args.names):
        raise UsageError(
            "--suite and --series go together, without KERNEL",
            "for example --suite trixie-backports --series 6.17",
        )
    if args.suite:
        kernels = [catalogue.kernel_of(args.suite, args.series)]
    else:
        kernels = [catalogue.kernel(name) for name in args.names or catalogue.kernels()]
    for kernel in kernels:
        built = build(kernel, say, debuginfo=args.debuginfo, refresh=args.refresh)
        say(f"{kernel.name}: {built.release} is in {built.vmlinuz.parent}")
    root(say)
    initrd.base(say)
    return Exit.COMPLETE
