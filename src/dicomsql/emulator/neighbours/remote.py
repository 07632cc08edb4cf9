"""Other servers in the place of ours: their answers at our address, and the stores' use of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from dicomsql.emulator.neighbours.base import (
    Column,
    Disposition,
    NeighbourError,
    StoredObject,
    TableName,
)
from dicomsql.emulator.neighbours.columns import to_json
from dicomsql.emulator.neighbours.web import Ask, Method

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["RemoteObjects", "RemoteTables", "RemoteTopics", "Server"]

_PIECE = 1 << 16
_PATIENCE = 60.0  # seconds without a byte
_JOB_PATIENCE = 600.0  # seconds for a load
# What concerns one connection (RFC 9110, 7.6.1), and what is written anew.
_CONNECTION = (
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding"
    " upgrade host"
)
_NOT_PASSED = frozenset(_CONNECTION.split())
# Set on what is passed on: a server that names itself would otherwise ask itself for ever.
_PASSED = "x-dicomsql-passed"
_STATUS = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "ABORTED",
    501: "UNIMPLEMENTED",
}


class Server:
    """A server that stands in the place of ours.

    Args:
        url: its root.
        service: which service it stands for.
        variable: of the environment, that named it.
    """

    def __init__(self, url: str, service: str, variable: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._secure, self._path = parts.scheme == "https", parts.path
        self._netloc = parts.netloc
        self._url = url
        self._service, self._variable = service, variable

    def method(self, path: str) -> Method:
        """A path, all verbs of which it answers."""
        return Method("GET POST PUT PATCH DELETE", path, self._pass_on, None)

    @contextlib.contextmanager
    def asked(
        self,
        verb: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Its answer to a request.

        Args:
            target: path and query.

        Raises:
            NeighbourError: UNAVAILABLE where it does not answer, another one where it refuses.
        """
        connection = self._connect()
        with contextlib.closing(connection):
            answer = self._send(connection, verb, target, body, headers or {})
            if answer.status >= 400:
                raise NeighbourError(
                    _STATUS.get(answer.status, "UNAVAILABLE"),
                    f"{self._service} answered {answer.status}.",
                )
            yield answer

    def ask_json(
        self, verb: str, target: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Its answer of JSON; raises as `asked`."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content is not None else {}
        with self.asked(verb, target, content, headers) as answer:
            return _object(answer.read())

    def _pass_on(self, ask: Ask) -> Response:
        from starlette.responses import StreamingResponse

        if _PASSED in ask.headers:
            raise NeighbourError(
                "FAILED_PRECONDITION",
                f"{self._variable} names this emulator itself. Unset it where the emulator runs.",
            )
        headers = {k: v for k, v in ask.headers.items() if k not in _NOT_PASSED}
        length = ask.headers.get("content-length")
        body: bytes | Iterator[bytes] | None = None
        if length is not None or "transfer-encoding" in ask.headers:
            body = ask.chunks()
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in ask.query)
        connection = self._connect()
        try:
            target = ask.path + (f"?{query}" if query else "")
            answer = self._send(connection, ask.verb, target, body, headers)
        except BaseException:
            connection.close()
            raise
        passed = {k: v for k, v in answer.getheaders() if k.lower() not in _NOT_PASSED}
        for name, value in passed.items():
            if name.lower() == "location":
                passed[name] = value.replace(self._url, ask.origin, 1)
        return StreamingResponse(_pieces(connection, answer), answer.status, headers=passed)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_PATIENCE, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        verb: str,
        target: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        chunked = body is not None and not isinstance(body, bytes)
        chunked = chunked and "content-length" not in headers
        said = {**headers, _PASSED: "1"}
        if chunked:
            said["transfer-encoding"] = "chunked"
        try:
            connection.request(
                verb, self._path + target, body=body, headers=said, encode_chunked=chunked
            )
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from None

    def _silent(self, error: Exception) -> NeighbourError:
        return NeighbourError(
            "UNAVAILABLE",
            f"{self._service} at {self._netloc} does not answer ({type(error).__name__}). Start"
            f" it, or unset {self._variable} to use the emulator's own.",
        )


class RemoteObjects:
    """Cloud Storage on another server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        """See `base.Objects`."""
        path = f"/storage/v1/b/{quote(bucket, safe='')}"
        self._server.ask_json("GET", path)  # some servers list a bucket that is not there
        token = ""
        while True:
            query = f"prefix={quote(prefix, safe='')}&pageToken={quote(token, safe='')}"
            page = self._server.ask_json("GET", f"{path}/o?{query}")
            for item in page.get("items", ()):
                yield StoredObject(str(item["name"]), int(item["size"]))
            token = page.get("nextPageToken", "")
            if not token:
                return

    def read(self, bucket: str, name: str) -> Iterator[bytes]:
        """See `base.Objects`."""
        path = f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}?alt=media"
        with self._server.asked("GET", path) as answer:
            try:
                while piece := answer.read(_PIECE):
                    yield piece
            except (OSError, http.client.HTTPException):
                raise NeighbourError("UNAVAILABLE", "The object broke off.") from None
            if answer.length:
                raise NeighbourError("UNAVAILABLE", "The object broke off.")

    def write(self, bucket: str, name: str, content: Iterable[bytes], media_type: str) -> None:
        """See `base.Objects`."""
        path = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        query = f"uploadType=media&name={quote(name, safe='')}"
        headers = {"content-type": media_type}
        with self._server.asked("POST", f"{path}?{query}", content, headers) as answer:
            answer.read()


class RemoteTopics:
    """Pub/Sub on another server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def check(self, topic: str) -> None:
        """See `base.Topics`."""
        self._server.ask_json("GET", f"/v1/{quote(topic)}")

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        """See `base.Topics`."""
        import base64

        message = {"data": base64.b64encode(data).decode(), "attributes": dict(attributes)}
        self._server.ask_json("POST", f"/v1/{quote(topic)}:publish", {"messages": [message]})


class RemoteTables:
    """BigQuery on another server, loaded by jobs."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def check(self, name: TableName) -> None:
        """See `base.Tables`."""
        self._server.ask_json("GET", f"{_project(name)}/datasets/{quote(name.dataset)}")

    def load(
        self,
        name: TableName,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        disposition: Disposition,
        *,
        once: str = "",
    ) -> None:
        """See `base.Tables`; a load of the same name is the same job."""
        self.check(name)
        number = f"dicomsql_{once or uuid.uuid4().hex}_{name.table}"
        load: dict[str, Any] = {
            "destinationTable": {
                "projectId": name.project,
                "datasetId": name.dataset,
                "tableId": name.table,
            },
            "schema": {"fields": to_json(columns)},
            "sourceFormat": "NEWLINE_DELIMITED_JSON",
            "writeDisposition": str(disposition),
            "createDisposition": "CREATE_IF_NEEDED",
        }
        if disposition is Disposition.APPEND:
            load["schemaUpdateOptions"] = ["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"]
        job = {
            "jobReference": {"projectId": name.project, "jobId": number},
            "configuration": {"load": load},
        }
        boundary = uuid.uuid4().hex
        headers = {"content-type": f'multipart/related; boundary="{boundary}"'}
        target = f"/upload{_project(name)}/jobs?uploadType=multipart"
        try:
            with self._server.asked("POST", target, _load(job, rows, boundary), headers) as answer:
                state = _object(answer.read())
        except NeighbourError as error:
            if error.status != "ALREADY_EXISTS" or not once:
                raise
            state = {}
        self._wait(name, number, state)

    def _wait(self, name: TableName, number: str, state: dict[str, Any]) -> None:
        deadline = time.monotonic() + _JOB_PATIENCE
        while state.get("status", {}).get("state") != "DONE":
            if time.monotonic() > deadline:
                raise NeighbourError("UNAVAILABLE", "BigQuery's load does not come to an end.")
            if state:
                time.sleep(0.2)
            state = self._server.ask_json("GET", f"{_project(name)}/jobs/{number}")
        failure = state["status"].get("errorResult")
        if failure:
            known = failure.get("reason") == "duplicate"
            status = "ALREADY_EXISTS" if known else "INVALID_ARGUMENT"
            raise NeighbourError(status, "BigQuery's load failed.")


def _project(name: TableName) -> str:
    return f"/bigquery/v2/projects/{quote(name.project)}"


def _load(job: dict[str, Any], rows: Iterable[Mapping[str, Any]], boundary: str) -> Iterator[bytes]:
    yield f"--{boundary}\r\ncontent-type: application/json\r\n\r\n".encode()
    yield json.dumps(job).encode()
    yield f"\r\n--{boundary}\r\ncontent-type: application/octet-stream\r\n\r\n".encode()
    for row in rows:
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"
    yield f"\r\n--{boundary}--\r\n".encode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NeighbourError("UNAVAILABLE", "The server's answer is no JSON object.")
    return found


def _pieces(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> Iterator[bytes]:
    with contextlib.closing(connection):
        while piece := answer.read(_PIECE):
            yield piece
