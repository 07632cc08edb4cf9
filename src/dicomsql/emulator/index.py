"""The index's rows for studies, series and instances: added by a store, removed by a delete.

A study's and a series' own attributes are those of the first instance that was stored in it and is
still there. Each row carries the default attributes of its level as JSON text, so that a search
that asks for no others puts its answer together without decoding anything.
"""

from __future__ import annotations

import json
import sqlite3
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dicomsql.dicom.part10 import BASE, Dataset, text
from dicomsql.emulator import attributes
from dicomsql.emulator.attributes import Level


@dataclass(frozen=True, slots=True)
class Entry:
    """An instance that is ready to be indexed.

    Attributes:
        file: the name under which its bytes stand among the instances.
        dataset: DICOM JSON.
        storage_class: of Cloud Healthcare's blob storage.
        operation: the row of the operation that stores it, if it is one that does.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    file: str
    size: int
    sha256: bytes
    dataset: Dataset
    storage_class: str = "STANDARD"
    operation: int | None = None


def stored_digest(
    db: sqlite3.Connection, store: int, study: str, series: str, instance: str
) -> bytes | None:
    """The SHA-256 of the bytes stored under these UIDs, or None."""
    row = db.execute(
        "SELECT i.sha256 FROM studies st JOIN series se ON se.study_id = st.id"
        " JOIN instances i ON i.series_id = se.id"
        " WHERE st.store_id = ? AND st.uid = ? AND se.uid = ? AND i.uid = ?",
        (store, study, series, instance),
    ).fetchone()
    return None if row is None else bytes(row[0])


def row_of(db: sqlite3.Connection, store: int, study: str, series: str, instance: str) -> int:
    """The row of the instance that is stored under these UIDs."""
    (row,) = db.execute(
        "SELECT i.id FROM studies st JOIN series se ON se.study_id = st.id"
        " JOIN instances i ON i.series_id = se.id"
        " WHERE st.store_id = ? AND st.uid = ? AND se.uid = ? AND i.uid = ?",
        (store, study, series, instance),
    ).fetchone()
    return int(row)


def add(db: sqlite3.Connection, store: int, entry: Entry) -> int:
    """Index an instance whose UIDs are not in the store yet; its row."""
    found = db.execute(
        "SELECT id FROM studies WHERE store_id = ? AND uid = ?", (store, entry.study)
    ).fetchone()
    study = found[0] if found else _add_study(db, store, entry.study)
    found = db.execute(
        "SELECT id FROM series WHERE study_id = ? AND uid = ?", (study, entry.series)
    ).fetchone()
    series = found[0] if found else _add_series(db, store, study, entry.series)
    metadata = _compact(entry.dataset)
    cursor = db.execute(
        "INSERT INTO instances (series_id, study_id, store_id, uid, sop_class, transfer_syntax,"
        " file, size, sha256, metadata_size, stored, summary, storage_class, operation_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            series,
            study,
            store,
            entry.instance,
            entry.sop_class,
            entry.transfer_syntax,
            entry.file,
            entry.size,
            entry.sha256,
            len(metadata),
            time.time(),
            _summary(entry.dataset, attributes.INSTANCE),
            entry.storage_class,
            entry.operation,
        ),
    )
    db.execute("INSERT INTO metadata VALUES (?, ?)", (cursor.lastrowid, metadata))
    _describe(db, "series", series, only_if_first=cursor.lastrowid)
    _describe(db, "studies", study, only_if_first=cursor.lastrowid)
    return int(cursor.lastrowid or 0)


def replace(db: sqlite3.Connection, instance: int, entry: Entry) -> None:
    """Put another file and its data set in the place of an instance's, whose UIDs stay."""
    series, study, file = db.execute(
        "SELECT series_id, study_id, file FROM instances WHERE id = ?", (instance,)
    ).fetchone()
    metadata = _compact(entry.dataset)
    db.execute("INSERT INTO garbage VALUES (?)", (file,))
    db.execute(
        "UPDATE instances SET sop_class = ?, transfer_syntax = ?, file = ?, size = ?, sha256 = ?,"
        " metadata_size = ?, stored = ?, summary = ?, operation_id = ? WHERE id = ?",
        (
            entry.sop_class,
            entry.transfer_syntax,
            entry.file,
            entry.size,
            entry.sha256,
            len(metadata),
            time.time(),
            _summary(entry.dataset, attributes.INSTANCE),
            entry.operation,
            instance,
        ),
    )
    db.execute("UPDATE metadata SET json = ? WHERE instance_id = ?", (metadata, instance))
    _describe(db, "series", series, only_if_first=instance)
    _describe(db, "studies", study, only_if_first=instance)


def remove_instances(db: sqlite3.Connection, instances: Iterable[int]) -> int:
    """Remove instances, and the series and studies that this leaves empty; gives how many.

    Args:
        instances: their rows; one that is not there is no error.
    """
    parents: set[tuple[int, int]] = set()
    count = 0
    for instance in instances:
        found = db.execute(
            "SELECT series_id, study_id, file FROM instances WHERE id = ?", (instance,)
        ).fetchone()
        if found is not None:
            parents.add((found[0], found[1]))
            db.execute("INSERT INTO garbage VALUES (?)", (found[2],))
            db.execute("DELETE FROM instances WHERE id = ?", (instance,))
            count += 1
    for series in {series for series, _ in parents}:
        _tidy(db, "series", series)
    for study in {study for _, study in parents}:
        _tidy(db, "studies", study)
    return count


def remove_instance(db: sqlite3.Connection, instance: int) -> None:
    """Remove an instance, and its series and study where it was their last."""
    remove_instances(db, [instance])


def name_tokens(name: str) -> str:
    """A person's name for fuzzy matching: ` john doe`, each token after one space.

    Case, accents and all punctuation are dropped.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = "".join(c if c.isalnum() else " " for c in plain if not unicodedata.combining(c))
    return "".join(f" {token}" for token in kept.split())


_PARENT = {"series": "series_id", "studies": "study_id"}


def _add_study(db: sqlite3.Connection, store: int, uid: str) -> int:
    cursor = db.execute(
        "INSERT INTO studies (store_id, uid, study_date, accession_number, referring_physician,"
        " patient_name, patient_id, name_tokens, summary)"
        " VALUES (?, ?, '', '', '', '', '', '', '')",
        (store, uid),
    )
    return int(cursor.lastrowid or 0)


def _add_series(db: sqlite3.Connection, store: int, study: int, uid: str) -> int:
    cursor = db.execute(
        "INSERT INTO series (study_id, store_id, uid, modality, summary) VALUES (?, ?, ?, '', '')",
        (study, store, uid),
    )
    return int(cursor.lastrowid or 0)


def _first(db: sqlite3.Connection, table: str, row: int) -> int | None:
    """The instance that describes a series or a study."""
    found = db.execute(
        f"SELECT min(id) FROM instances WHERE {_PARENT[table]} = ?",  # noqa: S608 - our columns
        (row,),
    ).fetchone()
    return None if found[0] is None else int(found[0])


def _tidy(db: sqlite3.Connection, table: str, row: int) -> None:
    if _first(db, table, row) is None:
        db.execute(f"DELETE FROM {table} WHERE id = ?", (row,))  # noqa: S608 - one of our two
    else:
        _describe(db, table, row)


def _describe(
    db: sqlite3.Connection, table: str, row: int, *, only_if_first: int | None = None
) -> None:
    """Fill a study's or series' row from its first instance."""
    first = _first(db, table, row)
    if only_if_first is not None and first != only_if_first:
        return
    (metadata,) = db.execute("SELECT json FROM metadata WHERE instance_id = ?", (first,)).fetchone()
    # the marker of a URL is no legal JSON, and no URL is needed here
    dataset = json.loads(metadata, strict=False)
    if table == "series":
        db.execute(
            "UPDATE series SET modality = ?, summary = ? WHERE id = ?",
            (text(dataset, attributes.MODALITY), _summary(dataset, attributes.SERIES), row),
        )
        return
    name = text(dataset, attributes.PATIENT_NAME)
    db.execute(
        "UPDATE studies SET study_date = ?, accession_number = ?, referring_physician = ?,"
        " patient_name = ?, patient_id = ?, name_tokens = ?, summary = ? WHERE id = ?",
        (
            text(dataset, attributes.STUDY_DATE),
            text(dataset, "00080050"),
            text(dataset, "00080090"),
            name,
            text(dataset, "00100020"),
            name_tokens(name),
            _summary(dataset, attributes.STUDY),
            row,
        ),
    )


def _summary(dataset: Dataset, level: Level) -> str:
    return _compact({a.tag: dataset.get(a.tag, {"vr": a.vr}) for a in level.defaults})


def _compact(value: Any) -> str:
    return _unescaped(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _unescaped(text: str) -> str:
    """Put the raw marker of `part10.BASE` back where it begins a BulkDataURI."""
    return text.replace('"BulkDataURI":"\\u0001', f'"BulkDataURI":"{BASE}')


def with_base(stored: str, url: str) -> str:
    """Stored JSON with the URL of its instance in each BulkDataURI."""
    return stored.replace(BASE, json.dumps(url)[1:-1])
