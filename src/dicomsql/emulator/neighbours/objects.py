"""Buckets and objects on a folder: an SQLite file of names, and one file for each object's bytes.

As with instances, what is stored is first a complete file, flushed and renamed into place, and
only then a row. No object's name is part of a path, so it may be anything that Cloud Storage takes:
`a` beside `a/b`, `../x`, names longer than a file's.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dicomsql.emulator.neighbours.base import NeighbourError, StoredObject
from dicomsql.emulator.neighbours.crc32c import Crc32c
from dicomsql.emulator.neighbours.database import Database, make_folder

__all__ = ["Bucket", "Conditions", "Item", "Shelf"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE buckets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE, project TEXT NOT NULL, body TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE objects (
    bucket_id INTEGER NOT NULL REFERENCES buckets,
    name TEXT NOT NULL, generation INTEGER NOT NULL, body TEXT NOT NULL,
    size INTEGER NOT NULL, md5 TEXT NOT NULL, crc32c TEXT NOT NULL, file TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    PRIMARY KEY (bucket_id, name)) WITHOUT ROWID;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, conditions TEXT NOT NULL,
    started REAL NOT NULL, generation INTEGER NOT NULL);
CREATE TABLE garbage (file TEXT PRIMARY KEY);
"""
_PIECE = 1 << 20
_ABANDONED = 7 * 24 * 3600.0  # seconds that a resumable upload can be taken up again
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_LARGEST_NAME = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket; `body` is what was said of it when it was made."""

    name: str
    project: str
    body: dict[str, Any]
    created: float


@dataclass(frozen=True, slots=True)
class Item:
    """An object.

    Attributes:
        body: what was said of it, such as `contentType` and `metadata`.
        md5, crc32c: in base64.
        file: the name of its bytes' file.
        created: seconds since 1970.
    """

    bucket: str
    name: str
    generation: int
    body: dict[str, Any]
    size: int
    md5: str
    crc32c: str
    file: str
    created: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What an object's generation has to be, or not to be; 0 stands for no object."""

    match: int | None = None
    differ: int | None = None

    def check(self, generation: int) -> None:
        """Raise NeighbourError, ABORTED, where they do not hold."""
        unmet = self.match not in {None, generation} or self.differ == generation
        if unmet:
            raise NeighbourError(
                "ABORTED", "At least one of the pre-conditions you specified did not hold."
            )


class Shelf:
    """The buckets of one emulator's folder, which several processes may use."""

    def __init__(self, place: Path) -> None:
        self._files = place / "objects"
        self._incoming = place / "uploads"
        self._index = Database(place / "storage.sqlite", _SCHEMA, _VERSION)

    def close(self) -> None:
        """Let go of the files."""
        self._index.close()

    # Objects, as imports and exports use them

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """See `base.Objects`."""
        cursor = prefix
        while True:
            page = self.page(bucket, prefix, cursor, 1000)
            for item in page:
                yield StoredObject(item.name, item.size)
            if len(page) < 1000:
                return
            cursor = page[-1].name + "\0"

    def read(self, bucket: str, name: str) -> Iterator[bytes]:
        """See `base.Objects`."""
        _, stream = self.open(bucket, name)
        return pieces(stream)

    def write(self, bucket: str, name: str, content: Iterable[bytes], media_type: str) -> None:
        """See `base.Objects`."""
        self.put(bucket, name, content, {"contentType": media_type}, Conditions())

    # Buckets

    def add_bucket(self, name: str, project: str, body: Mapping[str, Any]) -> Bucket:
        """Make a bucket.

        Raises:
            NeighbourError: INVALID_ARGUMENT for a name that none can have, ALREADY_EXISTS.
        """
        if not _BUCKET_NAME.fullmatch(name):
            raise NeighbourError("INVALID_ARGUMENT", "Invalid bucket name.")
        bucket = Bucket(name, project, dict(body), time.time())
        with self._index.write() as db:
            try:
                db.execute(
                    "INSERT INTO buckets (name, project, body, created) VALUES (?, ?, ?, ?)",
                    (name, project, json.dumps(bucket.body), bucket.created),
                )
            except sqlite3.IntegrityError:
                raise NeighbourError(
                    "ALREADY_EXISTS", f"The bucket {name} exists already; choose another name."
                ) from None
        return bucket

    def bucket(self, name: str) -> Bucket:
        """A bucket; NOT_FOUND where there is none."""
        with self._index.read() as db:
            row = db.execute(
                "SELECT name, project, body, created FROM buckets WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            raise _no_bucket()
        return Bucket(row[0], row[1], json.loads(row[2]), row[3])

    def buckets(self, project: str, prefix: str, after: str, limit: int) -> tuple[Bucket, ...]:
        """A project's buckets whose names begin so and come after `after`."""
        with self._index.read() as db:
            rows = db.execute(
                "SELECT name, project, body, created FROM buckets"
                " WHERE project = ? AND name > ? AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
                (project, after, len(prefix), prefix, limit),
            ).fetchall()
        return tuple(Bucket(row[0], row[1], json.loads(row[2]), row[3]) for row in rows)

    def remove_bucket(self, name: str) -> None:
        """Remove an empty bucket; ABORTED for one that is not."""
        with self._index.write() as db:
            row = _bucket_row(db, name)
            if db.execute("SELECT 1 FROM objects WHERE bucket_id = ?", (row,)).fetchone():
                raise NeighbourError("ALREADY_EXISTS", "The bucket is not empty.")
            db.execute("DELETE FROM buckets WHERE id = ?", (row,))

    # Objects, as the JSON API uses them

    def page(
        self, bucket: str, prefix: str, start: str, limit: int, end: str = ""
    ) -> tuple[Item, ...]:
        """Objects by name, from the name `start` on, before `end`, that begin with `prefix`."""
        with self._index.read() as db:
            rows = db.execute(
                f"SELECT {_ITEM} FROM objects WHERE bucket_id = ? AND name >= ?"  # noqa: S608
                " AND substr(name, 1, ?) = ? AND (? = '' OR name < ?) ORDER BY name LIMIT ?",
                (
                    _bucket_row(db, bucket),
                    max(start, prefix),
                    *(len(prefix), prefix, end, end, limit),
                ),
            ).fetchall()
        return tuple(_item(bucket, row) for row in rows)

    def item(self, bucket: str, name: str, generation: int | None = None) -> Item:
        """An object; NOT_FOUND where it is not there, or has another generation."""
        with self._index.read() as db:
            found = _find(db, bucket, name)
        if found is None or generation not in {None, found.generation}:
            raise _no_object()
        return found

    def open(self, bucket: str, name: str, generation: int | None = None) -> tuple[Item, BinaryIO]:
        """An object and its bytes, which stay readable whatever becomes of it."""
        for _ in range(5):
            item = self.item(bucket, name, generation)
            with contextlib.suppress(FileNotFoundError):  # replaced between row and file
                return item, self._path(item.file).open("rb")
        raise NeighbourError("DATA_LOSS", "The file of a stored object is missing.")

    def put(
        self,
        bucket: str,
        name: str,
        content: Iterable[bytes],
        body: Mapping[str, Any],
        conditions: Conditions,
    ) -> Item:
        """Store an object, in the place of one of that name; all of it or none.

        Raises:
            NeighbourError: INVALID_ARGUMENT for a name that none can have, or where a checksum in
                `body` is not that of the content; NOT_FOUND; ABORTED.
        """
        check_name(name)
        with self._index.read() as db:
            _bucket_row(db, bucket)  # before a byte is taken
        path = self._new_upload(uuid.uuid4().hex)
        try:
            with path.open("ab") as stream:
                for piece in content:
                    stream.write(piece)
            return self._admit(path, bucket, name, body, conditions)
        finally:
            path.unlink(missing_ok=True)

    def remove(
        self, bucket: str, name: str, conditions: Conditions, generation: int | None
    ) -> None:
        """Remove an object; NOT_FOUND, ABORTED."""
        with self._index.write() as db:
            found = _find(db, bucket, name)
            if found is None or generation not in {None, found.generation}:
                raise _no_object()
            conditions.check(found.generation)
            db.execute(
                "DELETE FROM objects WHERE bucket_id = ? AND name = ?",
                (_bucket_row(db, bucket), name),
            )
            db.execute("INSERT INTO garbage VALUES (?)", (found.file,))
        self._collect_garbage()

    # Resumable uploads

    def begin(self, bucket: str, name: str, body: Mapping[str, Any], conditions: Conditions) -> str:
        """Begin an upload that comes in parts; gives its id."""
        check_name(name)
        number = uuid.uuid4().hex
        said = json.dumps([conditions.match, conditions.differ])
        self._forget_abandoned()
        with self._index.write() as db:
            found = _find(db, bucket, name)
            conditions.check(found.generation if found else 0)
            db.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, 0)",
                (number, bucket, name, json.dumps(dict(body)), said, time.time()),
            )
        self._new_upload(number)
        return number

    def received(self, number: str) -> Item | int:
        """The object that an upload has become, or how many bytes of it there are."""
        bucket, name, _, _, generation = self._upload(number)
        return self.item(bucket, name, generation) if generation else self._size(number)

    def extend(self, number: str, start: int, content: Iterable[bytes]) -> int:
        """Take a part that begins at byte `start`; gives how many bytes there are now.

        What was there already is passed over; what came before a connection broke stays.
        """
        self._upload(number)
        with (self._incoming / number).open("r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if start > end:
                raise NeighbourError(
                    "INVALID_ARGUMENT", f"The part begins at {start}; {end} bytes are there."
                )
            position = start
            for piece in content:
                fresh = piece[max(0, end - position) :] if position < end else piece
                position += len(piece)
                stream.write(fresh)
            stream.flush()
            return stream.seek(0, os.SEEK_END)

    def finish(self, number: str) -> Item:
        """Make an object of an upload that is complete."""
        bucket, name, body, conditions, generation = self._upload(number)
        if generation:
            return self.item(bucket, name, generation)
        item = self._admit(self._incoming / number, bucket, name, body, conditions)
        with self._index.write() as db:
            db.execute("UPDATE uploads SET generation = ? WHERE id = ?", (item.generation, number))
        return item

    def cancel(self, number: str) -> None:
        """Forget an upload."""
        self._upload(number)
        with self._index.write() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (number,))
        (self._incoming / number).unlink(missing_ok=True)

    def _upload(self, number: str) -> tuple[str, str, dict[str, Any], Conditions, int]:
        with self._index.read() as db:
            row = db.execute(
                "SELECT bucket, name, body, conditions, generation FROM uploads WHERE id = ?",
                (number,),
            ).fetchone()
        if row is None:
            raise NeighbourError("NOT_FOUND", "There is no such upload, or no more.")
        return row[0], row[1], json.loads(row[2]), Conditions(*json.loads(row[3])), row[4]

    def _size(self, number: str) -> int:
        try:
            return (self._incoming / number).stat().st_size
        except FileNotFoundError:
            raise NeighbourError("NOT_FOUND", "There is no such upload, or no more.") from None

    def _new_upload(self, number: str) -> Path:
        make_folder(self._incoming)
        path = self._incoming / number
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return path

    def _admit(
        self,
        path: Path,
        bucket: str,
        name: str,
        body: Mapping[str, Any],
        conditions: Conditions,
    ) -> Item:
        size, md5, crc32c = _sums(path)
        for field, sum_ in (("md5Hash", md5), ("crc32c", crc32c)):
            if body.get(field, sum_) != sum_:
                raise NeighbourError(
                    "INVALID_ARGUMENT", f"Provided {field} does not match the content."
                )
        kept = {k: v for k, v in body.items() if k not in {"md5Hash", "crc32c"}}
        file = uuid.uuid4().hex
        target = self._path(file)
        make_folder(target.parent)
        _flush(path)
        path.rename(target)
        _flush(target.parent)
        try:
            with self._index.write() as db:
                row, found = _bucket_row(db, bucket), _find(db, bucket, name)
                conditions.check(found.generation if found else 0)
                now = time.time()
                generation = max(int(now * 1_000_000), found.generation + 1 if found else 0)
                if found:
                    db.execute("INSERT INTO garbage VALUES (?)", (found.file,))
                made = (generation, json.dumps(kept), size, md5, crc32c, file, now)
                db.execute(
                    f"INSERT OR REPLACE INTO objects (bucket_id, name, {_COLUMNS})"  # noqa: S608
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (row, name, *made),
                )
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        self._collect_garbage()
        return Item(bucket, name, generation, kept, size, md5, crc32c, file, now)

    def _path(self, file: str) -> Path:
        return self._files / file[:2] / file

    def _collect_garbage(self) -> None:
        with self._index.read() as db:
            files = [file for (file,) in db.execute("SELECT file FROM garbage")]
        for file in files:
            self._path(file).unlink(missing_ok=True)
        if files:
            with self._index.write() as db:
                db.executemany("DELETE FROM garbage WHERE file = ?", [(f,) for f in files])

    def _forget_abandoned(self) -> None:
        oldest = time.time() - _ABANDONED
        with self._index.read() as db:
            old = db.execute("SELECT id FROM uploads WHERE started < ?", (oldest,)).fetchall()
        if old:
            with self._index.write() as db:
                db.executemany("DELETE FROM uploads WHERE id = ?", old)
        if self._incoming.is_dir():
            for entry in os.scandir(self._incoming):
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink()


def check_name(name: str) -> None:
    """Refuse, INVALID_ARGUMENT, a name that no object can have."""
    size = len(name.encode())
    if not 1 <= size <= _LARGEST_NAME or name in {".", ".."} or re.search(r"[\r\n\0]", name):
        raise NeighbourError(
            "INVALID_ARGUMENT",
            f"Invalid object name: 1 to {_LARGEST_NAME} bytes of UTF-8 without line breaks.",
        )


def pieces(stream: BinaryIO, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Bytes of a file, which is closed behind them."""
    with stream:
        stream.seek(start)
        while length is None or length > 0:
            piece = stream.read(_PIECE if length is None else min(_PIECE, length))
            if not piece:
                return
            length = None if length is None else length - len(piece)
            yield piece


_COLUMNS = "generation, body, size, md5, crc32c, file, created"
_ITEM = f"name, {_COLUMNS}"


def _item(bucket: str, row: tuple[Any, ...]) -> Item:
    name, generation, body, *rest = row
    return Item(bucket, name, generation, json.loads(body), *rest)


def _find(db: sqlite3.Connection, bucket: str, name: str) -> Item | None:
    row = db.execute(
        f"SELECT {_ITEM} FROM objects WHERE bucket_id = ? AND name = ?",  # noqa: S608
        (_bucket_row(db, bucket), name),
    ).fetchone()
    return None if row is None else _item(bucket, row)


def _bucket_row(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT id FROM buckets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_bucket()
    return int(row[0])


def _no_bucket() -> NeighbourError:
    return NeighbourError("NOT_FOUND", "The specified bucket does not exist.")


def _no_object() -> NeighbourError:
    return NeighbourError("NOT_FOUND", "No such object in this bucket.")


def _sums(path: Path) -> tuple[int, str, str]:
    md5, crc32c, size = hashlib.md5(usedforsecurity=False), Crc32c(), 0
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            size += len(piece)
            md5.update(piece)
            crc32c.update(piece)
    return size, base64.b64encode(md5.digest()).decode(), crc32c.encoded()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
