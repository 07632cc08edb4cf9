"""Instances as they arrive: the parts of an answer, each with the identity that it has itself.

What an answer says around an instance is not believed: its UIDs are read from its own first bytes
before anything is done with it, and its elements have to end where the answer says that it ends.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dicomsql.dicom.multipart import MultipartReader
from dicomsql.errors import EndpointError, IncompleteError, OperationalError

if TYPE_CHECKING:
    from dicomsql.dicom.skim import Chosen
    from dicomsql.transport.base import Response

__all__ = ["Arrival", "BrokenFileError", "UnreadableError", "arrive", "files_of", "whole"]

# The bytes in which an instance's UIDs have to stand, and those that are tried first.
_MOST_HEAD = 8 << 20
_FIRST_HEAD = 4096

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
# Media types under which an instance may come that has its answer for itself.
_SINGLE = frozenset({"application/dicom", "application/octet-stream", "binary/octet-stream", ""})


class UnreadableError(Exception):
    """What came is no instance; the text says why, without a value of it."""


class BrokenFileError(UnreadableError):
    """What came is a part of an instance, or more than one; known only behind its last byte."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance that begins to arrive.

    Attributes:
        study, series, instance, transfer_syntax: its UIDs, by its own header.
        pieces: all its bytes, to be read once. Raises IncompleteError or EndpointError where they
            end too early, and BrokenFileError behind the last where they are no whole file.
    """

    study: str
    series: str
    instance: str
    transfer_syntax: str
    pieces: Iterator[bytes]


def arrive(pieces: Iterable[bytes]) -> Arrival:
    """Read an instance's first bytes, as many as tell which it is.

    Raises:
        UnreadableError: it is no DICOM file, or does not say which instance it is.
        IncompleteError, EndpointError: the bytes end too early.
        BrokenFileError: so they do, as the file itself says.
    """
    coming = iter(pieces)
    held: list[bytes] = []
    size, enough, ended = 0, _FIRST_HEAD, False
    while True:
        while size < enough and not ended:
            piece = next(coming, None)
            if piece is None:
                ended = True
            else:
                held.append(piece)
                size += len(piece)
        head = held[0] if len(held) == 1 else b"".join(held)
        found = _identity(head)
        if found is not None:
            return Arrival(*found, _joined(head, coming))
        if ended or size >= _MOST_HEAD:
            raise UnreadableError("it does not say which instance it is, or has no end")
        held, enough = [head], min(2 * size, _MOST_HEAD)


def files_of(response: Response) -> Iterator[Iterator[bytes]]:
    """The files in an answer, as pieces; each must be read before the next is asked for.

    Raises:
        IncompleteError: the answer is of another kind, is cut off, or is no multipart answer
            although it says so.
        EndpointError: the connection broke.
    """
    media = response.header("content-type")
    kind = media.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        chunks = response.iter_bytes()
        try:
            for part in MultipartReader(media, chunks):
                yield whole(part.iter_bytes())
        except OperationalError as error:
            if type(error) is OperationalError:
                raise IncompleteError(str(error)) from None
            raise
        # A connection whose answer was read to its end can be used again.
        with suppress(EndpointError):
            for _ in chunks:
                pass
    elif kind in _SINGLE:
        yield whole(response.iter_bytes())
    else:
        raise IncompleteError(f"The server answered with {kind} instead of instances.")


def whole(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A file's bytes as they come, and an error behind the last if they are no whole file.

    An answer may be framed well and hold a file that is cut off, or one that something else stands
    behind: only the file's own elements tell where it ends.

    Raises:
        BrokenFileError: an element of the file ends behind the file's end, or is none. What is no
            DICOM file at all is given as it is.
    """
    from dicomsql.dicom.passing import Passing

    with Passing() as passing:
        for piece in pieces:
            passing.feed(piece)
            yield piece
        broken = passing.end()
    if broken:
        raise BrokenFileError(f"it is not whole: {broken}")


@cache
def _wanted() -> Chosen:
    from dicomsql.dicom.skim import choose

    return choose((_STUDY, _SERIES, _INSTANCE))


def _identity(head: bytes) -> tuple[str, str, str, str] | None:
    """Study, series, instance and transfer syntax; None where more bytes are needed.

    Raises:
        UnreadableError: it is no DICOM file.
    """
    from dicomsql.dicom.part10 import InvalidDicom, text
    from dicomsql.dicom.skim import skim

    if len(head) >= 132 and head[128:132] != b"DICM":
        raise UnreadableError("it is no DICOM file")
    try:
        found = skim(io.BytesIO(head), len(head), _wanted())
    except InvalidDicom:
        return None
    uids = [text(found.dataset, tag) for tag in (_STUDY, _SERIES, _INSTANCE)]
    return (uids[0], uids[1], uids[2], found.transfer_syntax) if all(uids) else None


def _joined(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest
