"""The audit log of writes: who, when, which method on which resource, with which result.

One JSON object a line, appended whole, in a file that only its owner reads. It names places
(projects, datasets, stores) and no value of an attribute.
"""

from __future__ import annotations

import datetime
import getpass
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dicomsql.errors import ApiError, OperationalError, OperationFailedError, ProgrammingError
from dicomsql.transport.gate import Gate

if TYPE_CHECKING:
    from dicomsql.planning.plan import WritePlan
    from dicomsql.transport.base import Request


class AuditLog:
    """Appends a line for each call of a write, and for each COPY.

    Parameters:
        path: the file; made with mode 0600, or set to it where it is there.

    Raises:
        OperationalError: the file cannot be opened; a write without its log is not made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Places pass a closed gate, identifiers of studies and the like do not.
        self._gate = Gate.closed()
        self._append(b"")

    def write(
        self,
        plan: WritePlan,
        values: Mapping[str, str | tuple[str, ...]],
        error: BaseException | None,
    ) -> None:
        """Write down one call and how it ended."""
        self._note(
            {
                "method": plan.method.full_name,
                "http": f"{plan.method.http_method} {plan.method.path}",
                "places": self._places(values),
            },
            error,
        )

    def request(
        self, request: Request, *, status: int = 0, error: BaseException | None = None
    ) -> None:
        """Write down one request of a COPY and how it ended.

        Args:
            status: of the answer, where there was one that was no error.
        """
        entry: dict[str, object] = {
            "method": request.resource,
            "http": f"{request.method} {request.path}",
            "places": self._places(dict(request.path_values)),
        }
        if status:
            entry["status"] = status
        self._note(entry, error)

    def copied(
        self,
        kind: str,
        stores: Mapping[str, tuple[str, Mapping[str, str]]],
        counts: Mapping[str, int],
        error: BaseException | None,
    ) -> None:
        """Write down a COPY once it has ended.

        Args:
            kind: `in`, `out` or `between`.
            stores: `source` and `target`, as far as they are stores: resource and parameters.
            counts: number of instances by what became of them.
        """
        entry: dict[str, object] = {"copy": kind}
        for name, (resource, values) in stores.items():
            entry[name] = {"resource": resource, "places": self._places(values)}
        self._note({**entry, "counts": dict(counts)}, error)

    def _places(self, values: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
        """The parameters that name places and no patient."""
        return {
            k: v
            for k, v in values.items()
            if isinstance(v, str) and self._gate.show_value(k, v) == v
        }

    def _note(self, what: Mapping[str, object], error: BaseException | None) -> None:
        """Append a line: when, who, what, and how it ended."""
        entry: dict[str, object] = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "user": _user(),
            **what,
            "result": _result(error),
        }
        if isinstance(error, ApiError):
            entry["status"] = error.failure.status
        self._append(json.dumps(entry).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._make_private(handle)
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            raise OperationalError(
                f"The audit log {self._path} cannot be written: {error.strerror}."
            ) from None

    def _make_private(self, handle: int) -> None:
        """Take the others' rights to a file that was there before; it is read like a new one.

        Raises:
            OperationalError: it belongs to somebody else, who could read and change the log.
        """
        found = os.fstat(handle)
        if not hasattr(os, "geteuid") or not stat.S_ISREG(found.st_mode):
            return
        if found.st_uid != os.geteuid():
            raise OperationalError(
                f"The audit log {self._path} belongs to another user. Name a file of your own."
            )
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            os.fchmod(handle, stat.S_IRUSR | stat.S_IWUSR)


def _result(error: BaseException | None) -> str:
    """How a call ended; of one that was broken off nobody knows whether it took effect."""
    if error is None:
        return "done"
    if isinstance(error, ApiError | ProgrammingError | OperationFailedError):
        return "failed"
    return "unknown"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid()) if hasattr(os, "getuid") else ""
