"""Moving instances to another storage class."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from collections.abc import Iterable

from dicomsql.emulator import events
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.work import selection

__all__ = ["SetBlobStorage"]


class SetBlobStorage:
    """The work of setBlobStorageSettings.

    Its spec: `store`, `level` and `row` as of `selection.instances`, `filter`, `class`.
    """

    def units(self, context: Context, job: Job) -> Iterable[str]:
        """The instances that are meant."""
        spec = job.spec
        events.check(context, spec["store"])
        return selection.instances(
            context,
            spec["store"],
            filter_uri=spec["filter"],
            level=spec["level"],
            row=spec["row"],
        )

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Set the class of instances; one that has it keeps the time since which it has."""
        outcomes: list[UnitError | None] = []
        moved: list[int] = []
        with context.folder.write() as db:
            before = _classes(db, units)
            for unit in units:
                try:
                    row = selection.row_of(unit)
                except UnitError as error:
                    outcomes.append(error)
                    continue
                found = db.execute(
                    "UPDATE instances SET storage_class_time ="
                    " CASE WHEN storage_class = ?1 THEN storage_class_time ELSE ?2 END,"
                    " storage_class = ?1 WHERE id = ?3",
                    (job.spec["class"], time.time(), row),
                )
                if before.get(row, job.spec["class"]) != job.spec["class"]:
                    moved.append(row)
                gone = None if found.rowcount else UnitError("the instance was deleted meanwhile")
                outcomes.append(gone)
            events.owe(
                db,
                job.operation,
                job.spec["store"],
                lambda: [
                    dataclasses.replace(change, previous_class=before[row])
                    for row in moved
                    for change in events.described(db, [row])
                ],
                action="SetBlobSettings",
                kind=events.MOVE,
            )
        return outcomes

    def finish(self, context: Context, job: Job) -> None:
        """Nothing is left."""


def _classes(db: sqlite3.Connection, units: Iterable[str]) -> dict[int, str]:
    """The storage classes that instances have, by their rows."""
    found = {}
    for unit in units:
        row = db.execute("SELECT id, storage_class FROM instances WHERE id = ?", (unit,)).fetchone()
        if row is not None:
            found[int(row[0])] = str(row[1])
    return found
