# SPDX-License-Identifier: GPL-2.0-only
"""Whether the memory of a process grows with what it does again and again."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_SIGMAS = 3
"""Standard errors within which a slope is 0: a process that does not grow is outside once in 300
times."""


@dataclass(frozen=True)
class Slope:
    """Growth from one reading to the next, and its standard error, in the unit of the values."""

    growth: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Slope":
        """Return the slope of values of readings at equal distances; the first quarter is left out.

        Memory keeps what it has reached: each value is the last one and some change, so that the
        errors of neighbours are not independent. Least squares over the changes, whose errors are,
        give their mean and its standard error. One step upward, of whatever size, is then no slope;
        many steps are.
        """
        later = values[len(values) // 4 :]
        changes = [now - then for then, now in itertools.pairwise(later)]
        error = statistics.stdev(changes) / len(changes) ** 0.5
        return cls(statistics.fmean(changes), error)

    @property
    def is_flat(self) -> bool:
        """Whether the growth is 0 within its error."""
        return abs(self.growth) <= _SIGMAS * self.error
