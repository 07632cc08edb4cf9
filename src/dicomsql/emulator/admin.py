"""Locations, datasets and DICOM stores: create, get, list, patch, delete, metrics."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

from dicomsql.emulator import labelfilter, operations, paging, schemas
from dicomsql.emulator.call import Call, dataset_id, store_id
from dicomsql.emulator.status import StatusError, invalid_field, not_found

_LOCATIONS = (
    "northamerica-northeast1 northamerica-northeast2 us-central1 us-east1 us-east4 us-west1"
    " us-west2 us-west3 southamerica-east1 asia-east1 asia-east2 asia-northeast1 asia-northeast2"
    " asia-northeast3 asia-south1 asia-southeast1 asia-southeast2 australia-southeast1"
    " australia-southeast2 europe-north1 europe-west2 europe-west3 europe-west4 europe-west6"
    " me-west1 me-central1 me-central2 us eu"
)
LOCATIONS = tuple(_LOCATIONS.split())
_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


def get_location(call: Call) -> dict[str, Any]:
    """projects.locations.get"""
    _check_project(call)
    if call.names["location"] not in LOCATIONS:
        raise not_found(f"Location not found: {call.location_name}.")
    return _location(call.names["project"], call.names["location"])


def list_locations(call: Call) -> dict[str, Any]:
    """projects.locations.list"""
    _check_project(call)
    if call.parameter("filter"):
        raise StatusError("UNIMPLEMENTED", "A filter over locations is not supported.")
    size, last = paging.page_size(call), paging.last_key(call)
    names = sorted(name for name in LOCATIONS if name > last)
    answer: dict[str, Any] = {
        "locations": [_location(call.names["project"], name) for name in names[:size]]
    }
    if len(names) > size:
        answer["nextPageToken"] = paging.token_after(call, names[size - 1])
    return answer


def create_dataset(call: Call) -> dict[str, Any]:
    """datasets.create: the dataset is there at once, and the operation is done."""
    body = schemas.check(call.json_body(), schemas.DATASET, "dataset")
    _check_location(call)
    name = schemas.check_id("datasetId", call.parameter("datasetId"))
    _check_dataset(body)
    call = _within(call, "dataset", name)
    with call.folder.write() as db:
        try:
            db.execute(
                "INSERT INTO datasets (project, location, name, body) VALUES (?, ?, ?, ?)",
                (call.names["project"], call.names["location"], name, json.dumps(body)),
            )
        except sqlite3.IntegrityError:
            raise StatusError("ALREADY_EXISTS", "already exists: " + call.dataset_name) from None
        package = f"google.cloud.healthcare.{call.version}"
        return operations.record(
            db,
            call,
            method=f"{package}.dataset.DatasetService.CreateDataset",
            response={
                "@type": f"type.googleapis.com/{package}.Dataset",
                **_resource(call.dataset_name, body),
            },
        )


def get_dataset(call: Call) -> dict[str, Any]:
    """datasets.get"""
    with call.folder.read() as db:
        return _resource(call.dataset_name, _body(db, "datasets", dataset_id(db, call)))


def list_datasets(call: Call) -> dict[str, Any]:
    """datasets.list, by name"""
    _check_location(call)
    size, last = paging.page_size(call), paging.last_key(call)
    with call.folder.read() as db:
        rows = db.execute(
            "SELECT name, body FROM datasets WHERE project = ? AND location = ? AND name > ?"
            " ORDER BY name LIMIT ?",
            (call.names["project"], call.names["location"], last, size + 1),
        ).fetchall()
    return _page(call, rows, size, "datasets", f"{call.location_name}/datasets")


def patch_dataset(call: Call) -> dict[str, Any]:
    """datasets.patch"""
    patch = schemas.check(call.json_body(), schemas.DATASET, "dataset")
    with call.folder.write() as db:
        row = dataset_id(db, call)
        current = _body(db, "datasets", row)
        mask = call.parameter("updateMask")
        body = schemas.apply_mask(current, patch, mask, schemas.DATASET)
        if body.get("encryptionSpec") != current.get("encryptionSpec"):
            raise invalid_field(
                "update_mask", "Invalid update_mask: the encryptionSpec cannot be changed."
            )
        _check_dataset(body)
        db.execute("UPDATE datasets SET body = ? WHERE id = ?", (json.dumps(body), row))
    return _resource(call.dataset_name, body)


def delete_dataset(call: Call) -> dict[str, Any]:
    """datasets.delete: with all stores, instances and operations below it"""

    def remove(db: sqlite3.Connection) -> None:
        row = dataset_id(db, call)
        db.execute(
            "INSERT INTO garbage SELECT i.file FROM stores s JOIN instances i ON i.store_id = s.id"
            " WHERE s.dataset_id = ?",
            (row,),
        )
        db.execute("DELETE FROM datasets WHERE id = ?", (row,))

    call.folder.delete(remove)
    call.folder.collect_garbage()
    return {}


def create_store(call: Call) -> dict[str, Any]:
    """dicomStores.create: the id comes from the parameter; a name in the body changes nothing"""
    body = schemas.check(call.json_body(), schemas.DICOM_STORE, "dicom_store")
    with call.folder.write() as db:
        parent = dataset_id(db, call)
        name = schemas.check_id("dicomStoreId", call.parameter("dicomStoreId"))
        _check_store(body)
        call = _within(call, "store", name)
        try:
            db.execute(
                "INSERT INTO stores (dataset_id, name, body) VALUES (?, ?, ?)",
                (parent, name, json.dumps(body)),
            )
        except sqlite3.IntegrityError:
            raise StatusError("ALREADY_EXISTS", "already exists: " + call.store_name) from None
    return _resource(call.store_name, body)


def get_store(call: Call) -> dict[str, Any]:
    """dicomStores.get"""
    with call.folder.read() as db:
        return _resource(call.store_name, _body(db, "stores", store_id(db, call)))


def list_stores(call: Call) -> dict[str, Any]:
    """dicomStores.list, by name, with a filter over labels"""
    size, last = paging.page_size(call), paging.last_key(call)
    matches = (
        labelfilter.parse(call.parameter("filter") or "") if call.parameter("filter") else None
    )
    rows: list[tuple[str, str]] = []
    with call.folder.read() as db:
        cursor = db.execute(
            "SELECT name, body FROM stores WHERE dataset_id = ? AND name > ? ORDER BY name",
            (dataset_id(db, call), last),
        )
        for name, body in cursor:
            if matches is None or matches(json.loads(body).get("labels", {})):
                rows.append((name, body))
                if len(rows) > size:
                    break
    return _page(call, rows, size, "dicomStores", f"{call.dataset_name}/dicomStores")


def patch_store(call: Call) -> dict[str, Any]:
    """dicomStores.patch"""
    patch = schemas.check(call.json_body(), schemas.DICOM_STORE, "dicom_store")
    with call.folder.write() as db:
        row = store_id(db, call)
        mask = call.parameter("updateMask")
        body = schemas.apply_mask(_body(db, "stores", row), patch, mask, schemas.DICOM_STORE)
        _check_store(body)
        db.execute("UPDATE stores SET body = ? WHERE id = ?", (json.dumps(body), row))
    return _resource(call.store_name, body)


def delete_store(call: Call) -> dict[str, Any]:
    """dicomStores.delete: with all instances in it"""

    def remove(db: sqlite3.Connection) -> None:
        row = store_id(db, call)
        db.execute("INSERT INTO garbage SELECT file FROM instances WHERE store_id = ?", (row,))
        db.execute("DELETE FROM stores WHERE id = ?", (row,))

    call.folder.delete(remove)
    call.folder.collect_garbage()
    return {}


def store_metrics(call: Call) -> dict[str, Any]:
    """dicomStores.getDICOMStoreMetrics"""
    with call.folder.read() as db:
        row = store_id(db, call)
        studies, series = db.execute(
            "SELECT (SELECT count(*) FROM studies WHERE store_id = ?1),"
            " (SELECT count(*) FROM series WHERE store_id = ?1)",
            (row,),
        ).fetchone()
        sizes = db.execute(f"{_SIZES} WHERE store_id = ?", (row,)).fetchone()
    return {
        "name": call.store_name,
        "studyCount": str(studies),
        "seriesCount": str(series),
        **_sizes(sizes),
    }


def study_metrics(call: Call) -> dict[str, Any]:
    """dicomWeb.studies.getStudyMetrics"""
    with call.folder.read() as db:
        study = study_row(db, call)
        (series,) = db.execute(
            "SELECT count(*) FROM series WHERE study_id = ?", (study,)
        ).fetchone()
        sizes = db.execute(f"{_SIZES} WHERE study_id = ?", (study,)).fetchone()
    return {
        "study": f"{call.store_name}/dicomWeb/studies/{call.names['study']}",
        "seriesCount": str(series),
        **_sizes(sizes),
    }


def series_metrics(call: Call) -> dict[str, Any]:
    """dicomWeb.studies.series.getSeriesMetrics"""
    with call.folder.read() as db:
        series = series_row(db, call)
        sizes = db.execute(f"{_SIZES} WHERE series_id = ?", (series,)).fetchone()
    study = f"{call.store_name}/dicomWeb/studies/{call.names['study']}"
    return {"series": f"{study}/series/{call.names['series']}", **_sizes(sizes)}


def storage_info(call: Call) -> dict[str, Any]:
    """dicomWeb.studies.series.instances.getStorageInfo"""
    with call.folder.read() as db:
        row = instance_row(db, call)
        size, structured, storage_class, since = db.execute(
            "SELECT size, metadata_size, storage_class, coalesce(storage_class_time, stored)"
            " FROM instances WHERE id = ?",
            (row,),
        ).fetchone()
    path = "/".join(
        f"{kind}/{call.names[name]}"
        for kind, name in (("studies", "study"), ("series", "series"), ("instances", "instance"))
    )
    return {
        "referencedResource": f"{call.store_name}/dicomWeb/{path}",
        "blobStorageInfo": {
            "sizeBytes": str(size),
            "storageClass": storage_class,
            "storageClassUpdateTime": operations.timestamp(since),
        },
        "structuredStorageInfo": {"sizeBytes": str(structured)},
    }


def study_row(db: sqlite3.Connection, call: Call) -> int:
    """The row of the study in the path.

    Raises:
        StatusError: 403 or 404 where the study or what is above it does not exist.
    """
    row = db.execute(
        "SELECT id FROM studies WHERE store_id = ? AND uid = ?",
        (store_id(db, call), call.names["study"]),
    ).fetchone()
    if row is None:
        raise not_found("The study does not exist in this DICOM store.")
    return int(row[0])


def series_row(db: sqlite3.Connection, call: Call) -> int:
    """The row of the series in the path; raises as `study_row`."""
    row = db.execute(
        "SELECT id FROM series WHERE study_id = ? AND uid = ?",
        (study_row(db, call), call.names["series"]),
    ).fetchone()
    if row is None:
        raise not_found("The series does not exist in this study.")
    return int(row[0])


def instance_row(db: sqlite3.Connection, call: Call) -> int:
    """The row of the instance in the path; raises as `study_row`."""
    row = db.execute(
        "SELECT id FROM instances WHERE series_id = ? AND uid = ?",
        (series_row(db, call), call.names["instance"]),
    ).fetchone()
    if row is None:
        raise not_found("The instance does not exist in this series.")
    return int(row[0])


_SIZES = "SELECT count(*), coalesce(sum(metadata_size), 0), coalesce(sum(size), 0) FROM instances"


def _sizes(row: tuple[int, int, int]) -> dict[str, str]:
    names = ("instanceCount", "structuredStorageSizeBytes", "blobStorageSizeBytes")
    return {name: str(number) for name, number in zip(names, row, strict=True)}


def _check_store(body: dict[str, Any]) -> None:
    schemas.check_labels(body.get("labels", {}))
    schemas.check_destinations(body)


def _check_location(call: Call) -> None:
    """Refuse what can hold no dataset, as Google does before it looks for any."""
    _check_project(call)
    if call.names["location"] not in LOCATIONS:
        raise _denied(call.location_name)


def _check_project(call: Call) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", call.names["project"]):
        raise _denied(f"projects/{call.names['project']}")


def _denied(name: str) -> StatusError:
    return StatusError(
        "PERMISSION_DENIED", f"Permission denied on resource {name} (or it may not exist)."
    )


def _check_dataset(body: dict[str, Any]) -> None:
    import zoneinfo

    key = body.get("encryptionSpec", {}).get("kmsKeyName", "")
    if key and not _KEY.fullmatch(key):
        raise invalid_field(
            "encryption_spec.kms_key_name",
            "Invalid encryption_spec.kms_key_name: projects/PROJECT/locations/LOCATION/keyRings/"
            "RING/cryptoKeys/KEY is needed.",
        )
    name = body.get("timeZone", "")
    if name and name not in zoneinfo.available_timezones():
        raise invalid_field("time_zone", "Invalid time_zone: give an IANA name or an empty text.")


def _within(call: Call, kind: str, name: str) -> Call:
    import dataclasses

    return dataclasses.replace(call, names={**call.names, kind: name})


def _location(project: str, name: str) -> dict[str, Any]:
    return {"name": f"projects/{project}/locations/{name}", "locationId": name}


def _resource(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, **{k: v for k, v in body.items() if v not in ("", {}, [])}}


def _body(db: sqlite3.Connection, table: str, row: int) -> dict[str, Any]:
    found = db.execute(
        f"SELECT body FROM {table} WHERE id = ?",  # noqa: S608 - one of our two tables
        (row,),
    ).fetchone()
    return dict(json.loads(found[0]))


def _page(
    call: Call, rows: list[tuple[str, str]], size: int, kind: str, parent: str
) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    if rows:
        answer[kind] = [_resource(f"{parent}/{name}", json.loads(b)) for name, b in rows[:size]]
    if len(rows) > size:
        answer["nextPageToken"] = paging.token_after(call, rows[size - 1][0])
    return answer
