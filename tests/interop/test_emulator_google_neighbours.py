"""Google's own client for Cloud Storage, Pub/Sub and BigQuery, against the emulator."""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
import os
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

pytestmark = [
    pytest.mark.interop,
    # the client leaves its connections to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def service(name: str, url: str) -> Any:
    """A client of a service; uploads go to the document's root, whatever the endpoint is."""
    documents = importlib.resources.files("googleapiclient.discovery_cache.documents")
    document = json.loads((documents / f"{name}.json").read_text("utf-8"))
    document["rootUrl"] = document["baseUrl"] = f"{url}/"
    return build_from_document(document, credentials=AnonymousCredentials())


@pytest.mark.parametrize("resumable", [False, True])
def test_objects(emulator_url: str, resumable: bool) -> None:
    with service("storage.v1", emulator_url) as storage:
        bucket = f"bucket-{resumable}".lower()
        storage.buckets().insert(project="p", body={"name": bucket}).execute()
        content = os.urandom(700_000)
        media = MediaIoBaseUpload(
            io.BytesIO(content), "application/dicom", chunksize=256 * 1024, resumable=resumable
        )
        body = {"name": "in/a b.dcm", "metadata": {"k": "v"}}
        made = storage.objects().insert(bucket=bucket, body=body, media_body=media).execute()
        assert (made["size"], made["contentType"]) == ("700000", "application/dicom")
        assert made["metadata"] == {"k": "v"}
        out = io.BytesIO()
        asked = storage.objects().get_media(bucket=bucket, object="in/a b.dcm")
        download, done = MediaIoBaseDownload(out, asked, chunksize=300_000), False
        while not done:
            _, done = download.next_chunk()
        assert out.getvalue() == content
        request, names = storage.objects().list(bucket=bucket, prefix="in/", maxResults=1), []
        while request is not None:
            answer = request.execute()
            names += [item["name"] for item in answer["items"]]
            request = storage.objects().list_next(request, answer)
        assert names == ["in/a b.dcm"]
        storage.objects().delete(bucket=bucket, object="in/a b.dcm").execute()
        storage.buckets().delete(bucket=bucket).execute()
        with pytest.raises(HttpError) as caught:
            storage.buckets().get(bucket=bucket).execute()
        assert caught.value.resp.status == 404
        assert caught.value.reason == "The specified bucket does not exist."


def test_messages(emulator_url: str) -> None:
    with service("pubsub.v1", emulator_url) as pubsub:
        topics, subscriptions = pubsub.projects().topics(), pubsub.projects().subscriptions()
        topic, name = "projects/p/topics/news", "projects/p/subscriptions/reader"
        assert topics.create(name=topic, body={}).execute() == {"name": topic}
        subscriptions.create(name=name, body={"topic": topic}).execute()
        data = base64.b64encode(b"hello").decode()
        message = {"data": data, "attributes": {"k": "v"}}
        sent = topics.publish(topic=topic, body={"messages": [message]}).execute()
        asked = {"maxMessages": 10, "returnImmediately": True}
        (received,) = subscriptions.pull(subscription=name, body=asked).execute()[
            "receivedMessages"
        ]
        assert received["message"]["messageId"] == sent["messageIds"][0]
        assert received["message"]["data"] == data
        subscriptions.acknowledge(subscription=name, body={"ackIds": [received["ackId"]]}).execute()
        assert topics.list(project="projects/p").execute()["topics"] == [{"name": topic}]
        assert topics.subscriptions().list(topic=topic).execute() == {"subscriptions": [name]}
        subscriptions.delete(subscription=name).execute()
        topics.delete(topic=topic).execute()


def test_tables(emulator_url: str) -> None:
    with service("bigquery.v2", emulator_url) as bigquery:
        reference = {"datasetReference": {"projectId": "p", "datasetId": "d"}}
        bigquery.datasets().insert(projectId="p", body=reference).execute()
        table = {
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
            "schema": {"fields": [{"name": "a", "type": "INTEGER"}]},
        }
        bigquery.tables().insert(projectId="p", datasetId="d", body=table).execute()
        where = {"projectId": "p", "datasetId": "d", "tableId": "t"}
        rows = {"rows": [{"json": {"a": number}} for number in range(5)]}
        assert "insertErrors" not in bigquery.tabledata().insertAll(**where, body=rows).execute()
        assert bigquery.tables().get(**where).execute()["numRows"] == "5"
        query = {"query": "SELECT a FROM d.t ORDER BY a", "useLegacySql": False}
        job = bigquery.jobs().insert(projectId="p", body={"configuration": {"query": query}})
        number = job.execute()["jobReference"]["jobId"]
        assert (
            bigquery.jobs().get(projectId="p", jobId=number).execute()["status"]["state"] == "DONE"
        )
        request = bigquery.jobs().getQueryResults(projectId="p", jobId=number, maxResults=2)
        found: list[str] = []
        while request is not None:
            answer = request.execute()
            found += [row["f"][0]["v"] for row in answer["rows"]]
            request = bigquery.jobs().getQueryResults_next(request, answer)
        assert found == ["0", "1", "2", "3", "4"]
        asked = {"query": "SELECT SUM(a) FROM `p.d.t`", "useLegacySql": False}
        answer = bigquery.jobs().query(projectId="p", body=asked).execute()
        assert answer["rows"] == [{"f": [{"v": "10"}]}]
        with pytest.raises(HttpError) as caught:
            asked = {"query": "SELECT * FROM d.missing", "useLegacySql": False}
            bigquery.jobs().query(projectId="p", body=asked).execute()
        assert caught.value.resp.status == 404
        bigquery.datasets().delete(projectId="p", datasetId="d", deleteContents=True).execute()
