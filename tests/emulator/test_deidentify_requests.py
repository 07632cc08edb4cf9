"""The two methods that de-identify: their checks, their operations, and what they leave behind."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from asgi_client import DATASET, STORE, Client

from dicomsql.emulator.jobs import Context, Job
from dicomsql.emulator.status import StatusError
from dicomsql.emulator.work.deidentify import DeidentifyStore

DATASETS = DATASET.rpartition("/")[0]
COPY = DATASET + "/dicomStores/copy"
BASIC = {"dicom": {"filterProfile": "ATTRIBUTE_CONFIDENTIALITY_BASIC_PROFILE"}}


@pytest.fixture
def stores(emulator: Client) -> Client:
    """An emulator with an empty store `copy` beside `s`."""
    assert emulator.post(DATASET + "/dicomStores?dicomStoreId=copy").status_code == 200
    return emulator


def deidentify(client: Client, **body: Any) -> dict[str, Any]:
    """Copies `s` into `copy`; gives the operation once it is done."""
    body = {"destinationStore": COPY.removeprefix("/v1/"), "config": BASIC, **body}
    answer = client.post(STORE + ":deidentify", json=body)
    assert answer.status_code == 200, answer.text
    return ended(client, answer.json())


def ended(client: Client, operation: dict[str, Any]) -> dict[str, Any]:
    while not operation.get("done"):
        operation = client.get(f"/v1/{operation['name']}").json()
    return operation


def instances(client: Client, store: str = COPY) -> list[pydicom.Dataset]:
    fields = "includefield=StudyInstanceUID&includefield=SeriesInstanceUID"
    found = client.get(f"{store}/dicomWeb/instances?{fields}")
    read = []
    for item in found.json() if found.status_code == 200 else []:
        uids = [item[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
        path = "/dicomWeb/studies/{}/series/{}/instances/{}".format(*uids)
        accept = {"accept": "application/dicom; transfer-syntax=*"}
        content = client.get(store + path, headers=accept).content
        read.append(pydicom.dcmread(io.BytesIO(content)))
    return read


def put_object(client: Client, name: str, content: bytes) -> str:
    """An object in the emulator's own Cloud Storage; gives its address."""
    client.post("/storage/v1/b?project=p", json={"name": "bucket"})
    path = f"/upload/storage/v1/b/bucket/o?uploadType=media&name={name}"
    assert client.post(path, content=content).status_code == 200
    return f"gs://bucket/{name}"


def test_a_store_is_copied_without_its_patients(
    stores: Client, make_dicom: Callable[..., bytes]
) -> None:
    files = [
        make_dicom("1.5", f"1.5.{n}", f"1.5.{n}.1", PatientName="Doe^Jane", PatientID="X1")
        for n in (1, 2, 3)
    ]
    stores.stow(files)
    operation = deidentify(stores)
    assert operation["metadata"]["counter"] == {"success": "3"}
    assert operation["metadata"]["apiMethodName"].endswith("DeidentifyDicomStore")
    assert operation["response"]["@type"].endswith("v1.deidentify.DeidentifyDicomStoreSummary")
    copies = instances(stores)
    assert len(copies) == 3 and len({c.StudyInstanceUID for c in copies}) == 1
    assert {str(c.PatientName) for c in copies} == {""}
    assert {str(c.PatientName) for c in instances(stores, STORE)} == {"Doe^Jane"}
    patients = stores.get(COPY + "/dicomWeb/studies?PatientName=Doe")
    assert patients.status_code == 204


def test_what_cannot_be_made_safe_fails_and_the_others_are_copied(
    stores: Client, make_dicom: Callable[..., bytes]
) -> None:
    pixels = {
        "Rows": 1, "Columns": 2, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0,
        "PixelData": b"\1\2",
    }  # fmt: skip
    stores.stow(
        [
            make_dicom(instance="1.1.1.1", Modality="OT", **pixels),
            make_dicom(instance="1.1.1.2", Modality="OT", BurnedInAnnotation="NO", **pixels),
        ]
    )
    image = {"textRedactionMode": "REDACT_ALL_TEXT"}
    operation = deidentify(stores, config={**BASIC, "image": image})
    assert operation["metadata"]["counter"] == {"success": "1", "failure": "1"}
    assert "response" in operation
    assert len(instances(stores)) == 1


def test_a_filter_chooses_what_is_copied(stores: Client, make_dicom: Callable[..., bytes]) -> None:
    stores.stow([make_dicom("1.5", "1.5.1", "1.5.1.1"), make_dicom("1.6", "1.6.1", "1.6.1.1")])
    uri = put_object(stores, "filter.txt", b"/studies/1.6\r\n")
    operation = deidentify(stores, filterConfig={"resourcePathsGcsUri": uri})
    assert operation["metadata"]["counter"] == {"success": "1"}


def test_the_configuration_may_be_an_object(
    stores: Client, make_dicom: Callable[..., bytes]
) -> None:
    stores.stow([make_dicom(PatientID="X1")])
    config = {"dicom": {"removeList": {"tags": ["PatientID"]}, "skipIdRedaction": True}}
    uri = put_object(stores, "config.json", json.dumps(config).encode())
    body = {"destinationStore": COPY.removeprefix("/v1/"), "gcsConfigUri": uri}
    ended(stores, stores.post(STORE + ":deidentify", json=body).json())
    [copy] = instances(stores)
    assert "PatientID" not in copy and copy.SOPInstanceUID == "1.1.1.1"
    for content, status in ((b"{", 400), (b'{"dicom": {"x": 1}}', 400)):
        put_object(stores, "config.json", content)
        assert stores.post(STORE + ":deidentify", json=body).status_code == status
    body["gcsConfigUri"] = "gs://bucket/none"
    assert stores.post(STORE + ":deidentify", json=body).status_code == 404


def test_a_dataset_is_copied_with_all_its_stores(
    stores: Client, make_dicom: Callable[..., bytes]
) -> None:
    stores.stow([make_dicom(PatientID="X1")])
    labels = {"labels": {"a": "b"}, "notificationConfigs": [{"pubsubTopic": "projects/p/topics/t"}]}
    stores.patch(DATASET + "/dicomStores/copy?updateMask=labels", json=labels)
    body = {"destinationDataset": DATASETS.removeprefix("/v1/") + "/new", "config": BASIC}
    answer = stores.post(DATASET + ":deidentify", json=body)
    operation = ended(stores, answer.json())
    assert operation["name"].startswith(DATASET.removeprefix("/v1/") + "/operations/")
    assert operation["response"]["@type"].endswith("v1.deidentify.DeidentifySummary")
    made = stores.get(DATASETS + "/new/dicomStores").json()["dicomStores"]
    assert [s["name"].rpartition("/")[2] for s in made] == ["copy", "s"]
    assert made[0]["labels"] == {"a": "b"}
    [copy] = instances(stores, DATASETS + "/new/dicomStores/s")
    assert copy.PatientID == "ANONYMIZED"
    again = stores.post(DATASET + ":deidentify", json=body)
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("source", "body", "status"),
    [
        (STORE, {}, 400),
        (STORE, {"destinationStore": "copy"}, 400),
        (STORE, {"destinationStore": STORE.removeprefix("/v1/")}, 400),
        (STORE, {"destinationStore": COPY.removeprefix("/v1/") + "2"}, 404),
        (STORE, {"destinationStore": COPY.removeprefix("/v1/").replace("us-", "eu-")}, 400),
        (STORE, {"destinationStore": COPY.removeprefix("/v1/"), "x": 1}, 400),
        (
            STORE,
            {
                "destinationStore": COPY.removeprefix("/v1/"),
                "config": {},
                "gcsConfigUri": "gs://bucket/x",
            },
            400,
        ),
        (
            STORE,
            {"destinationStore": COPY.removeprefix("/v1/"), "filterConfig": {}},
            400,
        ),
        (STORE + "2", {"destinationStore": COPY.removeprefix("/v1/")}, 404),
        (DATASET, {"destinationDataset": DATASET.removeprefix("/v1/")}, 409),
        (DATASET, {"destinationDataset": DATASET.removeprefix("/v1/") + "!"}, 400),
        (DATASET + "2", {"destinationDataset": DATASET.removeprefix("/v1/") + "3"}, 403),
    ],
)
def test_checks(stores: Client, source: str, body: dict[str, Any], status: int) -> None:
    assert stores.post(source + ":deidentify", json=body).status_code == status
    assert stores.get(DATASET + "3").status_code == 403


def test_without_a_destination_the_operation_ends_once(
    tmp_path: Path, open_emulator: Callable[..., Any], make_dicom: Callable[..., bytes]
) -> None:
    from dicomsql.emulator.folder import Folder

    with open_emulator(tmp_path / "root") as client:
        client.prepare()
        client.stow([make_dicom(PatientID="X1")])
    folder = Folder(tmp_path / "root")
    spec = {"stores": [[1, 2]], "config": BASIC, "filter": "", "key": "ab" * 32}
    context, job, work = Context(folder, None), Job(1, "v1", spec), DeidentifyStore()  # type: ignore[arg-type]
    with pytest.raises(StatusError, match="destination DICOM store was deleted") as failure:
        work.do(context, job, list(work.units(context, job)))
    assert failure.value.status == "NOT_FOUND"
    folder.close()


def test_a_unit_that_is_done_twice_ends_in_the_same_state(
    tmp_path: Path, open_emulator: Callable[..., Any], make_dicom: Callable[..., bytes]
) -> None:
    from dicomsql.emulator.folder import Folder

    root = tmp_path / "root"
    with open_emulator(root) as client:
        client.prepare()
        client.post(DATASET + "/dicomStores?dicomStoreId=copy")
        client.stow([make_dicom(PatientID="X1")])
    folder = Folder(root)
    spec = {"stores": [[1, 2]], "config": BASIC, "filter": "", "key": "ab" * 32}
    context, job, work = Context(folder, None), Job(1, "v1", spec), DeidentifyStore()  # type: ignore[arg-type]
    units = list(work.units(context, job))
    assert work.do(context, job, units) == work.do(context, job, units) == [None]
    [outcome] = work.do(context, job, ["77"])
    assert "deleted" in str(outcome)
    folder.close()
    files = list((root / "instances").glob("*/*.dcm"))
    assert len(files) == 2
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
