# SPDX-License-Identifier: GPL-2.0-only
"""Options that the commands about guests share."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..host.terminal import say
from .arguments import seconds, whole_number
from .parser import CommandParser

if TYPE_CHECKING:
    from ..vm.crash_dump import Disks
    from ..vm.guest import Guest
    from ..vm.kernel import BuiltKernel


_LEAST_MEMORY, _MOST_MEMORY = 256 << 20, 128 << 40
_MOST_CPUS = 255


class DashesParser(CommandParser):
    """A parser that stores the words after the first `--` in `command`.

    argparse by itself gives the words after `--` to the positional arguments before it.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse up to the dashes."""
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        parsed, unknown = super().parse_known_args(words[:end], namespace)
        parsed.command = words[end + 1 :]
        return parsed, unknown


def add_guest_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which kernel to boot, and how."""
    parser.usage = f"{parser.prog} [KERNEL | --kernel FILE] [options] [-- COMMAND...]"
    parser.add_argument("name", metavar="KERNEL", nargs="?", help="a kernel of `vm list`")
    parser.add_argument("--kernel", metavar="FILE", type=Path, help="boot this kernel (a bzImage)")
    parser.add_argument(
        "--modules",
        metavar="DIR",
        type=Path,
        help="modules of that kernel: lib/modules/RELEASE, or the INSTALL_MOD_PATH that has it",
    )
    parser.add_argument(
        "--memory",
        type=_memory,
        default="2G",
        metavar="SIZE",
        help="memory of the guest (default: %(default)s)",
    )
    parser.add_argument(
        "--cpus",
        type=whole_number("a number of CPUs", 1, _MOST_CPUS),
        default=2,
        metavar="N",
        help="number of CPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--cpu",
        metavar="MODEL",
        help="QEMU's -cpu (default: max,la57=off,cx16=off,avx2=off, or host,la57=off under KVM)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="end the guest when COMMAND takes longer",
    )
    parser.add_argument(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        help="accelerator (default: $PAGEINSPECT_ACCEL, else auto: KVM if a guest starts under it, "
        "otherwise TCG)",
    )
    parser.add_argument(
        "--append", default="", metavar="CMDLINE", help="text to add to the kernel command line"
    )
    parser.add_argument(
        "--qmp", metavar="SOCKET", type=Path, help="also let QEMU's monitor listen on this socket"
    )


def _memory(text: str) -> int:
    from ..vm.qemu import parse_memory

    try:
        size = parse_memory(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.hint}") from None
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        raise argparse.ArgumentTypeError(f"a guest has 256M to 128T of memory, not {text}")
    return size


def kernel_of(args: argparse.Namespace, progress: Callable[[str], None]) -> "BuiltKernel":
    """Return the kernel that the arguments name, built if it is not. Raises UsageError."""
    from ..vm import catalogue
    from ..vm.custom_kernel import custom_kernel
    from ..vm.kernel import build

    if args.kernel is not None and args.name is None:
        return custom_kernel(args.kernel, args.modules, progress)
    if args.name is None or args.kernel is not None or args.modules is not None:
        raise UsageError(
            "name one kernel: one of the catalogue, or a file",
            f"give KERNEL ({', '.join(catalogue.kernels())}), or --kernel and --modules",
        )
    return build(catalogue.kernel(args.name), progress)


def guest_of(args: argparse.Namespace, disks: "Disks | None" = None) -> "Guest":
    """Return the guest that the arguments describe, ready to boot; with `disks`, to be crashed."""
    from ..vm import catalogue, crash_dump, tools
    from ..vm.guest import Guest
    from ..vm.kernel import built

    # Report all missing programs in one message, before the long part of the work.
    is_built = args.name is not None and built(catalogue.kernel(args.name)) is not None
    tools.require(tools.RUN_PROGRAMS if is_built else tools.PACKAGE_OF)
    return Guest(
        kernel_of(args, say),
        memory=args.memory,
        cpus=args.cpus,
        cpu=args.cpu or "",
        append=f"{crash_dump.RESERVE} {args.append}" if disks else args.append,
        accelerator=args.accel,
        qmp_socket=args.qmp,
        scratch=disks.descriptors if disks else None,
        progress=say,
    )
