"""The options of trace."""

import argparse

from ..errors import UsageError
from ..model.arch import MAX_ORDER
from ..trace.keys import KEYS
from .arguments import names, names_of, whole_number

_MOST = (1 << 32) - 1


class _Refuse(argparse.Action):
    """Says why there is no such option, to those who know it of the other commands."""

    def __call__(self, *_: object) -> None:
        raise UsageError(*self.const)


def refuse_targets(parser: argparse.ArgumentParser) -> None:
    """Take the options that say which kernel it is, and say why trace cannot have them."""
    for options, why, advice in (
        (
            ("-c", "--core", "--qemu", "--pause"),
            "trace counts what the running kernel frees, not what is in a core or another guest",
            "leave -c and --qemu away; in a guest: pageinspect vm run KERNEL -- pageinspect trace",
        ),
        (
            ("-s", "--symbols", "--btf", "--kallsyms", "--vmcoreinfo", "--symbols-from"),
            "trace takes types and symbols from the running kernel itself",
            "leave {} away; pageinspect doctor shows whether this kernel has them",
        ),
    ):
        for option in options:
            parser.add_argument(
                option,
                action=_Refuse,
                nargs="?",
                const=(f"{option}: {why}", advice.format(option)),
                dest=argparse.SUPPRESS,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS,
            )


def add_filters(group: "argparse._ArgumentGroup") -> None:
    """Declare which frees are looked at."""
    group.add_argument(
        "--type",
        type=names,
        metavar="T,…",
        help="show these page types alone; also untyped, and page_pool",
    )
    group.add_argument("--order", type=_orders, default=(), metavar="N,…", help="of these orders")
    group.add_argument(
        "--pfn",
        action="append",
        default=[],
        metavar="RANGE",
        help="of a page in this range, written as for `list`; may be repeated",
    )
    group.add_argument(
        "--pid", type=whole_number("a process id", 0, _MOST), metavar="PID", help="by this process"
    )
    group.add_argument("--comm", type=_comm, metavar="NAME", help="by tasks of this name")
    group.add_argument(
        "--page-pool",
        action="store_true",
        help="tell pages that page_pool still owns, by its signature (a longer read a free)",
    )
    group.add_argument(
        "--tails",
        action="store_true",
        help="count types on the tails of frees that are no compound page, too",
    )


def add_details(group: "argparse._ArgumentGroup") -> None:
    """Declare what is told of who freed."""
    group.add_argument(
        "--by",
        action="extend",
        default=[],
        type=names_of(KEYS),
        metavar="K,…",
        help=f"tell typed frees apart by these: {', '.join(KEYS)}; may be repeated",
    )
    group.add_argument("--stacks", action="store_true", help="and by the kernel's stack")
    group.add_argument(
        "--top",
        type=whole_number("a positive number", 1, _MOST),
        metavar="N",
        help="show N of them",
    )
    group.add_argument("--events", action="store_true", help="a line for each free as it happens")
    group.add_argument(
        "--folded", action="store_true", help="stacks as flame graph tools read them, and pages"
    )


def add_watch(group: "argparse._ArgumentGroup") -> None:
    """Declare which frees must not be."""
    group.add_argument(
        "--disallow",
        type=names,
        default=(),
        metavar="T,…",
        help="write frees of these types to stderr at once, with their stacks: the first ten of "
        "each stack, then a count each second; exit with 4. Also page_pool, and unexpected for all "
        "that no owner's habit explains",
    )
    group.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM ARG",
        help="run PROGRAM once, on the first of them; all words up to -- are its own",
    )


def _comm(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is not the name of a task")
    return text


_order = whole_number("an order", 0, MAX_ORDER)


def _orders(text: str) -> tuple[int, ...]:
    return tuple(map(_order, names(text)))
