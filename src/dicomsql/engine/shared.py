"""Databases that several sessions of a process share: files, and memory that has a name.

One of each name is open at a time, from the first session that needs it until the last one lets it
go. Memory without a name (`:memory:`) is nobody else's.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.errors import OperationalError

if TYPE_CHECKING:
    from dicomsql.engine.database import Database

__all__ = ["Hold", "is_shared", "opened", "released"]

_MEMORY = ":memory:"


@dataclass(slots=True)
class _Entry:
    """A database that somebody uses, or will."""

    users: int = 0
    database: Database | None = None


class _Guard:
    """The lock of the entries, which a forked process gets anew: who had it may not be there."""

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        # The collector of garbage may let something go in the middle of it.
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


# By process, since a forked one has none of its parent's; and by name.
_entries: dict[tuple[int, str], _Entry] = {}
_guard = _Guard()


def is_shared(name: str) -> bool:
    """Whether a database of that name is the same for all sessions of the process."""
    return name != _MEMORY


class Hold:
    """Keeps the database of a name from being closed; it need not be open yet."""

    def __init__(self, name: str) -> None:
        self._key = _key(name)
        self._held = True
        with _guard:
            _entries.setdefault(self._key, _Entry()).users += 1

    def release(self) -> None:
        """Let it go; may be called again."""
        held, self._held = self._held, False
        if held:
            _let_go(self._key)


def opened(name: str, *, files: bool) -> Database:
    """The database of a name, opened unless it is open already; it has to be `released`.

    Raises:
        OperationalError: it cannot be opened, or is open with other rights.
    """
    from dicomsql.engine.database import Database

    if not is_shared(name):
        return Database(files=files)
    key = _key(name)
    with _guard:
        entry = _entries.setdefault(key, _Entry())
        entry.users += 1
        try:
            if entry.database is None:
                place = _MEMORY if _is_memory(name) else name
                entry.database = Database(place, files=files, key=key)
            if entry.database.files != files:
                words = ("on", "off") if entry.database.files else ("off", "on")
                raise OperationalError(
                    f"The database {name} is open in this program with files {words[0]}, and this "
                    f"connection has files {words[1]}; connections to one database have to agree."
                )
        except BaseException:
            _let_go(key)
            raise
        return entry.database


def released(database: Database) -> None:
    """One who `opened` a database does not use it any more; the last one closes it."""
    if database.key is not None:
        _let_go(database.key)
    elif database.process == os.getpid():
        database.close()


def _let_go(key: tuple[int, str]) -> None:
    """Count one user less, unless it is a database of the process that this one was forked from."""
    if key[0] != os.getpid():
        return
    # Who opens a file again waits until it is closed.
    with _guard:
        entry = _entries[key]
        entry.users -= 1
        if not entry.users:
            del _entries[key]
            if entry.database is not None:
                entry.database.close()


def _key(name: str) -> tuple[int, str]:
    return os.getpid(), name if _is_memory(name) else os.path.realpath(name)


def _is_memory(name: str) -> bool:
    return name.startswith(_MEMORY)
