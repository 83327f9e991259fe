# SPDX-License-Identifier: GPL-2.0-only
"""The options of trace."""

import argparse
from collections.abc import Iterable

from ..errors import UsageError
from ..model.arch import MAX_ORDER
from ..render import RowFormat, load
from ..trace.keys import ALL_KEYS, HELD_KEYS, KEYS
from .arguments import NamesOf, names, whole_number

_MOST = (1 << 32) - 1
_KEYS_BY_MODE = (
    f"choose from {', '.join(KEYS)}; with --outstanding and --alloc from {', '.join(HELD_KEYS)}"
)


class _Refuse(argparse.Action):
    """Rejects an option of other commands, and says why trace does not have it."""

    def __call__(self, *_: object) -> None:
        raise UsageError(*self.const)


def refuse_targets(parser: argparse.ArgumentParser) -> None:
    """Declare hidden target options, which are errors that say why trace has none."""
    for options, why, advice in (
        (
            ("-c", "--core", "--qemu", "--pause"),
            "trace counts what the running kernel frees, not what is in a core or another guest",
            "omit -c and --qemu; in a guest: pageinspect vm run KERNEL -- pageinspect trace",
        ),
        (
            ("-s", "--symbols", "--btf", "--kallsyms", "--vmcoreinfo", "--symbols-from"),
            "trace takes types and symbols from the running kernel itself",
            "omit {}; pageinspect doctor shows whether this kernel has them",
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
    """Declare the options that select frees, and in other modes allocations or pages."""
    group.add_argument(
        "--type",
        type=names,
        metavar="T,…",
        help="show only these page types; untyped and page_pool are also accepted",
    )
    group.add_argument("--order", type=_orders, default=(), metavar="N,…", help="only these orders")
    group.add_argument(
        "--pfn",
        action="append",
        default=[],
        metavar="RANGE",
        help="only what has a page in this range, written as for `list`; may be repeated",
    )
    group.add_argument(
        "--pid",
        type=whole_number("a process id", 0, _MOST),
        metavar="PID",
        help="only by this process",
    )
    group.add_argument("--comm", type=_comm, metavar="NAME", help="only by tasks of this name")
    group.add_argument(
        "--page-pool",
        action="store_true",
        help="report pages that page_pool still owns (by its signature); reads more per free",
    )
    group.add_argument(
        "--tails",
        action="store_true",
        help="also count types on tail pages, in frees that are not compound pages",
    )


def add_details(group: "argparse._ArgumentGroup") -> None:
    """Declare the options about who freed."""
    group.add_argument(
        "--by",
        action="extend",
        default=[],
        type=NamesOf(ALL_KEYS, _KEYS_BY_MODE),
        metavar="K,…",
        help=f"group typed frees by these: {', '.join(KEYS)}; or with --outstanding and --alloc "
        f"by these: {', '.join(HELD_KEYS)}; may be repeated",
    )
    group.add_argument(
        "--stacks",
        action="store_true",
        help="group typed frees by kernel stack; with --life and --types-at-alloc, add the stacks",
    )
    group.add_argument(
        "--top",
        type=whole_number("a positive number", 1, _MOST),
        metavar="N",
        help="show only the N groups with most pages, also with --outstanding and --alloc",
    )
    group.add_argument(
        "--events", action="store_true", help="write a line for each free as it happens"
    )
    group.add_argument(
        "--folded",
        action="store_true",
        help="write stacks and pages in the folded form of flame graph tools",
    )


def add_watch(group: "argparse._ArgumentGroup") -> None:
    """Declare the options about disallowed frees."""
    group.add_argument(
        "--disallow",
        type=names,
        default=(),
        metavar="T,…",
        help="report frees of these types on stderr at once, and exit with 4: the first ten frees "
        "with the same stack, then one line per second with their number. page_pool is also "
        "accepted, and unexpected: all types that owners do not normally leave set",
    )
    group.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM ARG",
        help="run PROGRAM once, at the first disallowed free; all words up to -- are its arguments",
    )


def _comm(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("'' is not the name of a task")
    return text


_order = whole_number("an order", 0, MAX_ORDER)


def _orders(text: str) -> tuple[int, ...]:
    return tuple(map(_order, names(text)))


OF_FREES = ("type", "page_pool", "tails", "events", "folded", "disallow", "exec", "every")
"""Options of typed frees alone, by their names in the namespace."""


def option_of(name: str) -> str:
    """Return how an option is written, by its name in the namespace."""
    return "-i" if name == "interval" else f"--{name.replace('_', '-')}"


def is_given(args: argparse.Namespace, name: str) -> bool:
    """Return whether an option is given, by its name in the namespace; 0 is a value."""
    value = getattr(args, name)
    return value is not False and value not in (None, (), [])


def refuse_others(args: argparse.Namespace, mode: str, others: Iterable[str]) -> None:
    """Raise UsageError if a mode of trace is given options of another question.

    `others` are the names of these options in the namespace.
    """
    for name in others:
        if is_given(args, name):
            option = option_of(name)
            advice = "write --by stack" if name == "stacks" else f"omit {option}"
            raise UsageError(f"{mode} and {option} cannot be combined", advice)


def held_keys(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the keys that --outstanding and --alloc count by."""
    return tuple(dict.fromkeys(args.by)) or ("caller",)


def check_age(args: argparse.Namespace) -> None:
    """Raise UsageError for an age that no allocation reaches in the time of the trace."""
    if args.older is None or args.duration is None or args.older <= args.duration:
        return
    raise UsageError(
        f"no allocation is {args.older:g} s old after {args.duration:g} s",
        "trace longer (-d), or give --older fewer seconds",
    )


def check_interval_format(args: argparse.Namespace) -> None:
    """Raise UsageError for -i and a format whose rows are not written one by one."""
    if args.interval is not None and not isinstance(load(args.format), RowFormat):
        raise UsageError(f"--format {args.format} is written at the end", "omit -i")
