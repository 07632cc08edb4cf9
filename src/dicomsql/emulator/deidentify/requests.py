"""The methods dicomStores.deidentify and datasets.deidentify: what is checked before they begin."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from typing import Any

from dicomsql.emulator import operations, schemas
from dicomsql.emulator.call import Call, dataset_id, store_id
from dicomsql.emulator.deidentify.config import check_config
from dicomsql.emulator.neighbours.base import NeighbourError
from dicomsql.emulator.schemas import STRING, Message, Scalar
from dicomsql.emulator.status import StatusError, invalid_field, not_found
from dicomsql.emulator.work import selection, uris

__all__ = ["deidentify_dataset", "deidentify_store"]


def deidentify_store(call: Call) -> dict[str, Any]:
    """dicomStores.deidentify: into a store that exists, in a dataset of the same location."""
    body = schemas.check(call.json_body(), _STORE, "request")
    destination = _named(body, "destinationStore", _STORE_NAME, call)
    config = _config(call, body)
    filter_uri = selection.check_filter(body.get("filterConfig"))
    with call.folder.write() as db:
        source = store_id(db, call)
        target = _store_row(db, destination)
        if target == source:
            raise invalid_field(
                "destination_store", "The destination_store has to be another than the source."
            )
        package = f"google.cloud.healthcare.{call.version}.deidentify"
        operation = operations.begin(
            db,
            call,
            method=f"{package}.DeidentifyService.DeidentifyDicomStore",
            kind="deidentify store",
            spec=_spec([(source, target)], config, filter_uri),
            response={"@type": f"type.googleapis.com/{package}.DeidentifyDicomStoreSummary"},
        )
    return operations.started(call, operation)


def deidentify_dataset(call: Call) -> dict[str, Any]:
    """datasets.deidentify: into a dataset that does not exist, with all stores of this one.

    What a store tells topics and tables is not copied: its copy is another's.
    """
    body = schemas.check(call.json_body(), _DATASET, "request")
    destination = _named(body, "destinationDataset", _DATASET_NAME, call)
    config = _config(call, body)
    with call.folder.write() as db:
        source = dataset_id(db, call)
        target = _make_dataset(db, source, destination)
        pairs = []
        for row, name, text in db.execute(
            "SELECT id, name, body FROM stores WHERE dataset_id = ?", (source,)
        ).fetchall():
            kept = {key: value for key, value in json.loads(text).items() if key == "labels"}
            made = db.execute(
                "INSERT INTO stores (dataset_id, name, body) VALUES (?, ?, ?)",
                (target, name, json.dumps(kept)),
            )
            pairs.append((int(row), int(made.lastrowid or 0)))
        package = f"google.cloud.healthcare.{call.version}.deidentify"
        operation = operations.begin(
            db,
            call,
            method=f"{package}.DeidentifyService.DeidentifyDataset",
            kind="deidentify dataset",
            spec=_spec(pairs, config, ""),
            response={"@type": f"type.googleapis.com/{package}.DeidentifySummary"},
        )
    return operations.started(call, operation)


_LARGEST_CONFIG = 1024 * 1024  # bytes
_DATASET_NAME = re.compile(
    r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/datasets/(?P<dataset>[^/]+)"
)
_STORE_NAME = re.compile(_DATASET_NAME.pattern + r"/dicomStores/(?P<store>[^/]+)")


def _read_config(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value  # checked when it is known which of the two there is
    raise ValueError


_CONFIG = Scalar("TYPE_MESSAGE", _read_config)
_DATASET = Message({"destinationDataset": STRING, "config": _CONFIG, "gcsConfigUri": STRING})
_STORE = Message(
    {
        "destinationStore": STRING,
        "config": _CONFIG,
        "gcsConfigUri": STRING,
        "filterConfig": Message({"resourcePathsGcsUri": STRING}),
    }
)


def _named(body: dict[str, Any], field: str, form: re.Pattern[str], call: Call) -> dict[str, str]:
    """The parts of a destination's name, which is in the location of the source."""
    where = re.sub("[A-Z]", lambda match: "_" + match[0].lower(), field)
    found = form.fullmatch(body.get(field, ""))
    if found is None:
        raise invalid_field(where, f"Invalid {where}: a full resource name is needed.")
    if found["location"] != call.names["location"]:
        raise invalid_field(where, f"The {where} has to be in the same location as the source.")
    return found.groupdict()


def _config(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """The configuration, from the request or from Cloud Storage, in canonical form."""
    uri = body.get("gcsConfigUri", "")
    if not uri:
        return check_config(body.get("config", {}), call.version)
    if "config" in body:
        raise invalid_field("config", "Only one of config and gcs_config_uri can be set.")
    bucket, name = uris.object_name(uri, "gcs_config_uri")
    content = b""
    try:
        for piece in call.neighbours.objects.read(bucket, name):
            content += piece
            if len(content) > _LARGEST_CONFIG:
                raise invalid_field("gcs_config_uri", "The configuration is too large.")
    except NeighbourError as error:
        raise StatusError(error.status, error.message) from error
    try:
        return check_config(json.loads(content), call.version)
    except (ValueError, RecursionError):
        raise invalid_field("gcs_config_uri", "The object at gcs_config_uri is no JSON.") from None


def _spec(stores: list[tuple[int, int]], config: dict[str, Any], filter_uri: str) -> dict[str, Any]:
    key = secrets.token_hex(32)
    return {"stores": stores, "config": config, "filter": filter_uri, "key": key}


def _store_row(db: sqlite3.Connection, name: dict[str, str]) -> int:
    row = db.execute(
        "SELECT s.id FROM stores s JOIN datasets d ON d.id = s.dataset_id"
        " WHERE d.project = :project AND d.location = :location AND d.name = :dataset"
        " AND s.name = :store",
        name,
    ).fetchone()
    if row is None:
        raise not_found(
            f"The destination DICOM store was not found; create it first: {_full(name)}."
        )
    return int(row[0])


def _make_dataset(db: sqlite3.Connection, source: int, name: dict[str, str]) -> int:
    """The new dataset, with the time zone of the source."""
    schemas.check_id("destination_dataset", name["dataset"])
    try:
        made = db.execute(
            "INSERT INTO datasets (project, location, name, body)"
            " SELECT :project, :location, :dataset, body FROM datasets WHERE id = :source",
            {**name, "source": source},
        )
    except sqlite3.IntegrityError:
        raise StatusError("ALREADY_EXISTS", f"already exists: {_full(name)}") from None
    return int(made.lastrowid or 0)


def _full(name: dict[str, str]) -> str:
    kinds = ("projects", "locations", "datasets", "dicomStores")
    return "/".join(f"{kind}/{part}" for kind, part in zip(kinds, name.values(), strict=False))
