"""WADO-RS (PS3.18 10.4): instances, metadata, frames, bulk data and rendered images out.

A transfer syntax that is not named is Explicit VR Little Endian, and `*` is what was stored. The
files go out as streams; what has to be transcoded is, one instance at a time.
"""

from __future__ import annotations

import mmap
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from starlette.responses import Response, StreamingResponse

from dicomsql.dicom import part10
from dicomsql.emulator import index, multipart, pixels
from dicomsql.emulator.admin import instance_row, series_row, study_row
from dicomsql.emulator.call import Call
from dicomsql.emulator.status import invalid, not_acceptable, not_found

_PIECE = 256 * 1024
# so many data sets are read from the index at a time
_METADATA_BATCH = 200
_LARGEST_VIEWPORT = 16_384


class _Stored(NamedTuple):
    id: int
    study: str
    series: str
    instance: str
    file: str
    size: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class _Form:
    """What an Accept header came down to: in parts or alone, and the transfer syntax or `*`."""

    in_parts: bool
    transfer_syntax: str


def retrieve(call: Call) -> Response:
    """retrieveStudy, retrieveSeries, retrieveInstance

    Raises:
        StatusError: 404 for what does not exist, 406 where no accepted form can be made.
    """
    found = _stored(call)
    form = _negotiate(call, found)
    if not form.in_parts:
        content = _content(call, found[0], form.transfer_syntax)
        syntax = _syntax_of(found[0], form.transfer_syntax)
        headers = {"content-type": f"application/dicom; transfer-syntax={syntax}"}
        if syntax == found[0].transfer_syntax:
            headers["content-length"] = str(found[0].size)
        return StreamingResponse(_opened(content), headers=headers)
    boundary = uuid.uuid4().hex

    def parts() -> Iterator[bytes]:
        for stored in found:
            syntax = _syntax_of(stored, form.transfer_syntax)
            content = _opened_if_there(call, stored, form.transfer_syntax)
            if content is not None:
                head = f"application/dicom; transfer-syntax={syntax}"
                yield f"--{boundary}\r\nContent-Type: {head}\r\n\r\n".encode()
                yield from content
                yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return StreamingResponse(parts(), headers={"content-type": kind})


def retrieve_metadata(call: Call) -> Response:
    """retrieveMetadata of a study, a series, an instance, as DICOM JSON without bulk data"""
    _accept(call, {"application/dicom+json": "", "application/json": ""})
    found = _stored(call)

    def texts() -> Iterator[bytes]:
        opening = "["
        for start in range(0, len(found), _METADATA_BATCH):
            batch = found[start : start + _METADATA_BATCH]
            with call.folder.read() as db:
                stored = _metadata(db, batch)
            for row in batch:
                if row.id in stored:  # not deleted in the meantime
                    text = index.with_base(stored[row.id], f"{call.web_url}/{_path(row)}")
                    yield (opening + text).encode()
                    opening = ","
        yield b"]" if opening == "," else b"[]"

    return StreamingResponse(texts(), media_type="application/dicom+json; charset=utf-8")


def retrieve_frames(call: Call) -> Response:
    """retrieveFrames: `frames/1,3`, as parts, or one frame alone"""
    numbers = _frame_numbers(call.names["frames"])
    stored = _stored(call)[0]
    path = call.folder.path(stored.file)
    for kind, parameters in multipart.accepted(call.headers.get("accept", "")):
        media = parameters.get("type", "application/octet-stream").lower()
        in_parts = kind in {"multipart/related", "multipart/*", "*/*"}
        alone = kind in {"application/octet-stream", "application/*"} and len(numbers) == 1
        syntax = parameters.get("transfer-syntax", part10.EXPLICIT_LITTLE)
        as_stored = syntax in {"*", stored.transfer_syntax}
        decodable = syntax == part10.EXPLICIT_LITTLE and stored.transfer_syntax in pixels.DECODABLE
        fits = media in {"application/octet-stream", "application/*", "*/*"}
        if fits and (in_parts or alone) and (as_stored or decodable):
            read = pixels.stored_frame if as_stored else pixels.frame
            contents = [_pixels(partial(read, path, n)) for n in numbers]
            if alone:
                return Response(contents[0], media_type="application/octet-stream")
            sent = stored.transfer_syntax if as_stored else syntax
            return _octets(contents, sent)
    raise not_acceptable(
        'Frames are given as multipart/related; type="application/octet-stream" with the transfer'
        f" syntax {part10.EXPLICIT_LITTLE} or *; these cannot be made so from what is stored."
    )


def retrieve_bulkdata(call: Call) -> Response:
    """retrieveBulkdata: the uncompressed bytes of one binary attribute"""
    octets = "application/octet-stream"
    accepted = {octets: octets, "multipart/related": "multipart/related"}
    kind = _accept(call, accepted, ignore_type=True)
    stored = _stored(call)[0]
    path = call.folder.path(stored.file)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        instance = part10.read(view)
        place = instance.bulk.get(call.names["bulkdata"].upper())
        if place is None:
            raise not_found("The instance has no bulk data under this path.")
        content = b""
        if place.length is not None:
            content = bytes(instance.buffer[place.offset : place.offset + place.length])
            if not instance.little:
                content = part10.swapped(content, place.vr)
        encapsulated = place.length is None
        instance.buffer = b""
    if encapsulated:
        content = _pixels(lambda: pixels.all_frames(path))
    if kind == octets:
        return Response(content, media_type=octets)
    return _octets([content], part10.EXPLICIT_LITTLE)


def retrieve_rendered(call: Call) -> Response:
    """retrieveRendered of an instance (its first frame) or of a frame, as JPEG or PNG"""
    formats = {media: media for media in pixels.IMAGE_FORMATS}
    media = _accept(call, formats)
    viewport = _viewport(call.parameter("viewport"))
    numbers = _frame_numbers(call.names.get("frames", "1"))
    if len(numbers) != 1:
        raise invalid("A rendered image shows one frame; give one number.")
    path = call.folder.path(_stored(call)[0].file)
    content = _pixels(lambda: pixels.render(path, numbers[0], media, viewport))
    return Response(content, media_type=media)


def _stored(call: Call) -> list[_Stored]:
    """The instances under the path, in the order in which they were stored."""
    levels = (
        ("instance", "i.id", instance_row),
        ("series", "i.series_id", series_row),
        ("study", "i.study_id", study_row),
    )
    _, column, find = next(level for level in levels if level[0] in call.names)
    with call.folder.read() as db:
        rows = db.execute(  # the column is one of ours
            "SELECT i.id, st.uid, se.uid, i.uid, i.file, i.size, i.transfer_syntax"  # noqa: S608
            " FROM instances i JOIN series se ON se.id = i.series_id"
            f" JOIN studies st ON st.id = i.study_id WHERE {column} = ? ORDER BY i.id",
            (find(db, call),),
        )
        return [_Stored(*row) for row in rows]


def _metadata(db: sqlite3.Connection, batch: list[_Stored]) -> dict[int, str]:
    marks = ",".join("?" * len(batch))
    return dict(
        db.execute(
            f"SELECT instance_id, json FROM metadata WHERE instance_id IN ({marks})",  # noqa: S608
            [row.id for row in batch],
        ).fetchall()
    )


def _path(row: _Stored) -> str:
    return f"studies/{row.study}/series/{row.series}/instances/{row.instance}"


def _accept(call: Call, offers: dict[str, str], *, ignore_type: bool = False) -> str:
    """The first offer that the Accept header takes; the offers' order decides for `*/*`.

    Raises:
        StatusError: 406.
    """
    for kind, parameters in multipart.accepted(call.headers.get("accept", "")):
        for offer, answer in offers.items():
            family = offer.partition("/")[0] + "/*"
            if kind in {offer, family, "*/*"} and (ignore_type or "type" not in parameters):
                return answer
    raise not_acceptable(f"The Accept header allows none of {', '.join(offers)}.")


def _negotiate(call: Call, found: list[_Stored]) -> _Form:
    single = "instance" in call.names
    for kind, parameters in multipart.accepted(call.headers.get("accept", "")):
        syntax = parameters.get("transfer-syntax", part10.EXPLICIT_LITTLE)
        if kind in {"multipart/related", "multipart/*", "*/*"}:
            if parameters.get("type", "application/dicom").lower() != "application/dicom":
                continue
        elif not (kind in {"application/dicom", "application/*"} and single):
            continue
        if all(_makeable(stored, syntax) for stored in found):
            return _Form(kind in {"multipart/related", "multipart/*", "*/*"}, syntax)
    raise not_acceptable(
        'Accept multipart/related; type="application/dicom", or for one instance application/dicom,'
        " with transfer-syntax=* for what was stored. Other transfer syntaxes are made only from"
        " those that can be decoded, and are Explicit or Implicit VR Little Endian."
    )


def _makeable(stored: _Stored, syntax: str) -> bool:
    if syntax in {"*", stored.transfer_syntax}:
        return True
    return syntax in pixels.ENCODABLE and stored.transfer_syntax in pixels.DECODABLE


def _syntax_of(stored: _Stored, syntax: str) -> str:
    return stored.transfer_syntax if syntax == "*" else syntax


def _content(call: Call, stored: _Stored, syntax: str) -> Iterator[bytes]:
    path = call.folder.path(stored.file)
    if _syntax_of(stored, syntax) != stored.transfer_syntax:
        yield _pixels(lambda: pixels.transcode(path, syntax))
        return
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _opened(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first already read: what fails then is still an error with a status."""
    first = next(content, b"")

    def pieces() -> Iterator[bytes]:
        yield first
        yield from content

    return pieces()


def _opened_if_there(call: Call, stored: _Stored, syntax: str) -> Iterator[bytes] | None:
    """The pieces of a part; None where the instance was deleted since the answer began."""
    try:
        return _opened(_content(call, stored, syntax))
    except FileNotFoundError:
        with call.folder.read() as db:
            found = db.execute("SELECT 1 FROM instances WHERE id = ?", (stored.id,)).fetchone()
        if found:
            raise
        return None


def _octets(contents: list[bytes], syntax: str) -> Response:
    boundary = uuid.uuid4().hex
    head = f"Content-Type: application/octet-stream; transfer-syntax={syntax}\r\n\r\n"
    pieces = [f"--{boundary}\r\n{head}".encode() + content + b"\r\n" for content in contents]
    body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
    kind = f'multipart/related; type="application/octet-stream"; boundary={boundary}'
    return Response(body, headers={"content-type": kind})


def _pixels(work: Callable[[], bytes]) -> bytes:
    try:
        return work()
    except pixels.CannotDecode as error:
        raise not_acceptable(f"No such representation of the instance: {error}.") from error
    except pixels.NoSuchFrame as error:
        raise not_found(f"Frame not found: {error}.") from error


def _frame_numbers(text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        raise invalid("Frames are given by their numbers, from 1, with commas between.")
    return [int(number) for number in text.split(",")]


def _viewport(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5}),([0-9]{1,5})", text)
    sizes: Any = [int(size) for size in match.groups()] if match else [0]
    if not all(1 <= size <= _LARGEST_VIEWPORT for size in sizes):
        raise invalid(f"The viewport is WIDTH,HEIGHT, each from 1 to {_LARGEST_VIEWPORT}.")
    return sizes[0], sizes[1]
