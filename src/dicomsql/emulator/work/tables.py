"""Exporting the attributes of instances to a table of BigQuery.

All rows go into the table at once, when all of them have been made: until then they wait in the
operation's folder, and so the table's columns are known, which follow from what the rows hold.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.neighbours.base import Column, Disposition
from dicomsql.emulator.neighbours.columns import from_json, merged, to_json
from dicomsql.emulator.neighbours.rows import Form, Source, row
from dicomsql.emulator.work import selection, uris

__all__ = ["ExportTable"]


class ExportTable:
    """The work of dicomStores.export with a `bigqueryDestination`.

    Its spec: `store`, the row; `name`, the store's resource name; `filter`; `destination`, as the
    request had it; `disposition`; `once`, a name for the load.
    """

    def units(self, context: Context, job: Job) -> Iterator[str]:
        """The instances that are meant."""
        table = uris.table(job.spec["destination"]["tableUri"], "table_uri")
        context.neighbours.tables.check(table)
        yield from selection.instances(context, job.spec["store"], filter_uri=job.spec["filter"])

    def do(self, context: Context, job: Job, units: list[str]) -> list[UnitError | None]:
        """Make rows. Those of a unit that is done again count once."""
        form = Form.of(job.spec["destination"])
        outcomes: list[UnitError | None] = []
        columns: tuple[Column, ...] = ()
        lines = []
        for unit in units:
            try:
                made = row(_source(context, job, unit), form)
                if made is None:
                    raise UnitError("the row is larger than BigQuery takes")
                columns = merged(columns, made.columns)
                lines.append(json.dumps([unit, made.values], ensure_ascii=False))
                outcomes.append(None)
            except UnitError as error:
                outcomes.append(error)
        # A pair of files for each batch, whose names nobody else writes: a process that stalled
        # may come back and write what another has done meanwhile, in batches of other sizes.
        folder = context.folder.scratch(job.operation)
        name = f"{units[0].rjust(20, '0')}.{uuid.uuid4().hex}"
        context.folder.keep(folder / f"{name}.rows", "".join(f"{line}\n" for line in lines))
        context.folder.keep(folder / f"{name}.columns", json.dumps(to_json(columns)))
        return outcomes

    def finish(self, context: Context, job: Job) -> None:
        """Load the rows into the table; without any, it has the columns of the UIDs."""
        folder = context.folder.scratch(job.operation)
        columns: tuple[Column, ...] = ()
        for path in sorted(folder.glob("*.columns")):
            columns = merged(columns, from_json(json.loads(path.read_text("utf-8"))))
        context.neighbours.tables.load(
            uris.table(job.spec["destination"]["tableUri"], "table_uri"),
            columns or _LEAST,
            _rows(folder),
            Disposition(job.spec["disposition"]),
            once=job.spec["once"],
        )
        selection.check_failures(job, "instances could not be exported")


_LEAST = tuple(
    Column(name, "STRING") for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
)


def _source(context: Context, job: Job, unit: str) -> Source:
    with context.folder.read() as db:
        found = db.execute(
            "SELECT m.json, i.metadata_size, i.size, i.storage_class, i.stored FROM instances i"
            " JOIN metadata m ON m.instance_id = i.id WHERE i.id = ?",
            (selection.row_of(unit),),
        ).fetchone()
    if found is None:
        raise UnitError("the instance was deleted meanwhile")
    # the marker of a URL is no legal JSON, and a row holds no bulk data
    dataset = json.loads(found[0], strict=False)
    return Source(job.spec["name"], dataset, *found[1:])


def _rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    seen: set[str] = set()
    for path in sorted(folder.glob("*.rows")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                unit, values = json.loads(line)
                if unit not in seen:
                    seen.add(unit)
                    yield values
