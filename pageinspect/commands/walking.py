"""What the commands that walk pages share: options, progress and exit status."""

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..errors import Exit, UsageError
from .options import add_output_arguments, add_target_arguments, open_target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..classify import TypeColumns
    from ..layout import PageLayout
    from ..ranges import Range
    from ..report import Coverage
    from ..survey import Survey
    from ..walk import PageBatch


def add_walking_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the target, --pfn and the output options."""
    add_target_arguments(parser)
    parser.add_argument(
        "--pfn",
        action="append",
        default=[],
        metavar="RANGE",
        help="only these pfns: START-END or START,END (end exclusive), START+COUNT, or one pfn; "
        "after phys: the same of physical addresses; zone:NAME; node:N. May be repeated.",
    )
    add_output_arguments(parser)


def open_survey(args: argparse.Namespace) -> "tuple[Survey, list[Range]]":
    """Open the target and resolve the pfns that --pfn names."""
    from .. import ranges, survey

    opened = survey.survey(open_target(args))
    return opened, ranges.resolve(args.pfn, opened.census, opened.layout.page_shift)


def typed_pages(
    survey: "Survey", wanted: "Sequence[Range]"
) -> "Iterator[tuple[PageBatch, TypeColumns]]":
    """Yield what survey.types() does, with a progress bar on a terminal."""
    from tqdm import tqdm

    from ..ranges import count

    with tqdm(
        total=count(wanted),
        unit=" pages",
        unit_scale=True,
        desc="walking",
        leave=False,
        delay=1,
        disable=None,
        file=sys.stderr,
    ) as bar:
        for batch, types in survey.types(wanted):
            yield batch, types
            bar.update(len(batch) if batch.wanted is None else int(batch.wanted.sum()))


def select_types(layout: "PageLayout", names: Sequence[str]) -> "npt.NDArray[np.bool_]":
    """Return the codes that the type names of --type mean, all when there are none.

    Raises UsageError for a name that this kernel does not know.
    """
    import numpy as np

    from ..classify import CODES, codes_of, type_names

    if not names:
        return np.ones(CODES, np.bool_)
    selected = np.zeros(CODES, np.bool_)
    for name in names:
        codes = codes_of(layout, name)
        if not codes.any():
            known = type_names(layout)
            near = difflib.get_close_matches(name, known, 1)
            raise UsageError(
                f"this kernel has no page type {name!r}",
                (f"did you mean {near[0]}? " if near else "") + f"It has: {', '.join(known)}",
            )
        selected |= codes
    return selected


def status(coverage: "Coverage") -> Exit:
    """Return the exit status of a report with this coverage."""
    return Exit.COMPLETE if coverage.complete else Exit.INCOMPLETE
