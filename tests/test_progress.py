"""What is shown of long work: on a terminal, without one, and what remains."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from placewise import progress
from placewise.progress import Display, console, duration


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_a_line_every_ten_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display("images") as display:
        for done in range(1, 101):
            clock.now += 1.0
            display(done, 100)
    out, said = capsys.readouterr()
    lines = said.splitlines()
    assert out == "" and len(lines) == 10
    assert lines[0] == f"10 of 100 images, {duration(90)} left"
    assert lines[4] == "50 of 100 images, 50 s left"


def test_what_remains_does_not_count_what_was_done_before(clock: Clock) -> None:
    display = Display("steps", quiet=False)
    display(5000, 10_000)
    clock.now += 60
    assert display.line(5100, 10_000) == "5,100 of 10,000 steps, 49 min left"
    assert "left" not in Display("steps").line(5000, 10_000)
    assert "left" not in display.line(10_000, 10_000)


def test_values_are_shown_and_give_a_first_and_a_last_line(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display("steps") as display:
        for step in (1, 2, 3):
            display(step, 3, {"loss": 0.123456, "validation": "3.2 px\x1b"})
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1 of 3 steps  loss 0.1235  validation 3.2 px\\x1b",
        "3 of 3 steps  loss 0.1235  validation 3.2 px\\x1b",
    ]


def test_a_quiet_display_shows_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stderr, Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with Display("images", quiet=True) as display:
            clock.now += 100
            display(1, 2, {"loss": 1.0})
        if isinstance(stream, Terminal):
            assert stream.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_and_messages_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console(), Display("[images]") as display:
        display(1, 4)
        logging.getLogger("placewise.images").warning("a.png is damaged")
        display(3, 4, {"loss": 0.5})
    said = terminal.getvalue()
    assert "a.png is damaged" in said and "━" in said
    assert "3 of 4 [images]  loss 0.5" in said


def test_the_console_shows_messages_while_it_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("placewise.test")
    with console():
        logger.info("one\ntwo \x1b[31m")
        with console(quiet=True):
            logger.info("hidden")
    with console(quiet=True):
        logger.info("hidden")
        logger.warning("shown")
    logger.info("hidden")
    assert capsys.readouterr() == ("", "one\ntwo \\x1b[31m\nshown\n")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (7200, "2.0 h")],
)
def test_lengths_of_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said
