"""How far a COPY is: files, bytes, rate, time left, failures and waits, counted as they happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.progress import Pace, Standing, Ticker, time_text
from dicomsql.result import Statistics
from dicomsql.transport.base import Wait

# Seconds without anything after which that is said, and those of a wait that is worth the word.
_STALLED = 10.0
_WAIT = 1.0

T = TypeVar("T")


class Progress:
    """Counts what is moved and shows it now and then, from a thread of its own.

    The threads that move instances call `expect`, `growing` and `moved`; the report calls `done`.

    Parameters:
        show: takes how far it is; None shows nothing.
        every: seconds between two looks.
        statistics: tells how often a server was asked again.
        wait: tells what is waited for until it is.
        clock: gives seconds, as `time.monotonic`.
    """

    def __init__(
        self,
        show: Callable[[Standing], None] | None = None,
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
        self._ticker: Ticker | None = None
        self._files = self._all_files = 0
        self._bytes = self._all_bytes = 0
        # Bytes over the line, and those of them that belong to files which are done.
        self._on_the_way = self._sent = 0
        self._failed = 0
        self._whole = True
        self._growing = False
        # When something was last heard of.
        self._stirred = clock()
        self._pace = Pace(clock())

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

    def growing(self, yes: bool) -> None:
        """Whether more is looked for, so that what is expected is the least that there is."""
        with self._lock:
            self._growing = yes

    def through(self, groups: Iterable[T]) -> Iterator[T]:
        """The groups of what is moved; until the last has come there may be more."""
        self.growing(True)
        yield from groups
        self.growing(False)

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

    def standing(self) -> Standing:
        """How far it is now."""
        with self._lock:
            now = self._clock()
            part = self._part()
            rate, left = self._pace.take(now, self._on_the_way, part)
            sized = self._whole and not self._growing
            return Standing(
                done=self._files,
                total=self._all_files or None,
                at_least=self._growing,
                unit="file",
                failures=self._failed,
                notes=tuple(self._held_up(now)),
                bytes=self._position() if part is not None and sized else self._bytes,
                all_bytes=self._all_bytes if sized else None,
                rate=rate,
                part=part,
                left=left,
            )

    def __enter__(self) -> Self:
        show = self._show
        if show is not None:
            self._ticker = Ticker(lambda: show(self.standing()), self._every, self._every)
            self._ticker.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._ticker is not None:
            self._ticker.__exit__()

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
        if not self._all_files or self._growing:
            return None
        if self._whole and self._all_bytes:
            return min(1.0, self._position() / self._all_bytes)
        return min(1.0, self._files / self._all_files)

    def _position(self) -> int:
        """Bytes that are done, those of files on their way included."""
        reached = self._bytes + max(0, self._on_the_way - self._sent)
        return min(reached, self._all_bytes) if self._whole else reached
