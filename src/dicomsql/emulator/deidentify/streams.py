"""Compressed frames written anew with nothing in them but the image: no comments, no tails.

JPEG and JPEG-LS (ITU-T T.81, T.87), JPEG 2000 (T.800) and RLE (PS3.5 Annex G) are taken apart into
what a decoder needs. Nothing is decoded. What is not understood to its last byte is refused, since
anything may stand in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["UnknownForm", "cleaned", "precision"]


class UnknownForm(Exception):
    """The frame is in a format, or has a part in it, that is not known here."""


def cleaned(frame: bytes, syntax: str, pixels: int) -> bytes:
    """A frame of which nothing is left that a decoder does not need.

    Args:
        syntax: the UID of its transfer syntax.
        pixels: how many a frame has, rows times columns.

    Raises:
        UnknownForm: parts of it cannot be told to be the image's.
    """
    try:
        if syntax == _RLE:
            return _rle(frame, pixels)
        if syntax in _JPEG and frame[:2] == b"\xff\xd8":
            return b"".join(_jpeg(frame))
        if syntax in _JPEG_2000 and frame[:4] == b"\xff\x4f\xff\x51":
            return _jpeg_2000(frame)
    except (IndexError, struct.error):
        raise UnknownForm from None
    raise UnknownForm


def precision(frame: bytes, syntax: str) -> int | None:
    """How many bits of each sample a frame has; None where it has all that are allocated.

    Args:
        frame: as `cleaned` gives it.
    """
    if syntax == _RLE:
        return None
    if syntax in _JPEG_2000:
        return max((frame[42 + 3 * n] & 0x7F) + 1 for n in range(_u16(frame, 40)))
    at = 2
    while frame[at + 1] not in _FRAMES:
        at += 2 + _u16(frame, at + 2)
    return frame[at + 4]


_RLE = "1.2.840.10008.1.2.5"
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81))
_JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203))


def _u16(content: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from(">H", content, at)[0])


# The markers of T.81 table B.1 that this knows: frames, tables, scans.
_DHT, _DAC, _EOI, _SOS, _DQT, _DNL, _DRI, _COM = 0xC4, 0xCC, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE
_LSE = 0xF8
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {_DHT, 0xC8, _DAC})
_APPLICATION = range(0xE0, 0xF0)


def _jpeg(frame: bytes) -> Iterator[bytes]:
    """Its segments, one after the other; those of applications and comments are left out."""
    yield frame[:2]
    at = 2
    while True:
        if frame[at] != 0xFF:
            raise UnknownForm
        marker = frame[at + 1]
        if marker == 0xFF:  # fills
            at += 1
            continue
        if marker == _EOI:
            yield b"\xff\xd9"
            return
        end = at + 2 + _u16(frame, at + 2)
        body = frame[at + 4 : end]
        if end > len(frame):
            raise UnknownForm
        if marker in _APPLICATION:
            yield _application(marker, body)
        elif marker != _COM:
            if not _is_whole(marker, body):
                raise UnknownForm
            yield frame[at:end]
        at = end
        if marker == _SOS:
            end = _end_of_scan(frame, at)
            yield frame[at:end]
            at = end


def _end_of_scan(frame: bytes, at: int) -> int:
    """Where the next marker is that is not part of the entropy-coded data, in which T.81 stuffs
    bytes of zero, and T.87 bits.
    """
    while True:
        at = frame.find(b"\xff", at)
        if at < 0:
            raise UnknownForm
        following = frame[at + 1]
        if following == 0xFF:
            at += 1
        elif following < 0x80 or 0xD0 <= following <= 0xD7:
            at += 2
        else:
            return at


def _application(marker: int, body: bytes) -> bytes:
    """What decoders ask for of a segment of an application: how colours were transformed."""
    if marker == 0xE0 and body.startswith(b"JFIF\0"):
        return b"\xff\xe0\x00\x10JFIF\0\1\2\0\0\1\0\1\0\0"
    if marker == 0xEE and body.startswith(b"Adobe"):
        return b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0" + body[11:12].ljust(1, b"\0")
    if marker == 0xE8 and body.startswith(b"mrfx"):
        return b"\xff\xe8\x00\x07mrfx" + body[4:5].ljust(1, b"\0")
    return b""


def _is_whole(marker: int, body: bytes) -> bool:
    """Whether a segment is as long as what it has to have, with nothing behind."""
    if marker in _FRAMES:
        return len(body) == 6 + 3 * body[5]
    if marker == _SOS:
        return len(body) == 4 + 2 * body[0]
    if marker in {_DRI, _DNL}:
        return len(body) == 2 or (marker == _DRI and len(body) in {3, 4})
    if marker == _DAC:
        return len(body) % 2 == 0 and len(body) <= 16
    if marker == _LSE:
        return body[0] == 1 and len(body) == 11
    at = 0
    while marker in {_DHT, _DQT} and at < len(body):
        if marker == _DHT:
            at += 17 + sum(body[at + 1 : at + 17])
        else:
            at += 129 if body[at] >> 4 else 65
    return marker in {_DHT, _DQT} and at == len(body)


# T.800 table A.2 and T.814 (CAP, CPF): what may stand in a header.
_SIZ, _SOT, _SOD, _EOC, _COMMENT = 0x51, 0x90, 0x93, 0xD9, 0x64
_HEADER = frozenset(
    {0x50, _SIZ, 0x52, 0x53, 0x55, 0x57, 0x58, 0x59, *range(0x5C, 0x62), 0x63, _COMMENT}
)


def _jpeg_2000(frame: bytes) -> bytes:
    """The code stream. Comments are made zeros in their places, since other parts say how long
    those are that they stand in.
    """
    out = bytearray(frame)
    if _u16(frame, 4) != 38 + 3 * _u16(frame, 40):
        raise UnknownForm
    at = _blank_comments(out, 2, _SOT)
    while True:
        if _u16(frame, at + 2) != 10:
            raise UnknownForm
        length = int(struct.unpack_from(">I", frame, at + 6)[0])
        data = _blank_comments(out, at + 12, _SOD) + 2
        # a tile-part without a length is the last; no bytes of one are above 0xFF8F
        end = at + length if length else _end_of_codestream(frame, data)
        if not data <= end <= len(frame):
            raise UnknownForm
        at = end
        if at == len(frame):
            return bytes(out) + b"\xff\xd9"
        if frame[at : at + 2] == b"\xff\xd9":
            return bytes(out[: at + 2])
        if frame[at : at + 2] != bytes((0xFF, _SOT)):
            raise UnknownForm


def _end_of_codestream(frame: bytes, at: int) -> int:
    found = frame.find(bytes((0xFF, _EOC)), at)
    return len(frame) if found < 0 else found


def _blank_comments(out: bytearray, at: int, last: int) -> int:
    """Go through a header; gives where the marker is that ends it."""
    while True:
        if out[at] != 0xFF:
            raise UnknownForm
        marker = out[at + 1]
        if marker == last:
            return at
        length = _u16(out, at + 2)
        end = at + 2 + length
        if marker not in _HEADER or length < 2 or end > len(out):
            raise UnknownForm
        if marker == _COMMENT:  # Rcom 0: the bytes are no text
            out[at + 4 : end] = bytes(end - at - 4)
        at = end


def _rle(frame: bytes, pixels: int) -> bytes:
    """Its segments, each up to the byte with which it has a byte for every pixel."""
    count, *offsets = struct.unpack_from("<16L", frame)
    if not 1 <= count <= 15:
        raise UnknownForm
    ends = [*offsets[1:count], len(frame)]
    segments = [_packed(frame[a:b], pixels) for a, b in zip(offsets[:count], ends, strict=True)]
    places, at = [], 64
    for segment in segments:
        places.append(at)
        at += len(segment)
    header = struct.pack("<16L", count, *places, *(0 for _ in range(15 - count)))
    return header + b"".join(segments)


def _packed(segment: bytes, pixels: int) -> bytes:
    """The runs of a segment that make so many bytes, and one zero if they are odd."""
    at = made = 0
    while made < pixels:
        head = segment[at]
        if head < 128:
            at += 2 + head
            made += 1 + head
        elif head > 128:
            at += 2
            made += 257 - head
        else:
            at += 1
    if at > len(segment) or made > pixels:
        raise UnknownForm
    return segment[:at] + b"\0" * (at % 2)
