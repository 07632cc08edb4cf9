"""Deleting the instances of a study or a series, one after the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from dicomsql.emulator import events, index
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.work import selection

__all__ = ["Delete"]


class Delete:
    """The work of studies.delete and studies.series.delete.

    Its spec: `store`, `level` (`study` or `series`) and `row`, as rows of the index; `action`, by
    which others are told.
    """

    def units(self, context: Context, job: Job) -> Iterable[str]:
        """The instances that are there."""
        events.check(context, job.spec["store"])
        return selection.instances(
            context, job.spec["store"], level=job.spec["level"], row=job.spec["row"]
        )

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Delete instances; one that is gone already is done."""
        rows = [selection.row_of(unit) for unit in units]

        def remove(db: sqlite3.Connection) -> None:
            events.owe(
                db,
                job.operation,
                job.spec["store"],
                lambda: events.described(db, rows),
                action=job.spec["action"],
                kind=events.DELETE,
            )
            index.remove_instances(db, rows)

        context.folder.delete(remove)
        context.folder.collect_garbage()
        return [None] * len(units)

    def finish(self, context: Context, job: Job) -> None:
        """Nothing is left."""
