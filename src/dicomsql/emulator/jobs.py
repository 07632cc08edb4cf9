"""Work that goes on behind an operation: what a kind of it has to be able to do, and its runner.

An operation's row says what was asked for, its units what is left to do. A unit is struck off after
it was done, so that a kill at any moment leaves nothing undone; it may leave one that is done
twice. Which process works on an operation is written in its row too, as a lease that it has to
renew: whoever finds it expired goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dicomsql.emulator import events
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours.base import NeighbourError, Neighbours
from dicomsql.emulator.status import StatusError, rpc_code

__all__ = ["Context", "Job", "Runner", "UnitError", "Work"]

_LEASE = 5.0  # seconds without a sign of life after which another process goes on
_TICK = 1.0  # seconds between two signs of life
_AT_ONCE = 4  # operations that one process works on
_LISTED = 1000  # units that are written down together
_LARGEST_BATCH = 500
_SHORT, _LONG = 0.05, 0.5  # seconds: a batch that took less is doubled, one that took more halved
_GRACE = 10.0  # seconds that a batch under way gets to end when the runner is closed
_CANCELLED = {"code": 1, "message": "The operation was cancelled."}


class UnitError(Exception):
    """One unit of an operation failed, the others go on; the text says why, without a value."""


@dataclass(frozen=True, slots=True)
class Context:
    """What work acts on."""

    folder: Folder
    neighbours: Neighbours


@dataclass(frozen=True, slots=True)
class Job:
    """An operation that runs.

    Attributes:
        operation: its row in the index.
        version: `v1` or `v1beta1`.
        spec: what was asked for, as JSON; written when the operation began.
        success: units that are done, when the job was read.
        failure: units that failed.
        reason: why the last of them did.
    """

    operation: int
    version: str
    spec: dict[str, Any]
    success: int = 0
    failure: int = 0
    reason: str = ""


class Work(Protocol):
    """A kind of work, done unit by unit in the background; begun again after a restart.

    Every method may run once more for what it has done already, since a kill may come between the
    work and the note of it: the second time must end in the same state.
    """

    def units(self, context: Context, job: Job) -> Iterable[str]:
        """What there is to do, in pieces; asked once, and written down before the first is done.

        Raises:
            StatusError: the operation fails as a whole.
        """

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Do some units; gives for each why it failed, or None.

        Raises:
            StatusError: the operation fails as a whole; what was done stays.
        """

    def finish(self, context: Context, job: Job) -> None:
        """What is left when all units are done.

        Raises:
            StatusError: the operation ends with this error; what was done stays.
        """


class Runner:
    """Works on the operations of a folder in background threads, of which there are none when
    nothing is to be done. Safe to use from many threads.

    Args:
        kinds: the kinds of work by the names under which operations have them.
        delay: seconds that an operation lasts at least; its units are spread over them.
        log: gets a line for each operation that ends and for units that failed; without values.
    """

    def __init__(
        self,
        context: Context,
        kinds: Mapping[str, Work],
        *,
        delay: float = 0.0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.delay = delay
        self._context = context
        self._kinds = kinds
        self._log = log
        self._owner = uuid.uuid4().hex
        self._changed = threading.Condition()
        self._dispatcher: threading.Thread | None = None
        self._threads: dict[int, threading.Thread] = {}
        self._woken = False
        self._closed = False

    def wake(self) -> None:
        """Look for what is to be done; after an operation was begun, cancelled or found waiting."""
        with self._changed:
            if self._closed:
                return
            self._woken = True
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(
                    target=self._dispatch, name="emulator-jobs", daemon=True
                )
                self._dispatcher.start()
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on with what an earlier process left."""
        with self._context.folder.read() as db:
            left = _under_way(db)
        if left:
            self.wake()

    def wait(self, operation: int, seconds: float) -> None:
        """Return once an operation has ended, or is gone, or so much time is over."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._closed and (left := deadline - time.monotonic()) > 0:
                with self._context.folder.read() as db:
                    row = db.execute(
                        "SELECT 1 FROM operations WHERE id = ? AND ended IS NULL", (operation,)
                    ).fetchone()
                if row is None:
                    return
                self._changed.wait(min(left, _TICK))

    def close(self) -> None:
        """Stop after the units under way; another runner, now or later, goes on with the rest."""
        with self._changed:
            self._closed = True
            threads = [*self._threads.values()]
            if self._dispatcher is not None:
                threads.append(self._dispatcher)
            self._changed.notify_all()
        deadline = time.monotonic() + _GRACE
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _dispatch(self) -> None:
        """Renew the leases, and give operations that nobody works on to threads, while any are."""
        while True:
            with self._changed:
                if self._closed:
                    return
                self._woken = False
            try:
                left = self._assign()
            except (sqlite3.Error, EmulatorError, OSError):
                left = True  # tried again; whoever makes requests is told what is wrong
            with self._changed:
                if self._closed or self._woken:
                    continue
                if not left and not self._threads:
                    self._dispatcher = None
                    return
                self._changed.wait(_TICK)

    def _assign(self) -> bool:
        """Whether operations are under way, in whatever process."""
        with self._changed:
            ours = list(self._threads)
        with self._context.folder.read() as db:
            if not _under_way(db):
                return False
        now = time.time()
        with self._context.folder.write() as db:
            db.executemany(
                "UPDATE operations SET lease = ? WHERE id = ? AND owner = ? AND ended IS NULL",
                [(now + _LEASE, operation, self._owner) for operation in ours],
            )
            found = db.execute(
                "UPDATE operations SET owner = ?, lease = ? WHERE id IN (SELECT id FROM operations"
                " WHERE ended IS NULL AND (owner IS NULL OR lease < ?) ORDER BY id LIMIT ?)"
                " RETURNING id",
                (self._owner, now + _LEASE, now, _AT_ONCE - len(ours)),
            ).fetchall()
        with self._changed:
            for (operation,) in found:
                thread = threading.Thread(
                    target=self._work, args=(operation,), name="emulator-job", daemon=True
                )
                self._threads[operation] = thread
                thread.start()
        return True

    def _work(self, operation: int) -> None:
        try:
            self._run(operation)
        except _Stopped:
            self._leave(operation)
        except (sqlite3.Error, EmulatorError, OSError) as error:
            # neither done nor failed: tried again once the lease has expired
            self._say(f"operation {operation} was interrupted: {type(error).__name__}")
        finally:
            with self._changed:
                del self._threads[operation]
                self._woken = True
                self._changed.notify_all()

    def _leave(self, operation: int) -> None:
        """It is another's now, or nobody's; what was written after its end is removed."""
        with contextlib.suppress(sqlite3.Error, EmulatorError):  # then the next start sweeps
            with self._context.folder.read() as db:
                left = db.execute(
                    "SELECT 1 FROM operations WHERE id = ? AND ended IS NULL", (operation,)
                ).fetchone()
            if left is None:
                self._context.folder.remove_scratch(operation)

    def _run(self, operation: int) -> None:
        try:
            try:
                self._do_all(operation)
            except NeighbourError as error:
                raise StatusError(error.status, error.message) from error
            except (StatusError, _Stopped, sqlite3.OperationalError, EmulatorError):
                raise
            except Exception as error:
                # a defect of the work or of what it uses; the operation must not hang for it
                name = type(error).__name__
                where = traceback.extract_tb(error.__traceback__)[-1]
                self._say(f"operation {operation}: {name} in {where.filename}:{where.lineno}")
                raise StatusError("INTERNAL", f"The emulator failed: {name}.") from error
        except StatusError as error:
            failed = {"code": rpc_code(error.status), "message": error.message}
            self._end(operation, {**failed, **_details(error)})

    def _do_all(self, operation: int) -> None:
        state = self._state(operation)
        work = self._kinds.get(state.kind)
        if work is None:
            raise StatusError("UNIMPLEMENTED", f"This emulator cannot do {state.kind}.")
        events.settle(self._context, operation)
        if state.units is None:
            self._list(work, state)
            state = self._state(operation)
        size = 1
        while True:
            state = self._paced(operation)
            batch = self._batch(state, size)
            if not batch:
                break
            started = time.monotonic()
            outcomes = work.do(self._context, state.job, [name for _, name in batch])
            events.settle(self._context, operation)
            self._note(state, batch, outcomes)
            took = time.monotonic() - started
            size = min(size * 2, _LARGEST_BATCH) if took < _SHORT else size
            size = max(size // 2, 1) if took > _LONG else size
        work.finish(self._context, state.job)
        self._end(operation, None)

    def _list(self, work: Work, state: _State) -> None:
        """Write down what there is to do. A listing that was broken off is begun anew."""
        with self._context.folder.write() as db:
            db.execute("DELETE FROM units WHERE operation_id = ?", (state.job.operation,))
        count = 0
        names = iter(work.units(self._context, state.job))
        while chunk := list(itertools.islice(names, _LISTED)):
            self._state(state.job.operation)
            with self._context.folder.write() as db:
                self._hold(db, state.job.operation)
                db.executemany(
                    "INSERT INTO units VALUES (?, ?, ?)",
                    [(state.job.operation, count + n, name) for n, name in enumerate(chunk)],
                )
            count += len(chunk)
        with self._context.folder.write() as db:
            self._hold(db, state.job.operation)
            db.execute("UPDATE operations SET units = ? WHERE id = ?", (count, state.job.operation))

    def _paced(self, operation: int) -> _State:
        """The operation's state, once its next unit may be done."""
        while True:
            state = self._state(operation)
            wait = state.created + self.delay * state.share(1) - time.time()
            if wait <= 0:
                return state
            with self._changed:
                if not self._closed:
                    self._changed.wait(min(wait, _TICK))

    def _batch(self, state: _State, size: int) -> list[tuple[int, str]]:
        if self.delay:
            passed = (time.time() - state.created) / self.delay
            due = int(passed * (state.units or 0)) - state.done
            size = max(1, min(size, due))
        with self._context.folder.read() as db:
            return db.execute(
                "SELECT number, name FROM units WHERE operation_id = ? ORDER BY number LIMIT ?",
                (state.job.operation, size),
            ).fetchall()

    def _note(
        self, state: _State, batch: list[tuple[int, str]], outcomes: list[UnitError | None]
    ) -> None:
        """Strike off units that were done."""
        if len(outcomes) != len(batch):
            raise ValueError("work has to tell of each of its units")
        reasons = [str(outcome) for outcome in outcomes if outcome is not None]
        with self._context.folder.write() as db:
            self._hold(db, state.job.operation)
            db.executemany(
                "DELETE FROM units WHERE operation_id = ? AND number = ?",
                [(state.job.operation, number) for number, _ in batch],
            )
            db.execute(
                "UPDATE operations SET success = success + ?, failure = failure + ?,"
                " reason = coalesce(?, reason) WHERE id = ?",
                (
                    len(batch) - len(reasons),
                    len(reasons),
                    reasons[-1] if reasons else None,
                    state.job.operation,
                ),
            )
        for reason in reasons:
            self._say(f"operation {state.job.operation} ({state.kind}): a unit failed: {reason}")

    def _state(self, operation: int) -> _State:
        """The operation as it is now.

        Raises:
            _Stopped: it is not to be worked on any more here; what has to be said is said.
        """
        columns = "kind, version, spec, created, cancelled, units, success, failure, reason"
        with self._context.folder.read() as db:
            row = db.execute(  # our own columns
                f"SELECT {columns} FROM operations"  # noqa: S608
                " WHERE id = ? AND owner = ? AND ended IS NULL",
                (operation, self._owner),
            ).fetchone()
        if row is None:
            raise _Stopped
        kind, version, spec, created, cancelled, units, success, failure, reason = row
        if cancelled:
            events.settle(self._context, operation)
            self._end(operation, _CANCELLED)
            raise _Stopped
        if self._closed:
            with self._context.folder.write() as db:
                db.execute(
                    "UPDATE operations SET owner = NULL, lease = NULL WHERE id = ? AND owner = ?",
                    (operation, self._owner),
                )
            raise _Stopped
        job = Job(operation, version, json.loads(spec), success, failure, reason)
        return _State(job, kind, created, units)

    def _hold(self, db: sqlite3.Connection, operation: int) -> None:
        """Go on only while the operation is this runner's."""
        held = db.execute(
            "UPDATE operations SET lease = ? WHERE id = ? AND owner = ? AND ended IS NULL",
            (time.time() + _LEASE, operation, self._owner),
        )
        if not held.rowcount:
            raise _Stopped

    def _end(self, operation: int, error: dict[str, Any] | None) -> None:
        with self._context.folder.write() as db:
            self._hold(db, operation)
            for table in ("units", "untold"):
                db.execute(f"DELETE FROM {table} WHERE operation_id = ?", (operation,))  # noqa: S608
            kind, success, failure = db.execute(
                "UPDATE operations SET ended = ?, error = ?, owner = NULL, lease = NULL"
                " WHERE id = ? RETURNING kind, success, failure",
                (time.time(), None if error is None else json.dumps(error), operation),
            ).fetchone()
        self._context.folder.remove_scratch(operation)
        ended = "ended" if error is None else f"ended with error {error['code']}"
        self._say(f"operation {operation} ({kind}) {ended}: {success} done, {failure} failed")

    def _say(self, line: str) -> None:
        if self._log is not None:
            self._log(line)


@dataclass(frozen=True, slots=True)
class _State:
    """An operation under way: `units` is None until they are listed."""

    job: Job
    kind: str
    created: float
    units: int | None

    @property
    def done(self) -> int:
        return self.job.success + self.job.failure

    def share(self, more: int) -> float:
        """Which part of the work is done once so many more units are."""
        return min(1.0, (self.done + more) / self.units) if self.units else 1.0


class _Stopped(Exception):
    """Whoever works on an operation here has to leave it."""


def _under_way(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT 1 FROM operations WHERE ended IS NULL LIMIT 1").fetchone()
    return row is not None


def _details(error: StatusError) -> dict[str, Any]:
    return {"details": list(error.details)} if error.details else {}
