"""What Service Usage and Resource Manager share: the enabled services, numbers, and pages.

One SQLite file beside the index, made when it is first written to. Several processes may use it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours.web import Ask
from dicomsql.emulator.status import invalid

_FILE = "services.sqlite"
_PATIENCE = 30.0  # seconds to wait for another process's transaction
_SCHEMA = """
CREATE TABLE IF NOT EXISTS services (
    project TEXT NOT NULL, name TEXT NOT NULL, enabled INTEGER NOT NULL,
    PRIMARY KEY (project, name));
CREATE TABLE IF NOT EXISTS operations (
    name TEXT PRIMARY KEY, started REAL NOT NULL, body TEXT NOT NULL);
"""


class State:
    """The enabled services of one emulator's projects."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._path = folder.root / _FILE

    def services(self, project: str) -> dict[str, bool]:
        """The services that were enabled or disabled, and whether they are enabled now."""
        rows = self._rows("SELECT name, enabled FROM services WHERE project = ?", (project,))
        return {name: bool(enabled) for name, enabled in rows}

    def switch(self, project: str, names: Iterable[str], enabled: bool) -> None:
        """Enable or disable services, all of them or none."""
        with self._open() as db, db:
            db.executemany(
                "INSERT INTO services VALUES (?, ?, ?)"
                " ON CONFLICT (project, name) DO UPDATE SET enabled = excluded.enabled",
                [(project, name, int(enabled)) for name in names],
            )

    def keep(self, operation: dict[str, Any]) -> None:
        """Write an operation down, by its name."""
        with self._open() as db, db:
            row = (operation["name"], time.time(), json.dumps(operation))
            db.execute("INSERT INTO operations VALUES (?, ?, ?)", row)

    def operation(self, name: str) -> dict[str, Any] | None:
        """The operation of that name."""
        rows = self._rows("SELECT body FROM operations WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def projects(self) -> list[str]:
        """The ids of projects with a dataset, or a service enabled or disabled; in order."""
        with self._folder.read() as db:
            found = {str(row[0]) for row in db.execute("SELECT DISTINCT project FROM datasets")}
        found |= {str(row[0]) for row in self._rows("SELECT DISTINCT project FROM services", ())}
        return sorted(found)

    def _rows(self, sql: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        with self._open() as db:
            return db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        _make(self._path)
        with contextlib.closing(sqlite3.connect(self._path, timeout=_PATIENCE)) as db:
            db.executescript(_SCHEMA)
            yield db


def project_number(project: str) -> str:
    """A project's number: twelve digits that its id stands for, always the same."""
    if project.isdigit():
        return project
    digest = hashlib.sha256(project.encode()).digest()
    return str(10**11 + int.from_bytes(digest[:8], "big") % (9 * 10**11))


def page(ask: Ask, names: list[str], default: int, largest: int) -> tuple[list[str], str]:
    """The names of the page that is asked for, and the token of the next one.

    Raises:
        StatusError: pageSize or pageToken is none.
    """
    text = ask.parameter("pageSize") or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > largest:
        raise invalid(f"Invalid pageSize: a number from 0 to {largest} is needed.")
    after = _last(ask.parameter("pageToken"))
    left = [name for name in names if name > after]
    shown = left[: int(text) or default]
    return shown, _token(shown[-1]) if len(shown) < len(left) else ""


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(f"n:{name}".encode()).decode().rstrip("=")


def _last(token: str) -> str:
    """The name after which a page begins; empty for the first one."""
    if not token:
        return ""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith("n:"):
        raise invalid("Invalid pageToken: give the nextPageToken of the page before, unchanged.")
    return text.removeprefix("n:")


def _make(path: Path) -> None:
    """An empty file that its owner alone may read, where there is none."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
