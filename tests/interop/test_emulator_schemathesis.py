"""schemathesis makes requests from the provider's document, and judges what comes back.

The document describes what is answered with 200; which other statuses a kind of method may answer
is the table here, which docs/emulator.md gives to people.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from pydicom import data as pydicom_data
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dicomsql.emulator.app import create_app
from dicomsql.transport.asgi import InProcessTransport

pytestmark = pytest.mark.interop

PROVIDER = Path(__file__).parents[2] / "provider" / "src" / "googleapis.com" / "v00.00.00000"
FILE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"
SEED = 7
HOST = "http://127.0.0.1"
DATASETS = "/v1/projects/p/locations/us-central1/datasets"

# Names that are there, and some that are not; all other parameters are schemathesis' choice.
NAMES = {
    "projectsId": ["p", "a b"],
    "locationsId": ["us-central1", "us-central1", "moon"],
    "datasetsId": ["d", "d", "missing", "ü/d"],
    "dicomStoresId": ["s", "s", "missing", "s%2Fx"],
    "studiesId": ["1.3.6.1.4.1.5962.1.2.1.20040119072730.12322", "1.2", "x"],
    "seriesId": ["1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322", "1.2"],
    "instancesId": ["1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322", "1.2"],
    "framesId": ["1", "1,1", "2", "0", "x"],
    "bulkdataId": ["7FE00010", "00081115"],
}
# Kinds of methods by what their path or name holds, the first that fits; and their statuses.
STATUSES = (
    (("fhirStores", "hl7V2Stores", "consentStores", "dataMapper", "services/"), "400 403 501"),
    (("storeInstances", "updateInstances"), "202 400 403 404 406 409 415"),
    (("searchFor",), "204 400 403 404"),
    (("retrieve",), "204 400 403 404 406"),
    (("locations.list", "operations.list"), "400 403 404 501"),
    (("create", "setIamPolicy", "deidentify", "delete"), "400 403 404 409"),
    (("",), "400 403 404"),
)
STORED: dict[str, Any] = {"application/dicom+json": {}, "application/dicom+xml": {}}
FAILURE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string", "minLength": 1},
                "status": {"type": "string", "pattern": "^[A-Z_]+$"},
                "details": {"type": "array", "items": {"type": "object", "required": ["@type"]}},
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The provider's document, with the statuses and the names."""
    path = PROVIDER / "services" / "healthcare.yaml"
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    parameters = found["components"]["parameters"]
    for name, values in NAMES.items():
        parameters[name]["schema"] = {"type": "string", "enum": values}
    found["components"]["schemas"]["Failure"] = FAILURE
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}
    for path, item in found["paths"].items():
        for verb in item.keys() & {"get", "post", "put", "patch", "delete"}:
            operation = item[verb]
            about = path + operation["operationId"]
            statuses = next(s for words, s in STATUSES if any(word in about for word in words))
            content = {"content": failure}
            if "Instances" in about and verb in {"post", "put"}:
                content = {"content": {**failure, **STORED}}
                operation["responses"]["200"]["content"] = STORED
            for status in statuses.split():
                described = {} if status == "204" else content
                operation["responses"][status] = {"description": "", **described}
    return found


@schemathesis.serializer("application/dicom", "multipart/related")
def as_bytes(_: Any, value: Any) -> bytes:
    """What is no DICOM: the documents say no more of it than that it is binary."""
    return str(value).encode("utf-8", "replace")


SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    operation.path.split("/")[1] + operation.definition.raw["operationId"][29:]: operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = create_app(tmp_path_factory.mktemp("emulator") / "root")
    with httpx.Client(transport=InProcessTransport(app), base_url=HOST) as opened:
        yield opened


def prepare(client: httpx.Client) -> None:
    """Put back what a request may have deleted."""
    client.post(DATASETS, params={"datasetId": "d"})
    client.post(DATASETS + "/d/dicomStores", params={"dicomStoreId": "s"})
    client.post(
        DATASETS + "/d/dicomStores/s/dicomWeb/studies",
        content=FILE.read_bytes(),
        headers={"content-type": "application/dicom"},
    )


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (name, mode)
        for name, operation in OPERATIONS.items()
        for mode in GenerationMode
        # what is not emulated does not look at what it is asked
        if mode.is_positive or "501" not in operation.definition.raw["responses"]
    ],
)
def test_an_operation(client: httpx.Client, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    prepare(client)

    @seed(SEED)
    @settings(
        max_examples=1 if "501" in operation.definition.raw["responses"] else 8,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        request = requests.Request(**case.as_transport_kwargs(base_url=HOST)).prepare()
        answer = client.request(
            request.method, request.url, headers=dict(request.headers), content=request.body
        )
        case.validate_response(
            answer,
            checks=[status_code_conformance, content_type_conformance, response_schema_conformance],
        )

    check()
