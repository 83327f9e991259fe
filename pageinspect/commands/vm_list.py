"""List the kernels of the catalogue and those that are built."""

import argparse
import sys

from ..errors import Exit

NAME = "list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none."""


def run(_args: argparse.Namespace) -> int:
    """Print the table."""
    from tabulate import tabulate

    from ..vm.kernel import all_kernels, built

    rows = []
    for kernel in all_kernels():
        ready = built(kernel)
        release = ready.release if ready else "not built"
        size = f"{ready.size / (1 << 20):.0f} MiB" if ready else ""
        debuginfo = "yes" if ready and ready.vmlinux else ""
        rows.append(
            (kernel.name, kernel.suite, kernel.series, release, size, debuginfo, kernel.proves)
        )
    headers = ("KERNEL", "SUITE", "SERIES", "RELEASE", "SIZE", "DEBUGINFO", "PROVES")
    table = tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True)
    sys.stdout.write(table + "\n")
    return Exit.COMPLETE
