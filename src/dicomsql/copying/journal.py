"""The journal of a COPY: an SQLite file that knows which instances are done.

A row is written once its instance is safe at the other side, so that a process which is killed at
any moment leaves a journal that says no more than is true. One COPY has it open at a time, which
a locked file beside it sees to (`.x.lock`): SQLite's own lock ends as soon as the process closes
the file anywhere else.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dicomsql.copying.locking import LockFile, TakenError
from dicomsql.copying.outcomes import Status
from dicomsql.errors import InterfaceError, OperationalError

if TYPE_CHECKING:
    import sqlite3

# How the name ends where none is given.
ENDING = ".copy.sqlite"
# What SQLite puts beside a database, by the ends of the names.
_BESIDE = ("-wal", "-shm", "-journal")

# A pipe that nobody writes to would be waited for.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
# How a database begins, and where its application is named (https://sqlite.org/fileformat.html).
_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_APPLICATION_AT = slice(68, 72)

# What tells our files from other databases, and how their tables are laid out.
_APPLICATION = 0x64735143
_LAYOUT = 1

_MAKE = (
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_LAYOUT}",
    "CREATE TABLE copies (kind TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL)",
    """CREATE TABLE instances (
        key TEXT PRIMARY KEY, path TEXT, size INTEGER, changed INTEGER, digest TEXT NOT NULL,
        study TEXT NOT NULL, series TEXT NOT NULL, instance TEXT NOT NULL,
        status TEXT NOT NULL, reason TEXT NOT NULL
    ) WITHOUT ROWID""",
)

# How the kinds of copies are called, for people.
_KINDS = {"in": "files into a store", "out": "instances into a folder", "between": "two stores"}

OTHER = "Name another file with journal '...', or journal 'off'."

# Why an entry no longer says that its instance is at the other side.
SUPERSEDED = "another of the same instance was to be put in its place"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of an instance.

    Attributes:
        key: the file's path (in), or UIDs and the target's path (out, between).
        path: of the file, None where there is none.
        size: its bytes.
        changed: when the file was last changed, in nanoseconds since the epoch.
        digest: SHA-256 of its bytes as 64 hexadecimal digits; empty where it is not known.
    """

    key: str
    status: Status
    path: str | None = None
    size: int | None = None
    changed: int | None = None
    digest: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    reason: str = ""


_values = attrgetter(*(f.name for f in fields(Entry)))
_NAMES = ", ".join(f.name for f in fields(Entry))
_FIND = f"SELECT {_NAMES} FROM instances WHERE key = ?"  # noqa: S608 - names of our own
_FIRST = "SELECT 1 FROM instances LIMIT 1"
_ALL = f"SELECT {_NAMES} FROM instances ORDER BY key"  # noqa: S608 - names of our own
_WRITE = (
    f"INSERT OR REPLACE INTO instances ({_NAMES}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' * len(fields(Entry)))})"
)
_INDEX = "CREATE INDEX IF NOT EXISTS by_instance ON instances (instance)"
_SUPERSEDE = (
    "UPDATE instances SET status = ?, reason = ? "
    "WHERE instance = ? AND series = ? AND study = ? AND status IN (?, ?, ?)"
)
_IN_PLACE = (Status.STORED, Status.PRESENT, Status.REPLACED)


@dataclass(slots=True)
class _Waiting:
    """Entries of one thread that are to be written."""

    rows: list[tuple[object, ...]]
    written: bool = False
    error: OperationalError | None = field(default=None)


class Journal:
    """An open journal; its methods may be called from any thread. Made by `open`.

    Attributes:
        path: of the file.
        is_new: no run before this one wrote in it.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        held: LockFile,
        *,
        is_new: bool,
        made: os.stat_result | None,
    ) -> None:
        self.path = path
        self.is_new = is_new
        self._held = held
        # The file, where this run made it.
        self._made = made
        self._connection = connection
        self._lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, kind: str, source: str, target: str) -> Journal:
        """Open a journal, or begin one where there is none.

        Args:
            kind: `in`, `out` or `between`.
            source, target: where instances come from and go to, as texts that are the same for
                every run that may go on with this journal.

        Raises:
            InterfaceError: it belongs to another copy or another process, is no journal, or cannot
                be written.
        """
        try:
            held = LockFile(_lock_path(path))
        except TakenError:
            raise _in_use(path) from None
        except OSError as error:
            raise _unwritable(path, error) from None
        try:
            made = _make_or_check(path)
            try:
                connection, is_new = _opened(path, (kind, source, target))
            except BaseException:
                _take_away(path, made)
                raise
        except BaseException:
            held.release()
            raise
        return cls(path, connection, held, is_new=is_new, made=made)

    def find(self, key: str) -> Entry | None:
        """What is known of the instance with that key; None where nothing is.

        Raises:
            OperationalError: the journal cannot be read any more.
        """
        import sqlite3

        try:
            with self._lock:
                row = self._connection.execute(_FIND, (_stored(key),)).fetchone()
        except sqlite3.Error as error:
            raise _broken(self.path, error) from None
        return _entry(row) if row is not None else None

    def entries(self) -> Iterator[Entry]:
        """All entries, by key; nothing else may use the journal in between.

        Raises:
            OperationalError: the journal cannot be read any more.
        """
        import sqlite3

        try:
            with self._lock, closing(self._connection.execute(_ALL)) as rows:
                for row in rows:
                    yield _entry(row)
        except sqlite3.Error as error:
            raise _broken(self.path, error) from None

    def write(self, entries: Iterable[Entry]) -> None:
        """Write entries, all of them or none; they are on the disk when it returns.

        What several threads write at the same time goes to the disk together, since each time
        takes as long as the disk does.

        Raises:
            OperationalError: they could not be written.
        """
        mine = _Waiting([tuple(map(_stored, _values(entry))) for entry in entries])
        if not mine.rows:
            return
        with self._queue_lock:
            self._queue.append(mine)
        with self._lock:
            if not mine.written and mine.error is None:
                with self._queue_lock:
                    together, self._queue = self._queue, []
                self._write(together)
        if mine.error is not None:
            raise mine.error

    def supersede(self, study: str, series: str, instance: str) -> None:
        """Have no entry say that an instance is at the other side; on the disk when it returns.

        It is called before what is there is replaced, so that the journal is true throughout.

        Raises:
            OperationalError: it could not be written.
        """
        import sqlite3

        values = (Status.SKIPPED, SUPERSEDED, instance, series, study, *_IN_PLACE)
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute(_INDEX)
                self._connection.execute(_SUPERSEDE, tuple(map(_stored, values)))
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                if not isinstance(error, sqlite3.Error):
                    raise
                raise _broken(self.path, error) from None

    def close(self) -> None:
        """Close it, and let other processes have it; may be called again.

        A file that this run made and that has no entry is taken away: nothing goes on from it.

        Raises:
            OperationalError: what was written may not be where it belongs.
        """
        import sqlite3

        with self._lock:
            made, self._made = self._made, None
            try:
                is_empty = made is not None and _is_empty(self._connection)
                self._connection.close()
                if is_empty:
                    # As long as it is locked, no other process has it.
                    _take_away(self.path, made)
            except sqlite3.Error as error:
                raise _broken(self.path, error) from None
            finally:
                self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, together: list[_Waiting]) -> None:
        """Write what several threads wait for in one transaction."""
        import sqlite3

        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_WRITE, [row for one in together for row in one.rows])
            self._connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for one in together:
                one.error = _broken(self.path, error)
            if not isinstance(error, sqlite3.Error):
                raise
            return
        for one in together:
            one.written = True


def files_of(path: Path) -> tuple[Path, ...]:
    """A journal's file and those that may be beside it."""
    beside_it = (path.with_name(path.name + ending) for ending in _BESIDE)
    return (path, *beside_it, _lock_path(path))


def _lock_path(path: Path) -> Path:
    # Two names of one file have one lock.
    real = path.resolve()
    return real.with_name(f".{real.name}.lock")


def _opened(path: Path, copy: tuple[str, str, str]) -> tuple[sqlite3.Connection, bool]:
    """The database, and whether it has no entry yet."""
    import sqlite3

    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    try:
        _begin(connection, path, copy)
        is_new = _is_empty(connection)
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from None
    except BaseException:
        connection.close()
        raise
    return connection, is_new


def _begin(connection: sqlite3.Connection, path: Path, copy: tuple[str, str, str]) -> None:
    """Take the journal for this process and this copy."""
    # Held until the connection is closed, or its process ends in whatever way.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    # Asked before the transaction, which is given a first page.
    ((pages,),) = connection.execute("PRAGMA page_count")
    connection.execute("BEGIN EXCLUSIVE")
    ((application,),) = connection.execute("PRAGMA application_id")
    if pages == 0:
        for statement in _MAKE:
            connection.execute(statement)
        _name(connection, copy)
    else:
        _check(connection, application, path, copy)
    connection.execute("COMMIT")
    # Only now is it known to be ours. By its name: closing a descriptor of it ends SQLite's lock.
    if hasattr(os, "geteuid") and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def _check(
    connection: sqlite3.Connection, application: int, path: Path, copy: tuple[str, str, str]
) -> None:
    """Make sure that a file which is there is the journal of this copy."""
    if application != _APPLICATION:
        raise InterfaceError(f"{path} is a database, but no journal of a COPY. {OTHER}")
    ((layout,),) = connection.execute("PRAGMA user_version")
    if layout != _LAYOUT:
        raise InterfaceError(
            f"The journal {path} is of another version of dicomsql (layout {layout}, not "
            f"{_LAYOUT}). {OTHER}"
        )
    if _is_empty(connection):
        # It says nothing of any copy, so that it may be that of another one.
        connection.execute("DELETE FROM copies")
        _name(connection, copy)
        return
    (found,) = connection.execute("SELECT kind, source, target FROM copies")
    kind, source, target = map(_text, found)
    if kind != copy[0]:
        whose = _KINDS.get(kind, kind)
        raise InterfaceError(f"The journal {path} is that of a copy of {whose}. {OTHER}")
    for what, was, now in (("from", source, copy[1]), ("to", target, copy[2])):
        if was != now:
            raise InterfaceError(
                f"The journal {path} is that of a copy {what} {was}, not {what} {now}. {OTHER}"
            )


def _name(connection: sqlite3.Connection, copy: tuple[str, str, str]) -> None:
    """Write down whose journal it is."""
    values = tuple(_stored(part) for part in copy)
    connection.execute("INSERT INTO copies VALUES (?, ?, ?)", values)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return connection.execute(_FIRST).fetchone() is None


def _take_away(path: Path, made: os.stat_result | None) -> None:
    """Take away the file that this run made, unless another is in its place, or none was made."""
    with suppress(OSError):
        if made is None or not os.path.samestat(path.lstat(), made):
            return
        for ending in ("", *_BESIDE):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _make_or_check(path: Path) -> os.stat_result | None:
    """Make the file with rights for its owner alone; leave one alone that is no journal.

    Returns: the file that was made; None where there was one.

    Raises:
        InterfaceError: it cannot be made, is no file or no journal, or is somebody else's.
    """
    try:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            handle = os.open(path, _OPEN)
        else:
            try:
                return os.fstat(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise InterfaceError(f"The journal {path} is no file. {OTHER}")
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise InterfaceError(f"The journal {path} belongs to another user. {OTHER}")
        begin = os.read(handle, _HEADER)
    finally:
        os.close(handle)
    # One that was killed while it was made is for SQLite to bring back to nothing.
    if not begin or path.with_name(f"{path.name}-journal").exists():
        return None
    if not begin.startswith(_MAGIC):
        raise InterfaceError(f"{path} is no journal of a COPY, or is damaged. {OTHER}")
    if int.from_bytes(begin[_APPLICATION_AT], "big") != _APPLICATION:
        raise InterfaceError(f"{path} is a database, but no journal of a COPY. {OTHER}")
    return None


def _unwritable(path: Path, error: OSError) -> InterfaceError:
    return InterfaceError(f"The journal {path} cannot be written: {error.strerror}. {OTHER}")


def _in_use(path: Path) -> InterfaceError:
    return InterfaceError(
        f"The journal {path} is in use by another COPY that runs. Wait for its end, or name "
        f"another file with journal '...'."
    )


def _unusable(path: Path, error: Exception) -> InterfaceError:
    """SQLite's failure to open, for people."""
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _in_use(path)
    if code in {"SQLITE_NOTADB", "SQLITE_CORRUPT"}:
        return InterfaceError(f"{path} is no journal of a COPY, or is damaged. {OTHER}")
    return InterfaceError(f"The journal {path} cannot be used: {error}. {OTHER}")


def _broken(path: Path, error: BaseException) -> OperationalError:
    """A failure in the middle of a copy, for people."""
    said = str(error) or type(error).__name__
    return OperationalError(f"The journal {path} cannot be used any more: {said}.")


def _stored(value: object) -> object:
    """A value as SQLite takes it: a path that is no text of Unicode as its bytes."""
    if not isinstance(value, str):
        return value
    if isinstance(value, Status):
        return value.value
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="surrogateescape")
    return value


def _text(value: object) -> str:
    """A text as it was before `_stored`."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return str(value)


def _entry(row: tuple[object, ...]) -> Entry:
    key, status, *rest = (_text(v) if isinstance(v, bytes) else v for v in row)
    return Entry(str(key), Status(str(status)), *rest)  # type: ignore[arg-type]
