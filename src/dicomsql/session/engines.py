"""The engines of a session: one for what is bound to a connection, and a pool for all else.

A query that needs nothing of one connection alone runs on an engine out of the pool, beside others,
and keeps it until its result is read or closed. What writes local tables, or may depend on TEMP
objects, variables or an open transaction, runs on the main engine, one statement after the other;
a result that is open there is kept before the next one (`OpenResult.spool`).
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.engine.shared import Hold, is_shared
from dicomsql.errors import (
    CancelledError,
    DatabaseError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
)
from dicomsql.session.turns import Turn

if TYPE_CHECKING:
    from dicomsql.config import Settings
    from dicomsql.engine.duck import Engine, Values
    from dicomsql.engine.objects import Functions, Objects
    from dicomsql.planning.answers import SettingPlan
    from dicomsql.session.results import OpenResult
    from dicomsql.session.stopping import Stop

# Questions about columns, which read no row.
_DESCRIBES = re.compile(r"\(\s*DESCRIBE\b", re.IGNORECASE)

# Engines that are kept while no statement uses them.
_IDLE = 16


class Engines:
    """The engines of a session, started when one is first needed. Safe for many threads.

    Attributes:
        version: grows whenever plans that were made before may be wrong: what statements made, and
            settings of the engine, have changed.
    """

    def __init__(self, settings: Settings, on_opened: Callable[[], None]) -> None:
        self._settings = settings
        self._set_version = 0
        # A database with a name is kept as long as somebody may use it, and was made by others.
        self._name = _named(settings.database)
        self._let_go: Callable[[], object] | None = None
        if is_shared(self._name):
            self._let_go = finalize = weakref.finalize(self, Hold(self._name).release)
            finalize.atexit = False
        self._on_opened = on_opened
        self._main: Engine | None = None
        self._idle: list[Engine] = []
        self._leased: set[Engine] = set()
        self._closed = False
        self._lock = threading.RLock()
        # Held by the statement that runs on the main engine.
        self._turn = Turn()
        # Whose statement that is; the lock is for who would stop it, and no other.
        self._watch = threading.RLock()
        self._user: Stop | None = None
        self._open: OpenResult | None = None
        # What statements have made, and what the database had seen made by then.
        self._objects: tuple[int, Objects] | None = None
        self._functions: tuple[int, Functions] | None = (
            None if self._let_go is not None else (0, ())
        )
        # What the open transaction may have made or dropped: anything with a name; macros.
        self._made = self._made_functions = False
        # Settings of the engine that statements have changed, in their order; and how many of
        # these changes each engine of the pool has seen.
        self._changed: list[tuple[str, object | None]] = []
        self._seen: dict[Engine, int] = {}

    # -- the main engine -------------------------------------------------------------------------

    @property
    def version(self) -> int:
        main = self._main
        return self._set_version + (main.database.version if main is not None else 0)

    @property
    def started(self) -> bool:
        """Whether there is an engine already."""
        return self._main is not None

    @property
    def main(self) -> Engine:
        """The main engine; whoever runs statements on it has to `hold` it."""
        with self._lock:
            if self._closed:
                raise InterfaceError("The connection is closed.")
            if self._main is None:
                from dicomsql.engine.duck import Engine

                self._on_opened()
                self._main = Engine(
                    self._name,
                    show_values=self._settings.show_phi,
                    files=self._settings.files,
                )
            return self._main

    @contextmanager
    def hold(self, stop: Stop) -> Iterator[Engine]:
        """The main engine, for one statement alone; a result that is open on it is kept first.

        Raises:
            CancelledError: the statement was stopped while it waited.
        """
        with self._turn.taken(lambda: _check(stop)):
            engine = self.main
            before = self._user
            try:
                # Until it is kept, the engine works for the result: who stops one of the two does
                # not stop the other.
                if self._open is not None:
                    self._open.spool(stop)
                with self._watch:
                    self._open, self._user = None, stop
                    engine.stopped = stop.flag
                yield engine
            finally:
                with self._watch:
                    self._user = before
                if before is None and self._open is not None:
                    before = self._open.stop
                engine.stopped = before.flag if before is not None else None

    def keep_open(self, opened: OpenResult) -> None:
        """A result of the main engine goes on to be read; the caller holds the engine."""
        self._open = opened

    def interrupt(self, stop: Stop) -> None:
        """Stop what the main engine computes, if it is for this statement."""
        with self._watch:
            main, opened = self._main, self._open
            read = self._user is None and opened is not None and opened.stop is stop
            if main is not None and (read or self._user is stop):
                main.interrupt()

    # -- the pool --------------------------------------------------------------------------------

    def lease(self, stop: Stop) -> Engine:
        """An engine for one statement that only reads, until it is given back."""
        main = self.main
        with self._lock:
            engine = self._idle.pop() if self._idle else None
            changed = list(self._changed)
        if engine is None:
            engine = main.sibling()
        try:
            for name, value in changed[self._seen.get(engine, 0) :]:
                engine.set(name, value)
        except BaseException:
            engine.close()
            raise
        with self._lock:
            self._seen[engine] = len(changed)
            self._leased.add(engine)
            closed = self._closed
        if closed:
            self.give_back(engine, usable=False)
            raise InterfaceError("The connection is closed.")
        engine.stopped = stop.flag
        return engine

    def give_back(self, engine: Engine, *, usable: bool) -> None:
        """A statement has ended.

        Args:
            usable: nothing of it is left on the engine.
        """
        engine.stopped = None
        with self._lock:
            self._leased.discard(engine)
            keep = usable and not self._closed and len(self._idle) < _IDLE
            if keep:
                self._idle.append(engine)
            else:
                self._seen.pop(engine, None)
        if not keep:
            engine.close()

    # -- what statements made --------------------------------------------------------------------

    def objects(self, stop: Stop) -> Objects:
        """What statements have made so far."""
        from dicomsql.engine.objects import NOTHING

        if self._let_go is None and self.version == self._set_version:
            return NOTHING
        while (found := self._known_objects()) is None:
            # While another statement runs here, it has found out before it began.
            with self._turn.taken(lambda: _check(stop) or self._is_known()) as mine:
                if mine:
                    return self._known_objects() or self._asked_objects(stop)
        return found

    def _is_known(self) -> bool:
        return self._known_objects() is not None

    def _known_objects(self) -> Objects | None:
        """What is known of them, if nobody has made or dropped anything since."""
        known = self._objects
        if known is None or known[0] != self.main.database.made:
            return None
        return known[1]

    def _asked_objects(self, stop: Stop) -> Objects:
        from dicomsql.engine.database import OUR_FUNCTIONS
        from dicomsql.engine.objects import NOTHING, functions_of, objects_of

        with self.hold(stop) as engine:
            if self.aborted:
                # Nothing can be asked now; a statement that needs to know it fails anyway.
                return self._objects[1] if self._objects is not None else NOTHING
            # Who changes something while it is asked for counts up once that is there.
            made, changed = engine.database.made, engine.database.functions
            known = self._functions
            if known is None or known[0] != changed:
                known = self._functions = (changed, functions_of(engine, OUR_FUNCTIONS))
            found = objects_of(engine, known[1])
            self._objects = made, found
            return found

    def changes(self, *, objects: bool, sql: str = "") -> None:
        """A statement has changed something; the caller holds the main engine.

        Args:
            objects: tables, or others, may have been made or dropped.
            sql: the statement; without one they may be of any kind.
        """
        from dicomsql.engine.objects import makes_functions

        functions = objects and (not sql or makes_functions(sql))
        if self.in_transaction:
            self._made = self._made or objects
            self._made_functions = self._made_functions or functions
        self.main.database.changed(objects=objects, functions=functions)

    def _transaction_ended(self) -> None:
        """What it has done is there for others now, or is gone."""
        self.main.database.changed(objects=self._made, functions=self._made_functions)
        self._made = self._made_functions = False

    def binds(self, sql: str, stop: Stop) -> bool:
        """Whether a text has to run on the main engine."""
        return self.objects(stop).bind(sql, in_transaction=self.in_transaction)

    def ask(self, sql: str, values: Values, spare: Callable[[], Engine], stop: Stop) -> object:
        """The value of an expression, or of a question about columns, for planning.

        Args:
            spare: gives an engine of the pool.
        """
        if not self.binds(sql, stop):
            return spare().value(sql, values)
        with self.hold(stop) as engine:
            self.check_usable()
            if self.in_transaction and _DESCRIBES.search(sql):
                from dicomsql.engine.questions import asked_apart

                return asked_apart(engine, spare(), self.objects(stop).named_in(sql), sql, values)
            return engine.value(sql, values)

    def set(self, plan: SettingPlan, stop: Stop) -> None:
        """Change a setting of the engines."""
        from dicomsql.session.settings import check_engine_setting

        name = plan.name.lower()
        with self.hold(stop) as engine:
            self.check_usable()
            check_engine_setting(plan, engine.settings())
            engine.set(name, plan.value)
            with self._lock:
                self._changed.append((name, plan.value))
                self._set_version += 1
            # It may be the schemas that names are looked for in.
            self._objects = None

    # -- transactions ----------------------------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether changes of local tables are not committed yet."""
        return self._main is not None and self._main.in_transaction

    @property
    def aborted(self) -> bool:
        """Whether an error has ended the open transaction, of which only `rollback` is left."""
        return self._main is not None and self._main.aborted

    def begin(self, stop: Stop) -> None:
        """Begin a transaction of the local tables.

        Raises:
            ProgrammingError: there is one.
        """
        with self.hold(stop) as engine:
            if engine.in_transaction:
                raise ProgrammingError(
                    "A transaction of the local tables is open already: commit it, or roll it back."
                )
            engine.begin()
            self.changes(objects=False)

    def commit(self, stop: Stop) -> None:
        """Keep what the transaction did.

        Raises:
            OperationalError: it cannot be; then all of it is taken back.
        """
        with self.hold(stop) as engine:
            if self.aborted:
                self._roll_back(engine)
                raise OperationalError(
                    "An error before has ended the transaction of the local tables: nothing of it "
                    "was committed, and all of it has been rolled back."
                )
            try:
                engine.commit()
            except DatabaseError as error:
                self._roll_back(engine)
                raise OperationalError(
                    f"The local tables could not be committed, and all of the transaction has been "
                    f"rolled back: {error}"
                ) from None
            self._transaction_ended()

    def rollback(self, stop: Stop) -> None:
        """Take back what the transaction did."""
        with self.hold(stop) as engine:
            self._roll_back(engine)

    def check_usable(self) -> None:
        """Refuse a statement on the main engine while a transaction is aborted.

        Raises:
            OperationalError: it is.
        """
        if self.aborted:
            raise OperationalError(
                "An error before has ended the transaction of the local tables. Roll it back "
                "(ROLLBACK, or rollback() of the connection); then go on."
            )

    def _roll_back(self, engine: Engine) -> None:
        try:
            engine.rollback()
        finally:
            self._transaction_ended()

    # -- the end ---------------------------------------------------------------------------------

    def spilled(self) -> Path:
        """The folder for what does not fit into memory."""
        return self.main.database.spilled

    def close(self) -> None:
        """Close all engines; an open transaction is rolled back. May be called again."""
        with self._lock:
            self._closed = True
            engines = [*self._idle, *self._leased]
            self._idle, self._leased = [], set()
            main, self._main = self._main, None
            opened, self._open = self._open, None
        if opened is not None:
            opened.close()
        for engine in engines:
            engine.close()
        if main is not None:
            main.close()
        if self._let_go is not None:
            self._let_go()


def _check(stop: Stop) -> bool:
    if stop.cancelled:
        raise CancelledError("The statement was cancelled.")
    return False


def _named(database: Path | None) -> str:
    """A database's name that stays the same when the program goes to another folder."""
    name = str(database or ":memory:")
    return name if name.startswith(":memory:") else str(Path(name).absolute())
