"""Importing instances from the objects of a bucket."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator

from dicomsql.emulator import events, storing
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.neighbours.base import NeighbourError
from dicomsql.emulator.status import not_found
from dicomsql.emulator.work import selection, uris

__all__ = ["Import"]


class Import:
    """The work of dicomStores.import.

    An instance that is there with the same bytes is a success, one that is there with others a
    failure; so is what is no DICOM file. If anything failed, the operation ends with an error.

    Its spec: `store`, the row; `uri`, with wildcards; `class`, of blob storage.
    """

    def units(self, context: Context, job: Job) -> Iterator[str]:
        """The names of the objects."""
        wanted = uris.pattern(job.spec["uri"], "gcs_source.uri")
        events.check(context, job.spec["store"])
        count = 0
        for found in context.neighbours.objects.list(wanted.bucket, wanted.prefix):
            if wanted.matches(found.name):
                count += 1
                yield found.name
        if not count:
            raise not_found("No object of the bucket matches the URI of the import.")

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Store objects, as far as they can be."""
        bucket = uris.pattern(job.spec["uri"], "gcs_source.uri").bucket
        received = []
        try:
            for name in units:
                received.append(self._receive(context, job, bucket, name))
        except BaseException:
            storing.discard(r for r in received if isinstance(r, storing.Upload))
            raise
        uploads = [r for r in received if isinstance(r, storing.Upload)]

        def note(db: sqlite3.Connection, rows: list[int]) -> None:
            events.owe(
                db,
                job.operation,
                job.spec["store"],
                lambda: events.described(db, rows),
                action="ImportDicomData",
            )

        committed = iter(storing.commit(context.folder, job.spec["store"], uploads, note=note))
        outcomes = [next(committed) if isinstance(r, storing.Upload) else r for r in received]
        return [UnitError(outcome.failure) if outcome.failure else None for outcome in outcomes]

    def finish(self, context: Context, job: Job) -> None:  # noqa: ARG002 - only told
        """Tell of what failed."""
        selection.check_failures(job, "objects could not be imported")

    def _receive(
        self, context: Context, job: Job, bucket: str, name: str
    ) -> storing.Upload | storing.Outcome:
        try:
            content = context.neighbours.objects.read(bucket, name)
            received = storing.receive(context.folder, content)
        except NeighbourError as error:
            if error.status != "NOT_FOUND":
                raise
            return storing.Outcome(failure="the object was deleted meanwhile")
        if isinstance(received, storing.Outcome):
            return received
        entry = dataclasses.replace(
            received.entry, storage_class=job.spec["class"], operation=job.operation
        )
        return dataclasses.replace(received, entry=entry)
