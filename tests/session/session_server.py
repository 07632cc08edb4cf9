"""A DICOMweb server for the tests of sessions: some studies, held until the test lets them go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from dicomsql.config import Settings
from dicomsql.result import Result
from dicomsql.session import Session, Stop

STUDIES = "dicomweb.standard.studies"
# A store that takes writes; what it is asked for stands in the same place.
STORE = "dicomweb.dcm4chee.studies"


class Server(ThreadingHTTPServer):
    """Has so many studies. A search with PatientID `held` waits until `release` is set.

    Attributes:
        asked: method and path with query of each request, in the order in which they came.
        held: has as many permits as searches have begun to wait.
    """

    daemon_threads = True

    def __init__(self, studies: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.studies = studies
        self.asked: list[str] = []
        self.held = threading.Semaphore(0)
        self.release = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Calls are broken off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        query = parse_qs(urlsplit(self.path).query)
        patient = "held" if "held" in self.path else "p"
        if patient == "held":
            self.server.held.release()
            self.server.release.wait(20)
        at, size = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["1000"])[0])
        rows = [
            {
                "0020000D": {"vr": "UI", "Value": [f"1.2.{n}"]},
                "00100020": {"vr": "LO", "Value": [patient]},
            }
            for n in range(self.server.studies)[at : at + size]
        ]
        body = json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("content-type", "application/dicom+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET


@contextmanager
def serving(studies: int = 3) -> Iterator[Server]:
    """A server that runs while the block does."""
    server = Server(studies)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def opened(server: Server | None = None, **given: object) -> Session:
    """A session, on the server where there is one."""
    url = server.url if server is not None else None
    settings = Settings(endpoint=url, parallel=16, **given)  # type: ignore[arg-type]
    return Session(settings)


def execute(
    session: Session, sql: str, parameters: list[object] | None = None, stop: Stop | None = None
) -> Result:
    """Execute one statement."""
    (statement,) = session.parse(sql)
    return session.execute(statement, parameters, stop=stop)


def rows_of(result: Result) -> list[tuple[object, ...]]:
    """The rows that are left of a result."""
    found: list[tuple[object, ...]] = list(result.rows or ())
    if result.rows is None:
        for batch in result.batches():
            found += zip(*(c.to_pylist() for c in batch.columns), strict=True)
    return found


def rows(session: Session, sql: str, parameters: list[object] | None = None) -> list[object]:
    """Execute one statement; its rows, those of a single column as their values."""
    found = rows_of(execute(session, sql, parameters))
    return [row[0] if len(row) == 1 else row for row in found]
