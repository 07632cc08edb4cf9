"""Queries in processes of their own, which can be ended: by time, by the client, by the server.

A process that is done with a query is kept for the next one, as it takes a second to begin.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.emulator.neighbours.base import Column, NeighbourError, TableName
from dicomsql.emulator.neighbours.columns import from_json, to_json
from dicomsql.emulator.neighbours.query import Question
from dicomsql.emulator.neighbours.running import exceeded
from dicomsql.emulator.neighbours.tables import Snapshot

__all__ = ["Found", "Queries"]

_AT_ONCE = 2  # queries; others wait, and so does their memory
_MEMORY = 2 << 30  # bytes of a query, where the system limits what a process takes
_LONGEST = 300.0  # seconds of a query
_TRIES = 5  # at a table whose files are replaced while they are read
_LOOK = 0.2  # seconds between looks at whether the client is still there
_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from dicomsql.emulator.neighbours.running import main; main()"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found; its rows are in the file that was named."""

    columns: tuple[Column, ...]
    rows: int


class Queries:
    """The processes that run the queries of one emulator.

    Args:
        memory: bytes that each may take.
    """

    def __init__(self, memory: int = _MEMORY) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._places = threading.Semaphore(_AT_ONCE)
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._closed = False

    def run(
        self,
        question: Question,
        snapshot: Callable[[TableName], Snapshot],
        path: Path,
        *,
        dry: bool = False,
        seconds: float = _LONGEST,
        gone: Callable[[], bool] = lambda: False,
    ) -> Found:
        """Run a query; its rows go to a Parquet file.

        Args:
            snapshot: gives what a table holds.
            path: the file, which is there.
            dry: no rows, only the columns.
            seconds: after which it is ended; at most five minutes.
            gone: whether nobody waits for the answer any more.

        Raises:
            NeighbourError: INVALID_ARGUMENT for a query that is none or needs too much,
                NOT_FOUND for a table, UNIMPLEMENTED for what is not emulated, UNAVAILABLE
                where the emulator ends.
        """
        seconds = min(seconds, _LONGEST)
        watch = _Watch(time.monotonic() + seconds, seconds, gone, lambda: self._closed)
        while not self._places.acquire(timeout=_LOOK):
            watch.look()
        try:
            asked = {
                "sql": question.sql,
                "project": question.project,
                "dataset": question.dataset,
                "parameters": [dict(parameter) for parameter in question.parameters],
                "path": str(path),
                "dry": dry,
            }
            with self._process() as process:
                return _ask(process, asked, snapshot, watch)
        finally:
            self._places.release()

    def close(self) -> None:
        """End all that runs; what is asked from now on is refused."""
        with self._lock:
            self._closed = True
            every = [*self._idle, *self._busy]
            self._idle.clear()
        for process in every:
            process.end()

    @contextlib.contextmanager
    def _process(self) -> Iterator[_Process]:
        """A process; it is kept where it could take another question."""
        with self._lock:
            if self._closed:
                raise _ending()
            process = self._idle.pop() if self._idle else _Process(self._memory)
            self._busy.add(process)
        try:
            yield process
        except BaseException:
            process.fresh = process.fresh and not process.asked
            raise
        finally:
            with self._lock:
                self._busy.discard(process)
                keep = process.fresh and not self._closed
                if keep:
                    self._idle.append(process)
            if not keep:
                process.end()


class _Process:
    """A process that runs queries.

    Attributes:
        asked: whether it was told something that it has not answered in full.
        fresh: whether it can take another question.
    """

    def __init__(self, memory: int) -> None:
        self.asked = False
        self.fresh = True
        self._told: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, json.dumps(sys.path), str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Arrow's own allocator takes more of the memory than it uses
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            start_new_session=True,  # what interrupts us in a terminal is ours to handle
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, message: dict[str, Any]) -> None:
        """Tell it something, which it answers."""
        assert self._process.stdin is not None
        self.asked = True
        with contextlib.suppress(OSError):  # its end is read
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, watch: _Watch) -> dict[str, Any]:
        """What it says next; empty where it has ended."""
        while True:
            try:
                line = self._told.get(timeout=_LOOK)
            except queue.Empty:
                watch.look()
                continue
            found: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
            return found

    def end(self) -> None:
        """Kill it, if it is there, and let go of it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(line)
        self._told.put(b"")


@dataclass(frozen=True, slots=True)
class _Watch:
    """What ends a query from outside."""

    until: float
    seconds: float
    gone: Callable[[], bool]
    closed: Callable[[], bool]

    def look(self) -> None:
        """Raise the reason, if there is one."""
        if self.closed():
            raise _ending()
        if time.monotonic() > self.until:
            raise NeighbourError(
                "INVALID_ARGUMENT",
                f"The query timed out: it took more than {self.seconds:g} seconds.",
            )
        if self.gone():
            raise NeighbourError("CANCELLED", "The client is gone.")


def _ask(
    process: _Process,
    asked: dict[str, Any],
    snapshot: Callable[[TableName], Snapshot],
    watch: _Watch,
) -> Found:
    for _ in range(_TRIES):
        process.tell(asked)
        found = process.answer(watch)
        if "tables" in found:
            tables = {name: snapshot(TableName(*of)) for name, of in found["tables"].items()}
            process.tell({"tables": {name: _told(table) for name, table in tables.items()}})
            found = process.answer(watch)
        if not found:
            watch.look()
            raise NeighbourError(*exceeded())
        process.asked = False
        process.fresh = not found["worn"]
        if "error" in found:
            status, message = found["error"]
            raise NeighbourError(status, message)
        if "changed" not in found:
            return Found(from_json(found["columns"]), found["rows"])
    raise NeighbourError("UNAVAILABLE", "The table changes; ask again.")


def _told(table: Snapshot) -> dict[str, Any]:
    return {
        "columns": to_json(table.columns),
        "files": [str(path) for path in table.files],
        "waiting": table.waiting,
    }


def _ending() -> NeighbourError:
    return NeighbourError("UNAVAILABLE", "The emulator ends.")
