"""What a store tells of its instances: to topics, and to tables."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator import events
from dicomsql.emulator.folder import Folder
from dicomsql.emulator.jobs import Context
from dicomsql.emulator.neighbours import connect
from dicomsql.emulator.neighbours.base import NeighbourError, Neighbours
from dicomsql.emulator.status import StatusError

STORE = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s"
NAME = STORE.removeprefix("/v1/") + "/dicomWeb/studies/1.1/series/1.1.1/instances/1.1.1.1"
DETAILED = {"notificationConfigs": [{"pubsubTopic": "projects/p/topics/news"}]}
SIMPLE = {"notificationConfig": {"pubsubTopic": "projects/p/topics/news"}}


def stream(**destination: Any) -> dict[str, Any]:
    return {"streamConfigs": [{"bigqueryDestination": {"tableUri": "bq://p.b.t", **destination}}]}


@pytest.fixture
def client(tmp_path: Path, open_emulator: Callable[..., Any]) -> Iterator[Any]:
    """An emulator with a store, a topic with a subscription, and a dataset for tables."""
    with open_emulator(tmp_path / "root", environment={}) as client:
        client.prepare()
        client.request("PUT", "/v1/projects/p/topics/news", json={})
        topic = {"topic": "projects/p/topics/news"}
        client.request("PUT", "/v1/projects/p/subscriptions/reader", json=topic)
        client.post(
            "/bigquery/v2/projects/p/datasets", json={"datasetReference": {"datasetId": "b"}}
        )
        yield client


def configure(client: Any, config: dict[str, Any]) -> None:
    assert client.patch(f"{STORE}?updateMask={','.join(config)}", json=config).status_code == 200


def told(client: Any) -> list[dict[str, Any]]:
    body = {"maxMessages": 100, "returnImmediately": True}
    answer = client.post("/v1/projects/p/subscriptions/reader:pull", json=body).json()
    return [
        {
            "name": base64.b64decode(m["message"]["data"]).decode(),
            **m["message"].get("attributes", {}),
        }
        for m in answer.get("receivedMessages", [])
    ]


def rows(client: Any, sql: str) -> list[list[Any]]:
    body = {"query": sql, "useLegacySql": False}
    answer = client.post("/bigquery/v2/projects/p/queries", json=body).json()
    return [[cell["v"] for cell in row["f"]] for row in answer.get("rows", [])]


def test_notifications_with_attributes_tell_every_change(
    client: Any, make_dicom: Callable[..., bytes]
) -> None:
    configure(client, DETAILED)
    file = make_dicom(Modality="CT")
    assert client.stow([file]).status_code == 200
    assert client.stow([file]).status_code == 200, "the same bytes again are no news"
    (stored,) = told(client)
    moment, version = stored.pop("lastUpdatedTime"), stored.pop("versionId")
    assert moment.endswith(" GMT") and version.isdigit()
    expected = {
        "name": NAME,
        "storeName": STORE.removeprefix("/v1/"),
        "studyInstanceUID": "1.1",
        "seriesInstanceUID": "1.1.1",
        "sopInstanceUID": "1.1.1.1",
        "modality": "CT",
        "storageClass": "STANDARD",
    }
    assert stored == {**expected, "action": "StoreInstances"}
    settings = {
        "blobStorageSettings": {"blobStorageClass": "ARCHIVE"},
    }
    client.ended(client.post(f"{STORE}:setBlobStorageSettings", json=settings).json())
    (moved,) = told(client)
    assert (moved["action"], moved["storageClass"]) == ("SetBlobSettings", "ARCHIVE")
    assert moved["previousStorageClass"] == "STANDARD"
    assert client.delete("/v1/" + NAME).status_code == 200
    assert [message["action"] for message in told(client)] == ["DeleteInstance"]


def test_the_simple_notification_is_the_name_of_what_came(
    client: Any, make_dicom: Callable[..., bytes]
) -> None:
    configure(client, SIMPLE)
    client.stow([make_dicom()])
    client.delete("/v1/" + NAME)
    assert told(client) == [{"name": NAME}]


@pytest.mark.parametrize("wanted", [False, True])
def test_imports_are_told_where_that_is_asked_for(
    client: Any, make_dicom: Callable[..., bytes], wanted: bool
) -> None:
    config = {"pubsubTopic": "projects/p/topics/news", "sendForBulkImport": wanted}
    configure(client, {"notificationConfig": config})
    client.post("/storage/v1/b?project=p", json={"name": "bucket"})
    upload = "/upload/storage/v1/b/bucket/o?uploadType=media&name=in/a.dcm"
    client.post(upload, content=make_dicom())
    body = {"gcsSource": {"uri": "gs://bucket/in/*.dcm"}}
    done = client.ended(client.post(f"{STORE}:import", json=body).json())
    assert "error" not in done
    assert told(client) == ([{"name": NAME}] if wanted else [])


def test_streams_append_rows(client: Any, make_dicom: Callable[..., bytes]) -> None:
    configure(client, stream(includeSourceStore=True))
    client.stow([make_dicom(Modality="CT")])
    client.stow([make_dicom(instance="1.1.1.2", Modality="CT", StudyDate="20260102")])
    client.delete("/v1/" + NAME)
    found = rows(client, "SELECT SOPInstanceUID, StudyDate, SourceDicomStore FROM b.t ORDER BY 1")
    store = STORE.removeprefix("/v1/")
    assert found == [["1.1.1.1", None, store], ["1.1.1.2", "2026-01-02", store]]


def test_streams_of_json_tell_of_deletes(client: Any, make_dicom: Callable[..., bytes]) -> None:
    configure(client, stream(schemaJson={}))
    client.stow([make_dicom(Modality="CT")])
    client.delete("/v1/" + NAME)
    sql = "SELECT Type, JSON_VALUE(Metadata, '$.00080060.Value[0]') FROM b.t ORDER BY 1"
    assert rows(client, sql) == [["DELETE", "CT"], ["INSERT", "CT"]]


@pytest.mark.parametrize(
    ("config", "gone"),
    [
        (SIMPLE, "/v1/projects/p/topics/news"),
        (DETAILED, "/v1/projects/p/topics/news"),
        (stream(), "/bigquery/v2/projects/p/datasets/b"),
    ],
)
def test_a_request_that_cannot_tell_fails_and_stores_nothing(
    client: Any, make_dicom: Callable[..., bytes], config: dict[str, Any], gone: str
) -> None:
    client.stow([make_dicom()])
    configure(client, config)
    client.delete(gone)
    for answer in (client.stow([make_dicom(instance="1.1.1.2")]), client.delete("/v1/" + NAME)):
        assert answer.status_code == 400
        assert answer.json()["error"]["status"] == "FAILED_PRECONDITION"
    listed = client.get(f"{STORE}/dicomWeb/instances").json()
    assert [instance["00080018"]["Value"] for instance in listed] == [["1.1.1.1"]]


def test_an_instance_that_is_in_two_objects_is_told_once(
    client: Any, make_dicom: Callable[..., bytes]
) -> None:
    configure(client, {**DETAILED, **stream()})
    client.post("/storage/v1/b?project=p", json={"name": "bucket"})
    for name in ("a", "b", "c/a"):
        upload = f"/upload/storage/v1/b/bucket/o?uploadType=media&name=in/{name}.dcm"
        client.post(upload, content=make_dicom())
    body = {"gcsSource": {"uri": "gs://bucket/in/**.dcm"}}
    done = client.ended(client.post(f"{STORE}:import", json=body).json())
    assert done["metadata"]["counter"] == {"success": "3"}
    assert [message["action"] for message in told(client)] == ["ImportDicomData"]
    assert rows(client, "SELECT SOPInstanceUID FROM b.t") == [["1.1.1.1"]]


def test_rows_that_were_written_before_a_kill_are_not_written_again(
    client: Any, make_dicom: Callable[..., bytes], tmp_path: Path
) -> None:
    class Killed:
        """Tables that write, and are then heard of no more."""

        def __init__(self, tables: Any) -> None:
            self.tables = tables

        def load(self, *arguments: Any, **options: Any) -> None:
            self.tables.load(*arguments, **options)
            raise NeighbourError("UNAVAILABLE", "killed")

    client.stow([make_dicom()])
    client.ended(client.delete(f"{STORE}/dicomWeb/studies/1.1").json())
    client.stow([make_dicom(instance="1.1.1.2")])
    two = stream()["streamConfigs"] + stream(tableUri="bq://p.b.u")["streamConfigs"]
    configure(client, {**DETAILED, "streamConfigs": two})
    folder, beside = Folder(tmp_path / "root"), connect.neighbours(tmp_path / "root", {})
    try:
        with folder.write() as db:
            (operation,) = db.execute("SELECT max(id) FROM operations").fetchone()
            ((row, store),) = db.execute("SELECT id, store_id FROM instances").fetchall()
            changes = events.described(db, [row])
            events.owe(db, operation, store, lambda: changes, action="ImportDicomData")
        killed: Any = Killed(beside.tables)
        with pytest.raises(StatusError, match="killed"):
            events.settle(
                Context(folder, Neighbours(beside.objects, beside.topics, killed)), operation
            )
        for _ in range(2):
            events.settle(Context(folder, beside), operation)
    finally:
        beside.close()
        folder.close()
    for table in ("t", "u"):
        assert rows(client, f"SELECT SOPInstanceUID FROM b.{table}") == [["1.1.1.2"]]
    assert len(told(client)) == 2, "messages come once at least"
