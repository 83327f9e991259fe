"""The options of trace."""

import argparse

from ..trace.keys import KEYS
from .options import comma_separated


def add_filters(group: "argparse._ArgumentGroup") -> None:
    """Declare which frees are looked at."""
    group.add_argument(
        "--type",
        type=comma_separated,
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
    group.add_argument("--pid", type=_pid, metavar="PID", help="by this process")
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
        action="append",
        default=[],
        choices=KEYS,
        help="tell typed frees apart by this; may be repeated",
    )
    group.add_argument("--stacks", action="store_true", help="and by the kernel's stack")
    group.add_argument("--top", type=_positive, metavar="N", help="show N of them")
    group.add_argument("--events", action="store_true", help="a line for each free as it happens")
    group.add_argument(
        "--folded", action="store_true", help="stacks as flame graph tools read them, and pages"
    )


def add_watch(group: "argparse._ArgumentGroup") -> None:
    """Declare which frees must not be."""
    group.add_argument(
        "--disallow",
        type=comma_separated,
        default=(),
        metavar="T,…",
        help="tell each free of these types at once, with its stack, and exit with 4; also "
        "page_pool, and unexpected for all that no owner's habit explains",
    )
    group.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="PROGRAM ARG",
        help="run PROGRAM once, on the first of them; all words up to -- are its own",
    )


_SHORTEST, _LONGEST = 0.01, 1e8
"""Seconds: what an interval may be, and three years."""


def seconds(text: str) -> float:
    """Type of -d and -i: more than nothing, and an end."""
    value = float(text)
    if not _SHORTEST <= value <= _LONGEST:
        raise ValueError
    return value


seconds.__name__ = f"number of seconds (from {_SHORTEST:g} on)"


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise ValueError
    return value


_positive.__name__ = "positive number"


def _pid(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise ValueError
    return value


_pid.__name__ = "process id"


def _comm(text: str) -> str:
    if not text:
        raise ValueError
    return text


_comm.__name__ = "name of a task"

_MAX_ORDER = 10


def _orders(text: str) -> tuple[int, ...]:
    orders = tuple(map(int, comma_separated(text)))
    if not all(0 <= order <= _MAX_ORDER for order in orders):
        raise ValueError
    return orders


_orders.__name__ = f"list of orders (0 to {_MAX_ORDER})"
