"""Cloud Storage's JSON API: buckets, objects, their uploads and downloads."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dicomsql.emulator.neighbours import remote
from dicomsql.emulator.neighbours.base import NeighbourError, Objects
from dicomsql.emulator.neighbours.objects import (
    Bucket,
    Conditions,
    Item,
    Shelf,
    check_name,
    pieces,
)
from dicomsql.emulator.neighbours.web import (
    Ask,
    Handler,
    Method,
    json_object,
    unimplemented,
)
from dicomsql.emulator.status import StatusError, invalid, not_found

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["Storage", "open_storage"]

_LARGEST_PAGE = 1000
# What can be said of an object when it is made, and of a bucket.
_OBJECT_FIELDS = (
    "cacheControl contentDisposition contentEncoding contentLanguage contentType customTime"
    " metadata storageClass md5Hash crc32c"
)
_BUCKET_FIELDS = ("labels", "location", "storageClass")
_UNDONE = ("matchGlob", "filter", "softDeleted", "versions")
_ANY = "GET POST PUT PATCH DELETE"


@dataclass(frozen=True, slots=True)
class Storage:
    """Cloud Storage, as the stores use it and as it is answered."""

    objects: Objects
    methods: tuple[Method, ...]
    close: Callable[[], None]


def open_storage(place: Path, server: str) -> Storage:
    """Cloud Storage in a folder, or on another server.

    Args:
        server: its root URL; ours if empty.
    """
    roots = (
        "storage/v1",
        "upload/storage/v1",
        "resumable/upload/storage/v1",
        "download/storage/v1",
    )
    if server:
        other = remote.Server(server, "Cloud Storage", "STORAGE_EMULATOR_HOST")
        methods = tuple(other.method(f"/{root}/{{rest*}}") for root in roots)
        return Storage(remote.RemoteObjects(other), methods, lambda: None)
    shelf = Shelf(place)
    return Storage(shelf, tuple(_methods(shelf)), shelf.close)


def _methods(shelf: Shelf) -> Iterator[Method]:
    api = _Api(shelf)
    table: tuple[tuple[str, str, Handler], ...] = (
        ("POST", "/storage/v1/b", api.insert_bucket),
        ("GET", "/storage/v1/b", api.list_buckets),
        ("GET", "/storage/v1/b/{bucket}", api.get_bucket),
        ("DELETE", "/storage/v1/b/{bucket}", api.delete_bucket),
        ("GET", "/storage/v1/b/{bucket}/o", api.list_objects),
        ("GET", "/storage/v1/b/{bucket}/o/{object*}", api.get_object),
        ("DELETE", "/storage/v1/b/{bucket}/o/{object*}", api.delete_object),
        ("POST", "/storage/v1/b/{bucket}/o/{object*}", api.copy),
        ("GET", "/download/storage/v1/b/{bucket}/o/{object*}", api.download),
        *(
            (verb, f"{root}/storage/v1/b/{{bucket}}/o", handler)
            for root in ("/upload", "/resumable/upload")
            for verb, handler in (
                ("POST", api.upload),
                ("PUT", api.continue_upload),
                ("DELETE", api.cancel_upload),
            )
        ),
    )
    for verbs, path, handler in table:
        yield Method(verbs, path, _answering(handler), None)
    yield unimplemented(_ANY, "/storage/v1/{rest*}")


def _answering(handler: Handler) -> Handler:
    """Preconditions that do not hold are 412 here."""

    def answer(ask: Ask) -> Response | dict[str, Any]:
        try:
            return handler(ask)
        except NeighbourError as error:
            if error.status == "ABORTED":
                raise StatusError("FAILED_PRECONDITION", error.message, http=412) from None
            raise

    return answer


class _Api:
    """The methods over a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def insert_bucket(self, ask: Ask) -> dict[str, Any]:
        body = ask.body()
        project = ask.parameter("project")
        if not project:
            raise invalid("Required parameter: project.")
        name = body.get("name")
        if not isinstance(name, str):
            raise invalid("A bucket needs a name.")
        versioned = body.get("versioning")
        if isinstance(versioned, dict) and versioned.get("enabled"):
            raise StatusError("UNIMPLEMENTED", "The emulator keeps no versions of objects.")
        kept = {field: body[field] for field in _BUCKET_FIELDS if field in body}
        return _bucket(ask, self._shelf.add_bucket(name, project, kept))

    def list_buckets(self, ask: Ask) -> dict[str, Any]:
        project = ask.parameter("project")
        if not project:
            raise invalid("Required parameter: project.")
        size = ask.number("maxResults", _LARGEST_PAGE, _LARGEST_PAGE) or _LARGEST_PAGE
        after = _last(ask.parameter("pageToken"))
        found = self._shelf.buckets(project, ask.parameter("prefix"), after, size + 1)
        answer: dict[str, Any] = {"kind": "storage#buckets"}
        if found:
            answer["items"] = [_bucket(ask, bucket) for bucket in found[:size]]
        if len(found) > size:
            answer["nextPageToken"] = _token(found[size - 1].name)
        return answer

    def get_bucket(self, ask: Ask) -> dict[str, Any]:
        return _bucket(ask, self._shelf.bucket(ask.names["bucket"]))

    def delete_bucket(self, ask: Ask) -> Response:
        self._shelf.remove_bucket(ask.names["bucket"])
        return _nothing()

    def list_objects(self, ask: Ask) -> dict[str, Any]:
        """By name; with a delimiter, names that go on after it are one of `prefixes`."""
        for name in _UNDONE:
            if ask.parameter(name).lower() not in {"", "false"}:
                raise StatusError("UNIMPLEMENTED", f"The emulator does not implement {name}.")
        size = ask.number("maxResults", _LARGEST_PAGE, _LARGEST_PAGE) or _LARGEST_PAGE
        bucket, prefix = ask.names["bucket"], ask.parameter("prefix")
        delimiter, end = ask.parameter("delimiter"), ask.parameter("endOffset")
        cursor = _last(ask.parameter("pageToken")) or ask.parameter("startOffset")
        items: list[Item] = []
        prefixes: list[str] = []
        more = True
        while more and len(items) + len(prefixes) < size:
            left = size - len(items) - len(prefixes)
            page = self._shelf.page(bucket, prefix, cursor, left + 1, end)
            more = len(page) > left
            for item in page[:left]:
                cut = item.name.find(delimiter, len(prefix)) if delimiter else -1
                if cut < 0:
                    items.append(item)
                    cursor = item.name + "\0"
                    continue
                shared = item.name[: cut + len(delimiter)]
                prefixes.append(shared)
                trailing = item.name == shared and ask.flag("includeTrailingDelimiter")
                items += [item] if trailing else []
                # the next one that does not begin so
                cursor, more = _after(shared), True
                break
        answer: dict[str, Any] = {"kind": "storage#objects"}
        if more and self._shelf.page(bucket, prefix, cursor, 1, end):
            answer["nextPageToken"] = _token(cursor)
        if prefixes:
            answer["prefixes"] = prefixes
        if items:
            answer["items"] = [_object(ask, item) for item in items]
        return answer

    def get_object(self, ask: Ask) -> Response | dict[str, Any]:
        if ask.parameter("alt") == "media":
            return self.download(ask)
        bucket, name = self._named(ask)
        item = self._shelf.item(bucket, name, _generation(ask))
        unchanged = self._held(ask, item)
        return unchanged or _object(ask, item)

    def download(self, ask: Ask) -> Response:
        """The content, or a range of it (RFC 9110, 14)."""
        from starlette.responses import Response, StreamingResponse

        bucket, name = self._named(ask)
        item, stream = self._shelf.open(bucket, name, _generation(ask))
        try:
            unchanged = self._held(ask, item)
            headers = {
                "etag": f'"{item.md5}"',
                "accept-ranges": "bytes",
                "x-goog-generation": str(item.generation),
                "x-goog-metageneration": "1",
                "x-goog-storage-class": item.body.get("storageClass", "STANDARD"),
                "x-goog-stored-content-encoding": item.body.get("contentEncoding", "identity"),
                "x-goog-stored-content-length": str(item.size),
                "x-goog-hash": f"crc32c={item.crc32c},md5={item.md5}",
            }
            for field, header in _HEADERS.items():
                if item.body.get(field):
                    headers[header] = _header(item.body[field])
            span = _range(ask.headers.get("range", ""), item.size)
        except BaseException:
            stream.close()
            raise
        if unchanged or span is None:
            stream.close()
            if unchanged:
                return unchanged
            headers["content-range"] = f"bytes */{item.size}"
            return Response(b"", 416, headers=headers)
        start, end = span
        status = 200
        if (start, end) != (0, item.size) or _asks_all(ask, item):
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{item.size}"
        headers["content-length"] = str(end - start)
        kind = _header(item.body.get("contentType") or "application/octet-stream")
        headers["content-type"] = kind
        return StreamingResponse(pieces(stream, start, end - start), status, headers=headers)

    def delete_object(self, ask: Ask) -> Response:
        bucket, name = self._named(ask)
        self._shelf.remove(bucket, name, _conditions(ask), _generation(ask))
        return _nothing()

    def copy(self, ask: Ask) -> dict[str, Any]:
        """copyTo and rewriteTo, which is done by its first call."""
        segments = ask.segments
        at = segments.index("o", segments.index("b") + 2)
        match segments[at + 1 :]:
            case (source, "copyTo" | "rewriteTo" as way, "b", bucket, "o", name):
                pass
            case _:
                raise StatusError(
                    "UNIMPLEMENTED", f"The emulator does not implement {ask.verb} {ask.path}."
                )
        if ask.parameter("destinationKmsKeyName"):
            raise StatusError("UNIMPLEMENTED", "The emulator has no keys for objects.")
        match = _integer(ask.parameter("ifSourceGenerationMatch"))
        differ = _integer(ask.parameter("ifSourceGenerationNotMatch"))
        said = _said(ask.body())
        generation = _integer(ask.parameter("sourceGeneration"))
        item, stream = self._shelf.open(segments[at - 1], source, generation)
        content = pieces(stream)
        try:
            Conditions(match, differ).check(item.generation)
            made = self._shelf.put(bucket, name, content, said or item.body, _conditions(ask))
        finally:
            stream.close()
        shown = _object(ask, made)
        if way == "copyTo":
            return shown
        return {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": shown["size"],
            "objectSize": shown["size"],
            "done": True,
            "resource": shown,
        }

    def upload(self, ask: Ask) -> Response | dict[str, Any]:
        """A whole object at once, or the beginning of a resumable upload."""
        bucket = ask.names["bucket"]
        kind = ask.parameter("uploadType") or ask.headers.get("x-goog-upload-protocol", "")
        self._shelf.bucket(bucket)
        if kind == "media":
            body = {"contentType": ask.headers.get("content-type")}
            return self._put(ask, body, ask.chunks())
        if kind == "multipart":
            body, content = _two_parts(ask)
            return self._put(ask, body, content)
        if kind != "resumable":
            raise invalid("Invalid uploadType: media, multipart or resumable is needed.")
        if ask.parameter("upload_id"):
            return self.continue_upload(ask)
        body = ask.body()
        body.setdefault("contentType", ask.headers.get("x-upload-content-type"))
        name = self._name(ask, body)
        number = self._shelf.begin(bucket, name, _said(body), _conditions(ask))
        place = f"{ask.origin}/upload/storage/v1/b/{quote(bucket)}/o"
        answer = _nothing(200)
        answer.headers["location"] = f"{place}?uploadType=resumable&upload_id={number}"
        answer.headers["x-guploader-uploadid"] = number
        return answer

    def continue_upload(self, ask: Ask) -> Response | dict[str, Any]:
        """A part of a resumable upload, or the question of how much there is."""
        number = ask.parameter("upload_id")
        said = ask.headers.get("content-range", "")
        match = re.fullmatch(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", said)
        if said and match is None:
            raise invalid("Invalid Content-Range.")
        got = self._shelf.received(number)
        if isinstance(got, Item):
            return _object(ask, got)
        total = int(match[3]) if match and match[3] != "*" else None
        if match is None or match[1] is not None:
            got = self._shelf.extend(number, int(match[1]) if match else 0, ask.chunks())
            if match is None:
                total = got
            elif got < int(match[2]) + 1:
                raise invalid("The body is shorter than its Content-Range says.")
        if total is not None and got > total:
            raise invalid("More bytes came than the Content-Range says there are.")
        if got == total:
            return _object(ask, self._shelf.finish(number))
        answer = _nothing(308)
        answer.headers["x-guploader-uploadid"] = number
        if got:
            answer.headers["range"] = f"bytes=0-{got - 1}"
        return answer

    def cancel_upload(self, ask: Ask) -> Response:
        self._shelf.cancel(ask.parameter("upload_id"))
        return _nothing(499)

    def _put(self, ask: Ask, body: dict[str, Any], content: Iterator[bytes]) -> dict[str, Any]:
        name = self._name(ask, body)
        said = _said(body)
        item = self._shelf.put(ask.names["bucket"], name, content, said, _conditions(ask))
        return _object(ask, item)

    def _name(self, ask: Ask, body: Mapping[str, Any]) -> str:
        name = ask.parameter("name") or body.get("name")
        if not isinstance(name, str) or not name:
            raise invalid("Required: the object's name, as the parameter name or in its metadata.")
        return name

    def _named(self, ask: Ask) -> tuple[str, str]:
        """Bucket and object of the path; an object's name is one segment, slashes encoded."""
        segments = ask.segments
        at = segments.index("o", segments.index("b") + 2)
        if len(segments) != at + 2:
            raise not_found("Not Found: an object's name is one segment, its slashes encoded.")
        check_name(segments[at + 1])
        return segments[at - 1], segments[at + 1]

    def _held(self, ask: Ask, item: Item) -> Response | None:
        """Check a reader's preconditions; the answer where nothing has changed."""
        conditions = _conditions(ask)
        if conditions.differ == item.generation:
            return _nothing(304)
        conditions.check(item.generation)
        return None


_HEADERS = {
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "contentLanguage": "content-language",
}


def _bucket(ask: Ask, bucket: Bucket) -> dict[str, Any]:
    made = _moment(bucket.created)
    return {
        "kind": "storage#bucket",
        "selfLink": f"{ask.origin}/storage/v1/b/{bucket.name}",
        "id": bucket.name,
        "name": bucket.name,
        "projectNumber": "0",
        "generation": str(int(bucket.created * 1_000_000)),
        "metageneration": "1",
        "location": str(bucket.body.get("location") or "US").upper(),
        "storageClass": bucket.body.get("storageClass") or "STANDARD",
        "etag": "CAE=",
        "timeCreated": made,
        "updated": made,
        **({"labels": bucket.body["labels"]} if bucket.body.get("labels") else {}),
    }


def _object(ask: Ask, item: Item) -> dict[str, Any]:
    made = _moment(item.created)
    path = f"storage/v1/b/{quote(item.bucket)}/o/{quote(item.name, safe='')}"
    generation = str(item.generation)
    return {
        "kind": "storage#object",
        "id": f"{item.bucket}/{item.name}/{generation}",
        "selfLink": f"{ask.origin}/{path}",
        "mediaLink": f"{ask.origin}/download/{path}?generation={generation}&alt=media",
        "name": item.name,
        "bucket": item.bucket,
        "generation": generation,
        "metageneration": "1",
        "storageClass": "STANDARD",
        "size": str(item.size),
        "md5Hash": item.md5,
        "crc32c": item.crc32c,
        "etag": base64.b64encode(generation.encode()).decode(),
        "timeCreated": made,
        "updated": made,
        "timeStorageClassUpdated": made,
        **item.body,
    }


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an object's metadata."""
    found = {field: body[field] for field in _OBJECT_FIELDS.split() if body.get(field)}
    metadata = found.get("metadata", {})
    texts = [v for k, v in found.items() if k != "metadata"]
    if not isinstance(metadata, dict) or not all(
        isinstance(text, str) for text in (*texts, *metadata.values())
    ):
        raise invalid("An object's metadata has to be texts.")
    return found


def _two_parts(ask: Ask) -> tuple[dict[str, Any], Iterator[bytes]]:
    """Metadata and content of multipart/related; lines may end in LF alone, as some clients do."""
    header = Message()
    header["content-type"] = ask.headers.get("content-type", "")
    boundary = header.get_boundary()
    if not boundary:
        raise invalid("The Content-Type of a multipart upload needs a boundary.")
    reader = _Parts(ask.chunks(), boundary.encode("latin_1", "replace"))
    said, content = next(reader), b""
    for piece in said.content:
        content += piece
        if len(content) > 1 << 20:
            raise invalid("The metadata of a multipart upload is longer than 1 MiB.")
    body = json_object(content)
    part = next(reader)
    body.setdefault("contentType", part.headers.get("content-type"))
    return body, part.content


@dataclass(frozen=True, slots=True)
class _Part:
    headers: Message
    content: Iterator[bytes]


class _Parts:
    """The two parts of an upload, the second in pieces; 400 where the body is not whole."""

    def __init__(self, chunks: Iterator[bytes], boundary: bytes) -> None:
        self._chunks = chunks
        self._mark = b"\n--" + boundary
        self._held = b"\n"  # the first boundary need not follow a line
        self._last = False
        for _ in self._until_mark():
            pass

    def __next__(self) -> _Part:
        from email.parser import BytesHeaderParser

        if self._last:
            raise _broken()
        lines = [self._line()]  # what is left of the boundary's own line
        lines.clear()
        while line := self._line().strip():
            lines.append(line)
            if sum(map(len, lines)) > 1 << 14:
                raise _broken()
        return _Part(BytesHeaderParser().parsebytes(b"\n".join(lines)), self._until_mark())

    def _line(self) -> bytes:
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > 1 << 14:
                raise _broken()
            self._more()
        line, self._held = self._held[: end + 1], self._held[end + 1 :]
        return line

    def _until_mark(self) -> Iterator[bytes]:
        keep = len(self._mark) + 1  # a CR before the mark belongs to it
        while (found := self._held.find(self._mark)) < 0:
            if len(self._held) > keep:
                yield self._held[:-keep]
                self._held = self._held[-keep:]
            self._more()
        content, self._held = self._held[:found], self._held[found + len(self._mark) :]
        yield content.removesuffix(b"\r")
        while len(self._held) < 2:
            self._more()
        self._last = self._held.startswith(b"--")

    def _more(self) -> None:
        piece = next(self._chunks, None)
        if piece is None:
            raise _broken()
        self._held += piece


def _broken() -> StatusError:
    return invalid("The body is no multipart/related of two parts, or is not complete.")


def _conditions(ask: Ask) -> Conditions:
    for name in ("ifMetagenerationMatch", "ifMetagenerationNotMatch"):
        wanted = ask.parameter(name)
        if wanted and (wanted == "1") == name.endswith("NotMatch"):
            raise NeighbourError("ABORTED", f"The precondition {name} does not hold.")
    match, differ = ask.parameter("ifGenerationMatch"), ask.parameter("ifGenerationNotMatch")
    return Conditions(_integer(match), _integer(differ))


def _generation(ask: Ask) -> int | None:
    return _integer(ask.parameter("generation"))


def _integer(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{1,18}", text):
        raise invalid("A generation is a number.")
    return int(text)


def _range(text: str, size: int) -> tuple[int, int] | None:
    """Start and end; all of it where no single range is asked for; None where there is none."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", text.strip())
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        length = min(int(match[2]), size)
        return (size - length, size) if length else None
    start = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < start:
        return 0, size
    return (start, end) if start < size else None


def _asks_all(ask: Ask, item: Item) -> bool:
    """Whether a range was asked for that is the whole content."""
    match = re.fullmatch(r"bytes=0-(\d{0,18})", ask.headers.get("range", "").strip())
    return bool(match) and item.size > 0


def _header(text: str) -> str:
    """A text of an object's metadata as a header's value, which takes no line breaks."""
    return re.sub(r"[^\x20-\x7e]", "?", text)


def _after(prefix: str) -> str:
    """The first text that comes after all that begin so."""
    last = ord(prefix[-1]) + 1
    last = 0xE000 if 0xD800 <= last < 0xE000 else last  # halves of pairs are no characters
    return prefix[:-1] + chr(last) if last < 0x110000 else prefix + chr(0x10FFFF) * 256


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([name]).encode()).decode()


def _last(token: str) -> str:
    if not token:
        return ""
    with contextlib.suppress(binascii.Error, ValueError):
        found = json.loads(base64.urlsafe_b64decode(token))
        if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
            return found[0]
    raise invalid("Invalid pageToken: give the nextPageToken of the page before, unchanged.")


def _moment(seconds: float) -> str:
    found = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return found.strftime("%Y-%m-%dT%H:%M:%S.") + f"{found.microsecond // 1000:03d}Z"


def _nothing(status: int = 204) -> Response:
    from starlette.responses import Response

    return Response(b"", status)
