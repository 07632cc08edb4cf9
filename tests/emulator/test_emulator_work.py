"""Imports, exports and storage classes, over buckets and tables that are only pretended."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicomsql.emulator.folder import Folder
from dicomsql.emulator.jobs import Context, Job, Runner
from dicomsql.emulator.neighbours.base import (
    Column,
    Disposition,
    NeighbourError,
    Neighbours,
    StoredObject,
    TableName,
)
from dicomsql.emulator.status import StatusError
from dicomsql.emulator.work import uris
from dicomsql.emulator.work.tables import ExportTable

DATASET = "/v1/projects/p/locations/us-central1/datasets/d"
STORE = DATASET + "/dicomStores/s"
WEB = STORE + "/dicomWeb"
SINGLE, MULTI, TEXT = "CT_small.dcm", "SC_rgb_small_odd.dcm", "reportsi.dcm"


class Bucket:
    """Objects of one bucket, `b`."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.reading: Callable[[str], None] = lambda _: None

    def list(self, bucket: str, prefix: str = "") -> Iterator[StoredObject]:
        self._check(bucket)
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield StoredObject(name, len(self.objects[name]))

    def read(self, bucket: str, name: str) -> Iterator[bytes]:
        self._check(bucket)
        self.reading(name)
        if name not in self.objects:
            raise NeighbourError("NOT_FOUND", "no such object")
        content = self.objects[name]
        yield from (content[at : at + 1000] for at in range(0, len(content), 1000))

    def write(self, bucket: str, name: str, content: Iterable[bytes], media_type: str) -> None:
        self._check(bucket)
        self.objects[name] = b"".join(content)
        self.types[name] = media_type

    def _check(self, bucket: str) -> None:
        if bucket != "bkt":
            raise NeighbourError("NOT_FOUND", "no such bucket")


class Quiet:
    """Topics that take everything."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes, dict[str, str]]] = []

    def check(self, topic: str) -> None:
        pass

    def publish(self, topic: str, data: bytes, attributes: Mapping[str, str]) -> None:
        self.said.append((topic, data, dict(attributes)))


class Tables:
    """Tables in memory, of one dataset, `p.set`."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, Sequence[Column], list[Mapping[str, Any]], str, str]] = []

    def check(self, name: TableName) -> None:
        if name.dataset != "set":
            raise NeighbourError("NOT_FOUND", "no such dataset")

    def load(
        self,
        name: TableName,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        disposition: Disposition,
        *,
        once: str = "",
    ) -> None:
        self.loads.append((name.table, columns, list(rows), str(disposition), once))


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def topics() -> Quiet:
    return Quiet()


@pytest.fixture
def tables() -> Tables:
    return Tables()


@pytest.fixture
def client(
    tmp_path: Path, open_emulator: Any, bucket: Bucket, topics: Quiet, tables: Tables
) -> Iterator[Any]:
    beside = Neighbours(bucket, topics, tables)
    with open_emulator(tmp_path / "root", neighbours=beside) as opened:
        opened.prepare()
        yield opened


def start(client: Any, path: str, body: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = client.post(path, json=body, **options)
    assert answer.status_code == 200, answer.text
    operation: dict[str, Any] = client.ended(answer.json())
    return operation


def imported(client: Any, uri: str, **body: Any) -> dict[str, Any]:
    return start(client, STORE + ":import", {"gcsSource": {"uri": uri}, **body})


def tell(client: Any) -> None:
    """Make the store tell a topic of its instances."""
    configs = {"notificationConfigs": [{"pubsubTopic": "projects/p/topics/told"}]}
    path = STORE + "?updateMask=notificationConfigs"
    assert client.patch(path, json=configs).status_code == 200


def counter(operation: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = operation["metadata"].get("counter", {})
    return found


def error(operation: dict[str, Any]) -> tuple[int, str]:
    return operation["error"]["code"], operation["error"]["message"]


def instances(client: Any) -> list[str]:
    answer = client.get(WEB + "/instances")
    found = answer.json() if answer.status_code == 200 else []
    return sorted(row["00080018"]["Value"][0] for row in found)


class TestImport:
    @pytest.mark.parametrize(
        ("uri", "found"),
        [
            ("gs://bkt/in/1.dcm", "1"),
            ("gs://bkt/in/*.dcm", "1 2"),
            ("gs://bkt/in/?.dcm", "1 2"),
            ("gs://bkt/in/*/*", "3"),
            ("gs://bkt/in/**.dcm", "1 2 3"),
            ("gs://bkt/in/**", "1 2 3"),
            ("gs://bkt/**", "1 2 3 4"),
            ("gs://bkt/i*/1.dcm", "1"),
        ],
    )
    def test_wildcards(
        self, client: Any, bucket: Bucket, make_dicom: Any, uri: str, found: str
    ) -> None:
        for number, name in enumerate(("in/1.dcm", "in/2.dcm", "in/a/3.dcm", "[out]/4"), 1):
            bucket.objects[name] = make_dicom(instance=str(number))
        bucket.objects["in/a/"] = b""  # what some programs write for a folder
        operation = imported(client, uri)
        assert operation["response"] == {
            "@type": "type.googleapis.com/google.cloud.healthcare.v1.dicom.ImportDicomDataResponse"
        }
        assert operation["metadata"]["apiMethodName"] == (
            "google.cloud.healthcare.v1.dicom.DicomService.ImportDicomData"
        )
        assert counter(operation) == {"success": str(len(found.split()))}
        assert instances(client) == found.split()

    @pytest.mark.parametrize(
        "uri",
        [
            *("", "gs://bkt", "gs://bkt/", "s3://bkt/x", "gs://B/x", "/x", "gs://bkt/a/**/x.dcm"),
            *("gs://bkt/*/**", "gs://bkt/**.d?m", "gs://bkt/***", "gs://bkt/**dcm"),
            *("gs://bkt/" + "x" * 1025, "gs://bkt/a\nb"),
        ],
    )
    def test_addresses_that_are_none(self, client: Any, uri: str) -> None:
        answer = client.post(STORE + ":import", json={"gcsSource": {"uri": uri}})
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
        assert "gcs_source" in json.dumps(answer.json()["error"]["details"])

    def test_what_fails_is_counted_and_the_rest_is_stored(
        self, client: Any, bucket: Bucket, make_dicom: Any
    ) -> None:
        client.stow([make_dicom(instance="1"), make_dicom(instance="2")])
        bucket.objects = {
            "1": make_dicom(instance="1"),
            "2": make_dicom(instance="2", PatientID="other"),
            "3": make_dicom(instance="3"),
            "4": b"no DICOM",
            "5": b"",
        }
        operation = imported(client, "gs://bkt/*")
        assert counter(operation) == {"success": "2", "failure": "3"}
        code, message = error(operation)
        assert code == 3
        assert message.startswith("3 of 5 objects could not be imported; the last of them: invalid")
        assert instances(client) == ["1", "2", "3"]

    def test_nothing_matches(self, client: Any, bucket: Bucket) -> None:
        bucket.objects["a/b"] = b""
        assert error(imported(client, "gs://bkt/*"))[0] == 5
        assert error(imported(client, "gs://none/*")) == (5, "no such bucket")

    def test_an_object_and_the_store_that_go_meanwhile(
        self, client: Any, bucket: Bucket, make_dicom: Any
    ) -> None:
        bucket.objects = {"1": make_dicom(), "2": make_dicom()}

        def vanish(name: str) -> None:
            del bucket.objects[name]

        def without_store(_: str) -> None:
            client.delete(STORE)

        bucket.reading = vanish
        operation = imported(client, "gs://bkt/*")
        assert counter(operation) == {"failure": "2"}
        assert "deleted meanwhile" in error(operation)[1]
        bucket.objects = {"1": make_dicom()}
        bucket.reading = without_store
        assert "store was deleted" in error(imported(client, "gs://bkt/*"))[1]

    def test_storage_class_and_notifications(
        self, client: Any, bucket: Bucket, topics: Quiet, make_dicom: Any, tmp_path: Path
    ) -> None:
        tell(client)
        bucket.objects["1"] = make_dicom("1", "2", "3")
        settings = {"blobStorageClass": "COLDLINE"}
        imported(client, "gs://bkt/1", blobStorageSettings=settings)
        ((_, data, said),) = topics.said
        assert data.decode().endswith("/studies/1/series/2/instances/3")
        assert (said["action"], said["storageClass"]) == ("ImportDicomData", "COLDLINE")
        path = WEB + "/studies/1/series/2/instances/3:getStorageInfo"
        assert client.get(path).json()["blobStorageInfo"]["storageClass"] == "COLDLINE"
        # what was told of is not told of again where a unit is repeated after a kill
        again = "UPDATE operations SET ended = NULL, success = 0, units = NULL"
        with contextlib.closing(sqlite3.connect(tmp_path / "root" / "index.sqlite")) as db, db:
            db.execute(again + " WHERE kind = 'import'")
        (operation,) = (
            o for o in client.get(DATASET + "/operations").json()["operations"] if "done" not in o
        )
        assert counter(client.ended(operation)) == {"success": "1"}
        assert len(topics.said) == 1
        imported(client, "gs://bkt/1")
        assert len(topics.said) == 1

    def test_settings_that_are_none(self, client: Any) -> None:
        body = {"gcsSource": {"uri": "gs://bkt/x"}, "blobStorageSettings": {}}
        body["blobStorageSettings"] = {"blobStorageClass": "WARM"}
        answer = client.post(STORE + ":import", json=body)
        assert answer.status_code == 400
        assert client.post(STORE + ":import", json={"uri": "x"}).status_code == 400
        assert client.post(STORE + "2:import", json={"gcsSource": {"uri": "gs://bkt/x"}}).json()[
            "error"
        ]["status"] == ("NOT_FOUND")


class TestExportToObjects:
    def exported(self, client: Any, mime: str = "", uri: str = "gs://bkt/o", **body: Any) -> Any:
        to = {"uriPrefix": uri, "mimeType": mime}
        return start(client, STORE + ":export", {"gcsDestination": to, **body})

    def test_as_stored(self, client: Any, bucket: Bucket, dicom_files: Path) -> None:
        contents = [(dicom_files / name).read_bytes() for name in (SINGLE, MULTI)]
        client.stow(contents)
        operation = self.exported(client)
        assert counter(operation) == {"success": "2"}
        assert operation["response"]["@type"].endswith("v1.dicom.ExportDicomDataResponse")
        assert sorted(bucket.objects.values()) == sorted(contents)
        assert set(bucket.types.values()) == {"application/dicom"}
        assert all(n.startswith("o/1.") and n.count("/") == 3 for n in bucket.objects)
        assert all(name.endswith(".dcm") for name in bucket.objects)
        self.exported(client, uri="gs://bkt", mime="application/dicom; transfer-syntax=*")
        assert {name.count("/") for name in bucket.objects} == {2, 3}

    @pytest.mark.parametrize(
        ("mime", "begins", "end"),
        [
            ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", b"", ".dcm"),
            ("image/png", b"\x89PNG", ".png"),
            ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50", b"\xff\xd8", ".jpg"),
            ("application/octet-stream; transfer-syntax=*", b"", ""),
        ],
    )
    def test_forms(self, exporting: Any, mime: str, begins: bytes, end: str) -> None:
        client, bucket, uids = exporting
        operation = self.exported(client, mime)
        if mime.startswith("application/dicom"):
            assert counter(operation) == {"success": "2"}
        else:
            # a report has no pixels
            assert counter(operation) == {"success": "1", "failure": "1"}
            assert error(operation)[1].startswith("1 of 2 instances could not be exported")
            uids = uids[:1]
        last = [name.rpartition("/")[2] for name in bucket.objects]
        assert sorted(last) == sorted(uid + end for uid in uids)
        assert all(content.startswith(begins) for content in bucket.objects.values())

    @pytest.fixture
    def exporting(self, client: Any, bucket: Bucket, dicom_files: Path) -> Any:
        """A store of an image and a report, a bucket, and their UIDs."""
        files = [dicom_files / name for name in (SINGLE, TEXT)]
        client.stow([path.read_bytes() for path in files])
        return client, bucket, [pydicom.dcmread(path).SOPInstanceUID for path in files]

    def test_frames(self, client: Any, bucket: Bucket, dicom_files: Path) -> None:
        client.stow([(dicom_files / "rtdose.dcm").read_bytes()])
        self.exported(client, "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1")
        assert len(bucket.objects) == 15
        assert {int(name.rpartition("/")[2]) for name in bucket.objects} == set(range(1, 16))
        assert {len(content) for content in bucket.objects.values()} == {10 * 10 * 4}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"gcsDestination": {}},
            {"gcsDestination": {"uriPrefix": "gs://bkt"}, "bigqueryDestination": {}},
            {"gcsDestination": {"uriPrefix": "bkt/x"}},
            {"gcsDestination": {"uriPrefix": "gs://bkt", "mimeType": "image/gif"}},
            {
                "gcsDestination": {
                    "uriPrefix": "gs://bkt",
                    "mimeType": "image/png; transfer-syntax=*",
                }
            },
            {"gcsDestination": {"uriPrefix": "gs://bkt"}, "filterConfig": {}},
            {
                "gcsDestination": {"uriPrefix": "gs://bkt"},
                "filterConfig": {"resourcePathsGcsUri": "x"},
            },
        ],
    )
    def test_requests_that_are_none(self, client: Any, body: dict[str, Any]) -> None:
        answer = client.post(STORE + ":export", json=body)
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"

    def test_a_bucket_that_is_not_there(self, client: Any) -> None:
        assert error(self.exported(client, uri="gs://none/x")) == (5, "no such bucket")

    def test_a_filter(self, client: Any, bucket: Bucket, make_dicom: Any) -> None:
        client.stow(
            [
                make_dicom(study, f"{study}.{series}", f"{study}.{series}.{n}")
                for study in ("1", "2", "3")
                for series in (1, 2)
                for n in (1, 2)
            ]
        )
        bucket.objects["f"] = (
            b"/studies/1/series/1.1\r\n\n/studies/1/series/1.1/instances/1.1.1\n"
            b"/studies/2/series/2.2/instances/2.2.1\n/studies/3"
        )
        chosen = {"resourcePathsGcsUri": "gs://bkt/f"}
        assert counter(self.exported(client, filterConfig=chosen)) == {"success": "7"}
        exported = sorted(n.removeprefix("o/") for n in bucket.objects if n != "f")
        assert exported[:3] == [
            "1/1.1/1.1.1.dcm",
            "1/1.1/1.1.2.dcm",
            "2/2.2/2.2.1.dcm",
        ]
        bucket.objects["f"] = b"/studies/1/series/1.2\n/studies/9\n"
        operation = self.exported(client, filterConfig=chosen)
        assert counter(operation) == {"success": "2", "failure": "1"}
        assert "line 2 of the filter names nothing" in error(operation)[1]
        bucket.objects["f"] = b"/studies/1/instances/2"
        assert error(self.exported(client, filterConfig=chosen))[1].startswith("Line 1 of the fil")
        bucket.objects["f"] = b"x" * 5000
        assert "longer" in error(self.exported(client, filterConfig=chosen))[1]
        del bucket.objects["f"]
        assert error(self.exported(client, filterConfig=chosen)) == (5, "no such object")


class TestExportToTables:
    def exported(self, client: Any, uri: str = "bq://p.set.t", **to: Any) -> Any:
        body = {"bigqueryDestination": {"tableUri": uri, **to}}
        return start(client, STORE + ":export", body)

    def test_rows_and_columns_of_all_instances(
        self, client: Any, tables: Tables, make_dicom: Any, tmp_path: Path
    ) -> None:
        client.stow(
            [
                make_dicom(instance="1", PatientID="A"),
                make_dicom(instance="2", StudyDate="20200131"),
                *(make_dicom(instance=f"9.{n}") for n in range(30)),
            ]
        )
        operation = self.exported(client)
        assert counter(operation) == {"success": "32"}
        ((table, columns, rows, disposition, once),) = tables.loads
        assert (table, disposition, len(once)) == ("t", "WRITE_EMPTY", 32)
        assert {"PatientID", "StudyDate", "SOPInstanceUID"} <= {c.name for c in columns}
        assert len(rows) == 32
        assert rows[0]["PatientID"] == "A"
        assert rows[1]["StudyDate"] == "2020-01-31"
        deadline = time.monotonic() + 60
        while list((tmp_path / "root" / "scratch").iterdir()):
            assert time.monotonic() < deadline

    def test_what_a_stalled_process_writes_late_counts_once_and_goes(
        self, client: Any, tables: Tables, make_dicom: Any, tmp_path: Path
    ) -> None:
        client.stow([make_dicom(instance="1"), make_dicom(instance="2")])
        self.exported(client)
        folder = Folder(tmp_path / "root")
        spec = {"store": 1, "name": "s", "destination": {"tableUri": "bq://p.set.t"}}
        job = Job(7, "v1", {**spec, "disposition": "WRITE_EMPTY", "once": "x"})
        context = Context(folder, Neighbours(tables, tables, tables))  # type: ignore[arg-type]
        try:
            ExportTable().do(context, job, ["1", "2"])
            ExportTable().do(context, job, ["1"])
            ExportTable().finish(context, job)
            assert len(tables.loads[-1][2]) == 2
            Runner(context, {})._leave(job.operation)
            assert not (tmp_path / "root" / "scratch" / "7").exists()
        finally:
            folder.close()

    def test_of_one_column_of_json(self, client: Any, tables: Tables, make_dicom: Any) -> None:
        client.stow([make_dicom(PatientID="A")])
        self.exported(
            client, schemaJson={}, includeSourceStore=True, writeDisposition="WRITE_APPEND"
        )
        ((_, _, (row,), disposition, _),) = tables.loads
        assert disposition == "WRITE_APPEND"
        assert json.loads(row["Metadata"])["00100020"]["Value"] == ["A"]
        assert row["SourceDicomStore"] == STORE.removeprefix("/v1/")

    def test_an_empty_store_makes_an_empty_table(self, client: Any, tables: Tables) -> None:
        self.exported(client, force=True)
        ((_, columns, rows, disposition, _),) = tables.loads
        assert (len(columns), rows, disposition) == (3, [], "WRITE_TRUNCATE")

    def test_a_dataset_that_is_not_there(self, client: Any, tables: Tables) -> None:
        assert error(self.exported(client, "bq://p.none.t")) == (5, "no such dataset")
        assert tables.loads == []

    @pytest.mark.parametrize(
        "to",
        [
            {"tableUri": "p.set.t"},
            {"tableUri": "bq://p.set"},
            {"tableUri": "bq://other.set.t"},
            {"tableUri": "bq://p.set." + "t" * 2000},
            {"tableUri": "bq://p.set.t", "writeDisposition": "WRITE_ALWAYS"},
            {"tableUri": "bq://p.set.t", "schemaJson": {}, "schemaFlattened": {}},
        ],
    )
    def test_destinations_that_are_none(self, client: Any, to: dict[str, Any]) -> None:
        answer = client.post(STORE + ":export", json={"bigqueryDestination": to})
        assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


class TestBlobStorage:
    def classes(self, client: Any) -> dict[str, str]:
        found = {}
        for row in client.get(WEB + "/instances?includefield=0020000D,0020000E").json():
            study, series, instance = (
                row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")
            )
            path = f"{WEB}/studies/{study}/series/{series}/instances/{instance}:getStorageInfo"
            found[instance] = client.get(path).json()["blobStorageInfo"]["storageClass"]
        return found

    def test_of_a_study_a_filter_and_a_store(
        self, client: Any, bucket: Bucket, make_dicom: Any
    ) -> None:
        client.stow([make_dicom("1", "1.1", "1.1.1"), make_dicom("2", "2.1", "2.1.1")])
        body: dict[str, Any] = {"blobStorageSettings": {"blobStorageClass": "NEARLINE"}}
        operation = start(client, WEB + "/studies/1:setBlobStorageSettings", body)
        assert counter(operation) == {"success": "1"}
        assert self.classes(client) == {"1.1.1": "NEARLINE", "2.1.1": "STANDARD"}
        bucket.objects["f"] = b"/studies/2\n"
        body = {
            "blobStorageSettings": {"blobStorageClass": "ARCHIVE"},
            "filterConfig": {"resourcePathsGcsUri": "gs://bkt/f"},
        }
        start(client, STORE + ":setBlobStorageSettings", body)
        assert self.classes(client) == {"1.1.1": "NEARLINE", "2.1.1": "ARCHIVE"}
        del body["filterConfig"]
        operation = start(client, STORE + ":setBlobStorageSettings", body)
        assert counter(operation) == {"success": "2"}
        assert set(self.classes(client).values()) == {"ARCHIVE"}

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"blobStorageSettings": {"blobStorageClass": "BLOB_STORAGE_CLASS_UNSPECIFIED"}},
            {"blobStorageSettings": {"blobStorageClass": "HOT"}},
            {"blobStorageSettings": {"blobStorageClass": "ARCHIVE"}, "filterConfig": {}},
        ],
    )
    def test_requests_that_are_none(self, client: Any, make_dicom: Any, body: Any) -> None:
        client.stow([make_dicom("1", "1.1", "1.1.1")])
        for path in (STORE, WEB + "/studies/1"):
            answer = client.post(path + ":setBlobStorageSettings", json=body)
            assert answer.status_code == 400
        body = {"blobStorageSettings": {"blobStorageClass": "ARCHIVE"}}
        gone = client.post(WEB + "/studies/9:setBlobStorageSettings", json=body)
        assert gone.status_code == 404


def test_a_delete_tells_of_each_instance(client: Any, topics: Quiet, make_dicom: Any) -> None:
    client.stow([make_dicom("1", "1.1", f"1.1.{n}") for n in (1, 2)])
    tell(client)
    client.ended(client.delete(WEB + "/studies/1").json())
    assert [said["action"] for _, _, said in topics.said] == ["DeleteStudy"] * 2


def test_a_folder_is_named_with_or_without_a_slash() -> None:
    assert uris.folder("gs://bkt", "f") == uris.folder("gs://bkt/", "f") == ("bkt", "")
    assert uris.folder("gs://bkt/a", "f") == uris.folder("gs://bkt/a/", "f") == ("bkt", "a/")
    with pytest.raises(StatusError):
        uris.folder("gs://x/", "f")
