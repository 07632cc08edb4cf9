"""Long-running operations: followed to their end, cancelled on demand, their failures told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dicomsql.errors import CancelledError, OperationalError, OperationFailedError
from dicomsql.execution.calls import json_object, single
from dicomsql.transport.base import Request

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method, Operations
    from dicomsql.execution.run import Run

# Seconds between two looks: short at first, since many operations end at once.
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
_GROWTH = 1.5


def wait(
    run: Run, operations: Operations, base_url: str, started: Mapping[str, Any], method: Method
) -> dict[str, Any]:
    """Follow an operation until it is done.

    Args:
        started: the operation as the call gave it.
        method: started it.

    Raises:
        OperationFailedError: it ended with an error.
        CancelledError: the statement was cancelled; the operation goes on, and is named.
    """
    operation = dict(started)
    name = str(operation.get("name", ""))
    request = _request("GET", operations.poll, base_url, name, method)
    delay = _FIRST_DELAY
    begun = time.monotonic()
    if not name and not operation.get("done"):
        raise OperationalError(
            f"{method.full_name}: the answer is no operation that could be awaited."
        )
    while not operation.get("done"):
        if run.cancel.wait(delay):
            raise CancelledError(f"The statement was cancelled; the operation {name} goes on.")
        delay = min(delay * _GROWTH, _LONGEST_DELAY)
        operation = json_object(single(run, request), method.full_name)
        took = time.monotonic() - begun
        run.say(f"{method.full_name}: {took:.0f} s, {progress(operation, operations)}")
    error = operation.get("error")
    if isinstance(error, Mapping):
        said = run.gate.scrub(str(error.get("message", "")), request)
        raise OperationFailedError(
            f"{method.full_name}: the operation {name} ended with error "
            f"{error.get('code', '')}: {said}"
        )
    failed = _failures(operation, operations)
    if failed:
        run.note(
            f"{method.full_name}: the operation ended, but {failed:,} "
            f"item{'s' * (failed != 1)} failed ({progress(operation, operations)}); "
            f"its logs say which."
        )
    return operation


def cancel(run: Run, operations: Operations, base_url: str, name: str, method: Method) -> None:
    """Ask the server to stop an operation that the method started."""
    single(run, _request("POST", operations.cancel, base_url, name, method))


def progress(operation: Mapping[str, Any], operations: Operations) -> str:
    """The operation's counters as a phrase."""
    counter = counters(operation, operations)
    told = [f"{int(v):,} {k}" for k, v in counter.items() if str(v).isdigit()]
    if told:
        return ", ".join(told)
    return "done" if operation.get("done") else "running"


def counters(operation: Mapping[str, Any], operations: Operations) -> dict[str, Any]:
    """The operation's counters by their names."""
    found: Any = operation
    for member in operations.counter.split("."):
        found = found.get(member) if isinstance(found, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


def _failures(operation: Mapping[str, Any], operations: Operations) -> int:
    value = counters(operation, operations).get("failure", 0)
    return int(value) if str(value).isdigit() else 0


def _request(http: str, path: str, base_url: str, name: str, method: Method) -> Request:
    return Request(
        method=http,
        base_url=base_url,
        path=path,
        path_values=(("name", name),),
        headers=(("Accept", "application/json"),),
        repeatable=True,
        resource=method.full_name,
    )
