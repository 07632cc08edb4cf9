"""multipart/related (RFC 2387, PS3.18 8.6.1), read from a stream part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dicomsql.emulator.status import invalid

_HEADER_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A part; its body has to be read before the next part is asked for.

    Attributes:
        headers: by lower-case name.
        body: its pieces, once.
    """

    headers: Mapping[str, str]
    body: Iterator[bytes]


def media_type(value: str) -> tuple[str, dict[str, str]]:
    """A Content-Type or one member of Accept: lower-case type, parameters by lower-case name."""
    pieces = _split(value, ";")
    parameters = {}
    for piece in pieces[1:]:
        name, _, text = piece.partition("=")
        text = text.strip()
        if len(text) >= 2 and text[0] == text[-1] == '"':
            text = text[1:-1].replace('\\"', '"')
        parameters[name.strip().lower()] = text
    return pieces[0].strip().lower(), parameters


def accepted(value: str) -> list[tuple[str, dict[str, str]]]:
    """The media types of an Accept header, the best first; without one, `*/*`.

    Nothing where all of them have the weight 0.
    """
    members = [media_type(member) for member in _split(value, ",") if member.strip()]
    weights = [_weight(parameters.pop("q", "1")) for _, parameters in members]
    order = sorted(range(len(members)), key=lambda i: -weights[i])
    return [members[i] for i in order if weights[i] > 0] if members else [("*/*", {})]


def parts(chunks: Iterator[bytes], boundary: str) -> Iterator[Part]:
    """The parts of a body, holding no more than a piece of one in memory.

    Raises:
        StatusError: 400 where the body does not follow its boundary, or ends early.
    """
    reader = _Reader(chunks, b"\r\n--" + boundary.encode("latin_1"))
    for _ in reader.until_boundary():
        pass  # the preamble
    while not reader.at_end():
        headers = reader.headers()
        body = _without_blank_line(reader.until_boundary())
        yield Part(headers, body)
        for _ in body:
            pass  # what the caller left unread


class _Reader:
    def __init__(self, chunks: Iterator[bytes], delimiter: bytes) -> None:
        self._chunks = chunks
        self._delimiter = delimiter
        # the first delimiter need not follow a line; with this it always does
        self._buffer = bytearray(b"\r\n")

    def until_boundary(self) -> Iterator[bytes]:
        keep = len(self._delimiter) - 1
        while True:
            found = self._buffer.find(self._delimiter)
            if found >= 0:
                piece = bytes(self._buffer[:found])
                del self._buffer[: found + len(self._delimiter)]
                if piece:
                    yield piece
                return
            if len(self._buffer) > keep:
                piece = bytes(self._buffer[: len(self._buffer) - keep])
                del self._buffer[: len(piece)]
                yield piece
            self._more()

    def at_end(self) -> bool:
        """Whether the delimiter that was just read is the closing one."""
        while len(self._buffer) < 2:
            self._more()
        return self._buffer[:2] == b"--"

    def headers(self) -> dict[str, str]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEADER_LIMIT:
                raise invalid("The multipart body is malformed: a part's headers do not end.")
            self._more()
        lines = bytes(self._buffer[:end]).decode("latin_1").split("\r\n")[1:]
        # the blank line's end stays: in an empty part it already belongs to the next delimiter
        del self._buffer[: end + 2]
        found = {}
        for line in lines:
            name, _, value = line.partition(":")
            found[name.strip().lower()] = value.strip()
        return found

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise invalid("The multipart body ends before its closing boundary.")
        self._buffer += chunk


def _without_blank_line(pieces: Iterator[bytes]) -> Iterator[bytes]:
    missing = 2
    for piece in pieces:
        if len(piece) > missing:
            yield piece[missing:]
        missing = max(0, missing - len(piece))


def _split(value: str, separator: str) -> list[str]:
    pieces, quoted, start = [], False, 0
    for i, character in enumerate(value):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            pieces.append(value[start:i])
            start = i + 1
    return [*pieces, value[start:]]


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
