"""An emulator in process, spoken to over ASGI, and DICOM files to store in it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from asgi_client import Client
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomsql.emulator.app import create_app


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as running:
        yield running


@pytest.fixture(scope="session")
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
