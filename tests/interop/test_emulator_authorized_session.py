"""DICOMweb the way Google's samples speak it: google-auth's AuthorizedSession on requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pydicom
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from PIL import Image
from pydicom import data as pydicom_data

pytestmark = pytest.mark.interop

FILE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"


@pytest.fixture(scope="module")
def store(emulator_url: str) -> str:
    datasets = emulator_url + "/v1/projects/p/locations/eu/datasets"
    httpx.post(datasets, params={"datasetId": "samples"}).raise_for_status()
    httpx.post(datasets + "/samples/dicomStores?dicomStoreId=s").raise_for_status()
    return datasets + "/samples/dicomStores/s/dicomWeb"


@pytest.fixture(scope="module")
def session() -> Iterator[AuthorizedSession]:
    with AuthorizedSession(AnonymousCredentials()) as opened:
        yield opened


@pytest.fixture(scope="module")
def instance(store: str, session: AuthorizedSession) -> str:
    """The instance's URL, from the XML that the store answers with."""
    with FILE.open("rb") as content:
        answer = session.post(
            store + "/studies", data=content, headers={"Content-Type": "application/dicom"}
        )
    answer.raise_for_status()
    urls = ElementTree.fromstring(answer.text).findall(
        ".//DicomAttribute[@keyword='ReferencedSOPSequence']"
        "//DicomAttribute[@keyword='RetrieveURL']/Value"
    )
    assert len(urls) == 1
    return str(urls[0].text)


def test_searches(store: str, session: AuthorizedSession, instance: str) -> None:
    (study,) = session.get(store + "/studies").json()
    assert " ".join(study) == (
        "00080020 00080030 00080050 00080090 00100010 00100020 00100030 00100040 0020000D 00200010"
    )
    uid = study["0020000D"]["Value"][0]
    headers = {"Content-Type": "application/dicom+json; charset=utf-8"}
    answer = session.get(f"{store}/studies/{uid}/instances", headers=headers)
    assert instance.endswith(answer.json()[0]["00080018"]["Value"][0])
    nobody = session.get(store + "/studies", params={"PatientName": "Sally Zhang"})
    assert (nobody.status_code, nobody.content) == (204, b"")
    refused = session.get(store + "/studies", params={"ModalitiesInStudy": "CT"})
    assert refused.status_code == 400
    assert "unknown/unsupported QIDO attribute" in refused.json()["error"]["message"]


def test_retrieves(session: AuthorizedSession, instance: str) -> None:
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    answer = session.get(instance, headers=accept, stream=True)
    assert b"".join(answer.iter_content(4096)) == FILE.read_bytes()
    study = instance.partition("/series/")[0]
    assert session.get(study).content.count(b"DICM") == 1
    (metadata,) = session.get(instance + "/metadata").json()
    pixels = session.get(
        metadata["7FE00010"]["BulkDataURI"],
        headers={"Accept": "application/octet-stream; transfer-syntax=*"},
    )
    assert pixels.content == pydicom.dcmread(FILE).PixelData
    zipped = session.get(study, headers={"Accept": "application/zip"})
    assert zipped.status_code == 406


def test_renders(session: AuthorizedSession, instance: str) -> None:
    for media, form in (("image/png", "PNG"), ("image/jpeg", "JPEG")):
        answer = session.get(instance + "/rendered", headers={"Accept": media})
        assert Image.open(io.BytesIO(answer.content)).format == form


def test_stores_again_and_deletes(store: str, session: AuthorizedSession, instance: str) -> None:
    kind = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
    again = session.post(store + "/studies", data=FILE.read_bytes(), headers=kind)
    assert again.status_code == 200
    other = session.post(store + "/studies/1.2.3", data=FILE.read_bytes(), headers=kind)
    assert other.status_code == 409
    (failed,) = other.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [272]
    answer = session.delete(instance)
    assert (answer.status_code, answer.json()) == (200, {})
    assert session.get(store + "/studies").status_code == 204
    assert session.get(instance).status_code == 404
