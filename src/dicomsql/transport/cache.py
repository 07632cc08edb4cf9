"""Answers kept on disk to be used again, where the user asked for it (`SET cache = '10m'`).

They hold what the servers hold, patients' data included: the files are their owner's alone, bounded
in bytes and age, and a write to a server empties what was kept of it. Nothing is kept while the
cache is off. An answer is found by its method, URL, headers and who asked. Processes may share the
folder: files appear whole or not at all, what is damaged is not there, and an answer that was asked
for before the last write to its server does not count, whenever it was put down.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from dicomsql.config import default_cache_root
from dicomsql.transport.auth import origin_of
from dicomsql.transport.base import Request, Response, Transport

DEFAULT_BOUND = 1 << 30

# Begins each file; files of another version are not there.
_VERSION = 1
_KEPT_STATUSES = frozenset({200, 204})
# The headers that anybody looks at.
_KEPT_HEADERS = ("content-type", "warning")
# When the last write to a server ended, as the file's time.
_WRITTEN = ".written"
_PART = ".part"
# An answer larger than this part of the bound is not kept: it would push out all others.
_LARGEST = 4
# How far below the bound the oldest answers are removed.
_SPARE = 0.9
# Seconds after which a part that nobody finished is removed.
_ABANDONED = 3600.0
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """Where an answer is kept: a folder for the server's origin, a name for all else."""

    origin: str
    name: str


def key_of(request: Request, who: str) -> Key:
    """The key of a request's answer.

    Parameters:
        who: tells who asks from everybody else.
    """
    headers = sorted((name.lower(), value) for name, value in request.headers)
    told = json.dumps([request.method, request.url, headers, who])
    return Key(_origin_folder(request.base_url), _digest(told.encode()))


@dataclass(slots=True)
class Kept:
    """An answer that was kept; a `Response` whose body is there."""

    status: int
    headers: dict[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """The header's value, or an empty string."""
        return self.headers.get(name.lower(), "")

    def read(self) -> bytes:
        """The whole body."""
        return self.body

    def iter_bytes(self) -> Iterator[bytes]:
        """The body in one piece."""
        if self.body:
            yield self.body

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Answers:
    """The answers on disk. Not being able to keep one is no failure; it is asked for again.

    Parameters:
        folder: where they are; by default in the user's cache folder.
        bound: bytes that they may take in all, about.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        bound: int = DEFAULT_BOUND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder if folder is not None else default_cache_root() / "answers"
        self.bound = bound
        self._clock = clock
        self._lock = threading.Lock()
        self._size: int | None = None

    def now(self) -> float:
        """The time by which ages are told."""
        return self._clock()

    def find(self, key: Key, age: float) -> Kept | None:
        """An answer that was asked for at most `age` seconds ago, if it is whole."""
        folder = self.folder / key.origin
        try:
            data = (folder / key.name).read_bytes()
        except OSError:
            return None
        head, _, body = data.partition(b"\n")
        try:
            told = json.loads(head)
            asked = float(told["asked"])
            whole = (
                told["version"] == _VERSION
                and told["key"] == key.name
                and told["digest"] == _digest(body)
            )
            kept = Kept(int(told["status"]), dict(told["headers"]), body)
        except (ValueError, KeyError, TypeError):
            return None
        now = self._clock()
        # A clock that was put back makes ages that nobody can tell.
        if not whole or not now - age < asked <= now or asked <= self._last_write(folder):
            return None
        return kept

    def prepare(self, key: Key) -> bool:
        """Make the folder for a server's answers, before one is asked for; whether it is there.

        From then on a write of any process to that server is noted there.
        """
        try:
            for folder in (self.folder, self.folder / key.origin):
                folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
                if os.name == "posix":
                    found = folder.lstat()
                    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                        return False
                    folder.chmod(stat.S_IRWXU)
        except OSError:
            return False
        return True

    def keep(self, key: Key, kept: Kept, asked: float, age: float) -> None:
        """Keep an answer.

        Parameters:
            asked: when it was asked for.
            age: seconds after which its file may go.
        """
        folder = self.folder / key.origin
        head = {
            "version": _VERSION,
            "key": key.name,
            "asked": asked,
            "status": kept.status,
            "headers": kept.headers,
            "digest": _digest(kept.body),
        }
        data = json.dumps(head).encode() + b"\n" + kept.body
        if len(data) > self.bound // _LARGEST or not self._make_room(len(data)):
            return
        with suppress(OSError):
            # A file of mkstemp can be read by its owner alone.
            handle, name = tempfile.mkstemp(dir=folder, suffix=_PART)
            part = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                # The file's time is the one from which on it is of no use.
                os.utime(part, (asked + age, asked + age))
                part.replace(folder / key.name)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def forget(self, base_url: str) -> None:
        """Empty what was kept of a server, since something was written to it."""
        self._empty(self.folder / _origin_folder(base_url))

    def clear(self) -> tuple[int, int]:
        """Remove all; how many answers of how many bytes that were."""
        found = self.info()
        for folder in self._folders():
            self._empty(folder)
        return found

    def info(self) -> tuple[int, int]:
        """How many answers there are, and how many bytes they take."""
        sizes = [found.st_size for _, found in self._files() if found is not None]
        return len(sizes), sum(sizes)

    def sweep(self) -> None:
        """Remove what is too old to be of use."""
        self._make_room(0, look=True)

    def _empty(self, folder: Path) -> None:
        if not folder.is_dir():
            return
        with suppress(OSError):
            mark = folder / _WRITTEN
            mark.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
            now = int(self._clock() * _NANO)
            os.utime(mark, ns=(now, now))
        with suppress(OSError):
            for path in folder.iterdir():
                if path.name != _WRITTEN:
                    path.unlink(missing_ok=True)
        with self._lock:
            self._size = None

    def _last_write(self, folder: Path) -> float:
        try:
            return (folder / _WRITTEN).stat().st_mtime_ns / _NANO
        except FileNotFoundError:
            return float("-inf")
        except OSError:
            return float("inf")

    def _make_room(self, size: int, *, look: bool = False) -> bool:
        """Remove what is too old, and the oldest where the bound would be passed."""
        with self._lock:
            if self._size is not None and not look and self._size + size <= self.bound:
                self._size += size
                return True
            now = self._clock()
            left = []
            for path, found in self._files(parts=True):
                if found is None:
                    continue
                part = path.suffix == _PART
                if found.st_mtime < (now - _ABANDONED if part else now):
                    with suppress(OSError):
                        path.unlink()
                        continue
                left.append((found.st_mtime, found.st_size, path))
            total = sum(entry[1] for entry in left)
            if total + size > self.bound:
                for _, taken, path in sorted(left):
                    if total + size <= self.bound * _SPARE:
                        break
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                        total -= taken
            self._size = total + size
            return self._size <= self.bound

    def _folders(self) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if path.is_dir()]
        except OSError:
            return []

    def _files(self, *, parts: bool = False) -> Iterator[tuple[Path, os.stat_result | None]]:
        for folder in self._folders():
            with suppress(OSError):
                for path in folder.iterdir():
                    if path.name != _WRITTEN and (parts or path.suffix != _PART):
                        try:
                            yield path, path.stat()
                        except OSError:
                            yield path, None


class CachingTransport:
    """A `Transport` that looks among the kept answers first, for a statement that only reads.

    Parameters:
        inner: sends what was not found.
        age: seconds.
        who: tells who asks a request from everybody else; None where answers are not kept.
        found: is told of each request whose answer was found.
    """

    def __init__(
        self,
        inner: Transport,
        answers: Answers,
        age: float,
        who: Callable[[Request], str | None],
        found: Callable[[Request], None],
    ) -> None:
        self._inner = inner
        self._answers = answers
        self._age = age
        self._who = who
        self._found = found

    def send(self, request: Request, *, stream: bool = False) -> Response:
        """Send a request, unless its answer is here; bodies in pieces are never kept."""
        who = None if stream or request.method != "GET" or request.body else self._who(request)
        if who is None:
            return self._inner.send(request, stream=stream)
        key = key_of(request, who)
        kept = self._answers.find(key, self._age) if not request.fresh else None
        if kept is not None:
            self._found(request)
            return kept
        usable = self._answers.prepare(key)
        asked = self._answers.now()
        response = self._inner.send(request)
        if usable and response.status in _KEPT_STATUSES:
            headers = {name: response.header(name) for name in _KEPT_HEADERS}
            self._answers.keep(
                key, Kept(response.status, headers, response.read()), asked, self._age
            )
        return response

    def close(self) -> None:
        """Close what sends."""
        self._inner.close()


def _origin_folder(base_url: str) -> str:
    return _digest(repr(origin_of(base_url)).encode())[:32]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
