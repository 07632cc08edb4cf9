"""Long-running operations, as the API shows them: they live under their dataset; see `jobs`."""

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

# Seconds that work which was cancelled gets to stop before the answer.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Target:
    """What an operation is deleting; nothing may be stored there until it has ended."""

    store: int
    study: str
    series: str | None = None


def record(
    db: sqlite3.Connection, call: Call, *, method: str, response: dict[str, Any]
) -> dict[str, Any]:
    """Record an operation that is done, and give its answer.

    Args:
        method: the method's full gRPC name.
        response: what the operation answers, with its `@type`.
    """
    now = time.time()
    return _operation(call, _insert(db, call, method=method, response=response, ended=now))


def begin(
    db: sqlite3.Connection,
    call: Call,
    *,
    method: str,
    kind: str,
    spec: dict[str, Any],
    response: dict[str, Any],
    target: Target | None = None,
) -> int:
    """Record an operation whose work is to be done; `started` gives its answer.

    Args:
        method: the method's full gRPC name.
        kind: of the work, by its name in `work.KINDS`.
        spec: what is asked for, as JSON, for the work.
        response: what the operation answers once it is done, with its `@type`.
        target: what it deletes.

    Returns:
        Its row.
    """
    row = _insert(db, call, method=method, response=response, kind=kind, spec=spec, target=target)
    return int(row["id"])


def started(call: Call, operation: int, patience: float = 0.0) -> dict[str, Any]:
    """The first answer of an operation whose row has been committed; its work begins.

    Args:
        patience: seconds that it gets to end before it is answered that it goes on.
    """
    call.runner.wake()
    if patience > call.runner.delay:
        call.runner.wait(operation, patience)
    with call.folder.read() as db:
        cursor = db.execute("SELECT * FROM operations WHERE id = ?", (operation,))
        rows = _all_named(cursor)
    if not rows:
        raise not_found("The dataset was deleted while the operation was started.")
    return _operation(call, rows[0])


def blocked(db: sqlite3.Connection, store: int, study: str, series: str) -> bool:
    """Whether a study or series is still being deleted."""
    found = db.execute(
        "SELECT 1 FROM operations WHERE ended IS NULL AND store_id = ? AND study = ?"
        " AND NOT cancelled AND (series IS NULL OR series = ?) LIMIT 1",
        (store, study, series),
    ).fetchone()
    return found is not None


def get(call: Call) -> dict[str, Any]:
    """operations.get"""
    with call.folder.read() as db:
        row = _find(db, call)
    if row["ended"] is None:
        call.runner.wake()  # it may be left from a process that is gone
    return _operation(call, row)


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
        answer["nextPageToken"] = paging.token_after(call, str(rows[size - 1]["id"]))
    return answer


def cancel(call: Call) -> dict[str, Any]:
    """operations.cancel: what has been done stays done; one that has ended is left as it is."""
    schemas.check(call.json_body(), schemas.CANCEL_OPERATION, "request")
    with call.folder.write() as db:
        row = _find(db, call)
        db.execute(
            "UPDATE operations SET cancelled = 1 WHERE id = ? AND ended IS NULL", (row["id"],)
        )
    call.runner.wake()
    call.runner.wait(row["id"], _PATIENCE)
    return {}


def _find(db: sqlite3.Connection, call: Call) -> dict[str, Any]:
    cursor = db.execute(
        "SELECT * FROM operations WHERE dataset_id = ? AND name = ?",
        (dataset_id(db, call), call.names["operation"]),
    )
    rows = _all_named(cursor)
    if not rows:
        raise not_found(
            f"Operation not found: {call.dataset_name}/operations/{call.names['operation']}."
        )
    return rows[0]


def _insert(
    db: sqlite3.Connection,
    call: Call,
    *,
    method: str,
    response: dict[str, Any],
    kind: str = "",
    spec: dict[str, Any] | None = None,
    target: Target | None = None,
    ended: float | None = None,
) -> dict[str, Any]:
    values = {
        "dataset_id": dataset_id(db, call),
        "name": str(secrets.randbits(62) + (1 << 62)),
        "version": call.version,
        "method": method,
        "kind": kind,
        "spec": json.dumps(spec or {}),
        "response": json.dumps(response),
        "created": ended or time.time(),
        "ended": ended,
        "store_id": target.store if target else None,
        "study": target.study if target else None,
        "series": target.series if target else None,
    }
    columns, marks = ", ".join(values), ", ".join("?" * len(values))
    cursor = db.execute(  # our own columns
        f"INSERT INTO operations ({columns}) VALUES ({marks}) RETURNING *",  # noqa: S608
        tuple(values.values()),
    )
    return _all_named(cursor)[0]


def _operation(call: Call, row: dict[str, Any]) -> dict[str, Any]:
    done = row["ended"] is not None
    package = f"type.googleapis.com/google.cloud.healthcare.{row['version']}"
    metadata: dict[str, Any] = {
        "@type": f"{package}.OperationMetadata",
        "apiMethodName": row["method"],
        "createTime": timestamp(row["created"]),
    }
    if done:
        metadata["endTime"] = timestamp(row["ended"])
    if row["cancelled"]:
        metadata["cancelRequested"] = True
    pending = 0 if done else (row["units"] or 0) - row["success"] - row["failure"]
    counts = {"success": row["success"], "failure": row["failure"], "pending": pending}
    if any(counts.values()):
        metadata["counter"] = {name: str(count) for name, count in counts.items() if count}
    answer: dict[str, Any] = {
        "name": f"{call.dataset_name}/operations/{row['name']}",
        "metadata": metadata,
    }
    if done:
        answer["done"] = True
        if row["error"] is None:
            answer["response"] = json.loads(row["response"])
        else:
            answer["error"] = json.loads(row["error"])
    return answer


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, with microseconds."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _all_named(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]
