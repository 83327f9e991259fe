# SPDX-License-Identifier: GPL-2.0-only
"""List the kernels of the catalogue and those that are built."""

import argparse

from ...errors import Exit
from ..options import add_output_arguments, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a KernelsReport."""
    from ...report.kernels import GuestKernel, KernelsReport
    from ...vm.kernel import all_kernels, built

    kernels = []
    for kernel in all_kernels():
        ready = built(kernel)
        kernels.append(
            GuestKernel(
                kernel.name,
                kernel.suite,
                kernel.series,
                ready.release if ready else None,
                ready.size if ready else None,
                bool(ready and ready.vmlinux),
                kernel.proves,
            )
        )
    write_report(args, KernelsReport(tuple(kernels)))
    return Exit.COMPLETE
