"""Google's own client calls every method of the API: those of the table, all others get 501."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import googleapiclient
import pytest
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build, fix_method_name
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest
from googleapiclient.model import MediaModel
from pydicom import data as pydicom_data

pytestmark = [
    pytest.mark.interop,
    # the client leaves its connections to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PLACE = "projects/p/locations/us-central1"
FILE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"
IN_STUDY = f"studies/{STUDY}"
IN_SERIES = f"{IN_STUDY}/series/{SERIES}"
IN_INSTANCE = f"{IN_SERIES}/instances/{INSTANCE}"
DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
VERSIONS = ("v1", "v1beta1")
_PATIENCE = 30
_numbers = itertools.count()


@dataclass(frozen=True)
class World:
    """A dataset with a store `s` that holds one instance.

    Attributes:
        locations: the client's resource `projects.locations`.
        dataset, store: their full names.
    """

    locations: Any
    dataset: str

    @property
    def store(self) -> str:
        return self.dataset + "/dicomStores/s"

    @property
    def datasets(self) -> Any:
        return self.locations.datasets()

    @property
    def stores(self) -> Any:
        return self.datasets.dicomStores()

    @property
    def studies(self) -> Any:
        return self.stores.studies()

    @property
    def series(self) -> Any:
        return self.studies.series()

    @property
    def instances(self) -> Any:
        return self.series.instances()

    def web(self, method: Callable[..., HttpRequest], path: str, **more: Any) -> HttpRequest:
        return method(parent=self.store, dicomWebPath=path, **more)

    def ended(self, operation: dict[str, Any]) -> dict[str, Any]:
        """An operation once it is done."""
        deadline = time.monotonic() + _PATIENCE
        while not operation.get("done"):
            assert time.monotonic() < deadline, "the operation does not end"
            operation = self.datasets.operations().get(name=operation["name"]).execute()
        return operation

    def instance_count(self, store: str = "") -> str:
        metrics = self.stores.getDICOMStoreMetrics(name=store or self.store).execute()
        return str(metrics["instanceCount"])


Case = Callable[[World], bool]


def content(request: HttpRequest, media_type: str) -> bytes:
    """An answer that is no JSON."""
    request.headers["accept"] = media_type
    request.postproc = MediaModel().response
    return bytes(request.execute())


def raw(request: HttpRequest, body: bytes, media_type: str) -> Any:
    """With a body that the client would have written as JSON."""
    request.body, request.body_size = body, len(body)
    request.headers["content-type"] = media_type
    return request.execute()


def storing(request: HttpRequest) -> str:
    return json.dumps(raw(request, FILE.read_bytes(), "application/dicom"))


def refused(request: HttpRequest) -> int:
    with pytest.raises(HttpError) as caught:
        request.execute()
    assert caught.value.reason
    return int(caught.value.resp.status)


def _policy(resource: Any, name: str) -> bool:
    policy = resource.getIamPolicy(resource=name, options_requestedPolicyVersion=3).execute()
    bindings = [{"role": "roles/viewer", "members": ["user:a@example.com"]}]
    body = {"policy": {**policy, "bindings": bindings}}
    changed = resource.setIamPolicy(resource=name, body=body).execute()
    again = resource.setIamPolicy(resource=name, body=body)
    return bool(changed["bindings"] == bindings and refused(again) == 409)


def _permissions(resource: Any, name: str) -> bool:
    body = {"permissions": ["healthcare.datasets.get"]}
    return bool(resource.testIamPermissions(resource=name, body=body).execute() == body)


def _create_dataset(w: World) -> bool:
    made = w.datasets.create(parent=PLACE, datasetId=w.dataset[-9:] + "x", body={})
    operation = made.execute()
    return operation["done"] and operation["response"]["name"] == w.dataset + "x"


def _deidentify(w: World, resource: Any, source: str, destination: str, key: str) -> bool:
    if "Store" in key:
        parent, _, name = destination.rpartition("/dicomStores/")
        w.stores.create(parent=parent, dicomStoreId=name, body={}).execute()
    body = {key: destination, "config": {"dicom": {"filterProfile": "DEIDENTIFY_TAG_CONTENTS"}}}
    body["config"]["image"] = {"textRedactionMode": "REDACT_ALL_TEXT"}
    given = {key.replace("destination", "source"): source}
    operation = w.ended(resource.deidentify(**given, body=body).execute())
    assert "response" in operation
    clean = destination if "Store" in key else destination + "/dicomStores/s"
    return w.instance_count(clean) in {"0", "1"}


def _transfer(w: World, verb: str, body: dict[str, Any]) -> bool:
    """To and from a bucket that is not there: the operation begins, and says so when it ends."""
    operation = w.ended(getattr(w.stores, verb)(name=w.store, body=body).execute())
    return operation["name"].startswith(w.dataset) and "error" in operation


def _storage(w: World, request: HttpRequest) -> bool:
    assert "response" in w.ended(request.execute())
    place = w.stores.dicomWeb().studies().series().instances()
    info = place.getStorageInfo(resource=f"{w.store}/dicomWeb/{IN_INSTANCE}").execute()
    return bool(info["blobStorageInfo"]["storageClass"] == "NEARLINE")


def _blob(w: World, resource: Any, name: str) -> bool:
    body = {"blobStorageSettings": {"blobStorageClass": "NEARLINE"}}
    return _storage(w, resource.setBlobStorageSettings(resource=name, body=body))


def _update_metadata(w: World, method: Callable[..., HttpRequest], path: str) -> bool:
    request = w.web(method, path, body={})
    patch = [{"op": "replace", "path": "/00100010/Value/0/Alphabetic", "value": "New^Name"}]
    answer = raw(request, json.dumps(patch).encode(), "application/json-patch+json")
    if isinstance(answer, dict) and "metadata" in answer:
        w.ended(answer)
    (shown,) = w.web(w.instances.retrieveMetadata, IN_INSTANCE + "/metadata").execute()
    return bool(shown["00100010"]["Value"][0]["Alphabetic"] == "New^Name")


def _erase(w: World, method: Callable[..., HttpRequest], path: str) -> bool:
    answer = w.web(method, path).execute()
    if answer:
        assert "response" in w.ended(answer)
    return w.instance_count() == "0"


def _cancel(w: World) -> bool:
    (operation, *_) = w.datasets.operations().list(name=w.dataset).execute()["operations"]
    cancelled = w.datasets.operations().cancel(name=operation["name"], body={}).execute()
    return cancelled == {}


# what is called, by the method's id below healthcare.projects.locations
TABLE: dict[str, Case] = {
    "get": lambda w: w.locations.get(name=PLACE).execute()["locationId"] == "us-central1",
    "list": lambda w: len(w.locations.list(name="projects/p").execute()["locations"]) == 29,
    "datasets.create": _create_dataset,
    "datasets.deidentify": lambda w: _deidentify(
        w, w.datasets, w.dataset, w.dataset + "-clean", "destinationDataset"
    ),
    "datasets.delete": lambda w: (
        w.datasets.delete(name=w.dataset).execute() == {}
        and refused(w.datasets.get(name=w.dataset)) == 403
    ),
    "datasets.get": lambda w: w.datasets.get(name=w.dataset).execute()["name"] == w.dataset,
    "datasets.getIamPolicy": lambda w: (
        list(w.datasets.getIamPolicy(resource=w.dataset).execute()) == ["etag"]
    ),
    "datasets.list": lambda w: (
        w.dataset in {d["name"] for d in w.datasets.list(parent=PLACE).execute()["datasets"]}
    ),
    "datasets.patch": lambda w: (
        w.datasets.patch(name=w.dataset, updateMask="timeZone", body={"timeZone": "UTC"}).execute()[
            "timeZone"
        ]
        == "UTC"
    ),
    "datasets.setIamPolicy": lambda w: _policy(w.datasets, w.dataset),
    "datasets.testIamPermissions": lambda w: _permissions(w.datasets, w.dataset),
    "datasets.operations.cancel": _cancel,
    "datasets.operations.get": lambda w: (
        refused(w.datasets.operations().get(name=w.dataset + "/operations/1")) == 404
    ),
    "datasets.operations.list": lambda w: (
        len(w.datasets.operations().list(name=w.dataset).execute()["operations"]) == 1
    ),
    "datasets.dicomStores.create": lambda w: (
        w.stores.create(parent=w.dataset, dicomStoreId="t", body={}).execute()["name"][-1] == "t"
        and refused(w.stores.create(parent=w.dataset, dicomStoreId="t", body={})) == 409
    ),
    "datasets.dicomStores.deidentify": lambda w: _deidentify(
        w, w.stores, w.store, w.dataset + "/dicomStores/clean", "destinationStore"
    ),
    "datasets.dicomStores.delete": lambda w: (
        w.stores.delete(name=w.store).execute() == {} and refused(w.stores.get(name=w.store)) == 404
    ),
    "datasets.dicomStores.export": lambda w: _transfer(
        w, "export", {"gcsDestination": {"uriPrefix": "gs://no-such-bucket"}}
    ),
    "datasets.dicomStores.get": lambda w: w.stores.get(name=w.store).execute()["name"] == w.store,
    "datasets.dicomStores.getDICOMStoreMetrics": lambda w: w.instance_count() == "1",
    "datasets.dicomStores.getIamPolicy": lambda w: (
        list(w.stores.getIamPolicy(resource=w.store).execute()) == ["etag"]
    ),
    "datasets.dicomStores.import": lambda w: _transfer(
        w, "import_", {"gcsSource": {"uri": "gs://no-such-bucket/**.dcm"}}
    ),
    "datasets.dicomStores.list": lambda w: (
        len(w.stores.list(parent=w.dataset).execute()["dicomStores"]) == 1
    ),
    "datasets.dicomStores.patch": lambda w: (
        w.stores.patch(name=w.store, updateMask="labels", body={"labels": {"a": "b"}}).execute()[
            "labels"
        ]
        == {"a": "b"}
    ),
    "datasets.dicomStores.searchForInstances": lambda w: (
        len(w.web(w.stores.searchForInstances, "instances").execute()) == 1
    ),
    "datasets.dicomStores.searchForSeries": lambda w: (
        len(w.web(w.stores.searchForSeries, "series").execute()) == 1
    ),
    "datasets.dicomStores.searchForStudies": lambda w: (
        len(w.web(w.stores.searchForStudies, "studies").execute()) == 1
    ),
    "datasets.dicomStores.setBlobStorageSettings": lambda w: _blob(w, w.stores, w.store),
    "datasets.dicomStores.setIamPolicy": lambda w: _policy(w.stores, w.store),
    "datasets.dicomStores.storeInstances": lambda w: (
        STUDY in storing(w.web(w.stores.storeInstances, "studies", body={}))
    ),
    "datasets.dicomStores.testIamPermissions": lambda w: _permissions(w.stores, w.store),
    "datasets.dicomStores.updateInstances": lambda w: (
        STUDY in storing(w.web(w.stores.updateInstances, "studies", body={}))
    ),
    "datasets.dicomStores.dicomWeb.studies.getStudyMetrics": lambda w: (
        w.stores.dicomWeb()
        .studies()
        .getStudyMetrics(study=f"{w.store}/dicomWeb/{IN_STUDY}")
        .execute()["seriesCount"]
        == "1"
    ),
    "datasets.dicomStores.dicomWeb.studies.setBlobStorageSettings": lambda w: _blob(
        w, w.stores.dicomWeb().studies(), f"{w.store}/dicomWeb/{IN_STUDY}"
    ),
    "datasets.dicomStores.dicomWeb.studies.series.getSeriesMetrics": lambda w: (
        w.stores.dicomWeb()
        .studies()
        .series()
        .getSeriesMetrics(series=f"{w.store}/dicomWeb/{IN_SERIES}")
        .execute()["instanceCount"]
        == "1"
    ),
    "datasets.dicomStores.dicomWeb.studies.series.instances.getStorageInfo": lambda w: (
        w.stores.dicomWeb()
        .studies()
        .series()
        .instances()
        .getStorageInfo(resource=f"{w.store}/dicomWeb/{IN_INSTANCE}")
        .execute()["blobStorageInfo"]["sizeBytes"]
        == str(FILE.stat().st_size)
    ),
    "datasets.dicomStores.studies.delete": lambda w: _erase(w, w.studies.delete, IN_STUDY),
    "datasets.dicomStores.studies.retrieveMetadata": lambda w: (
        len(w.web(w.studies.retrieveMetadata, IN_STUDY + "/metadata").execute()) == 1
    ),
    "datasets.dicomStores.studies.retrieveStudy": lambda w: (
        FILE.read_bytes()
        in content(
            w.web(w.studies.retrieveStudy, IN_STUDY),
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        )
    ),
    "datasets.dicomStores.studies.searchForInstances": lambda w: (
        len(w.web(w.studies.searchForInstances, IN_STUDY + "/instances").execute()) == 1
    ),
    "datasets.dicomStores.studies.searchForSeries": lambda w: (
        len(w.web(w.studies.searchForSeries, IN_STUDY + "/series").execute()) == 1
    ),
    "datasets.dicomStores.studies.storeInstances": lambda w: (
        STUDY in storing(w.web(w.studies.storeInstances, IN_STUDY, body={}))
    ),
    "datasets.dicomStores.studies.updateInstances": lambda w: (
        STUDY in storing(w.web(w.studies.updateInstances, IN_STUDY, body={}))
    ),
    "datasets.dicomStores.studies.updateMetadata": lambda w: _update_metadata(
        w, w.studies.updateMetadata, IN_STUDY
    ),
    "datasets.dicomStores.studies.series.delete": lambda w: _erase(w, w.series.delete, IN_SERIES),
    "datasets.dicomStores.studies.series.retrieveMetadata": lambda w: (
        len(w.web(w.series.retrieveMetadata, IN_SERIES + "/metadata").execute()) == 1
    ),
    "datasets.dicomStores.studies.series.retrieveSeries": lambda w: (
        FILE.read_bytes()
        in content(
            w.web(w.series.retrieveSeries, IN_SERIES),
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        )
    ),
    "datasets.dicomStores.studies.series.searchForInstances": lambda w: (
        len(w.web(w.series.searchForInstances, IN_SERIES + "/instances").execute()) == 1
    ),
    "datasets.dicomStores.studies.series.updateMetadata": lambda w: _update_metadata(
        w, w.series.updateMetadata, IN_SERIES
    ),
    "datasets.dicomStores.studies.series.instances.delete": lambda w: _erase(
        w, w.instances.delete, IN_INSTANCE
    ),
    "datasets.dicomStores.studies.series.instances.retrieveInstance": lambda w: (
        content(
            w.web(w.instances.retrieveInstance, IN_INSTANCE),
            "application/dicom; transfer-syntax=*",
        )
        == FILE.read_bytes()
    ),
    "datasets.dicomStores.studies.series.instances.retrieveMetadata": lambda w: (
        len(w.web(w.instances.retrieveMetadata, IN_INSTANCE + "/metadata").execute()) == 1
    ),
    "datasets.dicomStores.studies.series.instances.retrieveRendered": lambda w: content(
        w.web(w.instances.retrieveRendered, IN_INSTANCE + "/rendered", viewport="64,64"),
        "image/png",
    ).startswith(b"\x89PNG"),
    "datasets.dicomStores.studies.series.instances.updateMetadata": lambda w: _update_metadata(
        w, w.instances.updateMetadata, IN_INSTANCE
    ),
    "datasets.dicomStores.studies.series.instances.bulkdata.retrieveBulkdata": lambda w: (
        len(
            content(
                w.web(w.instances.bulkdata().retrieveBulkdata, IN_INSTANCE + "/bulkdata/7FE00010/"),
                "*/*",
            )
        )
        == 128 * 128 * 2
    ),
    "datasets.dicomStores.studies.series.instances.frames.retrieveFrames": lambda w: (
        len(
            content(
                w.web(w.instances.frames().retrieveFrames, IN_INSTANCE + "/frames/1"),
                "application/octet-stream",
            )
        )
        >= 128 * 128 * 2
    ),
    "datasets.dicomStores.studies.series.instances.frames.retrieveRendered": lambda w: content(
        w.web(w.instances.frames().retrieveRendered, IN_INSTANCE + "/frames/1/rendered"),
        "image/jpeg",
    ).startswith(b"\xff\xd8"),
}


def described(version: str) -> dict[str, dict[str, Any]]:
    """The document's methods by their ids."""
    text = (DOCUMENTS / f"healthcare.{version}.json").read_text(encoding="utf-8")

    def walk(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from resource.get("methods", {}).values()
        for below in resource.get("resources", {}).values():
            yield from walk(below)

    return {method["id"]: method for method in walk(json.loads(text))}


PREFIX = "healthcare.projects.locations."
CALLED = [
    (version, name) for version in VERSIONS for name in TABLE if PREFIX + name in described(version)
]
# what the emulator does not do: all that is about no DICOM store
OTHERS = re.compile(r"(?:datasets\.(?:fhir|hl7V2|consent)Stores|datasets\.dataMapper|services\.)")


@pytest.fixture(scope="module", params=VERSIONS)
def locations(request: pytest.FixtureRequest, emulator_url: str) -> Iterator[Any]:
    service = build(
        "healthcare",
        request.param,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": emulator_url},
        cache_discovery=False,
        static_discovery=True,
    )
    yield request.param, service.projects().locations()
    service.close()


@pytest.fixture
def world(locations: tuple[str, Any]) -> World:
    _, client = locations
    name = f"d{next(_numbers):08}"
    client.datasets().create(parent=PLACE, datasetId=name, body={}).execute()
    made = World(client, f"{PLACE}/datasets/{name}")
    made.stores.create(parent=made.dataset, dicomStoreId="s", body={}).execute()
    storing(made.web(made.stores.storeInstances, "studies", body={}))
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_every_method_is_called(version: str) -> None:
    for name in described(version):
        short = name.removeprefix(PREFIX)
        assert (short in TABLE) != bool(OTHERS.match(short)), name
    assert {name for _, name in CALLED} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_method(locations: tuple[str, Any], world: World, name: str) -> None:
    if (locations[0], name) in CALLED:
        assert TABLE[name](world)
    else:
        *resources, method = name.split(".")
        assert not hasattr(_resource(locations[1], resources), method)


def test_all_others_are_not_implemented(locations: tuple[str, Any], world: World) -> None:
    version, client = locations
    for name, method in described(version).items():
        *resources, last = name.removeprefix(PREFIX).split(".")
        known = version != VERSIONS[0] and name in described(VERSIONS[0])
        if known or not OTHERS.match(name.removeprefix(PREFIX)):
            continue
        call = getattr(_resource(client, resources), fix_method_name(last))
        given = {
            key.replace(".", "_").replace("-", "_"): _value(world, method, about)
            for key, about in method["parameters"].items()
            if about.get("required")
        }
        if "request" in method:
            given["body"] = {}
        assert refused(call(**given)) == 501, name


def _resource(client: Any, names: list[str]) -> Any:
    for name in names:
        client = getattr(client, fix_method_name(name))()
    return client


def _value(world: World, method: dict[str, Any], about: dict[str, Any]) -> str:
    """A name that fits the pattern of a parameter, in a dataset that is there."""
    if "pattern" not in about:
        return "x"
    text = re.sub(r"\[\^/\]\+|\.\*", "x", about["pattern"].strip("^$")).replace("\\", "")
    return re.sub(r"projects/x/locations/x/datasets/x", world.dataset, text).replace(
        "projects/x/locations/x", PLACE
    )
