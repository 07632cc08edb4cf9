"""Draws the line of progress: on a terminal only, and gone before anything else is written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from dicomsql.progress import Standing

_CLEAR_LINE = "\r\x1b[2K"
# Seconds between two drawings.
_EVERY = 0.1


class ProgressLine:
    """The last line of a terminal; safe for many threads.

    Attributes:
        is_drawn: whether the stream can be drawn on.

    Parameters:
        stream: such as sys.stderr.
        clock: gives seconds, as `time.monotonic`.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.RLock()
        self._shown = False
        self._hidden = 0
        self._next = float("-inf")
        self.is_drawn = stream.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, standing: Standing | str) -> None:
        """Draw how far something is, unless it was drawn a moment ago."""
        with self._lock:
            now = self._clock()
            if self._hidden or not self.is_drawn or (self._shown and now < self._next):
                return
            self._next = now + _EVERY
            self._stream.write(_CLEAR_LINE + _fitted(standing, self._width() - 1))
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        with self._lock:
            if self._shown:
                self._stream.write(_CLEAR_LINE)
                self._stream.flush()
                self._shown = False

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Draw nothing for the time of a block, in which the terminal is another's."""
        with self._lock:
            self.clear()
            self._hidden += 1
        try:
            yield
        finally:
            with self._lock:
                self._hidden -= 1

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


def _fitted(standing: Standing | str, width: int) -> str:
    """As much as there is room for, what matters most first; servers' words are made safe."""
    from dicomsql.output.cells import cut, safe, width_of

    if isinstance(standing, str):
        return cut(safe(standing), width)
    phrases = [safe(phrase) for phrase in standing.phrases]
    bar = standing.bar
    text = f"{bar} {phrases[0]}" if bar else phrases[0]
    if bar and width_of(text) > width:
        text = phrases[0]
    for phrase in phrases[1:]:
        if width_of(text) + 2 + width_of(phrase) > width:
            break
        text += f", {phrase}"
    return cut(text, width)
