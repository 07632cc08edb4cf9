"""How far something is that takes long: counts, bytes, rate and time left, told now and then."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

__all__ = ["Pace", "Standing", "Ticker", "size_text", "time_text"]

# Seconds over which a rate is taken: long enough to be calm, short enough to be of now.
_WINDOW = 15.0
_BAR = 10

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Standing:
    """How far something is.

    Attributes:
        what: a sentence for people, where there are no numbers to tell it in.
        done, total: things that are done, and of how many; None where that is not known.
        at_least: there may be more than `total`.
        unit: what is counted, as a word for one of them; its plural has an s.
        failures: of those that are done.
        notes: what keeps it from going on, and the like.
        requests: calls that were made; None where they are not told.
        bytes: that came or went.
        all_bytes: of how many; None where that is not known.
        rate: bytes a second, of now; None where none went.
        part: how much of it is done, from 0 to 1; None where that is not known.
        seconds: since it began; None where it is not told.
        left: seconds that are left, as it looks now.
    """

    what: str = ""
    done: int | None = None
    total: int | None = None
    unit: str = "row"
    failures: int = 0
    notes: tuple[str, ...] = ()
    requests: int | None = None
    bytes: int = 0
    all_bytes: int | None = None
    rate: float | None = None
    part: float | None = None
    seconds: float | None = None
    left: float | None = None
    at_least: bool = False

    @property
    def phrases(self) -> list[str]:
        """What there is to say, what matters most first."""
        if self.done is None:
            return [self.what]
        number = self.total or self.done
        of = f"/{self.total:,}{'+' * self.at_least}" if self.total else ""
        said = [f"{self.done:,}{of} {self.unit}{'s' * (number != 1)}"]
        if self.failures:
            said.append(f"{self.failures:,} failed")
        said += self.notes
        if self.requests is not None:
            said.append(f"{self.requests:,} request{'s' * (self.requests != 1)}")
        if self.bytes or self.all_bytes:
            said.append(_sizes(self.bytes, self.all_bytes or 0))
        if self.rate is not None:
            said.append(f"{size_text(self.rate)}/s")
        if self.left is not None:
            said.append(f"{time_text(self.left)} left")
        elif self.seconds is not None:
            said.append(time_text(self.seconds))
        return said

    @property
    def bar(self) -> str:
        """The part that is done as a bar of twelve letters; empty where it is not known."""
        if self.part is None:
            return ""
        full = int(self.part * _BAR)
        return f"[{'#' * full}{'.' * (_BAR - full)}]"

    def __str__(self) -> str:
        return f"{self.bar} {', '.join(self.phrases)}".strip()


class Pace:
    """How fast something goes, and when it will be done if it goes on so.

    Parameters:
        now: seconds on the clock that `take` tells.
    """

    def __init__(self, now: float) -> None:
        # (time, amount, part that was done where that was known) of some while ago until now.
        self._seen: deque[tuple[float, int, float | None]] = deque([(now, 0, 0.0)])

    def take(
        self, now: float, amount: int, part: float | None
    ) -> tuple[float | None, float | None]:
        """Tell how far it is; the rate of the amount a second, and the seconds left."""
        self._seen.append((now, amount, part))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()
        then, amount_then, _ = self._seen[0]
        rate = left = None
        if amount > amount_then and now > then:
            rate = (amount - amount_then) / (now - then)
        if part is not None:
            then, part_then = next((t, p) for t, _, p in self._seen if p is not None)
            if part > part_then:
                left = (1 - part) * (now - then) / (part - part_then)
        return rate, left


class Ticker:
    """Calls a function again and again, from a thread of its own, for the time of a block.

    Parameters:
        tick: what is called.
        every: seconds between two calls.
        first: seconds before the first.
    """

    def __init__(self, tick: Callable[[], object], every: float, first: float) -> None:
        self._tick = tick
        self._every = every
        self._first = first
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dicomsql-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        delay = self._first
        while not self._end.wait(delay):
            self._tick()
            delay = self._every


def size_text(size: float) -> str:
    """Bytes for people, in powers of ten: `1.5 GB`."""
    number, unit = _in_unit(size, size)
    return f"{number} {unit}"


def time_text(seconds: float) -> str:
    """A time for people: `0:05`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _sizes(done: int, everything: int) -> str:
    """Bytes that are done, and of how many where that is known: `0.3/1.5 GB`."""
    if not everything:
        return size_text(done)
    number, unit = _in_unit(everything, everything)
    return f"{_in_unit(done, everything)[0]}/{number} {unit}"


def _in_unit(size: float, whole: float) -> tuple[str, str]:
    """A number of bytes in the unit that fits the whole."""
    power = 0
    while whole >= 1000 and power < len(_UNITS) - 1:
        size, whole, power = size / 1000, whole / 1000, power + 1
    return f"{size:,.1f}" if power else f"{size:,.0f}", _UNITS[power]
