"""Content codings: all that a server may send comes out, and what is cut off is an error."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from dicomsql.errors import EndpointError
from dicomsql.transport.base import Request
from dicomsql.transport.client import Client
from dicomsql.transport.codings import decoded
from dicomsql.transport.retry import RetryPolicy

BODY = random.Random(1).randbytes(50_000) + bytes(3_000_000)
RAW = zlib.compressobj(wbits=-15)
CODINGS: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "of two members": ("x-gzip", gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "deflate without a header": ("Deflate", RAW.compress(BODY) + RAW.flush()),
    "one over the other": ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
    "none": ("identity", BODY),
}


def answer(coding: str, content: bytes, size: int = 1 << 16) -> httpx.Response:
    def pieces() -> Iterator[bytes]:
        yield from (content[at : at + size] for at in range(0, len(content), size))

    return httpx.Response(200, headers={"content-encoding": coding}, content=pieces())


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("size", [1 << 16, 10**9])
def test_all_of_it_comes_out(name: str, size: int) -> None:
    pieces = list(decoded(answer(*CODINGS[name], size)))
    assert b"".join(pieces) == BODY
    if name != "none":
        assert max(map(len, pieces)) <= 1 << 20


@pytest.mark.parametrize("name", [name for name in CODINGS if name != "none"])
@pytest.mark.parametrize("left", [0.5, 0.999, -1, -9])
def test_what_is_cut_off_is_an_error(name: str, left: float) -> None:
    coding, content = CODINGS[name]
    cut = content[: int(len(content) * left)] if left > 0 else content[: int(left)]
    with pytest.raises(httpx.DecodingError):
        list(decoded(answer(coding, cut)))


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", gzip.compress(b"[]") + b"<html>"),
        ("gzip", gzip.compress(b"[]")[:-8] + bytes(8)),
        ("gzip", b"[]"),
        ("deflate", zlib.compress(b"[]") + b"x"),
        ("deflate", b"\x78"),
        ("br", b"[]"),
    ],
    ids=["page behind", "checksum", "no gzip", "byte behind", "one byte", "unknown"],
)
def test_what_is_damaged_or_unknown_is_an_error(coding: str, content: bytes) -> None:
    with pytest.raises(httpx.DecodingError):
        list(decoded(answer(coding, content)))


def test_an_answer_without_a_body_has_no_coding_to_end() -> None:
    assert list(decoded(answer("gzip", b""))) == []


def client(handler: Callable[[httpx.Request], httpx.Response]) -> Client:
    http = httpx.Client(transport=httpx.MockTransport(handler))
    return Client(http, policy=RetryPolicy(attempts=2), wait=lambda _: None)


def test_a_search_that_is_cut_off_is_asked_again_and_then_fails() -> None:
    whole, seen = gzip.compress(b'[{"00080018": {}}]\n'), []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return answer("gzip", whole[: -4 if len(seen) != 2 else len(whole)])

    request = Request("GET", "http://h", "/x", headers=(("Accept", "application/dicom+json"),))
    with client(handler) as transport:
        assert transport.send(request).read().startswith(b"[")
        assert seen == ["gzip, deflate"] * 2
        seen[:] = ["", ""]
        with pytest.raises(EndpointError, match="could not be decoded, after 2 attempts"):
            transport.send(request)


def test_instances_and_pictures_are_asked_for_as_they_are() -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return httpx.Response(200)

    with client(handler) as transport:
        for media in ('multipart/related; type="application/dicom"', "image/png"):
            transport.send(Request("GET", "http://h", "/x", headers=(("Accept", media),)))
    assert seen == ["identity", "identity"]
