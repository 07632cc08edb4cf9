"""WADO-RS (PS3.18 10.4): instances, metadata, frames, bulk data and rendered images out.

A transfer syntax that is not named is Explicit VR Little Endian, and `*` is what was stored. The
files go out as streams; what has to be transcoded is, one instance at a time.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from starlette.responses import Response, StreamingResponse

from dicomsql.dicom import part10
from dicomsql.emulator import images, index, multipart, pixels, reading, rendering
from dicomsql.emulator.admin import instance_row, series_row, study_row
from dicomsql.emulator.call import Call, accept, check_parameters
from dicomsql.emulator.status import invalid, not_acceptable, not_found

_PIECE = 256 * 1024
_HELD = 4 * 1024 * 1024  # bytes of frames, beyond which no more are made before these went out
# so many data sets are read from the index at a time
_METADATA_BATCH = 200
_OCTETS = "application/octet-stream"
# the discovery document has the first alone; the others are the standard's (PS3.18 8.3.5)
_RENDERED = frozenset({"viewport", "window", "quality"})
# PS3.18 table 8.7.3-5: the media type of a frame by its transfer syntax, for those that have one
_FRAME_MEDIA = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
# what a media type means where no transfer syntax is named and what is stored is of another
_FRAME_DEFAULT = {
    _OCTETS: part10.EXPLICIT_LITTLE,
    "image/jpeg": pixels.JPEG_BASELINE,
    "image/jp2": pixels.JPEG_2000_LOSSLESS,
}


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


@dataclass(frozen=True, slots=True)
class _Part:
    """A file on its way out; the first piece is already read, so that what fails has a status."""

    transfer_syntax: str
    content: Iterator[bytes]
    size: int | None = None


def retrieve(call: Call) -> Response:
    """retrieveStudy, retrieveSeries, retrieveInstance

    Raises:
        StatusError: 404 for what does not exist, 406 where no accepted form can be made.
    """
    found = _stored(call)
    form = _negotiate(call, found)
    if not form.in_parts:
        part = _part(call, found[0], form.transfer_syntax)
        headers = {"content-type": f"application/dicom; transfer-syntax={part.transfer_syntax}"}
        if part.size is not None:
            headers["content-length"] = str(part.size)
        return StreamingResponse(part.content, headers=headers)
    boundary = uuid.uuid4().hex
    first = _part_if_there(call, found[0], form.transfer_syntax)

    def parts() -> Iterator[bytes]:
        for number, stored in enumerate(found):
            part = _part_if_there(call, stored, form.transfer_syntax) if number else first
            if part is not None:
                head = f"application/dicom; transfer-syntax={part.transfer_syntax}"
                yield f"--{boundary}\r\nContent-Type: {head}\r\n\r\n".encode()
                yield from part.content
                yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return StreamingResponse(parts(), headers={"content-type": kind})


def retrieve_metadata(call: Call) -> Response:
    """retrieveMetadata of a study, a series, an instance, as DICOM JSON without bulk data"""
    accept(call, {"application/dicom+json": "", "application/json": ""})
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
        in_parts = kind in {"multipart/related", "multipart/*", "*/*"}
        media = parameters.get("type", _OCTETS).lower() if in_parts else kind
        form = _frame_form(stored, media, parameters.get("transfer-syntax"))
        if form is None or not (in_parts or len(numbers) == 1):
            continue
        media, syntax = form
        with _pixels(), images.opened(path) as image:
            for number in numbers:
                image.check(number)
        contents = _opened(_frames(path, numbers, stored.transfer_syntax, syntax))
        if not in_parts:
            return Response(b"".join(contents), media_type=media)
        return _in_parts(contents, media, syntax)
    raise not_acceptable(
        'Frames are given as multipart/related; type="application/octet-stream" with the transfer'
        f' syntax {part10.EXPLICIT_LITTLE} or *, as type="image/jpeg" or "image/jp2", or in the'
        " media type of what is stored; these cannot be made so from what is stored."
    )


def _frame_form(stored: _Stored, media: str, syntax: str | None) -> tuple[str, str] | None:
    """The media type and transfer syntax that frames go out in, or None where they cannot."""
    own = _FRAME_MEDIA.get(stored.transfer_syntax)
    if media in {"*/*", "application/*"}:
        media = _OCTETS
    if media == "image/*":
        media = own or "image/jpeg"
    if media == own and syntax in {None, "*", stored.transfer_syntax}:
        return media, stored.transfer_syntax
    if media == _OCTETS and syntax in {"*", stored.transfer_syntax}:
        return media, stored.transfer_syntax
    default = _FRAME_DEFAULT.get(media)
    if default is None or syntax == "*":
        return None
    wanted = syntax or default
    fits = wanted == default if media == _OCTETS else _FRAME_MEDIA.get(wanted) == media
    native = wanted == part10.EXPLICIT_LITTLE
    makeable = images.decodable if native else lambda of: pixels.makeable(of, wanted)
    return (media, wanted) if fits and makeable(stored.transfer_syntax) else None


def retrieve_bulkdata(call: Call) -> Response:
    """retrieveBulkdata: the uncompressed bytes of one binary attribute"""
    accepted = {_OCTETS: _OCTETS, "multipart/related": "multipart/related"}
    kind = accept(call, accepted, ignore_type=True)
    stored = _stored(call)[0]
    path = call.folder.path(stored.file)
    with reading.opened(path, path.parent) as file:
        # Google's own client asks for two segments at least, and so ends a single one by a slash
        place = file.instance.bulk.get(call.names["bulkdata"].rstrip("/").upper())
        little = file.instance.little
    if place is None:
        raise not_found("The instance has no bulk data under this path.")
    if place.length is None:
        content, size = _all_frames(path), None
    elif little:
        content, size = _bytes_of(path, place.offset, place.length), place.length
    else:
        content, size = iter([_swapped(path, place)]), place.length
    content = _opened(content)
    if kind != _OCTETS:
        return _in_parts(content, _OCTETS, part10.EXPLICIT_LITTLE, one=True)
    headers = {"content-type": _OCTETS}
    if size is not None:
        headers["content-length"] = str(size)
    return StreamingResponse(content, headers=headers)


def retrieve_rendered(call: Call) -> Response:
    """retrieveRendered of an instance (its first frame) or of a frame, as JPEG or PNG"""
    check_parameters(call, _RENDERED)
    formats = {media: media for media in rendering.FORMATS}
    media = accept(call, formats)
    view = rendering.viewport(call.parameter("viewport"))
    shown = rendering.window(call.parameter("window"))
    quality = rendering.quality(call.parameter("quality"))
    numbers = _frame_numbers(call.names.get("frames", "1"))
    if len(numbers) != 1:
        raise invalid("A rendered image shows one frame; give one number.")
    path = call.folder.path(_stored(call)[0].file)
    with _pixels():
        content = rendering.render(path, numbers[0], media, view, shown, quality=quality)
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
        " those that can be decoded: Explicit and Implicit VR Little Endian, JPEG baseline, and"
        " JPEG 2000 where its codec is installed."
    )


def _makeable(stored: _Stored, syntax: str) -> bool:
    return syntax == "*" or pixels.makeable(stored.transfer_syntax, syntax)


def _part(call: Call, stored: _Stored, syntax: str) -> _Part:
    path = call.folder.path(stored.file)
    if syntax in {"*", stored.transfer_syntax}:
        return _Part(stored.transfer_syntax, _opened(_pieces(path)), stored.size)
    with _pixels():
        made, content = pixels.transcode(path, syntax)
    return _Part(made, iter([content]), len(content))


def _part_if_there(call: Call, stored: _Stored, syntax: str) -> _Part | None:
    """A part; None where the instance was deleted since the answer began."""
    try:
        return _part(call, stored, syntax)
    except FileNotFoundError:
        with call.folder.read() as db:
            found = db.execute("SELECT 1 FROM instances WHERE id = ?", (stored.id,)).fetchone()
        if found:
            raise
        return None


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _bytes_of(path: Path, offset: int, length: int) -> Iterator[bytes]:
    """The bytes at a place of an instance's data set."""
    with reading.opened(path, path.parent) as file:
        file.data.seek(offset)
        while length and (piece := file.data.read(min(_PIECE, length))):
            length -= len(piece)
            yield piece


def _swapped(path: Path, place: part10.Bulk) -> bytes:
    content = b"".join(_bytes_of(path, place.offset, place.length or 0))
    return part10.swapped(content, place.vr)


def _all_frames(path: Path) -> Iterator[bytes]:
    with _pixels(), images.opened(path) as image:
        frames = image.frames
    yield from _frames(path, range(1, frames + 1), "", part10.EXPLICIT_LITTLE)


def _frames(path: Path, numbers: Sequence[int], stored: str, wanted: str) -> Iterator[bytes]:
    """Frames in a transfer syntax, a few of them in memory at a time."""
    left = iter(numbers)
    number = next(left, None)
    while number is not None:
        contents: list[bytes] = []
        # closed while frames go out, since a slow client must not keep the codecs from others
        with _pixels(), images.opened(path) as image:
            while number is not None and sum(map(len, contents)) < _HELD:
                if wanted == stored:
                    contents.append(image.stored(number))
                elif wanted == part10.EXPLICIT_LITTLE:
                    contents.append(image.raw(number))
                else:
                    contents.append(pixels.encode(path, number, wanted))
                number = next(left, None)
        yield from contents


def _opened(content: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first already read: what fails then is still an error with a status."""
    first = next(content, b"")

    def pieces() -> Iterator[bytes]:
        yield first
        yield from content

    return pieces()


def _in_parts(
    contents: Iterator[bytes], media: str, syntax: str, *, one: bool = False
) -> StreamingResponse:
    """A multipart answer: each content is a part, or all of them are pieces of one."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: {media}; transfer-syntax={syntax}\r\n\r\n".encode()

    def pieces() -> Iterator[bytes]:
        if one:
            yield head
        for content in contents:
            yield content if one else head + content + b"\r\n"
        if one:
            yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    kind = f'multipart/related; type="{media}"; boundary={boundary}'
    return StreamingResponse(pieces(), headers={"content-type": kind})


@contextmanager
def _pixels() -> Iterator[None]:
    try:
        yield
    except images.CannotDecode as error:
        raise not_acceptable(f"No such representation of the instance: {error}.") from error
    except images.NoSuchFrame as error:
        raise not_found(f"Frame not found: {error}.") from error


def _frame_numbers(text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        raise invalid("Frames are given by their numbers, from 1, with commas between.")
    numbers = [int(number) for number in text.split(",")]
    if len(set(numbers)) < len(numbers):
        raise invalid("A frame's number is given twice; ask for each frame once.")
    return numbers
