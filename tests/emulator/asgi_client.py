"""The face by which tests speak to an emulator in process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal

DATASET = "/v1/projects/p/locations/us-central1/datasets/d"
STORE = DATASET + "/dicomStores/s"
WEB = STORE + "/dicomWeb"


class Client:
    """A synchronous face of an ASGI application, with shortcuts for what the tests do most."""

    def __init__(self, portal: BlockingPortal, http: httpx.AsyncClient) -> None:
        self._portal = portal
        self._http = http

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            return await self._http.request(method, path, **options)

        return self._portal.call(send)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.request("DELETE", path, **options)

    def prepare(self) -> None:
        """Make the dataset and the DICOM store that `WEB` names."""
        assert self.post(DATASET.rpartition("/")[0], params={"datasetId": "d"}).status_code == 200
        assert self.post(DATASET + "/dicomStores?dicomStoreId=s").status_code == 200

    def until(self, operation: dict[str, Any], reached: Callable[[Any], bool]) -> dict[str, Any]:
        """An operation, once it is as it is waited for, or has ended."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.get("/v1/" + operation["name"]).json()
            if found.get("done") or reached(found):
                return found
        pytest.fail("the operation was not as it was waited for within a minute")

    def ended(self, operation: dict[str, Any]) -> dict[str, Any]:
        """An operation, once it has ended."""
        return self.until(operation, lambda _: False)

    def stow(
        self, files: Sequence[bytes], path: str = "", accept: str = "application/dicom+json"
    ) -> httpx.Response:
        boundary = uuid.uuid4().hex
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file + b"\r\n"
            for file in files
        ]
        return self.post(
            WEB + "/studies" + path,
            content=b"".join(parts) + f"--{boundary}--\r\n".encode(),
            headers={
                "content-type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "accept": accept,
            },
        )
