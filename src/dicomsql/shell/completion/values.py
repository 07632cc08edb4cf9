"""Asks for values in the background: ids of places from servers, and what the engine has.

One thread asks, one question at a time, through the session. Whoever types waits for nothing: what
is not known yet is not offered, and comes when it is there. Nothing of a patient is asked for: only
resources whose document says that their ids may be offered (`x-dicomsql.offered`).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dicomsql.errors import ApiError, CancelledError, CredentialsError, EndpointError
from dicomsql.session import Stop

if TYPE_CHECKING:
    from dicomsql.session import Session

__all__ = ["Answer", "Listing", "Values"]

# Seconds for which an answer, and a failure, is taken to hold.
_LASTS = 300.0
_FAILURE_LASTS = 30.0
# Answers that are kept, ids that are asked for, and seconds that closing waits for the thread.
_KEPT = 200
_MOST = 1000
_PATIENCE = 2.0

_FUNCTIONS = """
    SELECT function_name, any_value(function_type), any_value(description),
        any_value(array_to_string(parameters, ', '))
    FROM duckdb_functions()
    WHERE function_type IN ('scalar', 'aggregate', 'table', 'macro', 'table_macro')
        AND regexp_full_match(function_name, '[a-z]\\w*')
        AND NOT regexp_matches(function_name, '^(pg|pragma|register|deregister)_')
    GROUP BY function_name ORDER BY function_name
"""
_LOCAL = """
    SELECT table_name, column_name, data_type FROM duckdb_columns()
    WHERE NOT internal ORDER BY table_name, column_index
"""


class Listing(NamedTuple):
    """The ids of a resource at a place.

    Attributes:
        resource: its full name.
        column: of its ids.
        bound: (name, value) of the parameters that the list needs.
    """

    resource: str
    column: str
    bound: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was learned.

    Attributes:
        values: in their order; empty where nothing could be learned.
        failure: why that is, in a few words.
    """

    values: tuple[Any, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    """Something to ask.

    Attributes:
        key: names it.
        ask: gives the values.
        version: of what is asked about; an answer of another one is old.
        lasting: it is not old for any other reason.
    """

    key: Hashable
    ask: Callable[[Stop], tuple[Any, ...]]
    version: Callable[[], int | None]
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    until: float
    version: int | None


class Values:
    """Values, as far as they are known.

    Parameters:
        session: what is asked through.
        arrived: is called, in the thread that asks, whenever something has become known.
    """

    def __init__(self, session: Session, arrived: Callable[[], None]) -> None:
        self._session = session
        self._arrived = arrived
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._wanted: deque[_Question] = deque()
        self._under_way: set[Hashable] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stop: Stop | None = None
        self._closed = False

    def ids(self, listing: Listing) -> Answer | None:
        """The ids of a resource; None while they are not known, and they are asked for then."""
        return self._known(
            _Question(listing, lambda stop: self._listed(listing, stop), self._writes)
        )

    def functions(self) -> tuple[tuple[str, str, str, str], ...]:
        """(name, type, description, parameters) of the engine's functions, as soon as known."""
        answer = self._known(_Question("functions", _functions, lambda: 0, lasting=True))
        return answer.values if answer is not None else ()

    def local(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """(name, type) of the columns of local tables and views, by name of the table."""
        session = self._session
        if session.local_version is None and session.settings.database is None:
            # There are none yet, and typing is no reason to start an engine.
            return {}
        answer = self._known(
            _Question("local", self._local, lambda: session.local_version, lasting=True)
        )
        return answer.values[0] if answer is not None and answer.values else {}

    def refresh(self) -> None:
        """Forget what is known of servers."""
        with self._changed:
            for key in [key for key in self._kept if isinstance(key, Listing)]:
                del self._kept[key]

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is asked for; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way or self._closed, seconds)

    def close(self) -> None:
        """End the thread, in the middle of a call, too; may be called again."""
        with self._changed:
            self._closed = True
            self._wanted.clear()
            self._under_way.clear()
            stop, thread = self._stop, self._thread
            self._changed.notify_all()
        if stop is not None:
            stop.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    # -- what is kept ----------------------------------------------------------------------------

    def _known(self, question: _Question) -> Answer | None:
        """The answer that is kept, also while a newer one is asked for."""
        key = question.key
        with self._changed:
            kept = self._kept.get(key)
            if not self._is_fresh(kept, question) and key not in self._under_way:
                self._want(question)
            return kept.answer if kept is not None else None

    def _is_fresh(self, kept: _Kept | None, question: _Question) -> bool:
        if kept is None:
            return False
        lasts = question.lasting and not kept.answer.failure
        return (lasts or time.monotonic() < kept.until) and kept.version == question.version()

    def _want(self, question: _Question) -> None:
        if not self._closed:
            self._under_way.add(question.key)
            self._wanted.append(question)
            self._start()
            self._changed.notify_all()

    def _writes(self) -> int:
        """Another number after each write of the session."""
        return self._session.calls_since_commit

    # -- the thread ------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            # What it waits for may be beyond anyone's reach (a name server): it holds up nobody.
            self._thread = threading.Thread(
                target=self._work, name="dicomsql-completion", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                question = self._wanted.popleft()
                self._stop = stop = Stop()
            version = question.version()
            answer = _asked(question.ask, stop)
            if version is None:
                # To ask has started what has versions.
                version = question.version()
            with self._changed:
                self._stop = None
                if self._closed:
                    return
                lasts = _FAILURE_LASTS if answer.failure else _LASTS
                self._kept[question.key] = _Kept(answer, time.monotonic() + lasts, version)
                self._kept.move_to_end(question.key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
                self._under_way.discard(question.key)
                self._changed.notify_all()
            self._arrived()

    # -- questions -------------------------------------------------------------------------------

    def _listed(self, listing: Listing, stop: Stop) -> tuple[str, ...]:
        # Names come from a document, and values go as parameters.
        column = '"' + listing.column.replace('"', '""') + '"'
        said = [f"{name} = :p{number}" for number, (name, _) in enumerate(listing.bound)]
        where = f" WHERE {' AND '.join(said)}" if said else ""
        sql = f"SELECT {column} FROM {listing.resource}{where} LIMIT {_MOST}"  # noqa: S608
        values = {f"p{n}": value for n, (_, value) in enumerate(listing.bound)}
        rows = self._rows(sql, values, stop)
        return tuple(sorted({str(row[0]) for row in rows if row[0] is not None}))

    def _local(self, stop: Stop) -> tuple[Any, ...]:
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for table, column, kind in self._rows(_LOCAL, {}, stop):
            found[str(table)] = (*found.get(str(table), ()), (str(column), str(kind)))
        return (found,)

    def _rows(self, sql: str, values: Mapping[str, object], stop: Stop) -> list[tuple[Any, ...]]:
        from dicomsql.cli.imports import import_arrow
        from dicomsql.language.parse import parse

        import_arrow()
        (statement,) = parse(sql)
        result = self._session.execute(statement, values or None, stop=stop, silent=True)
        try:
            rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
            if result.failure is not None:
                raise result.failure
            return rows
        finally:
            result.close()


def _functions(stop: Stop) -> tuple[Any, ...]:
    """The functions of an engine of its own: the session's may be busy, or not there yet."""
    import duckdb

    with duckdb.connect(":memory:") as engine:
        stop.when_cancelled(engine.interrupt)
        rows = engine.execute(_FUNCTIONS).fetchall()
        stop.forget(engine.interrupt)
    return tuple(tuple(str(value or "") for value in row) for row in rows)


def _asked(ask: Callable[[Stop], tuple[Any, ...]], stop: Stop) -> Answer:
    """The answer to a question; whoever types is not told more than that there is none."""
    try:
        return Answer(ask(stop))
    except ApiError as error:
        return Answer(failure=f"cannot be listed: {error.failure.status}")
    except CredentialsError:
        return Answer(failure="cannot be listed: no credentials")
    except EndpointError:
        return Answer(failure="cannot be listed: the server does not answer")
    except CancelledError:
        return Answer(failure="cancelled")
    except Exception as error:  # noqa: BLE001 - a prompt goes on, whatever a question ran into
        return Answer(failure=f"cannot be listed: {type(error).__name__}")
