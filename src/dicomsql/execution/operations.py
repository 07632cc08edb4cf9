"""Long-running operations: followed to their end, cancelled on demand, their failures told."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dicomsql.errors import CancelledError, OperationFailedError
from dicomsql.transport.base import Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Operations
    from dicomsql.execution.run import Run

# Seconds between two looks: short at first, since many operations end at once.
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
_GROWTH = 1.5
# Seconds between two sentences about the progress.
_SAY_EVERY = 10.0


def wait(
    run: Run, operations: Operations, base_url: str, started: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """Follow an operation until it is done.

    Args:
        started: the operation as the call gave it.
        what: the full name of the method that started it.

    Raises:
        OperationFailedError: it ended with an error.
        CancelledError: the statement was cancelled; the operation goes on, and is named.
    """
    operation = dict(started)
    delay = _FIRST_DELAY
    said = begun = time.monotonic()
    while not operation.get("done"):
        if run.cancel.wait(delay):
            name = operation.get("name", "")
            raise CancelledError(
                f"The statement was cancelled; the operation {name} goes on. "
                f"EXEC google.healthcare.operations.cancel stops it."
                if name
                else "The statement was cancelled."
            )
        delay = min(delay * _GROWTH, _LONGEST_DELAY)
        operation = _get(run, operations.poll, base_url, str(operation.get("name", "")), what)
        now = time.monotonic()
        if now - said >= _SAY_EVERY:
            said = now
            run.say(f"{what}: {now - begun:.0f} s, {progress(operation, operations)}")
    error = operation.get("error")
    if error:
        raise OperationFailedError(
            f"{what}: the operation {operation.get('name', '')} ended with error "
            f"{error.get('code', '')}: {run.gate_text(str(error.get('message', '')))}"
        )
    failed = _failures(operation, operations)
    if failed:
        run.note(
            f"{what}: the operation ended, but {failed:,} item{'s' * (failed != 1)} failed "
            f"({progress(operation, operations)}); its logs say which."
        )
    return operation


def progress(operation: Mapping[str, Any], operations: Operations) -> str:
    """The operation's counters as a phrase."""
    counter = counters(operation, operations)
    if not counter:
        return "running" if not operation.get("done") else "done"
    return ", ".join(f"{int(v):,} {k}" for k, v in counter.items() if str(v).isdigit())


def counters(operation: Mapping[str, Any], operations: Operations) -> dict[str, Any]:
    """The operation's counters by their names."""
    found: Any = operation
    for member in operations.counter.split("."):
        found = found.get(member) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def cancel(run: Run, operations: Operations, base_url: str, name: str, service: str) -> None:
    """Ask the server to stop an operation."""
    _call(run, "POST", operations.cancel, base_url, name, service)


def _failures(operation: Mapping[str, Any], operations: Operations) -> int:
    value = counters(operation, operations).get("failure", 0)
    return int(value) if str(value).isdigit() else 0


def _get(run: Run, path: str, base_url: str, name: str, service: str) -> dict[str, Any]:
    body = _call(run, "GET", path, base_url, name, service)
    found = json.loads(body)
    return found if isinstance(found, dict) else {}


def _call(
    run: Run, method: str, path: str, base_url: str, name: str, service: str
) -> bytes:
    request = Request(
        method=method,
        base_url=base_url,
        path=path,
        path_values=(("name", name),),
        headers=(("Accept", "application/json"),),
        repeatable=True,
        resource=service,
    )
    with run.send(request) as response:
        return response.read()
