# SPDX-License-Identifier: GPL-2.0-only
"""The screen on hand-made readings, without a terminal."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from screen_source import OWNERS, USES, HandMade, rows
from textual.pilot import Pilot

from pageinspect.screen.app import TopScreen
from pageinspect.screen.reading import ScreenReading

SMALL = (80, 24)
LARGE = (200, 60)

Act = Callable[[Pilot[None], TopScreen], Awaitable[None]]


def lines(app: TopScreen) -> list[str]:
    """Return what is on the screen."""
    return ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]


def run(source: HandMade, act: Act, size: tuple[int, int] = SMALL, interval: float = 60.0) -> None:
    async def drive() -> None:
        app = TopScreen(source, interval)
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            await act(pilot, app)

    asyncio.run(drive())


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def below(shown: list[str], heading: str) -> list[str]:
    """Return the words that end where a heading ends."""
    (head,) = [line for line in shown if re.search(rf"[ ↓↑]{heading}[ ↓↑]", f" {line} ")]
    end = head.index(heading) + len(heading)
    rows_below = shown[shown.index(head) + 1 : -2]
    return [line[:end].split()[-1] for line in rows_below if line[end - 1 : end + 1].strip()]


def names(app: TopScreen) -> list[str]:
    """Return the first word of each row."""
    shown = lines(app)
    return [line.split()[0] for line in shown[4:22] if line.strip()]


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_numbers_end_below_their_headings(size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        shown = lines(app)
        assert len(shown) == size[1]
        assert {len(line) for line in shown} == {size[0]}
        assert below(shown, "pages") == ["1,000", "20,000", "300"]
        assert "Linux 7.3.4, by hand" in shown[0]
        assert "20:00:02" in shown[0]
        assert "every 60 s | change since 20:00:00" in shown[2]
        assert "1-3 of 3" in shown[2]

    run(HandMade(), act, size)


def test_only_the_tab_that_is_shown_is_read() -> None:
    source = HandMade()

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        assert source.tabs == ["Uses"]
        await press(pilot, "r")
        assert source.tabs == ["Uses", "Uses"]
        await press(pilot, "3")
        await press(pilot, "2")
        assert source.tabs == ["Uses", "Uses", "Processes", "Owners"]
        # A tab that has been read is shown as it was until the interval is over.
        await press(pilot, "1")
        assert len(source.asked) == 4
        await press(pilot, "left")
        assert source.tabs[4:] == ["Frees"]

    run(source, act)


def test_readings_repeat_at_the_interval_until_paused() -> None:
    source = HandMade()

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        while len(source.asked) < 3:
            await pilot.pause(0.05)
        await press(pilot, "p")
        assert "paused" in lines(app)[2]
        n = len(source.asked)
        await pilot.pause(0.5)
        assert len(source.asked) == n
        await press(pilot, "p")
        while len(source.asked) == n:
            await pilot.pause(0.05)

    run(source, act, interval=0.05)


def test_what_does_not_change_is_read_once() -> None:
    same = rows([("anon", 1)], since="", changing=False)
    source = HandMade({"Uses": same, "Owners": same})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await pilot.pause(0.5)
        assert len(source.asked) == 1
        assert "does not change" in lines(app)[2]
        await press(pilot, "2")
        assert source.tabs == ["Uses", "Owners"]

    run(source, act, interval=0.05)


def test_a_mark_is_asked_for_once() -> None:
    source = HandMade()

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "m")
        assert [question.get("mark") for question in source.asked] == [None, True]
        await press(pilot, "r")
        assert source.asked[-1].get("mark") is None

    run(source, act)


def test_sort_by_key_and_by_heading() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "s")
        assert names(app) == ["anon", "file", "slab"]
        assert "use↑" in lines(app)[3]
        await press(pilot, "s")
        assert below(lines(app), "pages") == ["20,000", "1,000", "300"]
        assert "↓pages" in lines(app)[3]
        await press(pilot, "S")
        assert below(lines(app), "pages") == ["300", "1,000", "20,000"]
        await pilot.click("ScreenGrid", offset=(1, 0))
        await settle(pilot)
        assert names(app) == ["anon", "file", "slab"]
        await pilot.click("ScreenGrid", offset=(1, 0))
        await settle(pilot)
        assert names(app) == ["slab", "file", "anon"]

    run(HandMade(), act)


def test_filter_while_it_is_typed() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "slash", "A")
        assert names(app) == ["anon", "slab"]
        # Keys of the screen are letters here.
        await press(pilot, "n", "q")
        assert "No rows" not in lines(app)[2]
        await press(pilot, "backspace", "enter")
        assert names(app) == ["anon"]
        assert "filter: An" in lines(app)[2]
        await press(pilot, "escape")
        assert len(names(app)) == 3
        await press(pilot, "slash", "z", "escape")
        assert len(names(app)) == 3

    run(HandMade(), act)


def test_open_an_owner_its_runs_and_a_page() -> None:
    source = HandMade()

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "2", "enter")
        assert source.asked[-1]["owner"] == ["anon:[red]x[/][812]"]
        assert "anon:[red]x[/][812]" in lines(app)[2]
        await press(pilot, "down", "enter")
        assert source.asked[-1]["pfn"] == "0x2000"
        assert "pfn  0x1000" in lines(app)[3]
        await press(pilot, "n")
        assert source.asked[-1]["pfn"] == "0x2001"
        await press(pilot, "escape")
        assert "0x2000" in "".join(lines(app))
        await press(pilot, "escape")
        assert "/usr/lib" in "".join(lines(app)) or "libx.so" in "".join(lines(app))
        await press(pilot, "enter")
        await press(pilot, "4")
        assert source.tabs[-1] == "Files"

    run(source, act)


def test_names_are_never_markup() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "2")
        shown = lines(app)
        assert any("[red]x[/][812]" in line for line in shown)
        # Of a path that is cut, the end is shown; all of it below, at its row.
        assert any("…" in line and "deep/libx.so" in line for line in shown)
        await press(pilot, "down")
        assert lines(app)[22].startswith(" /usr/lib/deep/")

    run(HandMade(), act)


def test_a_name_of_wide_letters_moves_no_below() -> None:
    source = HandMade({"Uses": rows([("日本語" * 40, 12), ("e\u0301", 3456)])})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        strips = app.screen._compositor.render_strips()
        assert {sum(s.cell_length for s in strip) for strip in strips} == {80}
        text = [line.rstrip() for line in lines(app)]
        assert any(line.endswith("12") for line in text)
        assert any(line.endswith("3,456") for line in text)

    run(source, act)


def test_a_reading_that_fails_is_a_line_at_the_bottom() -> None:
    failing = ScreenReading(error="the core [b]is[/b] damaged\x1b[2J", hint="compare it")
    answers: list[ScreenReading] = [USES, failing, rows([("anon", 77)])]
    source = HandMade({"Uses": lambda: answers.pop(0)})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "r")
        assert lines(app)[22].strip() == r"the core [b]is[/b] damaged\x1b[2J (compare it)"
        assert below(lines(app), "pages") == ["1,000", "20,000", "300"]
        await press(pilot, "r")
        assert "damaged" not in "".join(lines(app))
        assert below(lines(app), "pages") == ["77"]

    run(source, act)


def test_a_core_that_fails_is_read_again_only_when_asked() -> None:
    source = HandMade({"Uses": ScreenReading(error="the core is cut off")})
    opened = ScreenReading(about="Linux 7.3.4, a core", changing=False)

    async def drive() -> None:
        app = TopScreen(source, 0.01, opened=opened)
        async with app.run_test(size=SMALL) as pilot:
            await settle(pilot)
            await pilot.pause(0.2)
            assert len(source.asked) == 1
            shown = lines(app)
            assert shown[0].split("  ")[0].strip() == "Linux 7.3.4, a core"
            assert shown[2].strip() == "does not change"
            assert shown[22].strip() == "the core is cut off"
            await press(pilot, "r")
            assert len(source.asked) == 2

    asyncio.run(drive())


def test_the_screen_answers_while_it_reads() -> None:
    async def drive() -> None:
        source = HandMade(hold=asyncio.Event())
        app = TopScreen(source, 60)
        async with app.run_test(size=SMALL) as pilot:
            await settle(pilot)
            assert "reading" in lines(app)[2]
            await press(pilot, "question_mark")
            assert "another tab" in "".join(lines(app))
            await press(pilot, "escape")
            assert source.hold is not None
            source.hold.set()
            await settle(pilot)
            assert below(lines(app), "pages") == ["1,000", "20,000", "300"]

    asyncio.run(drive())


def test_help_names_every_key_of_the_last_line() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        keys = re.findall(r"(\S+) [a-z]+(?:  |$)", lines(app)[23].strip())
        assert len(keys) == 9
        await press(pilot, "question_mark")
        pressed = [line[:24] for line in lines(app)[3:22]]
        named = " ".join(pressed).replace(",", " ").split()
        assert {key for key in keys if key != "?"} <= {*named}

    run(HandMade(), act)


def test_columns_fit_after_a_resize() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "2")
        await pilot.resize_terminal(40, 12)
        await settle(pilot)
        shown = lines(app)
        assert {len(line) for line in shown} == {40}
        assert "%" not in shown[3]
        assert below(shown, "pages") == ["1,000", "20,000"]
        await pilot.resize_terminal(*LARGE)
        await settle(pilot)
        assert "%" in lines(app)[3]
        assert len(lines(app)) == 60

    run(HandMade(), act)


def test_the_cursor_stays_on_its_row() -> None:
    answers = [rows([("a", 3), ("b", 2), ("c", 1)]), rows([("c", 9), ("a", 3), ("b", 2)])]
    source = HandMade({"Uses": lambda: answers.pop(0)})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "down", "down")
        await press(pilot, "r")
        await press(pilot, "enter")
        assert source.asked[-1]["use"] == ["c"]

    run(source, act)


def test_many_rows_are_reached_by_keys() -> None:
    source = HandMade({"Uses": rows([(f"use{i:04}", i) for i in range(1000)])})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "end")
        assert "983-1,000 of 1,000" in lines(app)[2]
        assert "use0999" in lines(app)[21]
        await press(pilot, "pageup", "up", "home", "pagedown")
        assert "1-18 of 1,000" in lines(app)[2]
        await press(pilot, "pagedown")
        assert "18-35 of 1,000" in lines(app)[2]

    run(source, act)


def test_plus_and_minus_change_the_interval() -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "plus")
        assert "every 120 s" in lines(app)[2]
        await press(pilot, *["minus"] * 9)
        assert re.search(r"every (0\.5 s|.*\(not 0\.5 s: CPU\))", lines(app)[2])

    run(HandMade(), act)


def test_an_expensive_reading_stretches_the_interval() -> None:
    costly = rows([("anon", 1)])
    source = HandMade({"Uses": lambda: ScreenReading(**{**vars_of(costly), "cost": 3.6})})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "r")
        found = re.search(r"every (\d+\.?\d*) s \(not 2 s: CPU\)", lines(app)[2])
        assert found is not None
        assert float(found[1]) >= 3.6 / 0.15

    run(source, act, interval=2)


def vars_of(reading: ScreenReading) -> dict[str, object]:
    return {name: getattr(reading, name) for name in reading.__slots__}


def test_without_colour_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        segments = [s for strip in app.screen._compositor.render_strips() for s in strip]
        chosen = [s.text for s in segments if s.style is not None and s.style.reverse]
        assert any("1 Uses" in text for text in chosen)
        assert any(text.startswith("anon") for text in chosen)

    run(HandMade({"Owners": OWNERS}), act)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("r", "nothing to read again"),
        ("m", "no changes to count"),
        ("p", "nothing to pause"),
        ("plus", "no interval"),
        ("minus", "no interval"),
    ],
)
def test_keys_that_do_nothing_say_why(key: str, why: str) -> None:
    same = rows([("anon", 1)], since="", changing=False)
    source = HandMade({"Uses": same, "Owners": same})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, key)
        assert f"does not change: {why}" in lines(app)[2]
        assert len(source.asked) == 1
        await press(pilot, "2")
        assert f": {why}" not in lines(app)[2]
        assert "does not change" in lines(app)[2]

    run(source, act)


def test_what_failed_is_read_again_although_it_does_not_change() -> None:
    same = rows([("anon", 1)], since="", changing=False)
    answers = [ScreenReading(error="unreadable"), same]
    source = HandMade({"Uses": same, "Owners": lambda: answers.pop(0)})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "2")
        assert "unreadable" in lines(app)[22]
        await press(pilot, "r")
        assert source.tabs == ["Uses", "Owners", "Owners"]
        assert names(app) == ["anon"]

    run(source, act)


@pytest.mark.parametrize("size", [(60, 20), (40, 12), (24, 10), (20, 6), (16, 4)])
def test_a_small_screen_keeps_the_keys_for_help_and_to_quit(size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        last = lines(app)[-1].rstrip()
        assert last.endswith("? help  q quit")
        assert len(lines(app)) == size[1]

    run(HandMade(), act, size)


def test_a_text_that_fits_has_no_position() -> None:
    text = ScreenReading(lines=("a", "b"), about="Linux")
    source = HandMade({"Frees": text, "Uses": rows([(f"use{i}", i) for i in range(2000)])})

    async def act(pilot: Pilot[None], app: TopScreen) -> None:
        await press(pilot, "end")
        assert "1,983-2,000 of 2,000" in lines(app)[2]
        await press(pilot, "6")
        assert "of 2" not in lines(app)[2]
        await pilot.resize_terminal(80, 6)
        await settle(pilot)
        assert "of 2" in lines(app)[2]

    run(source, act)
