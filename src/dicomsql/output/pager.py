"""Gives text to a pager as it is scrolled, once there is more of it than a screen holds.

What a person scrolls past is what is fetched: the pipe to the pager takes some kB, and who writes
to it waits until there is room. Leaving the pager ends the result and is no error.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from dicomsql.output.cells import width_of
from dicomsql.output.options import ByteStream

# less without its own wrapping (-S), with colors (-R), and without clearing the screen (-X).
_LESS = "RSX"
# Pagers that page nothing: text goes to the terminal by itself.
_NONE = frozenset({"", "cat"})
_STOPPED = b"-- stopped here: there are more rows, which were not read --\n"


class PagerLeftError(Exception):
    """Whoever reads has left the pager, and wants no more rows."""


def pager_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command that pages: DICOMSQL_PAGER, PAGER, or less; nothing where there is none."""
    import shlex

    if environment.get("TERM", "") in {"", "dumb"}:
        return ()
    for name in ("DICOMSQL_PAGER", "PAGER"):
        if (asked := environment.get(name)) is not None:
            try:
                command = tuple(shlex.split(asked))
            except ValueError:
                return ()
            return () if not command or command[0] in _NONE or not _is_there(command) else command
    return ("less",) if _is_there(("less",)) else ()


def shows_colors(command: tuple[str, ...], environment: Mapping[str, str]) -> bool:
    """Whether a pager shows colors, and not the codes that set them."""
    if Path(command[0]).name != "less":
        return False
    flags = " ".join((environment.get("LESS", f"-{_LESS}"), *command[1:]))
    return any(
        letter in "Rr" for word in flags.split() if not word.startswith("--") for letter in word
    )


class Paged:
    """A stream that goes to the terminal as long as the screen holds it, and then to a pager.

    Parameters:
        stream: the terminal's.
        command: of the pager.
        width, height: of the screen.
        at_once: page without waiting for more than the screen holds.
        hidden: for the time of its block nothing else is drawn on the terminal.
        cancel: ends the rows; Ctrl-C calls it while the pager has the terminal, as what is more
            belongs to the pager.

    Attributes:
        waited: seconds that the pager took to take text, which are those of the person who scrolls.
        read: seconds that the person read on once all of the text was there.

    Raises, from `write`: PagerLeftError: nobody reads any more.
    """

    def __init__(
        self,
        stream: ByteStream,
        command: tuple[str, ...],
        width: int,
        height: int,
        *,
        at_once: bool = False,
        hidden: Callable[[], AbstractContextManager[None]] = nullcontext,
        cancel: Callable[[], None] = lambda: None,
    ) -> None:
        self.waited = self.read = 0.0
        self._stream = stream
        self._command = command
        self._width = max(1, width)
        # The line of the next prompt, and the one that tells of the rows.
        self._room = height - 2
        self._at_once = at_once
        self._hidden = hidden
        self._cancel = cancel
        self._stack = ExitStack()
        self._shown: list[bytes] = []
        self._lines = 0
        self._pager: subprocess.Popen[bytes] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the pager has the terminal."""
        return self._pager is not None

    def page(self) -> None:
        """Start the pager with what has been shown, whether or not the screen holds it."""
        if self._pager is not None:
            return
        if self._lines:
            # All of it is still on the screen; the pager shows it again.
            self._stream.write(f"\x1b[{self._lines}A\r\x1b[J".encode())
        self._stream.flush()
        self._stack.enter_context(self._hidden())
        self._stack.enter_context(_interrupts(self._cancel))
        self._pager = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, env=_environment(os.environ)
        )
        self._give(b"".join(self._shown))
        self._shown = []

    def write(self, data: bytes) -> None:
        if self._pager is not None:
            self._give(data)
            return
        lines = sum(
            max(1, -(-width_of(line) // self._width)) for line in data.decode().splitlines()
        )
        if self._at_once or self._lines + lines > self._room:
            self.page()
            self._give(data)
            return
        self._stream.write(data)
        self._shown.append(data)
        self._lines += lines

    def flush(self) -> None:
        if self._pager is None:
            self._stream.flush()

    def stopped(self) -> None:
        """Say in the pager that there would have been more."""
        with suppress(PagerLeftError):
            self._give(_STOPPED)

    def _give(self, data: bytes) -> None:
        assert self._pager is not None
        assert self._pager.stdin is not None
        begun = time.monotonic()
        try:
            self._pager.stdin.write(data)
            self._pager.stdin.flush()
        except BrokenPipeError:
            raise PagerLeftError from None
        finally:
            self.waited += time.monotonic() - begun

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the pager be read to its end, whatever else happened."""
        with self._stack:
            if self._pager is None:
                return
            if error is not None:
                self.stopped()
            assert self._pager.stdin is not None
            begun = time.monotonic()
            with suppress(BrokenPipeError):
                self._pager.stdin.close()
            self._pager.wait()
            self.read = time.monotonic() - begun


@contextmanager
def _interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls a function for the time of a block; where signals are handled, in one thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_there(command: tuple[str, ...]) -> bool:
    return shutil.which(command[0]) is not None


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which less keeps nothing of what it shows."""
    own = dict(environment)
    own.setdefault("LESS", f"-{_LESS}")
    # Searches may name patients, and a preprocessor gets all that is shown.
    own["LESSHISTFILE"] = "-"
    own.pop("LESSOPEN", None)
    own.pop("LESSCLOSE", None)
    return own
