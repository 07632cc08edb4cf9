"""The instances of a store request, and its body: streamed, with a length, digested on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dicomsql.dicom.multipart import multipart_content_type, new_boundary
from dicomsql.errors import Error

INSTANCE = "application/dicom"
CHANGED = "the file changed while it was sent"

# Pieces smaller than this go out together: each that goes alone is a call of the system.
_SMALL = 1 << 16


class PartError(Exception):
    """An instance cannot be read as it has to be sent; the text says why, without a value of it.

    Whoever gives the bytes of a `Part` may raise it: that instance fails then, the others go on.
    """


@dataclass(frozen=True, slots=True)
class Part:
    """An instance to be stored.

    Attributes:
        study, series, instance: its UIDs.
        open: gives the bytes in pieces, anew at each call: a request may have to be sent again.
            Raises `PartError` (or OSError) where they cannot be given; any other error of ours ends
            the whole copy.
        size: bytes in all; None where it is not known, and the request goes in chunks.
        path: of its file, for people; None between servers.
    """

    study: str
    series: str
    instance: str
    open: Callable[[], Iterable[bytes]]
    size: int | None = None
    path: str | None = None


class PartFailedError(Exception):
    """A request was broken off since one of its parts cannot be sent.

    Attributes:
        index: of the part.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


class SourceFailedError(Exception):
    """A request was broken off since where its instances come from has failed as a whole.

    Attributes:
        error: what it raised.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(str(error))
        self.error = error


class Upload:
    """The body of one store request; called for each attempt, by one thread at a time.

    A part whose bytes turn out not to be what they were is never sent to its end: its last piece is
    held back until all of it was read and found good.

    Parameters:
        multipart: whether the parts go as multipart/related; else there is just one, on its own.
        sent: is told the number of bytes that went out.

    Attributes:
        digests: SHA-256 of each part, hex, once it has been sent; empty before.
        sizes: bytes of each part, once it has been sent.
    """

    def __init__(
        self, parts: Sequence[Part], *, multipart: bool, sent: Callable[[int], None] | None = None
    ) -> None:
        assert multipart or len(parts) == 1
        self._parts = parts
        self._sent = sent
        boundary = new_boundary()
        self.content_type = multipart_content_type(boundary) if multipart else INSTANCE
        self._head = f"--{boundary}\r\nContent-Type: {INSTANCE}\r\n\r\n".encode() * multipart
        self._foot = b"\r\n" * multipart
        self._end = f"--{boundary}--\r\n".encode() * multipart
        self.digests = [""] * len(parts)
        self.sizes = [part.size for part in parts]

    @property
    def length(self) -> int | None:
        """Bytes of the whole body; None where a part's size is not known."""
        around = len(self._head) + len(self._foot)
        total = len(self._end)
        for part in self._parts:
            if part.size is None:
                return None
            total += around + part.size
        return total

    def __call__(self) -> Iterator[bytes]:
        """The body in pieces.

        Raises:
            PartFailedError: one of the parts cannot be read, or is not what it was.
            SourceFailedError: none can be read any more.
        """
        waiting: list[bytes] = []
        size = 0
        for piece in self._pieces():
            if size and size + len(piece) > _SMALL:
                yield from self._out(b"".join(waiting))
                waiting.clear()
                size = 0
            if len(piece) >= _SMALL:
                yield from self._out(piece)
            else:
                waiting.append(piece)
                size += len(piece)
        if size:
            yield from self._out(b"".join(waiting))

    def _out(self, piece: bytes) -> Iterator[bytes]:
        yield piece
        if self._sent is not None:
            self._sent(len(piece))

    def _pieces(self) -> Iterator[bytes]:
        for index, part in enumerate(self._parts):
            if self._head:
                yield self._head
            yield from self._part(index, part)
            if self._foot:
                yield self._foot
        if self._end:
            yield self._end

    def _part(self, index: int, part: Part) -> Iterator[bytes]:
        digest, size, last = hashlib.sha256(), 0, b""
        try:
            for piece in part.open():
                if last:
                    yield last
                last = piece
                size += len(piece)
                if part.size is not None and size > part.size:
                    raise PartFailedError(index, CHANGED)
                digest.update(piece)
        except PartError as error:
            raise PartFailedError(index, str(error)) from error
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror or 'its device failed'}"
            raise PartFailedError(index, reason) from error
        except Error as error:
            # Not to be taken for what the target says.
            raise SourceFailedError(error) from error
        found = digest.hexdigest()
        if part.size is not None and size != part.size:
            raise PartFailedError(index, CHANGED)
        if self.digests[index] not in {"", found}:
            # An attempt before this one sent other bytes.
            raise PartFailedError(index, CHANGED)
        self.digests[index], self.sizes[index] = found, size
        if last:
            yield last


def digest_of(part: Part) -> str:
    """SHA-256 of a part's bytes, hex.

    Raises:
        PartFailedError: it cannot be read, or is not what it was.
        Error: whatever else its source raises.
    """
    upload = Upload([part], multipart=False)
    try:
        for _ in upload():
            pass
    except SourceFailedError as error:
        raise error.error from error
    return upload.digests[0]
