"""Deletes over DICOMweb: an instance at once, a series or a study as a long-running operation."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

from dicomsql.emulator import index, operations
from dicomsql.emulator.admin import instance_row, series_row, study_row
from dicomsql.emulator.call import Call, store_id


def delete_instance(call: Call) -> dict[str, Any]:
    """studies.series.instances.delete"""
    with call.folder.write() as db:
        index.remove_instance(db, instance_row(db, call))
    call.folder.collect_garbage()
    return {}


def delete_series(call: Call) -> dict[str, Any]:
    """studies.series.delete"""
    return _delete(call, "DeleteSeries", series_row, index.remove_series)


def delete_study(call: Call) -> dict[str, Any]:
    """studies.delete"""
    return _delete(call, "DeleteStudy", study_row, index.remove_study)


def _delete(
    call: Call,
    method: str,
    find: Callable[[Connection, Call], int],
    remove: Callable[[Connection, int], int],
) -> dict[str, Any]:
    """The instances are gone at once; until the operation ends, nothing can be stored there."""
    with call.folder.write() as db:
        store = store_id(db, call)
        units = remove(db, find(db, call))
        answer = operations.start(
            db,
            call,
            method=f"google.cloud.healthcare.{call.version}.dicom.DicomService.{method}",
            response={"@type": "type.googleapis.com/google.protobuf.Empty"},
            delay=call.operation_delay,
            units=units,
            target=operations.Target(store, call.names["study"], call.names.get("series")),
        )
    call.folder.collect_garbage()
    return answer
