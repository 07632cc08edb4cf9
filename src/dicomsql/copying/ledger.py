"""Which files of a COPY into a store are done, by the journal and in this run, and which repeat."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomsql.copying.journal import SUPERSEDED, Entry
from dicomsql.copying.outcomes import Outcome, Status
from dicomsql.planning.plan import Conflict

if TYPE_CHECKING:
    from dicomsql.copying.journal import Journal
    from dicomsql.copying.report import Report
    from dicomsql.copying.storer import Stored
    from dicomsql.copying.upload import Part
    from dicomsql.files.local import LocalFile
    from dicomsql.planning.plan import StorePlan

# Statuses after which a file that has not changed is not sent again.
IN_THE_STORE = frozenset({Status.STORED, Status.PRESENT, Status.REPLACED})


_SENT = "SELECT number, digest, proven, path FROM sent WHERE key = ?"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A file with its place in the order of all."""

    number: int
    file: LocalFile


@dataclass(frozen=True, slots=True)
class Repeated:
    """A file whose instance another file has too."""

    numbered: Numbered
    part: Part


@dataclass(frozen=True, slots=True)
class Sent:
    """The file of an instance that is in the store.

    Attributes:
        number: its place in the order of all.
        digest: SHA-256 of its bytes, hex.
        is_proven: this run has stored or compared it; else it is only known from the journal.
        path: its name, for people.
    """

    number: int
    digest: str
    is_proven: bool
    path: str


def supersede(journal: Journal, part: Part) -> None:
    """Have the journal say of no file that the store has it as that instance.

    Raises:
        OperationalError: it cannot be written.
    """
    journal.supersede(part.study, part.series, part.instance)


class Ledger:
    """What became of each file, and which file each instance came from; safe for many threads."""

    def __init__(self, plan: StorePlan, report: Report, journal: Journal | None) -> None:
        self._skipped_is_done = plan.conflict is Conflict.SKIP
        self._report = report
        self._journal = journal
        self._lock = threading.Lock()
        self._repeated: list[Repeated] = []
        # With an empty name SQLite keeps a table in memory, and a large one on the disk, in a file
        # that nobody else can open. It lasts as long as the connection, so nothing is committed.
        self._sent = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._sent.execute("PRAGMA journal_mode = OFF")
        self._sent.execute(
            "CREATE TABLE sent (key BLOB PRIMARY KEY, number INTEGER, digest TEXT, proven INTEGER,"
            " path TEXT) WITHOUT ROWID"
        )
        self._sent.execute("BEGIN")

    def is_done(self, file: LocalFile, number: int) -> bool:
        """Whether an earlier run is done with a file as it is now; its row is then written."""
        known = self._journal
        entry = known.find(file.key) if known is not None and not known.is_new else None
        if entry is None or (entry.size, entry.changed) != (file.size, file.changed):
            return False
        if entry.status in IN_THE_STORE:
            status = Status.PRESENT
            if not self._agrees(entry, Numbered(number, file)):
                return False
        elif (
            entry.status is Status.SKIPPED and self._skipped_is_done and entry.reason != SUPERSEDED
        ):
            status = Status.SKIPPED
        else:
            return False
        self._report.add(
            Outcome(
                status,
                file.name,
                entry.study,
                entry.series,
                entry.instance,
                entry.reason,
                file.size,
            ),
            known=True,
        )
        return True

    def claim(self, numbered: Numbered, part: Part) -> bool:
        """Whether a file is the first of its instance; the others are kept for later."""
        with self._lock:
            if self._claimed(part, numbered, ""):
                return True
        self.put_off(numbered, part)
        return False

    def put_off(self, numbered: Numbered, part: Part) -> None:
        """Keep a file for later."""
        with self._lock:
            self._repeated.append(Repeated(numbered, part))

    def sent(self, part: Part) -> Sent | None:
        """The file of an instance that is in the store; None where none is known to be."""
        with self._lock:
            row = self._sent.execute(_SENT, (_key(part),)).fetchone()
        if row is None or not row[1]:
            return None
        return Sent(row[0], row[1], is_proven=bool(row[2]), path=row[3])

    def repeated(self) -> list[list[Repeated]]:
        """The files that were put off: those of each instance, in their order."""
        groups: dict[bytes, list[Repeated]] = {}
        for one in sorted(self._repeated, key=lambda r: r.numbered.number):
            groups.setdefault(_key(one.part), []).append(one)
        return list(groups.values())

    def write(self, results: Iterable[tuple[Numbered, Stored]]) -> None:
        """Write down what became of files: in the journal first, but its failure hides nothing.

        Raises:
            OperationalError: the journal cannot be written.
        """
        results = list(results)
        try:
            if self._journal is not None:
                self._journal.write(_entry(numbered.file, stored) for numbered, stored in results)
        finally:
            with self._lock:
                for numbered, stored in results:
                    if stored.outcome.status in IN_THE_STORE:
                        self._sent.execute(
                            "INSERT OR REPLACE INTO sent VALUES (?, ?, ?, 1, ?)",
                            (
                                _key(stored.outcome),
                                numbered.number,
                                stored.digest,
                                numbered.file.name,
                            ),
                        )
            for _, stored in results:
                self._report.add(stored.outcome)

    def close(self) -> None:
        """Let go of what was kept of this run."""
        self._sent.close()

    def _agrees(self, entry: Entry, numbered: Numbered) -> bool:
        """Whether no other file of this run is, or will be, in the store as that instance."""
        with self._lock:
            if self._claimed(entry, numbered, entry.digest):
                return True
            ((_, digest, _, _),) = self._sent.execute(_SENT, (_key(entry),))
            return bool(digest == entry.digest)

    def _claimed(self, instance: Part | Entry, numbered: Numbered, digest: str) -> bool:
        made = self._sent.execute(
            "INSERT OR IGNORE INTO sent VALUES (?, ?, ?, 0, ?)",
            (_key(instance), numbered.number, digest, numbered.file.name),
        )
        return made.rowcount == 1


def _key(of: Part | Outcome | Entry) -> bytes:
    uids = "\0".join((of.study, of.series, of.instance))
    return hashlib.blake2b(uids.encode(), digest_size=16).digest()


def _entry(file: LocalFile, stored: Stored) -> Entry:
    outcome = stored.outcome
    return Entry(
        key=file.key,
        status=outcome.status,
        path=file.name,
        size=file.size,
        changed=file.changed,
        digest=stored.digest,
        study=outcome.study,
        series=outcome.series,
        instance=outcome.instance,
        reason=outcome.reason,
    )
