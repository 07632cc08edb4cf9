"""multipart/related bodies, read and written in pieces (PS3.18 section 8.6; RFC 2046, RFC 2387).

DICOMweb sends and takes instances this way: megabytes to gigabytes, of which only one piece at a
time is held.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dicomsql.errors import IncompleteError, InterfaceError, OperationalError

__all__ = [
    "IncomingPart",
    "MultipartReader",
    "OutgoingPart",
    "multipart_content_type",
    "multipart_writer",
    "new_boundary",
]

# More than any server sends before a part; without a limit, a broken one could fill the memory.
MAX_HEADER_BYTES = 64 * 1024
MAX_PADDING_BYTES = 256

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]*))')
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 2046 section 5.1.1, without the space, which some servers lose.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")


class IncomingPart:
    """One part: its headers, and its body to be read once.

    A part must be read before the next one is asked for; what is left of it then is passed over.

    Attributes:
        headers: by lower-case name.
    """

    def __init__(self, headers: Mapping[str, str], body: Iterator[bytes]) -> None:
        self.headers = headers
        self._body = body
        self._passed = False

    @property
    def content_type(self) -> str:
        """The part's media type with its parameters, empty where it does not say."""
        return self.headers.get("content-type", "")

    def iter_bytes(self) -> Iterator[bytes]:
        """The body in pieces, in the sizes in which they come.

        Raises:
            IncompleteError: the whole ends before the part does.
            InterfaceError: the next part has been asked for already.
        """
        if self._passed:
            raise InterfaceError("This part is over; read each before the next is asked for.")
        yield from self._body

    def read(self) -> bytes:
        """What is left of the body.

        Raises: as `iter_bytes`.
        """
        return b"".join(self.iter_bytes())

    def pass_over(self) -> None:
        """Skip what is left of the body; it cannot be read after this."""
        for _ in self._body:
            pass
        self._passed = True


class MultipartReader:
    """The parts of a multipart body, in their order.

    Args:
        content_type: the header of the whole, which names the boundary.
        chunks: the body in pieces of any sizes.

    Raises:
        OperationalError: on construction, where the content type is not multipart or lacks a
            boundary; while reading, where a part's headers are no headers.
        IncompleteError: while reading, where the body ends before its last boundary.
    """

    def __init__(self, content_type: str, chunks: Iterable[bytes]) -> None:
        self._mark = b"--" + _boundary(content_type)
        self._chunks = iter(chunks)
        # What was received and not given is `_buffer` from `_at` on: nothing is moved to take a
        # little away from its beginning.
        self._buffer = b""
        self._at = 0
        self._ended = False
        self._line_end = b"\r\n"

    def __iter__(self) -> Iterator[IncomingPart]:
        if not self._open():
            return
        while True:
            part = IncomingPart(self._headers(), self._body())
            yield part
            part.pass_over()
            if self._ended:
                return

    def _open(self) -> bool:
        """Pass over the preamble and the first boundary; whether a part follows."""
        # The first boundary may stand at the very start, without the line end that is part of the
        # others; and its own line tells how this server ends lines.
        self._buffer = b"\n"
        while True:
            found = self._buffer.find(b"\n" + self._mark, self._at)
            if found < 0:
                self._at = max(self._at, len(self._buffer) - len(self._mark))
                self._more()
                continue
            self._at = found
            follows = self._after_mark(1 + len(self._mark), learn=True)
            if follows is not None:
                return follows
            self._at += 1

    def _body(self) -> Iterator[bytes]:
        """The pieces up to the next boundary, which is taken away as well."""
        delimiter = self._line_end + self._mark
        while True:
            found = self._buffer.find(delimiter, self._at)
            if found < 0:
                # What may be the beginning of a boundary is kept until more is there.
                ready = len(self._buffer) - len(delimiter) + 1
                if ready > self._at:
                    yield self._taken(ready)
                self._more()
                continue
            if found > self._at:
                yield self._taken(found)
            follows = self._after_mark(len(delimiter), learn=False)
            if follows is not None:
                self._ended = not follows
                return
            # A line that only begins as the boundary does is data.
            yield self._taken(self._at + len(delimiter))

    def _taken(self, end: int) -> bytes:
        """What stands before a place of the buffer, which is given away."""
        piece, self._at = self._buffer[self._at : end], end
        return piece

    def _after_mark(self, length: int, *, learn: bool) -> bool | None:
        """What stands after a boundary at the buffer's head: a part, the end, or neither (None).

        The boundary's whole line is taken from the buffer unless it is neither.

        Args:
            length: of the boundary, with the line end before it.
        """
        while len(self._buffer) < self._at + length + 2 and self._try_more():
            pass
        start = self._at + length
        if self._buffer[start : start + 2] == b"--":
            self._at = start + 2
            return False
        while True:
            # More may have moved the head.
            start = self._at + length
            end = self._buffer.find(b"\n", start, start + MAX_PADDING_BYTES)
            line = self._buffer[start : end if end >= 0 else start + MAX_PADDING_BYTES]
            if line.strip(b" \t\r"):
                return None
            if end >= 0:
                break
            if len(line) >= MAX_PADDING_BYTES:
                return None
            self._more()
        if learn and not line.endswith(b"\r"):
            self._line_end = b"\n"
        # The line end stays: where no header follows, it is half of the empty line.
        self._at = end + 1
        return True

    def _headers(self) -> dict[str, str]:
        empty = self._line_end
        while True:
            if self._buffer.startswith(empty, self._at):
                self._at += len(empty)
                return {}
            end = self._buffer.find(empty + empty, self._at)
            if end >= 0:
                break
            if len(self._buffer) - self._at > MAX_HEADER_BYTES:
                raise OperationalError(
                    f"The headers of a part are longer than {MAX_HEADER_BYTES:,} bytes;"
                    " the answer is broken."
                )
            self._more()
        block = self._taken(end)
        self._at = end + 2 * len(empty)
        headers: dict[str, str] = {}
        # A line that begins with a space continues the one before it (RFC 5322 section 2.2.3).
        for line in re.sub(rb"\r?\n[ \t]+", b" ", block).split(empty):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not _HEADER_NAME.fullmatch(name.strip()):
                raise OperationalError("A part's headers are no headers; the answer is broken.")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _more(self) -> None:
        if not self._try_more():
            raise IncompleteError(
                "The answer ends before the last boundary of its parts; the connection may have"
                " been cut."
            )

    def _try_more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._buffer = self._buffer[self._at :] + chunk
                self._at = 0
                return True
        return False


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """A part to be sent.

    Attributes:
        body: whole, or in pieces.
        headers: (name, value) pairs beside the content type.
    """

    body: bytes | Iterable[bytes]
    content_type: str = "application/dicom"
    headers: Sequence[tuple[str, str]] = ()


def multipart_writer(parts: Iterable[OutgoingPart], boundary: str) -> Iterator[bytes]:
    """The body of a multipart/related request, in pieces; a part's body is not held whole.

    `boundary` must not occur in the parts: `new_boundary` makes one that does not.

    Raises:
        InterfaceError: the boundary or a header has characters that it cannot have.
    """
    _check_boundary(boundary)
    for part in parts:
        head = [f"--{boundary}"]
        for name, value in (("Content-Type", part.content_type), *part.headers):
            if not _HEADER_NAME.fullmatch(name) or any(c in value for c in "\r\n\0"):
                raise InterfaceError(f"The header {name!r} of a part cannot be sent as it is.")
            head.append(f"{name}: {value}")
        yield "\r\n".join((*head, "", "")).encode("latin-1")
        if isinstance(part.body, bytes):
            yield part.body
        else:
            yield from part.body
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("latin-1")


def multipart_content_type(boundary: str, media_type: str = "application/dicom") -> str:
    """The content type of a body of such parts.

    Raises:
        InterfaceError: the boundary has characters that it cannot have.
    """
    _check_boundary(boundary)
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def new_boundary() -> str:
    """A boundary of 128 random bits, which no data holds by chance."""
    return secrets.token_hex(16)


def _check_boundary(boundary: str) -> None:
    if not _BOUNDARY.fullmatch(boundary):
        raise InterfaceError(
            "A multipart boundary has 1 to 70 letters, digits or '()+_,-./:=? characters."
        )


def _boundary(content_type: str) -> bytes:
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type.startswith("multipart/"):
        raise OperationalError(
            f"Expected a multipart answer, but it is {media_type or 'of no media type'}."
        )
    for name, quoted, bare in _PARAMETER.findall(content_type):
        if name.lower() == "boundary" and (quoted or bare):
            text: str = re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
            return text.encode("latin-1")
    raise OperationalError(f"The answer's content type {media_type} names no boundary.")
