"""A session whose calls end at a wire that the test answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from dicomsql import config
from dicomsql.errors import ApiError, ApiFailure, NotFoundError, PermissionDeniedError
from dicomsql.result import Result
from dicomsql.session import Session
from dicomsql.transport.base import Request

STORES = "google.healthcare.dicom_stores"
PLACE = "projectsId = 'p' AND locationsId = 'l' AND datasetsId = 'd'"
STORE = f"{PLACE} AND dicomStoresId = 's'"


class Answer:
    """A success."""

    def __init__(
        self, body: object = b"", *, status: int = 200, media: str = "", warning: str = ""
    ) -> None:
        self.status = status if body != b"" else 204
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._headers = {"content-type": media or "application/json", "warning": warning}

    def header(self, name: str) -> str:
        return self._headers.get(name.lower(), "")

    def read(self) -> bytes:
        return self._body

    def iter_bytes(self) -> Iterator[bytes]:
        yield self._body

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


Answers = Callable[[Request], Any]


@dataclass(eq=False)
class Wire:
    """Answers each request as the test says, and keeps what was sent."""

    answer: Answers = lambda _request: Answer()
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    parallel: int = 8
    tells_waits: bool = True

    def resize(self, parallel: int) -> None:
        self.parallel = parallel

    def send(self, request: Request, *, stream: bool = False) -> Answer:
        assert not stream
        with self.lock:
            self.requests.append(request)
        found = self.answer(request)
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Answer) else Answer(found)

    def close(self) -> None:
        pass

    @property
    def sent(self) -> list[str]:
        """Method and path with query of each request, without what all share."""
        prefix = "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets"
        return [f"{r.method} {r.url.removeprefix(prefix)}" for r in self.requests]


def refused(status: int, message: str = "no") -> Callable[[Request], ApiError]:
    """An answer that is an error."""
    kind = {404: NotFoundError, 403: PermissionDeniedError}.get(status, ApiError)

    def make(request: Request) -> ApiError:
        return kind(ApiFailure(request.method, request.path, status, message=message))

    return make


@dataclass
class Bench:
    """A session on a wire."""

    session: Session
    wire: Wire

    def open(self, sql: str, **options: Any) -> Result:
        """Run statements; the last one's result."""
        result = None
        for statement in self.session.parse(sql):
            result = self.session.execute(statement, **options)
        assert result is not None
        return result

    def rows(self, sql: str, **options: Any) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one."""
        result = self.open(sql, **options)
        return [
            row
            for batch in result.batches()
            for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        ]


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    sessions: list[Session] = []

    def make(answer: Answers | None = None, **options: Any) -> Bench:
        wire = Wire(answer) if answer is not None else Wire()

        def opened(_settings: object, **_rest: object) -> Wire:
            return wire

        monkeypatch.setattr("dicomsql.transport.connect.open_transport", opened)
        faces = ("consent", "progress", "lines", "stop_operation")
        asked = {k: options.pop(k) for k in faces if k in options}
        session = Session(config.settings({}, **options), **asked)
        sessions.append(session)
        return Bench(session, wire)

    before = set(threading.enumerate())
    yield make
    for session in sessions:
        session.close()
    left = {t for t in set(threading.enumerate()) - before if t.name.startswith("dicomsql")}
    assert not left, f"threads are left: {left}"


def stores(*names: str, token: str = "") -> dict[str, Any]:
    """A page of a list of stores."""
    prefix = "projects/p/locations/l/datasets/d/dicomStores/"
    page: dict[str, Any] = {"dicomStores": [{"name": prefix + name} for name in names]}
    return page | ({"nextPageToken": token} if token else {})


def query_of(request: Request, name: str) -> str:
    """A query parameter of a request, or an empty string."""
    return dict(request.query).get(name, "")


def studies(first: int, number: int, **more: str) -> list[dict[str, Any]]:
    """DICOM JSON of some studies; `more` are tags with text values."""
    extra = {tag.removeprefix("t"): {"vr": "LO", "Value": [v]} for tag, v in more.items()}
    return [
        {"0020000D": {"vr": "UI", "Value": [f"1.2.{first + i}"]}, **extra} for i in range(number)
    ]
