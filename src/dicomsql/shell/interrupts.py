"""What Ctrl-C and the signals that end the shell do, wherever it is at the moment.

- At the prompt, Ctrl-C is a key, which prompt_toolkit reads.
- While a statement runs, it stops the statement through its `Stop`, and the session goes on.
- At a question, it is a no.
- Anywhere else (`\\watch` that waits), it is a KeyboardInterrupt, which ends that and no more.

SIGTERM and SIGHUP end the shell as Ctrl-D does, whatever runs being stopped first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType

from dicomsql.session import Stop

__all__ = ["Interrupts"]

_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_STILL = b"\r\nThe statement is being stopped; what it has sent is waited for.\r\n"


class Interrupts:
    """The shell's handlers of signals, while its block lasts.

    Attributes:
        ended: the signal that ends the shell; None while none has come.
        pressed: Ctrl-C came as a signal while the prompt was on its way in or out.
        wake: takes the prompt away; None while there is no prompt.
    """

    def __init__(self) -> None:
        self.ended: int | None = None
        self.pressed = False
        self.wake: Callable[[], None] | None = None
        self._stop: Stop | None = None
        self._asking = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_ENDING):
                handler = self._interrupt if number == signal.SIGINT else self._end
                self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def stopping(self, stop: Stop) -> Iterator[None]:
        """Ctrl-C stops this statement."""
        before, self._stop = self._stop, stop
        if self.ended is not None:
            stop.cancel()
        try:
            yield
        finally:
            self._stop = before

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ctrl-C breaks off a question by a KeyboardInterrupt."""
        self._asking = True
        try:
            yield
        finally:
            self._asking = False

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Ctrl-C is for the program that has the terminal meanwhile, and not for us."""
        before = signal.signal(signal.SIGINT, lambda *_: None)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self.wake is not None:
            self.pressed = True
            self.wake()
            return
        stop = self._stop
        if stop is None or self._asking:
            raise KeyboardInterrupt
        if not stop.cancelled:
            stop.cancel()
            return
        with suppress(OSError):
            os.write(2, _STILL)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if self.ended is not None:
            return
        self.ended = number
        if self._stop is not None:
            self._stop.cancel()
        if self.wake is not None:
            self.wake()
        else:
            raise KeyboardInterrupt
