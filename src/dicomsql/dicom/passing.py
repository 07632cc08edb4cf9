"""Whether a DICOM file is whole, found while its bytes pass by and without keeping them.

`skim.survey` steps over a file's elements and reads where it wants to. Small files are surveyed
when all of them is there. Of a large one the survey runs in a thread of its own, which is given
just what it asks for: of most files the header, and of pixels nothing.
"""

from __future__ import annotations

import io
import threading
from types import TracebackType
from typing import Self

from dicomsql.dicom.part10 import InvalidDicom
from dicomsql.dicom.skim import choose, survey

__all__ = ["Passing"]

# Bytes that are kept until they are the whole file.
_SMALL = 1 << 20
# Bytes behind the last that was read which can be read again: a survey goes back by less than what
# it reads at once.
_KEPT = 1 << 17

_NOTHING = choose(())


class Passing:
    """A file whose bytes pass by; used by one thread, and ended by leaving its context."""

    def __init__(self) -> None:
        self._first: list[bytes] = []
        self._size = 0
        self._window: _Window | None = None
        self._thread: threading.Thread | None = None
        # Until the survey has said so itself.
        self._broken = "it could not be read"

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        if self._window is not None:
            self._window.feed(piece)
            return
        self._first.append(piece)
        self._size += len(piece)
        if self._size > _SMALL:
            self._window = _Window()
            self._thread = threading.Thread(target=self._survey, name="survey", daemon=True)
            self._thread.start()
            self._window.feed(b"".join(self._first))
            self._first.clear()

    def end(self) -> str:
        """No more bytes come: what is wrong with the file; empty where it is whole, or is none."""
        if self._window is None:
            found = b"".join(self._first)
            return _broken(io.BytesIO(found), len(found))
        self._window.end()
        self._join()
        return self._broken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._window is not None:
            self._window.end()
            self._join()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _survey(self) -> None:
        assert self._window is not None
        try:
            self._broken = _broken(self._window, None)
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            self._broken = f"it could not be read ({type(error).__name__})"
        finally:
            self._window.leave()


def _broken(stream: io.RawIOBase | io.BytesIO, size: int | None) -> str:
    try:
        return survey(stream, size, _NOTHING).broken  # type: ignore[arg-type]
    except InvalidDicom:
        return ""


class _Window(io.RawIOBase):
    """A file that one thread gives the bytes of, and another reads from, almost only forwards.

    Behind the end there is nothing: the place is the end then.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = bytearray()
        self._base = 0  # the place of the first byte that is held
        self._position = 0  # of the reader
        self._came = 0
        self._ended = False
        self._left = False

    def feed(self, piece: bytes) -> None:
        """More bytes; returns when the reader has taken, or does not want, those that there are."""
        with self._changed:
            self._came += len(piece)
            if self._left:
                return
            if self._came <= self._position:
                # The reader has gone on to a place behind them.
                self._held.clear()
                self._base = self._came
                return
            self._held += piece
            spare = min(self._position, self._came) - _KEPT - self._base
            if spare > 0:
                del self._held[:spare]
                self._base += spare
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._left or self._position >= self._came)

    def end(self) -> None:
        """No more bytes come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def leave(self) -> None:
        """The reader wants no more."""
        with self._changed:
            self._left = True
            self._held.clear()
            self._changed.notify_all()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        with self._changed:
            return min(self._position, self._came) if self._ended else self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only places from the beginning")
        with self._changed:
            if offset < self._base:
                raise OSError("these bytes have passed by")
            self._position = offset
            self._changed.notify_all()
        return offset

    def readinto(self, buffer: object) -> int:
        with memoryview(buffer) as view, self._changed:  # type: ignore[arg-type]
            self._changed.wait_for(lambda: self._ended or self._came > self._position)
            at = self._position - self._base
            found = self._held[at : at + view.nbytes] if at < len(self._held) else b""
            view.cast("B")[: len(found)] = found
            self._position += len(found)
            self._changed.notify_all()
        return len(found)
