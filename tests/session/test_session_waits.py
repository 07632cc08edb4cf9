"""What a session's transports tell of calls that are made again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from dicomsql.catalog.load import Catalog
from dicomsql.config import Settings
from dicomsql.result import Statistics
from dicomsql.session.transports import Transports
from dicomsql.transport.base import Request

ASKED = 90


def test_a_call_that_is_made_again_is_counted_and_its_wait_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(
        [
            httpx.Response(503, headers={"retry-after": "1"}),
            httpx.Response(429, headers={"retry-after": str(ASKED)}),
            httpx.Response(204),
        ]
    )
    server = httpx.MockTransport(lambda _: next(answers))
    monkeypatch.setattr("dicomsql.transport.asgi.open_local", lambda _: server)
    cancel = threading.Event()
    transports = Transports(Settings(local=tmp_path), Catalog.open(None))
    statistics = Statistics()
    calls = transports.calls(cancel, statistics)
    seen: list[tuple[int, float]] = []

    def wait(_seconds: float) -> None:
        seen.append((calls.wait.status, calls.wait.until - time.monotonic()))

    monkeypatch.setattr(cancel, "wait", wait)
    request = Request("GET", "http://x", "/", resource="google.healthcare.studies.search")
    with calls.send(request) as response:
        assert response.status == 204
    assert (statistics.requests, statistics.repeated) == (3, 2)
    (first, _), (second, left) = seen
    assert (first, second) == (503, 429)
    assert left == pytest.approx(ASKED, abs=5)
    transports.close()
