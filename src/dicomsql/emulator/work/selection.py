"""Which instances an operation is about: all of a store, those below a row, or those of a filter.

A filter is an object of Cloud Storage with a line for each resource, as `DicomFilterConfig` of the
API's discovery document has it: `/studies/U[/series/U[/instances/U]]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from dicomsql.emulator.jobs import Context, Job, UnitError
from dicomsql.emulator.status import invalid, invalid_field, not_found
from dicomsql.emulator.work import uris

__all__ = ["check_failures", "check_filter", "instances", "row_of"]

_LINE = re.compile(
    r"/?studies/(?P<study>[0-9.]{1,64})"
    r"(?:/series/(?P<series>[0-9.]{1,64})(?:/instances/(?P<instance>[0-9.]{1,64}))?)?/?"
)
_LONGEST_LINE = 1024
_PAGE = 1000
_COLUMNS = {"store": "store_id", "study": "study_id", "series": "series_id", "instance": "id"}
# what begins the unit of a line that names nothing; the rest is the line's number
_NOTHING = "line "


def check_filter(config: dict[str, Any] | None) -> str:
    """The address of a `DicomFilterConfig`'s object; empty without one.

    Raises:
        StatusError: 400 for what is no address.
    """
    if config is None:
        return ""
    uri = str(config.get("resourcePathsGcsUri", ""))
    if not uri:
        raise invalid_field(
            "filter_config.resource_paths_gcs_uri", "The field resourcePathsGcsUri is required."
        )
    uris.object_name(uri, "filter_config.resource_paths_gcs_uri")
    return uri


def instances(
    context: Context, store: int, *, filter_uri: str = "", level: str = "store", row: int = 0
) -> Iterator[str]:
    """The units of work that is done instance by instance; `row_of` reads them.

    Args:
        store: the row of the store.
        filter_uri: an object that names the resources; empty for all below `row`.
        level: `store`, `study`, `series` or `instance`.
        row: of that level; that of the store if it is left out.

    Raises:
        StatusError: 404 for a store that is gone, 400 for a filter that is none.
        NeighbourError: the filter cannot be read.
    """
    with context.folder.read() as db:
        if not db.execute("SELECT 1 FROM stores WHERE id = ?", (store,)).fetchone():
            raise not_found("The DICOM store was deleted.")
    if not filter_uri:
        yield from _below(context, level, row or store)
        return
    seen: set[str] = set()
    bucket, name = uris.object_name(filter_uri, "filter_config.resource_paths_gcs_uri")
    for number, line in _lines(context.neighbours.objects.read(bucket, name)):
        found = _LINE.fullmatch(line)
        if found is None:
            raise invalid(
                f"Line {number} of the filter is no resource path:"
                " /studies/UID[/series/UID[/instances/UID]] is needed."
            )
        place = _place(context, store, found.groupdict())
        if place is None:
            yield f"{_NOTHING}{number}"
            continue
        for unit in _below(context, *place):
            if unit not in seen:
                seen.add(unit)
                yield unit


def row_of(unit: str) -> int:
    """The row of a unit's instance.

    Raises:
        UnitError: it is a line of a filter that names nothing.
    """
    if unit.startswith(_NOTHING):
        raise UnitError(f"{unit} of the filter names nothing that is in the DICOM store")
    return int(unit)


def check_failures(job: Job, what: str) -> None:
    """End an operation with an error where units of it failed.

    Args:
        what: became of them, such as `instances could not be exported`.

    Raises:
        StatusError: 400, with the counts and the last reason.
    """
    if job.failure:
        total = job.success + job.failure
        raise invalid(f"{job.failure:,} of {total:,} {what}; the last of them: {job.reason}.")


def _below(context: Context, level: str, row: int) -> Iterator[str]:
    last = 0
    while True:
        with context.folder.read() as db:
            rows = db.execute(  # one of our columns
                f"SELECT id FROM instances WHERE {_COLUMNS[level]} = ? AND id > ?"  # noqa: S608
                " ORDER BY id LIMIT ?",
                (row, last, _PAGE),
            ).fetchall()
        if not rows:
            return
        for (last,) in rows:
            yield str(last)


def _place(context: Context, store: int, uids: dict[str, str | None]) -> tuple[str, int] | None:
    """The level and row that a path names."""
    with context.folder.read() as db:
        row = db.execute(
            "SELECT id FROM studies WHERE store_id = ? AND uid = ?", (store, uids["study"])
        ).fetchone()
        level = "study"
        if row and uids["series"]:
            row = db.execute(
                "SELECT id FROM series WHERE study_id = ? AND uid = ?", (row[0], uids["series"])
            ).fetchone()
            level = "series"
        if row and uids["instance"]:
            row = db.execute(
                "SELECT id FROM instances WHERE series_id = ? AND uid = ?",
                (row[0], uids["instance"]),
            ).fetchone()
            level = "instance"
    return (level, int(row[0])) if row else None


def _lines(content: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    number, rest = 0, b""
    for piece in content:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise invalid(f"A line of the filter is longer than {_LONGEST_LINE} bytes.")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line.strip().decode("utf-8", "replace")
    if rest.strip():
        yield number + 1, rest.strip().decode("utf-8", "replace")
