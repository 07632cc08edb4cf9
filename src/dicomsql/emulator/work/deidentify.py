"""Copies of instances into other stores, without what identifies the patient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dicomsql.emulator import storing
from dicomsql.emulator.deidentify.config import Rules, read_rules
from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.status import not_found
from dicomsql.emulator.work import selection

__all__ = ["DeidentifyDataset", "DeidentifyStore"]


class DeidentifyStore:
    """The work of dicomStores.deidentify.

    Its spec: `stores`, pairs of the rows of a source and its destination; `config`, a canonical
    DeidentifyConfig; `key`, in hexadecimal digits, by which UIDs and dates are changed, so that the
    same instance gives the same bytes whenever it is done; `filter`, as of `selection.instances`.
    """

    def units(self, context: Context, job: Job) -> Iterator[str]:
        """The instances of the source stores."""
        for source, _ in job.spec["stores"]:
            yield from selection.instances(context, source, filter_uri=job.spec["filter"])

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Put the copies of instances into the destination; the source is only read.

        Raises:
            StatusError: 404 when the destination is gone.
        """
        key = bytes.fromhex(job.spec["key"])
        copies = _Copies(context, job, read_rules(job.spec["config"], key), key)
        return [copies.make(unit) for unit in units]

    def finish(self, context: Context, job: Job) -> None:
        """Nothing is left."""


class DeidentifyDataset(DeidentifyStore):
    """The work of datasets.deidentify: the same for all stores of a dataset."""


class _Copies:
    """The copies of one operation."""

    def __init__(self, context: Context, job: Job, rules: Rules, key: bytes) -> None:
        self._context = context
        self._destinations = dict(job.spec["stores"])
        self._rules = rules
        self._key = key

    def make(self, unit: str) -> UnitError | None:
        """Make one; gives why it could not be."""
        from dicomsql.emulator.deidentify.rewrite import deidentified

        try:
            store, path = self._source(selection.row_of(unit))
            self._check_destination(store)
            content = deidentified(path, self._rules, self._key)
        except UnitError as error:
            return error
        except FileNotFoundError:
            return UnitError("the instance was deleted meanwhile")
        received = storing.receive(self._context.folder, [content])
        if isinstance(received, storing.Outcome):
            return UnitError(f"the copy cannot be stored: {received.failure}")
        [outcome] = storing.commit(self._context.folder, self._destinations[store], [received])
        if outcome.failure:
            self._check_destination(store)
        return UnitError(outcome.failure) if outcome.failure else None

    def _check_destination(self, store: int) -> None:
        """End the operation, rather than fail each instance, where there is no place for any."""
        with self._context.folder.read() as db:
            row = self._destinations[store]
            if not db.execute("SELECT 1 FROM stores WHERE id = ?", (row,)).fetchone():
                raise not_found("The destination DICOM store was deleted meanwhile.")

    def _source(self, row: int) -> tuple[int, Path]:
        """The store and the file of an instance."""
        with self._context.folder.read() as db:
            found = db.execute(
                "SELECT store_id, file FROM instances WHERE id = ?", (row,)
            ).fetchone()
        if found is None:
            raise UnitError("the instance was deleted meanwhile")
        return int(found[0]), self._context.folder.path(found[1])
