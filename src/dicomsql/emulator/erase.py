"""Deletes over DICOMweb: an instance at once, a series or a study as a long-running operation."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

from dicomsql.emulator import events, index, operations
from dicomsql.emulator.admin import instance_row, series_row, study_row
from dicomsql.emulator.call import Call, store_id

# Seconds that a delete gets to end before its answer: most do, and need no second request.
_PATIENCE = 0.5


def delete_instance(call: Call) -> dict[str, Any]:
    """studies.series.instances.delete"""
    with call.folder.read() as db:
        store, row = store_id(db, call), instance_row(db, call)
        changes = events.described(db, [row])
    events.check(call, store)
    call.folder.delete(lambda db: index.remove_instance(db, instance_row(db, call)))
    events.deleted(call, store, changes, action="DeleteInstance")
    call.folder.collect_garbage()
    return {}


def delete_series(call: Call) -> dict[str, Any]:
    """studies.series.delete"""
    return _delete(call, "DeleteSeries", series_row)


def delete_study(call: Call) -> dict[str, Any]:
    """studies.delete"""
    return _delete(call, "DeleteStudy", study_row)


def _delete(call: Call, method: str, find: Callable[[Connection, Call], int]) -> dict[str, Any]:
    """Until the operation ends, nothing can be stored there."""
    with call.folder.read() as db:
        store = store_id(db, call)
    events.check(call, store)

    def begin(db: Connection) -> Any:
        store, row = store_id(db, call), find(db, call)
        level = "series" if "series" in call.names else "study"
        return operations.begin(
            db,
            call,
            method=f"google.cloud.healthcare.{call.version}.dicom.DicomService.{method}",
            kind="delete",
            spec={"store": store, "level": level, "row": row, "action": method},
            response={"@type": "type.googleapis.com/google.protobuf.Empty"},
            target=operations.Target(store, call.names["study"], call.names.get("series")),
        )

    return operations.started(call, call.folder.delete(begin), _PATIENCE)
