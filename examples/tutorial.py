"""The tutorial with Google's own clients, offline, as anybody calls Cloud Healthcare.

The statements of `tutorial.sql` do the same. Here google-api-python-client and google-auth's
session make the calls, and a `dicomsql.emulator.Emulator` answers them all at one address.

    make tutorial                   installs what it needs, and runs both
    python examples/tutorial.py
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

LACKS = "The tutorial needs packages that {} does not have: {}. `make tutorial` runs it with them."

try:
    from google.auth.credentials import AnonymousCredentials
    from google.auth.transport.requests import AuthorizedSession
    from googleapiclient.discovery import build

    from dicomsql.emulator import Emulator
except ImportError as error:
    ours = (error.name or "").startswith("dicomsql")
    lacking = "dicomsql" if ours else "google-api-python-client or requests"
    sys.exit(LACKS.format(sys.executable, lacking))

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the emulator and its de-identification import.
EMULATOR = ("starlette", "uvicorn", "numpy", "PIL", "pydicom", "dicomanonymizer", "deid")

PROJECT = "your-project"
LOCATION = f"projects/{PROJECT}/locations/us-central1"
DATASET = f"{LOCATION}/datasets/imaging-data"
STORE = f"{DATASET}/dicomStores/radiology-images"
SAFE = f"{DATASET}/dicomStores/radiology-images-deidentified"
TOPIC = f"projects/{PROJECT}/topics/dicom-notifications"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/dicom-arrivals"
BUCKET = "your-dicom-bucket"
TABLE = f"{PROJECT}.imaging_analytics.dicom_metadata"

QUESTION = f"""
SELECT
  StudyInstanceUID,
  Modality,
  StudyDate,
  COUNT(*) AS instance_count,
  SUM(CAST(Rows AS INT64) * CAST(Columns AS INT64)) AS total_pixels
FROM `{TABLE}`
WHERE Modality = 'CT' AND StudyDate >= '2004-01-01'
GROUP BY StudyInstanceUID, Modality, StudyDate
ORDER BY instance_count DESC
LIMIT 20
"""  # noqa: S608 - the names are the example's own


def client(url: str, name: str, version: str, path: str = "") -> Any:
    """Google's client of a service, at the emulator's address."""
    return build(
        name,
        version,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url + path},
        cache_discovery=False,
        static_discovery=True,
    )


def dicom_files(*names: str) -> list[Path]:
    """Files of those that the package pydicom carries."""
    spec = find_spec("pydicom")
    assert spec is not None
    assert spec.origin is not None
    return [Path(spec.origin).parent / "data" / "test_files" / name for name in names]


class Tutorial:
    """The steps, each of which says what came of it.

    Args:
        url: where all services answer.
    """

    def __init__(self, url: str, results: Path) -> None:
        self.url = url
        self.results = results
        self.healthcare = client(url, "healthcare", "v1").projects().locations().datasets()
        self.stores = self.healthcare.dicomStores()
        self.session = AuthorizedSession(AnonymousCredentials())  # type: ignore[no-untyped-call]
        self.web = f"{url}/v1/{STORE}/dicomWeb"

    def prepare(self) -> None:
        """Enable the API; make a dataset, a topic, a subscription and a store."""
        usage = client(self.url, "serviceusage", "v1").services()
        service = f"projects/{PROJECT}/services/healthcare.googleapis.com"
        usage.enable(name=service, body={}).execute()
        print("enabled  ", usage.get(name=service).execute()["state"])
        parent, _, dataset = DATASET.partition("/datasets/")
        self.done(self.healthcare.create(parent=parent, datasetId=dataset, body={}).execute())
        pubsub = client(self.url, "pubsub", "v1").projects()
        pubsub.topics().create(name=TOPIC, body={}).execute()
        pubsub.subscriptions().create(name=SUBSCRIPTION, body={"topic": TOPIC}).execute()
        bigquery = client(self.url, "bigquery", "v2", "/bigquery/v2/")
        reference = {"projectId": PROJECT, "datasetId": "imaging_analytics"}
        bigquery.datasets().insert(
            projectId=PROJECT, body={"datasetReference": reference}
        ).execute()
        body = {
            "notificationConfig": {"pubsubTopic": TOPIC, "sendForBulkImport": True},
            "streamConfigs": [
                {
                    "bigqueryDestination": {
                        "tableUri": f"bq://{PROJECT}.imaging_analytics.dicom_stream",
                        "force": True,
                    }
                }
            ],
        }
        store = STORE.rpartition("/")[2]
        made = self.stores.create(parent=DATASET, body=body, dicomStoreId=store).execute()
        print("store    ", made["name"])

    def upload(self, files: Iterable[Path]) -> None:
        """Store files by STOW-RS, one a request; look at what was notified."""
        headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
        for file in files:
            answer = self.session.post(
                f"{self.web}/studies", data=file.read_bytes(), headers=headers, timeout=60
            )
            print("stored   ", answer.status_code, file.name)
        subscriptions = client(self.url, "pubsub", "v1").projects().subscriptions()
        pulled = subscriptions.pull(subscription=SUBSCRIPTION, body={"maxMessages": 10}).execute()
        received = pulled.get("receivedMessages", [])
        for message in received:
            told = base64.b64decode(message["message"]["data"]).decode()
            print("notified ", "/".join(told.split("/")[-2:]))
        if received:
            body = {"ackIds": [message["ackId"] for message in received]}
            subscriptions.acknowledge(subscription=SUBSCRIPTION, body=body).execute()

    def import_(self, files: Iterable[Path]) -> None:
        """Put files into a bucket, and import them from there."""
        buckets = client(self.url, "storage", "v1", "/storage/v1/").buckets()
        buckets.insert(project=PROJECT, body={"name": BUCKET}).execute()
        for file in files:
            self.session.post(
                f"{self.url}/upload/storage/v1/b/{BUCKET}/o",
                params={"uploadType": "media", "name": f"import/{file.name}"},
                data=file.read_bytes(),
                headers={"Content-Type": "application/dicom"},
                timeout=60,
            ).raise_for_status()
        body = {"gcsSource": {"uri": f"gs://{BUCKET}/import/*.dcm"}}
        started = getattr(self.stores, "import_")(name=STORE, body=body).execute()  # noqa: B009
        print("imported ", json.dumps(self.done(started)["metadata"]["counter"]))

    def search(self) -> str:
        """Search by modality, name and date; gives a study's UID."""
        found: list[dict[str, Any]] = []
        for level, query in (
            ("series", {"Modality": "CT"}),
            ("studies", {"StudyDate": "20040101-20041231"}),
            ("studies", {"PatientName": "CompressedSamples^CT1"}),
        ):
            parameters = {**query, "includefield": "all"}
            answer = self.session.get(f"{self.web}/{level}", params=parameters, timeout=60)
            # An empty search has no content.
            found = answer.json() if answer.status_code == 200 else []
            print("found    ", len(found), level, "by", *query)
        return str(found[0]["0020000D"]["Value"][0])

    def retrieve(self, study: str) -> None:
        """Get a study's files, and a picture of its first instance."""
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        whole = self.session.get(f"{self.web}/studies/{study}", headers=accept, timeout=60)
        print("retrieved", len(whole.content), "bytes")
        metadata = self.session.get(f"{self.web}/studies/{study}/metadata", timeout=60).json()[0]
        series, instance = (metadata[tag]["Value"][0] for tag in ("0020000E", "00080018"))
        place = f"{self.web}/studies/{study}/series/{series}/instances/{instance}"
        picture = self.session.get(f"{place}/rendered", headers={"Accept": "image/png"}, timeout=60)
        target = self.results / "rendered.png"
        target.write_bytes(picture.content)
        print("rendered ", target.stat().st_size, "bytes of", picture.headers["Content-Type"])

    def deidentify(self) -> None:
        """Write copies without what identifies anyone to another store.

        An image that may have text in its pixels where nothing says where is not copied, and counts
        as a failure, as pydicom's MR_small.dcm and JPEG2000.dcm would: they are derived images that
        do not say that they are free of it.
        """
        parent, _, store = SAFE.partition("/dicomStores/")
        self.stores.create(parent=parent, body={}, dicomStoreId=store).execute()
        body = {
            "destinationStore": SAFE,
            "config": {
                "dicom": {"filterProfile": "DEIDENTIFY_TAG_CONTENTS"},
                "image": {"textRedactionMode": "REDACT_ALL_TEXT"},
            },
        }
        started = self.stores.deidentify(sourceStore=STORE, body=body).execute()
        print("cleaned  ", json.dumps(self.done(started)["metadata"]["counter"]))

    def analyse(self) -> None:
        """Export the metadata to BigQuery, and ask it a question."""
        body = {"bigqueryDestination": {"tableUri": f"bq://{TABLE}", "force": True}}
        started = self.stores.export(name=STORE, body=body).execute()
        print("exported ", json.dumps(self.done(started)["metadata"]["counter"]))
        jobs = client(self.url, "bigquery", "v2", "/bigquery/v2/").jobs()
        question = {"query": QUESTION, "useLegacySql": False}
        answer = jobs.query(projectId=PROJECT, body=question).execute()
        names = [field["name"] for field in answer["schema"]["fields"]]
        for row in answer.get("rows", []):
            print("answered ", dict(zip(names, (cell["v"] for cell in row["f"]), strict=True)))

    def clean_up(self) -> None:
        """Delete the dataset with its stores."""
        self.healthcare.delete(name=DATASET).execute()
        self.session.close()

    def done(self, operation: dict[str, Any]) -> dict[str, Any]:
        """An operation once it has ended.

        Raises:
            RuntimeError: it failed.
        """
        while not operation.get("done"):
            time.sleep(0.1)
            operation = self.healthcare.operations().get(name=operation["name"]).execute()
        if "error" in operation:
            raise RuntimeError(operation["error"]["message"])
        return operation


def main() -> None:
    """Run all steps on an emulator whose folder is thrown away afterwards."""
    missing = [name for name in EMULATOR if find_spec(name) is None]
    if missing:
        sys.exit(LACKS.format(sys.executable, ", ".join(missing)))
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="dicomsql-") as folder:
        tutorial = Tutorial(emulator.url, Path(folder))
        tutorial.prepare()
        tutorial.upload(dicom_files("CT_small.dcm", "examples_palette.dcm"))
        tutorial.import_(dicom_files("rtplan.dcm", "rtdose.dcm"))
        tutorial.retrieve(tutorial.search())
        tutorial.deidentify()
        tutorial.analyse()
        tutorial.clean_up()


if __name__ == "__main__":
    main()
