"""Long-running operations: they live under their dataset, and end after a set delay."""

from __future__ import annotations

import datetime
import json
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from dicomsql.emulator import paging, schemas
from dicomsql.emulator.call import Call, dataset_id
from dicomsql.emulator.status import StatusError, not_found

_CANCELLED = {"code": 1, "message": "The operation was cancelled."}


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation is deleting; nothing may be stored there until it has ended."""

    store: int
    study: str
    series: str | None = None


def start(
    db: sqlite3.Connection,
    call: Call,
    *,
    method: str,
    response: dict[str, Any],
    delay: float,
    units: int = 0,
    target: Target | None = None,
) -> dict[str, Any]:
    """Record an operation and give its first answer.

    Args:
        method: the method's full gRPC name.
        response: what the operation answers once it is done, with its `@type`.
        delay: seconds until then.
        units: how many things it works on, for its progress counter.
    """
    name = str(secrets.randbits(62) + (1 << 62))
    now = time.time()
    row = db.execute(
        "INSERT INTO operations (dataset_id, name, version, method, created, due, units, response,"
        " store_id, study, series) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            dataset_id(db, call),
            name,
            call.version,
            method,
            now,
            now + delay,
            units,
            json.dumps(response),
            target.store if target else None,
            target.study if target else None,
            target.series if target else None,
        ),
    )
    return _operation(call, _named(row))


def blocked(db: sqlite3.Connection, store: int, study: str, series: str) -> bool:
    """Whether a study or series is still being deleted."""
    found = db.execute(
        "SELECT 1 FROM operations WHERE store_id = ? AND study = ? AND due > ?"
        " AND cancelled IS NULL AND (series IS NULL OR series = ?) LIMIT 1",
        (store, study, time.time(), series),
    ).fetchone()
    return found is not None


def get(call: Call) -> dict[str, Any]:
    """operations.get"""
    with call.folder.read() as db:
        return _operation(call, _find(db, call))


def list_operations(call: Call) -> dict[str, Any]:
    """operations.list; newest last. A filter is not supported, as Google's methods say it."""
    if call.parameter("filter"):
        raise StatusError("UNIMPLEMENTED", "A filter over operations is not supported.")
    if (call.parameter("returnPartialSuccess") or "false").lower() == "true":
        raise StatusError("UNIMPLEMENTED", "returnPartialSuccess is not supported.")
    size, last = paging.page_size(call), paging.last_key(call)
    with call.folder.read() as db:
        cursor = db.execute(
            "SELECT * FROM operations WHERE dataset_id = ? AND id > ? ORDER BY id LIMIT ?",
            (dataset_id(db, call), int(last) if last.isdigit() else 0, size + 1),
        )
        rows = _all_named(cursor)
    answer: dict[str, Any] = {}
    if rows:
        answer["operations"] = [_operation(call, row) for row in rows[:size]]
    if len(rows) > size:
        answer["nextPageToken"] = paging.token_after(str(rows[size - 1]["id"]))
    return answer


def cancel(call: Call) -> dict[str, Any]:
    """operations.cancel: what has been done stays done; one that has ended is left as it is."""
    schemas.check(call.json_body(), schemas.CANCEL_OPERATION, "request")
    with call.folder.write() as db:
        row = _find(db, call)
        now = time.time()
        if row["due"] > now and row["cancelled"] is None:
            db.execute("UPDATE operations SET cancelled = ? WHERE id = ?", (now, row["id"]))
    return {}


def _find(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    cursor = db.execute(
        "SELECT * FROM operations WHERE dataset_id = ? AND name = ?",
        (dataset_id(db, call), call.names["operation"]),
    )
    rows = _all_named(cursor)
    if not rows:
        raise not_found(f"Operation not found: {call.dataset_name}/operations/<id>.")
    return rows[0]


def _operation(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    cancelled = row["cancelled"] is not None
    ended = row["cancelled"] if cancelled else row["due"]
    done = ended <= now
    package = f"type.googleapis.com/google.cloud.healthcare.{row['version']}"
    metadata: dict[str, Any] = {
        "@type": f"{package}.OperationMetadata",
        "apiMethodName": row["method"],
        "createTime": timestamp(row["created"]),
    }
    if done:
        metadata["endTime"] = timestamp(ended)
    if cancelled:
        metadata["cancelRequested"] = True
    if row["units"]:
        metadata["counter"] = {"success" if done else "pending": str(row["units"])}
    answer: dict[str, Any] = {
        "name": f"{call.dataset_name}/operations/{row['name']}",
        "metadata": metadata,
    }
    if done:
        answer["done"] = True
        if cancelled:
            answer["error"] = _CANCELLED
        else:
            answer["response"] = json.loads(row["response"])
    return answer


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with microseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _named(cursor: sqlite3.Cursor) -> dict[str, Any]:
    return _all_named(cursor)[0]


def _all_named(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]
