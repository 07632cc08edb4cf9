"""multipart/related, read in every chunking and written back."""

import email
import email.policy
import random
from collections.abc import Iterator

import pytest

from dicomsql.dicom.multipart import (
    MAX_HEADER_BYTES,
    MultipartReader,
    OutgoingPart,
    multipart_content_type,
    multipart_writer,
    new_boundary,
)
from dicomsql.errors import IncompleteError, InterfaceError, OperationalError

TYPE = 'multipart/related; type="application/dicom"; boundary=b'
BODY = (
    b"preamble\r\n--bogus\r\n--b \t\r\nContent-Type: application/dicom;\r\n transfer-syntax=1.2\r\n"
    b"X: 1\r\n\r\none\r\n--bx\r\n-\r\n--b\r\n\r\n\r\n--b\r\n"
    b"A:\r\n\r\n\r\n\n--b\r\n--b--\r\nepilogue"
)
PARTS = [
    ({"content-type": "application/dicom; transfer-syntax=1.2", "x": "1"}, b"one\r\n--bx\r\n-"),
    ({}, b""),
    ({"a": ""}, b"\r\n\n--b"),
]


def read(body: bytes, size: int = 10**6, content_type: str = TYPE) -> list[tuple[dict, bytes]]:
    chunks = (body[i : i + size] for i in range(0, len(body), size))
    return [(dict(part.headers), part.read()) for part in MultipartReader(content_type, chunks)]


@pytest.mark.parametrize("size", [*range(1, 40), 1000])
def test_any_chunking(size: int) -> None:
    assert read(BODY, size) == PARTS


def test_random_parts_in_random_chunks() -> None:
    chosen = random.Random(3)
    for _ in range(200):
        bodies = [
            bytes(chosen.choices(b"\r\n-bx", k=chosen.randrange(60)))
            for _ in range(chosen.randrange(5))
        ]
        # A body that holds a boundary line of its own cannot be told from two.
        bodies = [body.replace(b"--b", b"xx") for body in bodies]
        whole = b"".join(multipart_writer(map(OutgoingPart, bodies), "b"))
        sizes = [chosen.randrange(1, 9) for _ in range(len(whole))]
        chunks, at = [], 0
        for size in sizes:
            chunks += [whole[at : at + size], b""]
            at += size
        assert [part.read() for part in MultipartReader(TYPE, chunks)] == bodies


@pytest.mark.parametrize("cut", range(len(BODY) - len(b"--\r\nepilogue") + 2))
def test_every_truncation_is_an_error(cut: int) -> None:
    with pytest.raises(IncompleteError, match="last boundary"):
        read(BODY[:cut], 7)


def test_line_feeds_alone() -> None:
    body = b"--b\nContent-Type: a/b\n\none\r\n--b\n\ntwo\n--b--"
    assert read(body, 3) == [({"content-type": "a/b"}, b"one\r"), ({}, b"two")]


def test_a_large_part_is_not_held() -> None:
    block = b"\r\n--" * 16_384
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        yield b"--b\r\n\r\n"
        for _ in range(200):
            given += len(block)
            yield block
        yield b"\r\n--b--"

    total = 0
    for part in MultipartReader(TYPE, chunks()):
        for piece in part.iter_bytes():
            total += len(piece)
            assert given - total < 2 * len(block)
    assert total == 200 * len(block)


def test_a_part_that_is_not_read_is_passed_over_and_cannot_be_read_later() -> None:
    parts = list(MultipartReader(TYPE, [BODY]))
    assert [part.content_type for part in parts] == [PARTS[0][0]["content-type"], "", ""]
    with pytest.raises(InterfaceError, match="before the next"):
        parts[0].read()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('Multipart/Related; Boundary="a b"; type="x"', "a b"),
        ('multipart/related; type="application/dicom; boundary=no"; boundary="a\\"b"', 'a"b'),
        ("multipart/related;boundary=x=y;type=application/dicom", "x=y"),
    ],
)
def test_boundaries(content_type: str, boundary: str) -> None:
    body = f"--{boundary}\r\n\r\n1\r\n--{boundary}--".encode()
    assert read(body, 2, content_type) == [({}, b"1")]


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        ("application/json", "application/json"),
        ("", "no media type"),
        ("multipart/related", "no boundary"),
        ('multipart/related; boundary=""', "no boundary"),
    ],
)
def test_what_is_not_multipart(content_type: str, says: str) -> None:
    with pytest.raises(OperationalError, match=says):
        MultipartReader(content_type, [])


def test_no_parts() -> None:
    assert read(b"--b--") == []
    assert read(b"".join(multipart_writer([], "b"))) == []


@pytest.mark.parametrize(
    ("headers", "says"),
    [(b"no header\r\n\r\n", "no headers"), (b"A" * (MAX_HEADER_BYTES + 1), "longer than")],
)
def test_broken_headers(headers: bytes, says: str) -> None:
    with pytest.raises(OperationalError, match=says):
        read(b"--b\r\n" + headers + b"x" * 100, 1000)


def test_a_boundary_line_has_an_end() -> None:
    with pytest.raises(IncompleteError):
        read(b"--b" + b" " * 1000)


def test_what_is_written_others_read() -> None:
    boundary = new_boundary()
    parts = [
        OutgoingPart(b"\x00\xff", headers=(("X-Y", "z"),)),
        OutgoingPart(iter([b"1", b"2"]), "a/b"),
    ]
    body = b"".join(multipart_writer(parts, boundary))
    head = f"Content-Type: {multipart_content_type(boundary)}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    found = [(p.get_content_type(), p.get_payload(decode=True)) for p in message.iter_parts()]
    assert found == [("application/dicom", b"\x00\xff"), ("a/b", b"12")]
    assert message.get_param("type") == "application/dicom"


def test_what_cannot_be_written() -> None:
    with pytest.raises(InterfaceError, match="boundary"):
        multipart_content_type("a b")
    with pytest.raises(InterfaceError, match="boundary"):
        next(multipart_writer([], ""))
    with pytest.raises(InterfaceError, match="X-Y"):
        next(multipart_writer([OutgoingPart(b"", headers=(("X-Y", "a\r\nB: c"),))], "b"))
    with pytest.raises(InterfaceError, match="cannot be sent"):
        next(multipart_writer([OutgoingPart(b"", headers=(("X: Y\r\n", "a"),))], "b"))
