"""Errors of single requests, in the form of google.rpc.Status over HTTP."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

# google/rpc/code.proto: the codes that are met here, with the HTTP status each one maps to
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "DATA_LOSS": 500,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}

# google/rpc/code.proto: the numbers, by which the errors of operations name the codes
_RPC_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ROOM = (
    "The disk that holds the emulator's folder is full, and nothing was stored. Make room on it, or"
    " delete what is stored."
)

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


class StatusError(Exception):
    """A request that fails.

    Args:
        status: a name of google.rpc.Code.
        message: a sentence for the developer who sent the request.
        http: the HTTP status, where it is not the one that the code maps to (406, 415).
        details: google.rpc detail messages, each with its `@type`.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        http: int | None = None,
        details: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.http = HTTP_STATUS[status] if http is None else http
        self.details = tuple(details)

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        error: dict[str, Any] = {
            "code": self.http,
            "message": self.message,
            "status": self.status,
        }
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def rpc_code(status: str) -> int:
    """The number of a google.rpc.Code."""
    return _RPC_CODES.index(status) if status in _RPC_CODES else _RPC_CODES.index("UNKNOWN")


def invalid(message: str) -> StatusError:
    """400: the request is malformed, whatever the state of the server."""
    return StatusError("INVALID_ARGUMENT", message)


def invalid_field(field: str, message: str) -> StatusError:
    """400 with the violated field in the details, as Google's JSON front end answers.

    The message names the field too; clients that show both would otherwise say all of it twice.
    """
    violation = {"field": field} if field else {"description": message}
    details = [{"@type": BAD_REQUEST, "fieldViolations": [violation]}]
    return StatusError("INVALID_ARGUMENT", message, details=details)


def not_found(message: str) -> StatusError:
    """404: the parent exists, what was asked for does not."""
    return StatusError("NOT_FOUND", message)


def of_folder(error: sqlite3.Error | OSError) -> StatusError:
    """What a failure of the folder's disk or index is answered by; nothing of the request is kept.

    A full disk is 503, whichever service met it: the codes have none of their own for it, and a
    client that waits and asks again is right to.
    """
    if isinstance(error, OSError):
        if error.errno in _FULL:
            return StatusError("UNAVAILABLE", _NO_ROOM)
        reason = error.strerror or type(error).__name__
        return StatusError("INTERNAL", f"The emulator's folder failed: {reason}.")
    import sqlite3  # here, for whoever imports the library and does not start it

    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StatusError("UNAVAILABLE", _NO_ROOM)
    if not isinstance(error, sqlite3.OperationalError):
        return StatusError("DATA_LOSS", "The emulator's index is damaged.")
    locked = code == sqlite3.SQLITE_BUSY
    reason = "busy with another process" if locked else "not usable (disk full or damaged?)"
    return StatusError("UNAVAILABLE", f"The emulator's index is {reason}.")


def not_acceptable(message: str) -> StatusError:
    """406: nothing that the Accept header allows can be made of the instance."""
    return StatusError("INVALID_ARGUMENT", message, http=406)
