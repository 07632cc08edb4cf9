"""The content codings of an answer undone, each to its end (RFC 9110, section 8.4).

A coding that breaks off within a body whose framing is right is an error here and never a short
body: what the server, or a proxy before it, failed to finish is not what was asked for.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

import httpx

from dicomsql.transport.base import Request

__all__ = ["codings_for", "decoded"]

_ACCEPTED = "gzip, deflate"
_IDENTITY = "identity"
# Media types of text.
_TEXT = re.compile(r"json|xml|text/", re.IGNORECASE)

_PLAIN = frozenset({"", _IDENTITY})
_GZIP = frozenset({"gzip", "x-gzip"})
_DEFLATE = "deflate"
# What one step makes of packed bytes at most, so that a few of them do not become a whole memory.
_PIECE = 1 << 20


def codings_for(request: Request, usual: str) -> str:
    """The content codings to ask for: only what is text gets smaller by them.

    Instances and pictures come as they are, so that their length tells whether they are whole.

    Args:
        usual: what the HTTP client asks for by itself; `identity` is left at that.
    """
    accept = next((value for name, value in request.headers if name.lower() == "accept"), "")
    is_text = not accept or _TEXT.search(accept)
    return _ACCEPTED if is_text and usual != _IDENTITY else _IDENTITY


def decoded(answer: httpx.Response) -> Iterator[bytes]:
    """An answer's body in pieces, without its content codings.

    Raises:
        httpx.DecodingError: a coding is damaged, is cut off, has something behind its end, or is
            not known.
        httpx.HTTPError: as `httpx.Response.iter_raw`.
    """
    if answer.is_stream_consumed:
        # Made from memory, and decoded when it was made.
        yield from answer.iter_bytes()
        return
    pieces: Iterator[bytes] = answer.iter_raw()
    codings = answer.headers.get("content-encoding", "").lower().split(",")
    # The last was applied last.
    for coding in reversed([name.strip() for name in codings]):
        if coding in _GZIP:
            pieces = _unzipped(pieces)
        elif coding == _DEFLATE:
            pieces = _inflated(pieces)
        elif coding not in _PLAIN:
            raise httpx.DecodingError("the answer has a content coding that was not asked for")
    yield from pieces


def _unzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The members of gzip data, one after the other (RFC 1952, section 2.2)."""
    inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)
    is_begun = False
    for piece in pieces:
        left = piece
        while left:
            if inflating.eof:
                inflating = zlib.decompressobj(zlib.MAX_WBITS | 16)
            is_begun = True
            yield from _steps(inflating, left)
            left = inflating.unused_data
    _check_ended(inflating, is_begun)


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Deflated data with zlib's header, as they should be, or without, as some send them."""
    inflating = None
    begin = b""
    for piece in pieces:
        data = begin + piece
        if inflating is None:
            if len(data) < 2:
                begin = data
                continue
            begin = b""
            inflating = zlib.decompressobj(zlib.MAX_WBITS if _has_header(data) else -zlib.MAX_WBITS)
        yield from _steps(inflating, data)
        if inflating.unused_data:
            raise httpx.DecodingError("the answer goes on behind its deflated data")
    if begin:
        raise httpx.DecodingError("the deflated answer is cut off")
    if inflating is not None:
        _check_ended(inflating, is_begun=True)


def _has_header(data: bytes) -> bool:
    """Whether data begin as RFC 1950, section 2.2, says."""
    return data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


def _steps(inflating: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What data inflate to, in pieces of a bounded size."""
    while True:
        try:
            found = inflating.decompress(data, _PIECE)
        except zlib.error as error:
            raise httpx.DecodingError("the compressed answer is damaged") from error
        data = inflating.unconsumed_tail
        if found:
            yield found
        # A full piece may leave something in the inflater itself.
        if inflating.eof or (not data and len(found) < _PIECE):
            return


def _check_ended(inflating: zlib._Decompress, is_begun: bool) -> None:
    if is_begun and not inflating.eof:
        raise httpx.DecodingError("the compressed answer is cut off")
