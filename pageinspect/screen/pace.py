# SPDX-License-Identifier: GPL-2.0-only
"""How often memory is read: as asked, or less often if that takes too much CPU time."""

from dataclasses import dataclass

SHARE = 0.15
"""The share of one processor that reading and drawing may take."""
_AIM = 0.8 * SHARE
"""What the pace is set to; the rest is for drawing between readings, and for what varies."""


@dataclass(slots=True)
class Pace:
    """The time between the starts of two readings, in seconds."""

    interval: float
    """What was asked for."""
    _needed: float = 0.0
    """What the last reading needs to stay within the share."""

    @property
    def period(self) -> float:
        """The time from the start of the last reading to the next."""
        return max(self.interval, self._needed)

    def note(self, cost: float, wall: float, *, first: bool) -> None:
        """Note the CPU time and the duration of a reading; the `first` one may cost more.

        Time in which nothing was read counts from the end of a reading: one that waits for a slow
        disk is not followed by the next at once.
        """
        self._needed = wall if first else max(cost / _AIM, wall)

    def describe(self) -> str:
        """Return how often memory is read: every 2 s."""
        text = f"every {_seconds(self.period)}"
        stretched = self.period > 1.05 * self.interval
        return f"{text} (not {_seconds(self.interval)}: CPU)" if stretched else text


def _seconds(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") + " s"
