"""The methods whose work is done behind an operation: what they ask for is checked and recorded."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from starlette.responses import Response

from dicomsql.emulator import events, jsonpatch, operations, schemas, wado
from dicomsql.emulator.admin import instance_row, series_row, study_row
from dicomsql.emulator.call import Call, store_id
from dicomsql.emulator.jobs import Context, UnitError
from dicomsql.emulator.neighbours.base import Disposition
from dicomsql.emulator.schemas import BOOLEAN, STRING, Message
from dicomsql.emulator.status import invalid, invalid_field
from dicomsql.emulator.work import metadata, objects, selection, uris

__all__ = [
    "export",
    "import_",
    "set_blob_storage",
    "update_instance_metadata",
    "update_series_metadata",
    "update_study_metadata",
]

STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")

_BLOBS = Message({"blobStorageClass": STRING})
_FILTER = Message({"resourcePathsGcsUri": STRING})
_IMPORT = Message({"gcsSource": Message({"uri": STRING}), "blobStorageSettings": _BLOBS})
_SET_BLOBS = Message({"blobStorageSettings": _BLOBS, "filterConfig": _FILTER})
_TABLE = Message(
    {
        "tableUri": STRING,
        "force": BOOLEAN,
        "writeDisposition": STRING,
        "includeSourceStore": BOOLEAN,
        "schemaFlattened": Message({}),
        "schemaJson": Message({}),
    }
)
_EXPORT = Message(
    {
        "gcsDestination": Message({"uriPrefix": STRING, "mimeType": STRING}),
        "bigqueryDestination": _TABLE,
        "filterConfig": _FILTER,
    }
)


def import_(call: Call) -> dict[str, Any]:
    """dicomStores.import"""
    body = schemas.check(call.json_body(), _IMPORT, "request")
    uri = body.get("gcsSource", {}).get("uri", "")
    if not uri:
        raise invalid_field("gcs_source.uri", "The field gcsSource.uri is required.")
    uris.pattern(uri, "gcs_source.uri")
    wanted = _storage_class(body.get("blobStorageSettings", {})) or "STANDARD"
    return _begin(call, "ImportDicomData", "import", {"uri": uri, "class": wanted})


def export(call: Call) -> dict[str, Any]:
    """dicomStores.export, to objects or to a table"""
    body = schemas.check(call.json_body(), _EXPORT, "request")
    chosen = selection.check_filter(body.get("filterConfig"))
    to_objects, to_table = body.get("gcsDestination"), body.get("bigqueryDestination")
    if (to_objects is None) == (to_table is None):
        raise invalid_field(
            "destination", "One of gcsDestination and bigqueryDestination is required, not both."
        )
    spec: dict[str, Any] = {"filter": chosen}
    if to_objects is not None:
        spec |= {"uri": to_objects.get("uriPrefix", ""), "mime": to_objects.get("mimeType", "")}
        uris.folder(spec["uri"], "gcs_destination.uri_prefix")
        objects.form(spec["mime"])
        kind = "export to objects"
    else:
        spec |= _table_spec(call, to_table or {})
        kind = "export to a table"
    return _begin(call, "ExportDicomData", kind, spec)


def set_blob_storage(call: Call) -> dict[str, Any]:
    """setBlobStorageSettings of a store, which may have a filter, and of a study"""
    body = schemas.check(call.json_body(), _SET_BLOBS, "request")
    wanted = _storage_class(body.get("blobStorageSettings", {}))
    if not wanted:
        raise invalid_field(
            "blob_storage_settings.blob_storage_class",
            "The field blobStorageSettings.blobStorageClass is required.",
        )
    level = "study" if "study" in call.names else "store"
    if level == "study" and "filterConfig" in body:
        raise invalid_field(
            "filter_config", "A filterConfig needs the resource to be a DICOM store."
        )
    spec = {"filter": selection.check_filter(body.get("filterConfig")), "class": wanted}
    return _begin(call, "SetBlobStorageSettings", "blobs", spec, level)


def update_study_metadata(call: Call) -> dict[str, Any]:
    """v1beta1's studies.updateMetadata"""
    return _update(call, "UpdateStudyMetadata", "study")


def update_series_metadata(call: Call) -> dict[str, Any]:
    """v1beta1's studies.series.updateMetadata"""
    return _update(call, "UpdateSeriesMetadata", "series")


def update_instance_metadata(call: Call) -> Response:
    """v1beta1's studies.series.instances.updateMetadata: done at once, the answer is the result"""
    patch = jsonpatch.read(_patch(call))
    with call.folder.read() as db:
        store, row = store_id(db, call), instance_row(db, call)
    context = Context(call.folder, call.neighbours)
    events.check(context, store)
    try:
        metadata.update(context, row, patch, None)
    except UnitError as error:
        raise invalid(f"The instance was not changed: {error}.") from None
    call.folder.collect_garbage()
    events.stored(context, store, [row], action="UpdateInstanceMetadata")
    headers = {**call.headers, "accept": "application/dicom+json"}
    return wado.retrieve_metadata(dataclasses.replace(call, headers=headers))


def _update(call: Call, method: str, level: str) -> dict[str, Any]:
    spec = {"patch": _patch(call), "action": method}
    return _begin(call, method, "metadata", spec, level)


def _patch(call: Call) -> Any:
    patch = call.json_body()
    try:
        jsonpatch.read(patch)
    except jsonpatch.InvalidPatch as error:
        raise invalid(f"Invalid JSON Patch: {error}.") from None
    return patch


def _begin(
    call: Call, method: str, kind: str, spec: dict[str, Any], level: str = "store"
) -> dict[str, Any]:
    """Record the operation of a store, or of what the path names at a level."""
    package = f"google.cloud.healthcare.{call.version}.dicom"
    # what changes metadata answers nothing that has a name
    answer = "google.protobuf.Empty" if kind == "metadata" else f"{package}.{method}Response"
    rows = {"store": store_id, "study": study_row, "series": series_row}
    with call.folder.write() as db:
        place = {"store": store_id(db, call), "level": level, "row": rows[level](db, call)}
        operation = operations.begin(
            db,
            call,
            method=f"{package}.DicomService.{method}",
            kind=kind,
            spec={**place, "name": call.store_name, **spec},
            response={"@type": f"type.googleapis.com/{answer}"},
        )
    return operations.started(call, operation)


def _storage_class(settings: dict[str, Any]) -> str:
    """The class that BlobStorageSettings name; empty where they name none."""
    field = "blob_storage_settings.blob_storage_class"
    name = str(settings.get("blobStorageClass", ""))
    if name in {"", "BLOB_STORAGE_CLASS_UNSPECIFIED"}:
        return ""
    if name not in STORAGE_CLASSES:
        raise invalid_field(field, f"Invalid {field}: one of {', '.join(STORAGE_CLASSES)}.")
    return name


def _table_spec(call: Call, destination: dict[str, Any]) -> dict[str, Any]:
    field = "bigquery_destination"
    table = uris.table(destination.get("tableUri", ""), f"{field}.table_uri")
    if table.project != call.names["project"]:
        raise invalid_field(
            f"{field}.table_uri", "The table has to be in the same project as the DICOM store."
        )
    if "schemaFlattened" in destination and "schemaJson" in destination:
        raise invalid_field(field, "One of schemaFlattened and schemaJson can be given, not both.")
    given = destination.get("writeDisposition", "")
    if given in {"", "WRITE_DISPOSITION_UNSPECIFIED"}:
        given = Disposition.TRUNCATE if destination.get("force") else Disposition.EMPTY
    if given not in set(Disposition):
        choices = ", ".join(Disposition)
        raise invalid_field(
            f"{field}.write_disposition", f"Invalid write_disposition: one of {choices}."
        )
    return {
        "destination": destination,
        "disposition": str(Disposition(given)),
        "once": uuid.uuid4().hex,
    }
