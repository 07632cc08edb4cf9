"""How far a COPY is: files, bytes, rate, time left, failures and waits, as a line for people."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.result import Statistics
from dicomsql.transport.base import Wait

# Seconds over which the rate is taken: long enough to be calm, short enough to be of now.
_WINDOW = 15.0
# Seconds without anything after which that is said, and those of a wait that is worth the word.
_STALLED = 10.0
_WAIT = 1.0
_BAR = 10

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Progress:
    """Counts what is moved and shows it now and then, from a thread of its own.

    The threads that move instances call `expect` and `moved`; the report calls `done`.

    Parameters:
        show: takes a line; None shows nothing.
        every: seconds between two lines.
        statistics: tells how often a server was asked again.
        wait: tells what is waited for until it is.
        clock: gives seconds, as `time.monotonic`.
    """

    def __init__(
        self,
        show: Callable[[str], None] | None = None,
        every: float = 0.2,
        statistics: Statistics | None = None,
        wait: Wait | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics if statistics is not None else Statistics()
        self._wait = wait if wait is not None else Wait()
        self._show = show
        self._every = every
        self._clock = clock
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._files = self._all_files = 0
        self._bytes = self._all_bytes = 0
        # Bytes over the line, and those of them that belong to files which are done.
        self._on_the_way = self._sent = 0
        self._failed = 0
        self._whole = True
        # When something was last heard of.
        self._stirred = clock()
        # (time, bytes over the line, part that was done) of some while ago until now.
        self._seen: deque[tuple[float, int, float]] = deque([(clock(), 0, 0.0)])

    def expect(self, files: int, size: int | None = None) -> None:
        """There are so many more files (or instances) to move.

        Args:
            size: bytes that they have together; None where that is not known.
        """
        with self._lock:
            self._stirred = self._clock()
            self._all_files += files
            self._all_bytes += size or 0
            self._whole &= size is not None

    def moved(self, size: int) -> None:
        """So many bytes went over the line, sent again or not."""
        with self._lock:
            self._on_the_way += size
            self._stirred = self._clock()

    def done(self, outcome: Outcome) -> None:
        """What became of a file is known."""
        with self._lock:
            self._stirred = self._clock()
            self._files += 1
            self._bytes += outcome.size or 0
            self._sent = min(self._on_the_way, self._sent + (outcome.size or 0))
            self._failed += outcome.status is Status.FAILED

    def line(self) -> str:
        """Where it stands now."""
        with self._lock:
            now = self._clock()
            part = self._part()
            self._seen.append((now, self._on_the_way, part or 0.0))
            while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW:
                self._seen.popleft()
            then, before, _ = self._seen[0]
            # A terminal may be narrow: what matters most comes first.
            number = self._all_files or self._files
            of = f"/{self._all_files:,}" if self._all_files else ""
            parts = [f"{self._files:,}{of} file{'s' * (number != 1)}"]
            if self._failed:
                parts.append(f"{self._failed:,} failed")
            parts += self._held_up(now)
            if self._bytes or self._all_bytes:
                parts.append(_sizes(self._bytes, self._all_bytes if self._whole else 0))
            if self._on_the_way > before and now > then:
                parts.append(f"{size_text((self._on_the_way - before) / (now - then))}/s")
            left = self._left(part, now)
            if left is not None:
                parts.append(f"{time_text(left)} left")
            return f"{_bar(part)} {', '.join(parts)}".strip()

    def __enter__(self) -> Self:
        if self._show is not None:
            self._thread = threading.Thread(target=self._run, name="dicomsql-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._show is not None
        while not self._end.wait(self._every):
            self._show(self.line())

    def _held_up(self, now: float) -> list[str]:
        """What keeps it from going on, and how often the server was asked again."""
        said = []
        status, until = self._wait.status, self._wait.until
        silent = now - self._stirred
        if until - now >= _WAIT:
            why = f"the server answered {status}" if status else "the server did not answer"
            said.append(f"waiting {time_text(until - now)} ({why})")
        elif silent >= _STALLED:
            said.append(f"nothing moved for {time_text(silent)}")
        if again := self._statistics.repeated:
            said.append(f"{again:,} request{'s' * (again != 1)} made again")
        return said

    def _part(self) -> float | None:
        """How much of it is done, from 0 to 1; None where that is not known."""
        if not self._all_files:
            return None
        if self._whole and self._all_bytes:
            return min(1.0, self._position() / self._all_bytes)
        return min(1.0, self._files / self._all_files)

    def _position(self) -> int:
        """Bytes that are done, those of files on their way included."""
        return self._bytes + max(0, self._on_the_way - self._sent)

    def _left(self, part: float | None, now: float) -> float | None:
        """Seconds that are left if it goes on as before; None where that cannot be told."""
        then, before = self._seen[0][0], self._seen[0][2]
        if part is None or part <= before:
            return None
        return (1 - part) * (now - then) / (part - before)


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


def _bar(part: float | None) -> str:
    if part is None:
        return ""
    full = int(part * _BAR)
    return f"[{'#' * full}{'.' * (_BAR - full)}]"
