"""Deflated bytes as a file to read from, of which only a little is held at a time."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

__all__ = ["Forwards", "Inflated"]

_READ = 64 * 1024
# Bytes behind which one can go back without beginning again.
_KEPT = 128 * 1024


class Forwards(io.RawIOBase):
    """A stream that comes to a place by reading what lies before it.

    Who derives from it counts in `_position` what is read.

    Args:
        length: bytes in all; None where the end is not known before it is read.
    """

    def __init__(self, length: int | None = None) -> None:
        self._length = length
        self._position = 0

    def _go_back(self, target: int) -> None:
        """Go to a place from which `target`, which lies behind, can be read on to."""
        raise NotImplementedError

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, in the way that the class tells of."""
        return True

    def tell(self) -> int:
        """The bytes before the next that is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; behind the end there is nothing, and the place is the end then."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}
        base = bases.get(whence)
        if base is None:
            raise io.UnsupportedOperation("the end is not known before it is read")
        target = base + offset
        if target < self._position:
            self._go_back(target)
        while self._position < target and self.read(min(_READ, target - self._position)):
            pass
        return self._position


class Inflated(Forwards):
    """What raw deflated data (RFC 1951) inflate to.

    It can be read forwards at the cost of inflating what lies between; backwards by a little, and
    further from its beginning again. Reading raises `zlib.error` where the data are damaged and
    `EOFError` where they are cut off.

    Args:
        packed: is its opener's to close, who leaves its place alone while this is read.
        start: where the data begin in `packed`.
        size: bytes that they have there; None for all up to its end.
    """

    def __init__(self, packed: BinaryIO, start: int, size: int | None = None) -> None:
        super().__init__()
        self._packed = packed
        self._start = start
        self._size = size
        self._rewind()

    def _rewind(self) -> None:
        self._packed.seek(self._start)
        self._left = self._size
        self._inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        self._position = self._made = 0
        self._last = b""

    def _go_back(self, target: int) -> None:
        if target < self._made - len(self._last):
            self._rewind()
        self._position = min(target, self._made)

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as one step inflates; 0 at the end."""
        with memoryview(buffer) as view:  # type: ignore[arg-type]
            found = self._again(view.nbytes) or self._further(view.nbytes)
            view.cast("B")[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _again(self, wanted: int) -> bytes:
        """Of what was made before, what stands at the place."""
        back = self._made - self._position
        return self._last[len(self._last) - back :][:wanted] if back else b""

    def _further(self, wanted: int) -> bytes:
        """What one step inflates; nothing at the end."""
        found = b""
        while wanted and not found and not self._inflating.eof:
            data = self._inflating.unconsumed_tail or self._more()
            # At the end of the data there may still be something in the inflater itself.
            found = self._inflating.decompress(data, wanted)
            if not data and not found and not self._inflating.eof:
                raise EOFError("the deflated data are cut off")
        self._made += len(found)
        self._last = (self._last + found)[-_KEPT:]
        return found

    def _more(self) -> bytes:
        data = self._packed.read(_READ if self._left is None else min(_READ, self._left))
        if self._left is not None:
            self._left -= len(data)
        return data
