# SPDX-License-Identifier: GPL-2.0-only
"""A source of readings for the screen that is made by hand."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pageinspect.screen.reading import Question, ScreenColumn, ScreenReading


def texts(name: str, *cells: str, key: bool = True) -> ScreenColumn:
    """Return a column of texts."""
    return ScreenColumn(name, cells, None, key)


def numbers(name: str, *cells: float | None, spare: int = 0) -> ScreenColumn:
    """Return a column of numbers, with thousands separators."""
    shown = ["" if cell is None else f"{cell:,}" for cell in cells]
    return ScreenColumn(name, shown, cells, spare=spare)


def rows(
    pages: Sequence[tuple[str, int]], *, since: str = "change since 20:00:00", changing: bool = True
) -> ScreenReading:
    """Return a reading of names and their pages."""
    return ScreenReading(
        (texts("use", *(n for n, _ in pages)), numbers("pages", *(p for _, p in pages))),
        about="Linux 7.3.4, by hand",
        time="20:00:02",
        since=since,
        changing=changing,
    )


USES = rows([("anon", 1000), ("file", 20000), ("slab", 300)])
OWNERS = ScreenReading(
    (
        texts("kind", "anon", "file"),
        texts("name", "[red]x[/][812]", "/usr/lib/" + "deep/" * 12 + "libx.so"),
        numbers("pages", 1000, 20000),
        numbers("%", 4.0, 90.0, spare=1),
    ),
    about="Linux 7.3.4, by hand",
    time="20:00:02",
    since="change since 20:00:00",
    changing=True,
)
RUNS = ScreenReading(
    (
        texts("start", "0x1000", "0x2000"),
        texts("use", "anon", "anon", key=False),
        numbers("pages", 1, 512),
    ),
    about="Linux 7.3.4, by hand",
    changing=True,
)
PAGE = ScreenReading(lines=("pfn  0x1000",), about="Linux 7.3.4, by hand", changing=True)


@dataclass
class HandMade:
    """Answers with readings by what is asked for, and remembers what it was asked."""

    answers: dict[str, ScreenReading | Callable[[], ScreenReading]] = field(default_factory=dict)
    asked: list[Question] = field(default_factory=list)
    signals: list[str] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """Answers wait for it."""

    async def ask(self, question: Question) -> ScreenReading:
        """Return the reading."""
        self.asked.append(question)
        if self.hold is not None:
            await self.hold.wait()
        what = question["what"]
        default = {"runs": RUNS, "page": PAGE, "Owners": OWNERS}
        key = question.get("name", what)
        answer = self.answers.get(key, default.get(key, USES))
        return answer() if callable(answer) else answer

    def stop(self) -> None:
        """Note it."""
        self.signals.append("stop")

    def go_on(self) -> None:
        """Note it."""
        self.signals.append("go on")

    @property
    def tabs(self) -> list[str]:
        """The names of the tabs that were asked for."""
        return [question.get("name", question["what"]) for question in self.asked]
