"""One DuckDB database that several engines share: its file or memory, its settings, its folder.

Tables of the database are seen by all of its engines; what DuckDB binds to a connection (TEMP
tables, prepared statements, variables, registered readers, a transaction) by one of them alone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import duckdb

from dicomsql.engine.beside import Beside, make_private
from dicomsql.engine.forks import keep_from_children
from dicomsql.engine.guards import check_functions, reaching
from dicomsql.errors import OperationalError
from dicomsql.planning.counts import TOTAL, missing
from dicomsql.planning.identifiers import AS_TEXT, NUMBER_MACRO
from dicomsql.planning.rewrite import JSON_EXTRACT

__all__ = ["GUARDED", "OUR_FUNCTIONS", "Database"]

MEMORY = ":memory:"

# Of the whole database; extensions are never fetched, and no variable of Python is a table.
_SETTINGS = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET GLOBAL python_enable_replacements = false",
    "SET GLOBAL autoinstall_known_extensions = false",
    "SET GLOBAL preserve_insertion_order = true",
)

# Settings that decide what code runs, what can be reached and what is written down, or on which
# our reading of answers and errors rests: no statement changes those.
GUARDED = re.compile(
    r"extension|external|unsigned|python|pandas|arrow|secret|password|user|proxy|http|duckdb_api"
    r"|temp_directory|home_directory|unredacted|^log|_log|profil|progress|^allow|lock_"
    r"|disabled_filesystems|access_mode|as_json|default_collation"
)
# After these no setting can be changed but those that are named, by whatever statement.
_LOCKS = ("SET GLOBAL allowed_configs = {}", "SET GLOBAL lock_configuration = true")
# The engine reads and writes its own database then, and what it spills.
_ALONE = "SET GLOBAL enable_external_access = false"

# Of each connection. They are temporary, so that a file of the user's keeps nothing of ours.
_OF_EACH = (
    # What DuckDB makes ahead of the reader; its default lets it run megabytes ahead.
    "SET streaming_buffer_size = '256KB'",
    # What StackQL's users find behind the name: a scalar as that scalar, anything else as JSON
    # text.
    f"""CREATE TEMP MACRO {JSON_EXTRACT}(document, path) AS
        CASE WHEN json_type(document, path) IN ('OBJECT', 'ARRAY')
             THEN CAST(json_extract(document, path) AS VARCHAR)
             ELSE json_extract_string(document, path) END""",
    # The sum of a number that each row has to have: without it a row would count for nothing, and
    # there is nothing that has none of what it is made of.
    f"""CREATE TEMP MACRO {TOTAL}(number, name) AS
        CASE WHEN count(*) = count(number) AND coalesce(min(number), 1) >= 1
             THEN CAST(coalesce(sum(number), 0) AS BIGINT)
             ELSE error('{missing("' || name || '")}') END""",
    NUMBER_MACRO.replace("CREATE MACRO", "CREATE TEMP MACRO", 1),
)

# Functions of ours, by their lower-case names.
OUR_FUNCTIONS = frozenset({JSON_EXTRACT.lower(), TOTAL, AS_TEXT})

# What DuckDB says of a file that it cannot open, and what that means.
_UNOPENED = {
    "Could not set lock": (
        "another program has it open. Only one can at a time; end that one first."
    ),
    "not a valid DuckDB database": "the file is no database. Name another one.",
    "newer version": "a newer version wrote it. Update dicomsql's engine (duckdb).",
    "older version": "an older version wrote it. Export its tables with that one.",
}


class Database:
    """A database, which is opened at once.

    Parameters:
        name: a file, or memory.
        files: statements may read and write other files.
        key: by which several sessions share it; see `engine.shared`.

    Attributes:
        files, key: as given.
        process: the one that opened it.
        version: grows whenever something in it may have changed.
        made: grows whenever statements may have made, changed or dropped something that has a name.
        functions: the same, of macros.
        written: there may be something in it that statements name.
        spilled: a folder that only its owner can read, for what does not fit into memory.

    Raises:
        OperationalError: it cannot be opened.
    """

    def __init__(
        self, name: str = MEMORY, *, files: bool = True, key: tuple[int, str] | None = None
    ) -> None:
        self.files = files
        self.key = key
        self.process = os.getpid()
        self.version = self.made = self.functions = 0
        # It stays the same file wherever the program goes.
        path = Path(name).expanduser().absolute() if name != MEMORY else None
        self.written = path is not None
        self._beside = Beside(path) if path is not None else None
        self._lock = threading.Lock()
        self._closed = False
        self._reaching: tuple[frozenset[str], frozenset[str]] | None = None
        # By itself DuckDB would take a folder in the current directory, open to all.
        self.spilled = Path(tempfile.mkdtemp(prefix="dicomsql-"))
        # A database that nobody closes takes it away too, at the latest when the process ends.
        self._remove_spilled = weakref.finalize(self, _remove, self.spilled, os.getpid())
        try:
            self._root = self._opened(name, path)
        except BaseException:
            self._remove_spilled()
            raise
        keep_from_children(self)

    def _opened(self, name: str, path: Path | None) -> duckdb.DuckDBPyConnection:
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": str(self.spilled)
        }
        try:
            if path is not None:
                make_private(path, self.spilled)
            with self.private():
                root = duckdb.connect(str(path or name), config=config)
        except (duckdb.Error, OSError) as error:
            raise OperationalError(_unopened(name, str(error))) from None
        _locked(root, files=self.files)
        if not self.files:
            self._reaching = reaching(root)
        return root

    def check_functions(self, sql: str) -> None:
        """Refuse a text that may read files, where they are switched off.

        Raises:
            NotSupportedError: it may.
        """
        if self._reaching is not None:
            check_functions(sql, *self._reaching)

    def owned(self) -> Iterable[object]:
        """What a forked process leaves alone."""
        return (self._root,)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A further connection to the database."""
        with self._lock:
            connection = self._root.cursor()
        for statement in _OF_EACH:
            connection.execute(statement)
        return connection

    def changed(self, *, objects: bool, functions: bool) -> None:
        """Note that a session has changed something.

        Args:
            objects: what was made or dropped, not rows alone.
            functions: macros may be among it.
        """
        with self._lock:
            self.version += 1
            self.made += objects
            self.functions += functions

    def private(self) -> AbstractContextManager[None]:
        """Around what may make files of the database: they are their owner's alone.

        See `engine.beside`.
        """
        return self._beside.kept_private() if self._beside is not None else nullcontext()

    def close(self) -> None:
        """Close it, once its connections are closed; may be called again."""
        with self._lock:
            if self._beside is not None and not self._closed:
                self._beside.remove_empty()
            self._closed = True
            # A statement that Ctrl-C broke off may still be at it; it goes with its connection.
            with suppress(duckdb.Error):
                self._root.close()
        self._remove_spilled()


def _locked(root: duckdb.DuckDBPyConnection, *, files: bool) -> None:
    """Make the settings of the database, and keep statements from changing most of them."""
    for statement in (*_SETTINGS, *([] if files else [_ALONE])):
        root.execute(statement)
    known = root.execute("SELECT name FROM duckdb_settings()").fetchall()
    free = sorted(f"'{n}'" for (n,) in known if not GUARDED.search(n))
    for statement in _LOCKS:
        root.execute(statement.format(f"[{', '.join(free)}]"))


def _unopened(name: str, said: str) -> str:
    """Why a database's file cannot be opened, and what to do."""
    for words, why in _UNOPENED.items():
        if words in said:
            return f"The database {name} cannot be opened: {why}"
    return f"The database {name} cannot be opened. Is there such a folder, and is the file yours?"


def _remove(folder: Path, process: int) -> None:
    """Remove a folder, unless this is a process that was forked from the folder's owner."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
