"""What a store tells others: notifications to topics, and rows to tables, about its instances.

`notificationConfig` hears of instances that were stored, and of imported ones if it asks for that;
the message is the resource's name. `notificationConfigs` hear of every change, with attributes.
`streamConfigs` get a row for each instance that comes; the flattened form has no deletions, the
JSON form a row of Type DELETE.

What an operation changes is owed by the transaction that changes it, and told afterwards: messages
once at least, rows of tables exactly once, whatever is killed or done again in between.

Where Google writes an error to its log and goes on, the request fails here, for there is no log:
`check` asks before anything is changed whether the topics and the tables' datasets are there.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from dicomsql.dicom.part10 import Dataset, text
from dicomsql.emulator import attributes
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.neighbours.base import (
    Disposition,
    NeighbourError,
    Neighbours,
    TableName,
)
from dicomsql.emulator.neighbours.columns import merged
from dicomsql.emulator.neighbours.rows import Form, Source
from dicomsql.emulator.neighbours.rows import row as row_of
from dicomsql.emulator.status import StatusError

__all__ = [
    "Change",
    "Holder",
    "check",
    "deleted",
    "described",
    "owe",
    "settle",
    "stored",
    "table_name",
]


# what became of an instance; the first two are the Types of rows
INSERT, DELETE, MOVE = "INSERT", "DELETE", ""


class Holder(Protocol):
    """A call, or the context of a job."""

    @property
    def folder(self) -> Folder:
        """What is served."""

    @property
    def neighbours(self) -> Neighbours:
        """The services beside it."""


@dataclass(frozen=True, slots=True)
class Change:
    """An instance that came or went.

    Attributes:
        dataset: DICOM JSON without the URLs of bulk data; of a deleted one at least its UIDs.
        size: bytes of its file.
        updated: seconds since 1970; now if 0.
        previous_class: the storage class that it had, where this has changed.
    """

    dataset: Dataset
    size: int
    storage_class: str = "STANDARD"
    updated: float = 0.0
    previous_class: str = ""


def check(holder: Holder, store: int) -> None:
    """Ask for the topics and the tables' datasets of a store, before anything is changed.

    Raises:
        StatusError: 400, FAILED_PRECONDITION, for one that is not there.
    """
    config = _Config.of(holder, store)
    if config is None:
        return
    for topic in config.topics():
        with _told(f"its topic {topic}"):
            holder.neighbours.topics.check(topic)
    for destination in config.streams:
        name = table_name(destination)
        with _told("a table of streamConfigs"):
            holder.neighbours.tables.check(name)


def stored(
    holder: Holder,
    store: int,
    instances: Sequence[int],
    *,
    action: str = "StoreInstances",
) -> None:
    """Tell of instances that are in the store now.

    Args:
        store: its row in the index.
        instances: theirs; one that has gone meanwhile is left out.
        action: the method that brought them, such as `StoreInstances`.

    Raises:
        StatusError: 400, FAILED_PRECONDITION, where a topic or a dataset has gone; 503 where
            another server that stands in the place of ours does not answer. The instances stay.
    """
    config = _Config.of(holder, store) if instances else None
    if config is None:
        return
    with holder.folder.read() as db:
        changes = described(db, instances)
    _tell(holder, config, changes, action=action, kind=INSERT)


def deleted(holder: Holder, store: int, changes: Sequence[Change], *, action: str) -> None:
    """Tell of instances that are no longer in the store; raises as `stored`.

    Args:
        changes: from `described`, asked before they went.
        action: `DeleteInstance`, `DeleteSeries` or `DeleteStudy`.
    """
    config = _Config.of(holder, store) if changes else None
    if config is not None:
        _tell(holder, config, changes, action=action, kind=DELETE)


def owe(
    db: sqlite3.Connection,
    operation: int,
    store: int,
    changes: Callable[[], Sequence[Change]],
    *,
    action: str,
    kind: str = INSERT,
) -> None:
    """Note that others are to be told, in the transaction that makes the changes.

    Args:
        operation: the one that makes them, by its row; it tells when it calls `settle`.
        changes: gives them; not called where the store tells nobody.
        kind: INSERT, DELETE or MOVE.
    """
    if _Config.read(db, store) is None:
        return
    db.executemany(
        "INSERT INTO untold (operation_id, store_id, action, kind, change) VALUES (?, ?, ?, ?, ?)",
        [(operation, store, action, kind, json.dumps(asdict(change))) for change in changes()],
    )


def settle(holder: Holder, operation: int) -> None:
    """Tell what an operation owes; raises as `stored`, and owes it still.

    What is told together gets a name first, which tables remember: rows that were written before a
    kill are not written again.
    """
    with holder.folder.read() as db:
        if not db.execute("SELECT 1 FROM untold WHERE operation_id = ?", (operation,)).fetchone():
            return
    with holder.folder.write() as db:
        for which in db.execute(
            "SELECT DISTINCT store_id, action, kind FROM untold"
            " WHERE operation_id = ? AND batch IS NULL",
            (operation,),
        ).fetchall():
            db.execute(
                "UPDATE untold SET batch = ? WHERE operation_id = ? AND batch IS NULL"
                " AND store_id = ? AND action = ? AND kind = ?",
                (uuid.uuid4().hex, operation, *which),
            )
    with holder.folder.read() as db:
        batches = db.execute(
            "SELECT batch, store_id, action, kind FROM untold WHERE operation_id = ?"
            " GROUP BY batch ORDER BY min(id)",
            (operation,),
        ).fetchall()
    for batch, store, action, kind in batches:
        with holder.folder.read() as db:
            owed = db.execute("SELECT change FROM untold WHERE batch = ? ORDER BY id", (batch,))
            changes = [Change(**json.loads(text)) for (text,) in owed]
        config = _Config.of(holder, store)
        if config is not None:
            _tell(holder, config, changes, action=action, kind=kind, once=batch)
        with holder.folder.write() as db:
            db.execute("DELETE FROM untold WHERE batch = ?", (batch,))


def described(db: sqlite3.Connection, instances: Iterable[int]) -> list[Change]:
    """What there is to tell of instances, by their rows; one that is not there is left out."""
    found = []
    for row in instances:
        kept = db.execute(
            "SELECT m.json, i.size, i.storage_class, i.stored FROM instances i"
            " JOIN metadata m ON m.instance_id = i.id WHERE i.id = ?",
            (row,),
        ).fetchone()
        if kept is not None:
            # the marker of a URL is no legal JSON, and no URL is needed here
            found.append(Change(json.loads(kept[0], strict=False), *kept[1:]))
    return found


def table_name(destination: Mapping[str, Any]) -> TableName:
    """The table of a BigQueryDestination: `bq://P.D.T`.

    Raises:
        StatusError: 400 for another form.
    """
    # imported here, since the kinds of work that stand beside it tell of their instances too
    from dicomsql.emulator.work import uris

    return uris.table(str(destination.get("tableUri", "")), "table_uri")


@dataclass(frozen=True, slots=True)
class _Config:
    """What a store is to tell, and to whom."""

    name: str
    simple: Mapping[str, Any]
    detailed: tuple[str, ...]
    streams: tuple[Mapping[str, Any], ...]

    @staticmethod
    def of(holder: Holder, store: int) -> _Config | None:
        """A store's; None where it tells nobody, or is gone."""
        with holder.folder.read() as db:
            return _Config.read(db, store)

    @staticmethod
    def read(db: sqlite3.Connection, store: int) -> _Config | None:
        """The same, within a transaction."""
        row = db.execute(
            "SELECT d.project, d.location, d.name, s.name, s.body FROM stores s"
            " JOIN datasets d ON d.id = s.dataset_id WHERE s.id = ?",
            (store,),
        ).fetchone()
        if row is None:
            return None
        body = json.loads(row[4])
        simple = body.get("notificationConfig", {})
        detailed = [config.get("pubsubTopic") for config in body.get("notificationConfigs", ())]
        streams = [c.get("bigqueryDestination") for c in body.get("streamConfigs", ())]
        found = _Config(
            f"projects/{row[0]}/locations/{row[1]}/datasets/{row[2]}/dicomStores/{row[3]}",
            simple if simple.get("pubsubTopic") else {},
            tuple(topic for topic in detailed if topic),
            tuple(stream for stream in streams if stream),
        )
        return found if found.simple or found.detailed or found.streams else None

    def topics(self) -> list[str]:
        simple = [self.simple["pubsubTopic"]] if self.simple else []
        return list(dict.fromkeys([*simple, *self.detailed]))


def _tell(
    holder: Holder,
    config: _Config,
    changes: Sequence[Change],
    *,
    action: str,
    kind: str,
    once: str = "",
) -> None:
    now = time.time()
    silent = action == "ImportDicomData" and not config.simple.get("sendForBulkImport")
    for change in changes:
        name = _name(config.name, change.dataset)
        if config.simple and kind == INSERT and not silent:
            _publish(holder, config.simple["pubsubTopic"], name, {})
        said = _attributes(config.name, change, action, now)
        for topic in config.detailed:
            _publish(holder, topic, name, said)
    for number, destination in enumerate(config.streams if kind != MOVE else ()):
        load = f"{once}x{number}" if once else ""
        _stream(holder, config.name, destination, changes, kind=kind, now=now, once=load)


def _publish(holder: Holder, topic: str, name: str, said: Mapping[str, str]) -> None:
    with _told(f"its topic {topic}"):
        holder.neighbours.topics.publish(topic, name.encode(), said)


def _stream(
    holder: Holder,
    store_name: str,
    destination: Mapping[str, Any],
    changes: Iterable[Change],
    *,
    kind: str,
    now: float,
    once: str,
) -> None:
    form = Form.of(destination)
    if kind == DELETE and form.flattened:
        return
    made = [row_of(_source(store_name, change, kind, now), form) for change in changes]
    kept = [row for row in made if row is not None]
    if not kept:
        return
    columns = kept[0].columns
    for row in kept[1:]:
        columns = merged(columns, row.columns)
    values = [row.values for row in kept]
    name = table_name(destination)
    with _told("a table of streamConfigs"):
        holder.neighbours.tables.load(name, columns, values, Disposition.APPEND, once=once)


def _source(store_name: str, change: Change, kind: str, now: float) -> Source:
    size = len(json.dumps(change.dataset, ensure_ascii=False, separators=(",", ":")).encode())
    updated = change.updated or now
    return Source(
        store_name, change.dataset, size, change.size, change.storage_class, updated, kind
    )


def _name(store_name: str, dataset: Dataset) -> str:
    study, series, instance = _uids(dataset)
    return f"{store_name}/dicomWeb/studies/{study}/series/{series}/instances/{instance}"


def _uids(dataset: Dataset) -> tuple[str, str, str]:
    tags = (attributes.STUDY_UID, attributes.SERIES_UID, attributes.INSTANCE_UID)
    study, series, instance = (text(dataset, tag) for tag in tags)
    return study, series, instance


def _attributes(store_name: str, change: Change, action: str, now: float) -> dict[str, str]:
    """Those of DicomNotificationConfig in the discovery document."""
    study, series, instance = _uids(change.dataset)
    moment = datetime.datetime.fromtimestamp(change.updated or now, datetime.UTC)
    found = {
        "action": action,
        "lastUpdatedTime": email.utils.format_datetime(moment, usegmt=True),
        "storeName": store_name,
        "studyInstanceUID": study,
        "seriesInstanceUID": series,
        "sopInstanceUID": instance,
        "versionId": str(int(moment.timestamp() * 1_000_000)),
        "modality": text(change.dataset, attributes.MODALITY),
        "storageClass": change.storage_class,
        "previousStorageClass": change.previous_class,
    }
    return {name: value for name, value in found.items() if value}


@contextlib.contextmanager
def _told(whom: str) -> Iterator[None]:
    try:
        yield
    except NeighbourError as error:
        unavailable = error.status == "UNAVAILABLE"
        status = "UNAVAILABLE" if unavailable else "FAILED_PRECONDITION"
        message = f"The DICOM store could not tell {whom}: {error.message}"
        raise StatusError(status, message) from None
