"""An emulator in process, spoken to over ASGI, and DICOM files to store in it."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomsql.emulator.app import create_app

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


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as running:
        yield running


@pytest.fixture
def open_emulator(portal: BlockingPortal) -> Iterator[Callable[..., Any]]:
    """Opens an emulator on a folder, as a context that gives its client."""

    @contextmanager
    def opened(root: Path, **options: Any) -> Iterator[Client]:
        app = create_app(root, **options)
        stack = AsyncExitStack()
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=True),
            base_url="http://emulator",
        )
        try:
            portal.call(stack.enter_async_context, http)
            yield Client(portal, http)
        finally:
            portal.call(stack.aclose)
            app.state.close()

    yield opened


@pytest.fixture
def emulator(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Client]:
    """An emulator on a new folder, with an empty dataset `d` and DICOM store `s`."""
    with open_emulator(tmp_path / "root") as client:
        client.prepare()
        yield client


@pytest.fixture(scope="session")
def make_dicom() -> Callable[..., bytes]:
    """Makes a DICOM file: UIDs of study, series and instance, and attributes by keyword."""

    def make(
        study: str = "1.1", series: str = "1.1.1", instance: str = "1.1.1.1", **attributes: Any
    ) -> bytes:
        dataset = Dataset()
        values = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
            "SOPInstanceUID": instance,
            "StudyInstanceUID": study,
            "SeriesInstanceUID": series,
            **attributes,
        }
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = values["SOPClassUID"]
        meta.MediaStorageSOPInstanceUID = instance
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta = meta
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        return out.getvalue()

    return make
