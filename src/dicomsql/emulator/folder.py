"""The folder that holds everything: an SQLite index, and one file for each instance.

What is stored is first a complete file, renamed into place and flushed, and only then a row; what
is deleted is first no row, and only then no file. So a kill at any moment leaves at worst a file
that nothing refers to. Nothing is cached, so that several processes can serve one folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from dicomsql.emulator.errors import EmulatorError

T = TypeVar("T")

INDEX = "index.sqlite"
INSTANCES = "instances"
INCOMING = "incoming"
SCRATCH = "scratch"
RESERVE = "reserve"

_APPLICATION_ID = 0x44434D51  # "DCMQ": another program's SQLite file is not ours to change
_VERSION = 3
_PATIENCE = 30.0  # seconds to wait for another process's transaction
_RESERVED = 2 * 1024 * 1024  # bytes kept for deletes
_BLOCK = 256 * 1024
_FLUSHERS = 8  # a disk writes many flushes at once for little more than one
_ABANDONED = 24 * 3600.0  # seconds after which no upload can still be under way

_SCHEMA = """
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL, location TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, policy TEXT,
    UNIQUE (project, location, name));
CREATE TABLE stores (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,
    name TEXT NOT NULL, body TEXT NOT NULL, policy TEXT,
    UNIQUE (dataset_id, name));
CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets ON DELETE CASCADE,
    name TEXT NOT NULL, version TEXT NOT NULL, method TEXT NOT NULL,
    kind TEXT NOT NULL, spec TEXT NOT NULL, response TEXT NOT NULL,
    created REAL NOT NULL, ended REAL, error TEXT,
    cancelled INTEGER NOT NULL DEFAULT 0,
    units INTEGER, success INTEGER NOT NULL DEFAULT 0, failure INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    owner TEXT, lease REAL,
    store_id INTEGER, study TEXT, series TEXT,
    UNIQUE (dataset_id, name));
CREATE INDEX operations_under_way ON operations (id) WHERE ended IS NULL;
CREATE TABLE units (
    operation_id INTEGER NOT NULL REFERENCES operations ON DELETE CASCADE,
    number INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (operation_id, number)) WITHOUT ROWID;
CREATE TABLE untold (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    operation_id INTEGER NOT NULL REFERENCES operations ON DELETE CASCADE,
    store_id INTEGER NOT NULL REFERENCES stores ON DELETE CASCADE,
    batch TEXT, action TEXT NOT NULL, kind TEXT NOT NULL, change TEXT NOT NULL);
CREATE INDEX untold_by_operation ON untold (operation_id);
CREATE TABLE studies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    store_id INTEGER NOT NULL REFERENCES stores ON DELETE CASCADE,
    uid TEXT NOT NULL, study_date TEXT NOT NULL, accession_number TEXT NOT NULL,
    referring_physician TEXT NOT NULL, patient_name TEXT NOT NULL, patient_id TEXT NOT NULL,
    name_tokens TEXT NOT NULL, summary TEXT NOT NULL,
    UNIQUE (store_id, uid));
CREATE INDEX IF NOT EXISTS studies_by_store ON studies (store_id);
CREATE INDEX studies_by_date ON studies (store_id, study_date);
CREATE INDEX studies_by_patient ON studies (store_id, patient_id);
CREATE INDEX studies_by_name ON studies (store_id, patient_name);
CREATE INDEX studies_by_accession ON studies (store_id, accession_number);
CREATE INDEX IF NOT EXISTS studies_by_physician ON studies (store_id, referring_physician);
CREATE INDEX IF NOT EXISTS studies_by_tokens ON studies (store_id, name_tokens);
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    study_id INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
    store_id INTEGER NOT NULL,
    uid TEXT NOT NULL, modality TEXT NOT NULL, summary TEXT NOT NULL,
    UNIQUE (study_id, uid));
CREATE INDEX series_by_store ON series (store_id);
CREATE INDEX series_by_uid ON series (store_id, uid);
CREATE INDEX IF NOT EXISTS series_by_modality ON series (store_id, modality);
CREATE TABLE instances (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    series_id INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
    study_id INTEGER NOT NULL, store_id INTEGER NOT NULL,
    uid TEXT NOT NULL, sop_class TEXT NOT NULL, transfer_syntax TEXT NOT NULL,
    file TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
    metadata_size INTEGER NOT NULL, stored REAL NOT NULL, summary TEXT NOT NULL,
    storage_class TEXT NOT NULL DEFAULT 'STANDARD', storage_class_time REAL, operation_id INTEGER,
    UNIQUE (series_id, uid));
CREATE INDEX instances_by_store ON instances (store_id);
CREATE INDEX instances_by_study ON instances (study_id);
CREATE INDEX instances_by_uid ON instances (store_id, uid);
CREATE TABLE metadata (
    instance_id INTEGER PRIMARY KEY REFERENCES instances ON DELETE CASCADE,
    json TEXT NOT NULL);
CREATE TABLE garbage (file TEXT PRIMARY KEY);
"""
_FIRST_TABLES = frozenset(
    {"datasets", "stores", "operations", "studies", "series", "instances", "metadata", "garbage"}
)
_SECOND_TABLES = _FIRST_TABLES | {"units"}
_TABLES = _SECOND_TABLES | {"untold"}

# What makes an index of version 1 one of this version; its operations did their work at once, and
# were only said to be under way until they were due.
_NEW = re.compile(
    r"(TABLE|INDEX)( IF NOT EXISTS)? (operations|operations_under_way|units|untold\w*"
    r"|studies_by_store|studies_by_physician|studies_by_tokens|series_by_modality)\b"
)
_FROM_FIRST = (
    "ALTER TABLE operations RENAME TO first_operations",
    *(part for part in _SCHEMA.split(";\n") if _NEW.search(part)),
    "INSERT INTO operations (id, dataset_id, name, version, method, kind, spec, response, created,"
    " ended, error, cancelled, units, success, store_id, study, series)"
    " SELECT id, dataset_id, name, version, method, '', '{}', response, created,"
    " coalesce(cancelled, min(due, (julianday('now') - 2440587.5) * 86400.0)),"
    " CASE WHEN cancelled IS NULL THEN NULL"
    ' ELSE \'{"code": 1, "message": "The operation was cancelled."}\' END,'
    " cancelled IS NOT NULL, units, units, store_id, study, series FROM first_operations",
    "DROP TABLE first_operations",
    "ALTER TABLE instances ADD COLUMN storage_class TEXT NOT NULL DEFAULT 'STANDARD'",
    "ALTER TABLE instances ADD COLUMN storage_class_time REAL",
    "ALTER TABLE instances ADD COLUMN operation_id INTEGER",
)
_FROM_SECOND = tuple(part for part in _SCHEMA.split(";\n") if " untold" in part)


class Folder:
    """An open folder. Safe to use from many threads.

    Args:
        root: made if it does not exist; an existing one has to be empty or an emulator's.

    Raises:
        EmulatorError: it is not ours, damaged, of a newer version or not writable. Nothing in it
            has then been changed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        _prepare(root)
        self.collect_garbage()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the index until the end of the block."""
        with self._connection() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that is committed unless the block raises."""
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # a full disk has ended it already
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def delete(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do what makes room, in a transaction; where the disk is full, with the room kept for it.

        Args:
            act: is called again where there was no room the first time.
        """
        try:
            with self.write() as db:
                return act(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL or not self._release():
                raise
        with self.write() as db:
            return act(db)

    def path(self, file: str) -> Path:
        """Where an instance's file stands."""
        return self.root / INSTANCES / file[:2] / f"{file}.dcm"

    @contextlib.contextmanager
    def incoming(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A new file to write an upload into; removed if the block raises."""
        path = self.root / INCOMING / uuid.uuid4().hex
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield path, stream
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def admit(self, upload: Path) -> str:
        """Move a complete upload among the instances, for good; the answer names the file."""
        file = uuid.uuid4().hex
        target = self.path(file)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        _flush(upload)
        upload.rename(target)
        _flush(target.parent)
        return file

    def admit_all(self, uploads: Sequence[Path]) -> list[str]:
        """`admit` for many files at once, whose flushes the disk may then put together."""
        files = [uuid.uuid4().hex for _ in uploads]
        targets = [self.path(file) for file in files]
        _flush_all(uploads)
        for upload, target in zip(uploads, targets, strict=True):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            upload.rename(target)
        _flush_all(sorted({target.parent for target in targets}))
        return files

    def collect_garbage(self) -> None:
        """Remove the files of deleted instances, and uploads that were never finished."""
        with self.read() as db:
            files = [file for (file,) in db.execute("SELECT file FROM garbage")]
        for file in files:
            self.path(file).unlink(missing_ok=True)
        if files:
            with self.write() as db:
                db.executemany("DELETE FROM garbage WHERE file = ?", [(f,) for f in files])
        _remove_old(self.root / INCOMING, frozenset())
        self._reserve()

    def scratch(self, operation: int) -> Path:
        """A place for what an operation keeps until it ends; made if it does not exist."""
        path = self.root / SCRATCH / str(operation)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def keep(self, path: Path, content: str) -> None:
        """Write a file in a scratch place, for good and all of it or nothing."""
        with self.incoming() as (part, stream):
            stream.write(content.encode())
        _flush(part)
        part.rename(path)
        _flush(path.parent)

    def remove_scratch(self, operation: int) -> None:
        """Remove what an operation kept."""
        shutil.rmtree(self.root / SCRATCH / str(operation), ignore_errors=True)

    def sweep(self) -> None:
        """Remove old files that no row refers to, left behind by a kill between file and row."""
        kept = [path for path in (self.root / SCRATCH).iterdir() if path.name.isdigit()]
        with self.read() as db:
            known = frozenset(f"{file}.dcm" for (file,) in db.execute("SELECT file FROM instances"))
            live = {n for (n,) in db.execute("SELECT id FROM operations WHERE ended IS NULL")}
        for directory in (self.root / INSTANCES).iterdir():
            _remove_old(directory, known)
        for path in kept:
            if int(path.name) not in live:
                self.remove_scratch(int(path.name))

    def close(self) -> None:
        """Close all connections; one that is in use is closed when it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _reserve(self) -> None:
        """Keep some room of the disk, if there is any, for deletes when there is none."""
        path = self.root / RESERVE
        if path.exists() or shutil.disk_usage(self.root).free < 8 * _RESERVED:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                for _ in range(_RESERVED // _BLOCK):
                    os.write(descriptor, bytes(_BLOCK))
            except OSError:
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def _release(self) -> bool:
        """Give up what is reserved; whether there was any."""
        try:
            (self.root / RESERVE).unlink()
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise EmulatorError(f"The emulator's folder {self.root} has been closed.")
            db = self._idle.pop() if self._idle else None
        if db is None:
            db = _connect(self.root / INDEX)
        try:
            yield db
        finally:
            with self._lock:
                keep = not self._closed and not db.in_transaction
                if keep:
                    self._idle.append(db)
            if not keep:
                db.close()


def _connect(index: Path) -> sqlite3.Connection:
    # a connection goes from thread to thread through the pool, but is never in two at once
    db = sqlite3.connect(index, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _prepare(root: Path) -> None:
    """Make or check the folder."""
    index = root / INDEX
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not index.exists():
            strangers = sorted(path.name for path in root.iterdir())
            if strangers and not index.exists():
                raise EmulatorError(
                    f"The folder {root} holds other things ({', '.join(strangers[:3])}) and no"
                    f" {INDEX}. Give an empty folder, or restore the index from a backup."
                )
            os.close(os.open(index, os.O_CREAT | os.O_RDWR, 0o600))
        # Asked before SQLite opens it, which takes an empty file for a new database; and first for
        # the files, since another process may fill a new folder meanwhile, index before files.
        if _has_files(root) and index.stat().st_size == 0:
            raise _damaged(root)
        if not os.access(root, os.W_OK) or not os.access(index, os.W_OK):
            raise EmulatorError(f"The folder {root} is not writable for this user.")
        _prepare_index(root, index)
        for name in (INSTANCES, INCOMING, SCRATCH):
            (root / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise EmulatorError(f"The folder {root} cannot be used: {reason}.") from error


def _prepare_index(root: Path, index: Path) -> None:
    try:
        with contextlib.closing(_connect(index)) as db:
            _switch_to_wal(db, root, index)
            db.execute("BEGIN IMMEDIATE")
            tables = {n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if steps := _steps(version, tables):
                for statement in steps:
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_VERSION}")
                db.execute("COMMIT")
                return
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise EmulatorError(
            f"The index {index} cannot be read ({error}). It was left as it is; restore it from"
            " a backup, or give another folder."
        ) from error
    complete = tables.issuperset(_TABLES) and (
        (root / INSTANCES).is_dir() or not _has_instances(index)
    )
    if not complete:
        raise _damaged(root)


def _steps(version: int, tables: Collection[str]) -> Sequence[str]:
    """What makes an index of this version of one that has these tables; nothing if it is one."""
    if not tables:
        return _SCHEMA.split(";\n")
    if version == 1 and _FIRST_TABLES.issubset(tables):
        return _FROM_FIRST
    if version == 2 and _SECOND_TABLES.issubset(tables):
        return _FROM_SECOND
    return ()


def _damaged(root: Path) -> EmulatorError:
    return EmulatorError(
        f"The folder {root} is damaged: its index or its folder of instances is not complete."
        " It was left as it is; restore it from a backup, or give another folder."
    )


def _has_files(root: Path) -> bool:
    """Whether files of instances are there; an index without tables is then no new one."""
    return any((root / INSTANCES).glob("*/*.dcm"))


def _switch_to_wal(db: sqlite3.Connection, root: Path, index: Path) -> None:
    """Check whose file it is before the first write to it, then turn on write-ahead logging."""
    files = _has_files(root)
    # In one transaction, since another process may fill a new index between two of the questions.
    db.execute("BEGIN")
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute("ROLLBACK")
    if empty and files:
        raise _damaged(root)
    if application != _APPLICATION_ID and not (empty and application == 0):
        raise EmulatorError(f"The file {index} belongs to another program. Give another folder.")
    if version > _VERSION:
        raise EmulatorError(
            f"The folder's index {index} has version {version}; this emulator knows versions up to"
            f" {_VERSION}. Use the newer release that made it, or give another folder."
        )
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # two processes that open a new folder at once: the busy timeout does not cover this
            busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _has_instances(index: Path) -> bool:
    with contextlib.closing(_connect(index)) as db:
        return db.execute("SELECT 1 FROM instances LIMIT 1").fetchone() is not None


def _remove_old(directory: Path, known: frozenset[str]) -> None:
    oldest = time.time() - _ABANDONED
    for entry in os.scandir(directory):
        if entry.name not in known:
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()


def _flush_all(paths: Sequence[Path]) -> None:
    with ThreadPoolExecutor(max_workers=min(_FLUSHERS, max(1, len(paths)))) as pool:
        list(pool.map(_flush, paths))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
