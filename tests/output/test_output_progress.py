"""The line of progress: what is told, how much of it fits, and that it leaves no trace."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable

import pytest

from dicomsql.output.progress import ProgressLine
from dicomsql.progress import Standing, Ticker

CLEAR = "\r\x1b[2K"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 7


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


Sized = Callable[[int], None]


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> Sized:
    monkeypatch.setenv("TERM", "xterm")

    def set_width(columns: int) -> None:
        size = os.terminal_size((columns, 20))
        monkeypatch.setattr("os.get_terminal_size", lambda _file: size)

    set_width(80)
    return set_width


FULL = Standing(
    done=1_234,
    total=5_000,
    failures=2,
    notes=("waiting 0:30 (the server answered 429)",),
    requests=12,
    bytes=3_400_000,
    rate=1_200_000.0,
    part=0.25,
    left=12.0,
)


def test_everything_that_is_known_is_told() -> None:
    assert str(FULL) == (
        "[##........] 1,234/5,000 rows, 2 failed, waiting 0:30 (the server answered 429), "
        "12 requests, 3.4 MB, 1.2 MB/s, 0:12 left"
    )
    begun = Standing(done=0, requests=1, seconds=65.0)
    assert str(begun) == "0 rows, 1 request, 1:05"
    assert str(Standing("make: 3 s, 2 success")) == "make: 3 s, 2 success"


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (200, str(FULL)),
        (60, "[##........] 1,234/5,000 rows, 2 failed"),
        (30, "[##........] 1,234/5,000 rows"),
        (29, "1,234/5,000 rows, 2 failed"),
        (20, "1,234/5,000 rows"),
        (10, "1,234/5,…"),
    ],
)
def test_what_matters_most_is_shown_where_there_is_little_room(
    sized: Sized, columns: int, text: str
) -> None:
    sized(columns)
    stream = Tty()
    ProgressLine(stream).show(FULL)
    assert stream.getvalue() == CLEAR + text


def test_words_of_servers_are_made_safe(sized: Sized) -> None:
    for standing in (
        "page \x1b[2J",
        Standing("page \x1b[2J"),
        Standing(done=1, notes=("\x1b[2J",)),
    ):
        stream = Tty()
        ProgressLine(stream).show(standing)
        assert stream.getvalue().count("\x1b") == 1
        assert "\\x1b[2J" in stream.getvalue()


def test_it_is_drawn_ten_times_a_second_at_most(sized: Sized) -> None:
    clock, stream = Clock(), Tty()
    line = ProgressLine(stream, clock)
    for _ in range(100):
        clock.now += 0.01
        line.show("a")
    assert 9 <= stream.getvalue().count("a") <= 11


def test_it_goes_once_and_comes_again(sized: Sized) -> None:
    stream = Tty()
    line = ProgressLine(stream, Clock())
    line.clear()
    line.show("a")
    line.clear()
    line.clear()
    line.show("b")
    assert stream.getvalue() == f"{CLEAR}a{CLEAR}{CLEAR}b"


def test_it_is_not_drawn_while_the_terminal_is_anothers(sized: Sized) -> None:
    clock, stream = Clock(), Tty()
    line = ProgressLine(stream, clock)
    line.show("a")
    with line.hidden():
        clock.now += 1
        line.show("b")
        with line.hidden():
            pass
        line.show("c")
    line.show("d")
    assert stream.getvalue() == f"{CLEAR}a{CLEAR}{CLEAR}d"


def test_nothing_is_drawn_in_a_pipe_or_on_a_dumb_terminal(
    sized: Sized, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.StringIO()
    line = ProgressLine(pipe)
    line.show(FULL)
    assert (line.is_drawn, pipe.getvalue()) == (False, "")
    monkeypatch.setenv("TERM", "dumb")
    dumb = Tty()
    line = ProgressLine(dumb)
    line.show(FULL)
    assert (line.is_drawn, dumb.getvalue()) == (False, "")


def test_a_terminal_that_does_not_tell_its_width_has_eighty_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Tty()
    ProgressLine(stream).show("x" * 100)
    assert len(stream.getvalue()) == len(CLEAR) + 79


def test_a_ticker_ticks_until_its_block_ends() -> None:
    three = threading.Semaphore(0)
    ticker = Ticker(three.release, 0.001, 0.001)
    with ticker:
        for _ in range(3):
            assert three.acquire(timeout=10)
    assert not any(t.name == "dicomsql-progress" for t in threading.enumerate())
