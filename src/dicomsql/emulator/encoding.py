"""Bodies of requests that are compressed (RFC 9110 8.4), decoded piece by piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping

from dicomsql.emulator.status import StatusError, invalid

__all__ = ["LARGEST", "decoded"]

LARGEST = 1024 * 1024 * 1024  # bytes that a compressed body may come to
_PIECE = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def decoded(
    chunks: Callable[[], Iterator[bytes]], headers: Mapping[str, str], largest: int = LARGEST
) -> Iterator[bytes]:
    """A body as it was before it was compressed.

    Args:
        chunks: gives it as it was sent, once.
        headers: of the request, by lower-case name.
        largest: bytes that it may come to, if it is compressed.

    Raises:
        StatusError: when it is read: 415 for another encoding than gzip, 400 for what is no gzip
            or comes to more.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from chunks()
    elif encoding in {"gzip", "x-gzip"}:
        yield from _inflated(chunks(), largest)
    else:
        raise StatusError(
            "INVALID_ARGUMENT", "Unsupported Content-Encoding: send gzip, or none.", http=415
        )


def _inflated(chunks: Iterator[bytes], largest: int) -> Iterator[bytes]:
    size, reader = 0, zlib.decompressobj(_GZIP)
    for chunk in chunks:
        rest = chunk
        while rest:
            if reader.eof:
                reader = zlib.decompressobj(_GZIP)  # one more member follows
            try:
                piece = reader.decompress(rest, _PIECE)
            except zlib.error:
                raise invalid("The body is no gzip, as its Content-Encoding says.") from None
            rest = reader.unused_data if reader.eof else reader.unconsumed_tail
            size += len(piece)
            if size > largest:
                raise invalid(f"The compressed body comes to more than {largest} bytes.")
            if piece:
                yield piece
    if not reader.eof:
        raise invalid("The gzip of the body ends early.")
