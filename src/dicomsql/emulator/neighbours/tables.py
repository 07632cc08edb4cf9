"""Datasets and tables in a folder: an SQLite file of names and new rows, Parquet files of the rest.

A load of many rows is one more file; a few rows wait in SQLite until there are enough of them for a
file. In either case they are in the table all at once, by one transaction. The columns of a table
may grow; what was written before they did reads as null in the new ones.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.emulator.neighbours.base import Column, Disposition, NeighbourError, TableName
from dicomsql.emulator.neighbours.cells import Misfit, arrow_schema, arrow_table, checked
from dicomsql.emulator.neighbours.columns import from_json, merged, to_json
from dicomsql.emulator.neighbours.database import Database, make_folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Snapshot", "Table", "Warehouse"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, created REAL NOT NULL,
    UNIQUE (project, name));
CREATE TABLE tables (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,
    name TEXT NOT NULL, body TEXT NOT NULL, columns TEXT NOT NULL,
    created REAL NOT NULL, modified REAL NOT NULL,
    UNIQUE (dataset_id, name));
CREATE TABLE parts (
    file TEXT PRIMARY KEY,
    table_id INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE INDEX parts_by_table ON parts (table_id);
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    table_id INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE,
    row TEXT NOT NULL);
CREATE INDEX waiting_by_table ON waiting (table_id);
CREATE TABLE loads (
    table_id INTEGER NOT NULL REFERENCES tables ON DELETE CASCADE,
    name TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (table_id, name));
CREATE TABLE jobs (
    project TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, columns TEXT NOT NULL,
    rows INTEGER NOT NULL, file TEXT NOT NULL, created REAL NOT NULL,
    PRIMARY KEY (project, id));
CREATE TABLE garbage (file TEXT PRIMARY KEY);
"""
_FEW = 500  # rows that wait in SQLite
_MANY = 4 * _FEW  # rows that wait until they become a file
_BATCH = 10_000
_REMEMBERED = 600.0  # seconds that the names of single rows' inserts are remembered
_KEPT = 24 * 3600.0  # seconds that a query's answer is kept


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        body: what was said of it when it was made.
        rows, size: how many, and their bytes.
        created, modified: seconds since 1970.
    """

    name: str
    body: dict[str, Any]
    columns: tuple[Column, ...]
    rows: int
    size: int
    created: float
    modified: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a table holds at one moment: files of rows, and rows that wait."""

    columns: tuple[Column, ...]
    files: tuple[Path, ...]
    waiting: tuple[dict[str, Any], ...]

    def new_rows(self) -> pa.Table:
        """The rows that wait."""
        return arrow_table(self.columns, self.waiting)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset."""

    name: str
    body: dict[str, Any]
    created: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A job that is done.

    Attributes:
        body: its resource.
        rows: how many there are in `file`.
    """

    body: dict[str, Any]
    columns: tuple[Column, ...]
    rows: int
    file: Path


class Warehouse:
    """The tables of one emulator's folder, which several processes may use."""

    def __init__(self, place: Path) -> None:
        self._files = place / "tables"
        self._index = Database(place / "bigquery.sqlite", _SCHEMA, _VERSION)
        self._swept = False

    def close(self) -> None:
        """Let go of the files."""
        self._index.close()

    # Tables, as exports and streams use them

    def check(self, name: TableName) -> None:
        """See `base.Tables`."""
        with self._index.read() as db:
            _dataset_row(db, name.project, name.dataset)

    def load(
        self,
        name: TableName,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        disposition: Disposition,
        *,
        once: str = "",
    ) -> None:
        """See `base.Tables`."""
        self.check(name)
        source = iter(rows)
        few = list(itertools.islice(source, _FEW))
        beyond = next(source, None)
        if beyond is None:
            try:
                few = [dict(row) for row in few]
                for row in few:
                    checked(columns, row)
            except Misfit as error:
                raise NeighbourError("INVALID_ARGUMENT", f"{error.column}: {error}") from None
            self._add(name, columns, disposition, once, few=few, part=None)
            return
        part = self._write(columns, itertools.chain(few, [beyond], source))
        try:
            self._add(name, columns, disposition, once, few=(), part=part)
        except BaseException:
            part.path.unlink(missing_ok=True)
            raise

    # as the JSON API uses them

    def add_dataset(self, project: str, name: str, body: Mapping[str, Any]) -> Dataset:
        """Make a dataset; ALREADY_EXISTS."""
        made = Dataset(name, dict(body), time.time())
        with self._index.write() as db:
            try:
                db.execute(
                    "INSERT INTO datasets (project, name, body, created) VALUES (?, ?, ?, ?)",
                    (project, name, json.dumps(made.body), made.created),
                )
            except sqlite3.IntegrityError:
                raise NeighbourError(
                    "ALREADY_EXISTS", f"Already Exists: Dataset {project}:{name}"
                ) from None
        return made

    def dataset(self, project: str, name: str) -> Dataset:
        """A dataset; NOT_FOUND."""
        with self._index.read() as db:
            row = db.execute(
                "SELECT name, body, created FROM datasets WHERE id = ?",
                (_dataset_row(db, project, name),),
            ).fetchone()
        return Dataset(row[0], json.loads(row[1]), row[2])

    def datasets(self, project: str, after: str, limit: int) -> list[Dataset]:
        """A project's datasets after a name."""
        with self._index.read() as db:
            rows = db.execute(
                "SELECT name, body, created FROM datasets WHERE project = ? AND name > ?"
                " ORDER BY name LIMIT ?",
                (project, after, limit),
            ).fetchall()
        return [Dataset(row[0], json.loads(row[1]), row[2]) for row in rows]

    def remove_dataset(self, project: str, name: str, contents: bool) -> None:
        """Remove a dataset; FAILED_PRECONDITION where it has tables and they may not go."""
        with self._index.write() as db:
            row = _dataset_row(db, project, name)
            tables = db.execute("SELECT id FROM tables WHERE dataset_id = ?", (row,)).fetchall()
            if tables and not contents:
                raise NeighbourError(
                    "FAILED_PRECONDITION", f"Dataset {project}:{name} is still in use"
                )
            for (table,) in tables:
                _discard(db, table)
            db.execute("DELETE FROM datasets WHERE id = ?", (row,))
        self._collect_garbage()

    def add_table(self, name: TableName, columns: Sequence[Column], body: dict[str, Any]) -> Table:
        """Make a table; NOT_FOUND for its dataset, ALREADY_EXISTS."""
        with self._index.write() as db:
            if _table_row(db, name) is not None:
                raise NeighbourError("ALREADY_EXISTS", f"Already Exists: Table {_shown(name)}")
            _make(db, name, columns, body)
        return self.table(name)

    def table(self, name: TableName) -> Table:
        """A table; NOT_FOUND."""
        with self._index.read() as db:
            row = _table_row(db, name)
            if row is None:
                raise _no_table(name)
            return _table(db, row)

    def tables(self, project: str, dataset: str, after: str, limit: int) -> list[Table]:
        """A dataset's tables after a name; NOT_FOUND."""
        with self._index.read() as db:
            parent = _dataset_row(db, project, dataset)
            rows = db.execute(
                "SELECT id FROM tables WHERE dataset_id = ? AND name > ? ORDER BY name LIMIT ?",
                (parent, after, limit),
            ).fetchall()
            return [_table(db, row) for (row,) in rows]

    def remove_table(self, name: TableName) -> None:
        """Remove a table; NOT_FOUND."""
        with self._index.write() as db:
            row = _table_row(db, name)
            if row is None:
                raise _no_table(name)
            _discard(db, row)
            db.execute("DELETE FROM tables WHERE id = ?", (row,))
        self._collect_garbage()

    def insert(self, name: TableName, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Add rows that fit the table, each with a name under which it is added only once."""
        now = time.time()
        with self._index.write() as db:
            row = _table_row(db, name)
            if row is None:
                raise _no_table(name)
            db.execute(
                "DELETE FROM loads WHERE table_id = ? AND name LIKE 'row %' AND at < ?",
                (row, now - _REMEMBERED),
            )
            fresh = []
            for number, values in rows:
                if number and not _first_time(db, row, f"row {number}", now):
                    continue
                fresh.append(values)
            _wait(db, row, fresh)
        self._settle(name)

    def snapshot(self, name: TableName) -> Snapshot:
        """What a table holds now; NOT_FOUND."""
        with self._index.read() as db:
            row = _table_row(db, name)
            if row is None:
                raise _no_table(name)
            (columns,) = db.execute("SELECT columns FROM tables WHERE id = ?", (row,)).fetchone()
            files = db.execute("SELECT file FROM parts WHERE table_id = ? ORDER BY rowid", (row,))
            paths = tuple(self._path(file) for (file,) in files)
            waiting = db.execute("SELECT row FROM waiting WHERE table_id = ? ORDER BY id", (row,))
            return Snapshot(
                from_json(json.loads(columns)),
                paths,
                tuple(json.loads(text) for (text,) in waiting),
            )

    @contextlib.contextmanager
    def answer(self) -> Iterator[Path]:
        """A file for the rows of an answer; it goes again unless it is kept."""
        path = self._new_file()
        try:
            yield path
        finally:
            if not self._is_kept(path):
                path.unlink(missing_ok=True)

    def keep(self, project: str, number: str, answer: Answer) -> None:
        """Keep a job and its answer; ALREADY_EXISTS."""
        now = time.time()
        try:
            with self._index.write() as db:
                db.execute(
                    "INSERT OR IGNORE INTO garbage SELECT file FROM jobs WHERE created < ?",
                    (now - _KEPT,),
                )
                db.execute("DELETE FROM jobs WHERE created < ?", (now - _KEPT,))
                texts = (json.dumps(answer.body), json.dumps(to_json(answer.columns)))
                db.execute(
                    "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (project, number, *texts, answer.rows, answer.file.stem, now),
                )
        except sqlite3.IntegrityError:
            raise NeighbourError(
                "ALREADY_EXISTS", f"Already Exists: Job {project}:{number}"
            ) from None
        self._collect_garbage()
        if not self._swept:
            self._swept = True
            self._remove_strays(now - _KEPT)

    def job(self, project: str, number: str) -> Answer:
        """A job and its answer; NOT_FOUND."""
        with self._index.read() as db:
            row = db.execute(
                "SELECT body, columns, rows, file FROM jobs WHERE project = ? AND id = ?",
                (project, number),
            ).fetchone()
        if row is None:
            raise NeighbourError("NOT_FOUND", f"Not found: Job {project}:{number}")
        return Answer(json.loads(row[0]), from_json(json.loads(row[1])), row[2], self._path(row[3]))

    def _add(
        self,
        name: TableName,
        columns: Sequence[Column],
        disposition: Disposition,
        once: str,
        *,
        few: Sequence[Mapping[str, Any]],
        part: _Part | None,
    ) -> None:
        """Put rows in the table, by one transaction."""
        with self._index.write() as db:
            row = _table_row(db, name)
            if row is None:
                row = _make(db, name, columns, {})
            if once and not _first_time(db, row, once, time.time()):
                if part is not None:
                    part.path.unlink(missing_ok=True)
                return
            wider = tuple(columns)
            if disposition is Disposition.TRUNCATE:
                _discard(db, row)
            else:
                held = _table(db, row)
                if disposition is Disposition.EMPTY and held.rows:
                    raise NeighbourError("ALREADY_EXISTS", f"Already Exists: Table {_shown(name)}")
                wider = merged(held.columns, columns)
            db.execute(
                "UPDATE tables SET columns = ?, modified = ? WHERE id = ?",
                (json.dumps(to_json(wider)), time.time(), row),
            )
            if part is not None:
                db.execute(
                    "INSERT INTO parts VALUES (?, ?, ?, ?)",
                    (part.path.stem, row, part.rows, part.path.stat().st_size),
                )
            _wait(db, row, few)
        self._settle(name)

    def _settle(self, name: TableName) -> None:
        """Make a file of the rows that wait, once there are many; and remove what nobody needs."""
        with self._index.read() as db:
            row = _table_row(db, name)
            waiting = 0 if row is None else _count_waiting(db, row)
        if waiting >= _MANY:
            self._make_part(name)
        self._collect_garbage()

    def _make_part(self, name: TableName) -> None:
        with self._index.write() as db:
            row = _table_row(db, name)
            if row is None:
                return
            table = _table(db, row)
            found = db.execute(
                "SELECT id, row FROM waiting WHERE table_id = ? ORDER BY id", (row,)
            ).fetchall()
            part = self._write(table.columns, (json.loads(text) for _, text in found))
            db.execute("DELETE FROM waiting WHERE table_id = ?", (row,))
            db.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?)",
                (part.path.stem, row, part.rows, part.path.stat().st_size),
            )

    def _write(self, columns: Sequence[Column], rows: Iterable[Mapping[str, Any]]) -> _Part:
        import pyarrow.parquet as pq

        path, count = self._new_file(), 0
        source = iter(rows)
        try:
            with path.open("wb") as stream:
                with pq.ParquetWriter(stream, arrow_schema(columns)) as writer:
                    while batch := list(itertools.islice(source, _BATCH)):
                        count += len(batch)
                        writer.write_table(arrow_table(columns, batch))
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return _Part(path, count)

    def _new_file(self) -> Path:
        make_folder(self._files)
        path = self._path(uuid.uuid4().hex)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        return path

    def _remove_strays(self, before: float) -> None:
        """Remove files that belong to nothing: of loads and answers that a kill broke off."""
        with self._index.read() as db:
            rows = db.execute(
                "SELECT file FROM parts UNION SELECT file FROM jobs UNION SELECT file FROM garbage"
            )
            known = {file for (file,) in rows}
        for path in self._files.glob("*.parquet"):
            with contextlib.suppress(FileNotFoundError):
                if path.stem not in known and path.stat().st_mtime < before:
                    path.unlink()

    def _is_kept(self, path: Path) -> bool:
        with self._index.read() as db:
            found = db.execute("SELECT 1 FROM jobs WHERE file = ?", (path.stem,)).fetchone()
        return found is not None

    def _path(self, file: str) -> Path:
        return self._files / f"{file}.parquet"

    def _collect_garbage(self) -> None:
        with self._index.read() as db:
            files = [file for (file,) in db.execute("SELECT file FROM garbage")]
        for file in files:
            self._path(file).unlink(missing_ok=True)
        if files:
            with self._index.write() as db:
                db.executemany("DELETE FROM garbage WHERE file = ?", [(f,) for f in files])


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    rows: int


def read_rows(answer: Answer, start: int, count: int) -> Iterator[tuple[tuple[Column, ...], Any]]:
    """Rows of a job's answer from number `start` on, in Arrow tables.

    Raises:
        NeighbourError: NOT_FOUND where the answer is kept no more.
    """
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(answer.file)
    except FileNotFoundError:
        raise NeighbourError("NOT_FOUND", "The answer of this job is kept no more.") from None
    with file:
        first = 0
        for group in range(file.num_row_groups):
            length = file.metadata.row_group(group).num_rows
            skip, first = max(0, start - first), first + length
            if count <= 0:
                return
            if skip >= length:
                continue
            table = file.read_row_group(group).slice(skip, count)
            count -= table.num_rows
            yield answer.columns, table


def _make(
    db: sqlite3.Connection, name: TableName, columns: Sequence[Column], body: Mapping[str, Any]
) -> int:
    now = time.time()
    cursor = db.execute(
        "INSERT INTO tables (dataset_id, name, body, columns, created, modified)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            _dataset_row(db, name.project, name.dataset),
            name.table,
            json.dumps(dict(body)),
            json.dumps(to_json(columns)),
            *(now, now),
        ),
    )
    return int(cursor.lastrowid or 0)


def _discard(db: sqlite3.Connection, table: int) -> None:
    """Take all rows out of a table."""
    db.execute("INSERT INTO garbage SELECT file FROM parts WHERE table_id = ?", (table,))
    db.execute("DELETE FROM parts WHERE table_id = ?", (table,))
    db.execute("DELETE FROM waiting WHERE table_id = ?", (table,))


def _wait(db: sqlite3.Connection, table: int, rows: Iterable[Mapping[str, Any]]) -> None:
    db.executemany(
        "INSERT INTO waiting (table_id, row) VALUES (?, ?)",
        [(table, json.dumps(dict(row), ensure_ascii=False)) for row in rows],
    )
    db.execute("UPDATE tables SET modified = ? WHERE id = ?", (time.time(), table))


def _first_time(db: sqlite3.Connection, table: int, name: str, now: float) -> bool:
    cursor = db.execute("INSERT OR IGNORE INTO loads VALUES (?, ?, ?)", (table, name, now))
    return cursor.rowcount == 1


def _table(db: sqlite3.Connection, row: int) -> Table:
    name, body, columns, created, modified = db.execute(
        "SELECT name, body, columns, created, modified FROM tables WHERE id = ?", (row,)
    ).fetchone()
    rows, size = db.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM parts WHERE table_id = ?",
        (row,),
    ).fetchone()
    waiting, bytes_ = db.execute(
        "SELECT count(*), coalesce(sum(length(row)), 0) FROM waiting WHERE table_id = ?", (row,)
    ).fetchone()
    read = from_json(json.loads(columns))
    return Table(name, json.loads(body), read, rows + waiting, size + bytes_, created, modified)


def _count_waiting(db: sqlite3.Connection, table: int) -> int:
    row = db.execute("SELECT count(*) FROM waiting WHERE table_id = ?", (table,)).fetchone()
    return int(row[0])


def _dataset_row(db: sqlite3.Connection, project: str, name: str) -> int:
    row = db.execute(
        "SELECT id FROM datasets WHERE project = ? AND name = ?", (project, name)
    ).fetchone()
    if row is None:
        raise NeighbourError("NOT_FOUND", f"Not found: Dataset {project}:{name}")
    return int(row[0])


def _table_row(db: sqlite3.Connection, name: TableName) -> int | None:
    """A table's row; None where it is not there. NOT_FOUND where its dataset is not."""
    row = db.execute(
        "SELECT id FROM tables WHERE dataset_id = ? AND name = ?",
        (_dataset_row(db, name.project, name.dataset), name.table),
    ).fetchone()
    return None if row is None else int(row[0])


def _no_table(name: TableName) -> NeighbourError:
    return NeighbourError("NOT_FOUND", f"Not found: Table {_shown(name)}")


def _shown(name: TableName) -> str:
    return f"{name.project}:{name.dataset}.{name.table}"
