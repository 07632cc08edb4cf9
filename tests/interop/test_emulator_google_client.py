"""Google's own clients against the emulator: the API client, and an authorized session."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from pydicom import data as pydicom_data

pytestmark = [
    pytest.mark.interop,
    # the client leaves its connections to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LOCATION = "projects/p/locations/us-central1"
DATASET = LOCATION + "/datasets/google"
STORE = DATASET + "/dicomStores/s"
FILES = Path(pydicom_data.__file__).parent / "test_files"


@pytest.fixture(scope="module")
def datasets(emulator_url: str) -> Any:
    service = build(
        "healthcare",
        "v1",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": emulator_url},
        cache_discovery=False,
        static_discovery=True,
    )
    locations = service.projects().locations()
    created = locations.datasets().create(parent=LOCATION, datasetId="google", body={}).execute()
    assert created["response"]["name"] == DATASET
    yield locations.datasets()
    service.close()


@pytest.fixture(scope="module")
def stores(datasets: Any) -> Any:
    stores = datasets.dicomStores()
    stores.create(parent=DATASET, dicomStoreId="s", body={"labels": {"env": "test"}}).execute()
    return stores


def test_datasets(datasets: Any) -> None:
    listed = datasets.list(parent=LOCATION, pageSize=1).execute()
    assert listed == {"datasets": [{"name": DATASET}]}
    patched = datasets.patch(name=DATASET, updateMask="timeZone", body={"timeZone": "UTC"})
    assert patched.execute()["timeZone"] == "UTC"
    (operation,) = datasets.operations().list(name=DATASET).execute()["operations"]
    assert datasets.operations().get(name=operation["name"]).execute()["done"] is True
    with pytest.raises(HttpError) as caught:
        datasets.get(name=LOCATION + "/datasets/missing").execute()
    assert caught.value.resp.status == 403
    assert "Permission denied" in caught.value.error_details


def test_stores_over_pages(datasets: Any, stores: Any) -> None:
    for name in ("a", "b", "c"):
        stores.create(parent=DATASET, dicomStoreId=name, body={}).execute()
    request, names = stores.list(parent=DATASET, pageSize=3), []
    while request is not None:
        response = request.execute()
        names += [store["name"].rpartition("/")[2] for store in response["dicomStores"]]
        request = stores.list_next(request, response)
    assert names == ["a", "b", "c", "s"]
    found = stores.list(parent=DATASET, filter="labels.env=test").execute()["dicomStores"]
    assert [store["name"] for store in found] == [STORE]
    patched = stores.patch(name=STORE, updateMask="labels", body={"labels": {"env": "prod"}})
    assert patched.execute()["labels"] == {"env": "prod"}
    assert stores.delete(name=DATASET + "/dicomStores/a").execute() == {}
    with pytest.raises(HttpError) as caught:
        stores.get(name=DATASET + "/dicomStores/a").execute()
    assert caught.value.resp.status == 404
    with pytest.raises(HttpError) as caught:
        stores.import_(name=STORE, body={}).execute()
    assert caught.value.resp.status == 400


def test_policies(stores: Any) -> None:
    policy = stores.getIamPolicy(resource=STORE).execute()
    assert list(policy) == ["etag"]
    policy["bindings"] = [{"role": "roles/viewer", "members": ["user:a@example.com"]}]
    changed = stores.setIamPolicy(resource=STORE, body={"policy": policy}).execute()
    assert changed == stores.getIamPolicy(resource=STORE).execute()


def test_dicomweb_by_an_authorized_session(emulator_url: str, stores: Any) -> None:
    """The steps of Google's samples: store, search, retrieve, render, delete."""
    session = AuthorizedSession(AnonymousCredentials())
    web = f"{emulator_url}/v1/{STORE}/dicomWeb"
    content = (FILES / "CT_small.dcm").read_bytes()
    headers = {"Content-Type": "application/dicom"}
    stored = session.post(web + "/studies", data=content, headers=headers)
    stored.raise_for_status()
    root = ElementTree.fromstring(stored.text)
    sequence = root.find("./DicomAttribute[@keyword='ReferencedSOPSequence']")
    assert sequence is not None
    url = sequence.findtext(".//DicomAttribute[@keyword='RetrieveURL']/Value")
    assert url is not None
    (study,) = session.get(web + "/studies", params={"PatientID": "1CT1"}).json()
    assert len(study) == 10
    none = session.get(web + "/studies", params={"PatientID": "nobody"})
    assert (none.status_code, none.content) == (204, b"")
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    assert session.get(url, headers=accept).content == content
    rendered = session.get(url + "/rendered", headers={"Accept": "image/png"})
    assert rendered.content.startswith(b"\x89PNG")
    metrics = stores.getDICOMStoreMetrics(name=STORE).execute()
    assert metrics["instanceCount"] == "1"
    path = url.split("/dicomWeb/")[1]
    info = (
        stores.dicomWeb()
        .studies()
        .series()
        .instances()
        .getStorageInfo(resource=f"{STORE}/dicomWeb/{path}")
        .execute()
    )
    assert info["blobStorageInfo"]["sizeBytes"] == str(len(content))
    uid = study["0020000D"]["Value"][0]
    operation = stores.studies().delete(parent=STORE, dicomWebPath=f"studies/{uid}").execute()
    assert session.get(f"{emulator_url}/v1/{operation['name']}").json()["done"] is True
    assert session.get(web + "/studies").status_code == 204
    session.close()
