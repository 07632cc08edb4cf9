"""How rows are shown as pictures: what the documents say of it, and what they may not say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicomsql.catalog.check import check_service
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Preview
from dicomsql.catalog.places import bundled_root
from dicomsql.errors import DocumentError

NONE = (400, 406, 415, 422, 501)
RENDERED = "instances_rendered.retrieve_rendered"
SMALL = (("viewport", "256,256"),)


@pytest.mark.parametrize(
    ("provider", "service", "expected"),
    [
        ("google", "healthcare", Preview(RENDERED, "image/jpeg", SMALL, none=NONE)),
        ("dicomweb", "standard", Preview(RENDERED, "image/jpeg", SMALL, none=NONE)),
        ("dicomweb", "orthanc", Preview(RENDERED, "image/jpeg", SMALL, none=(400,))),
        ("dicomweb", "dcm4chee", Preview(RENDERED, "image/jpeg", SMALL, none=NONE)),
    ],
)
def test_instances_alone_are_shown(
    catalog: Catalog, provider: str, service: str, expected: Preview
) -> None:
    names = catalog.service(provider, service).resource_names
    tables = {name: catalog.resource(provider, service, name).dicom for name in names}
    previews = {n: t.preview for n, t in tables.items() if t is not None and t.preview is not None}
    assert previews == {"instances": expected}


@pytest.fixture(scope="module")
def standard() -> dict[str, Any]:
    file = next(Path(bundled_root()).glob("src/dicomweb/*/services/standard.yaml"))
    loaded: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return loaded


@pytest.mark.parametrize(
    ("resource", "change", "path", "said"),
    [
        (
            "instances",
            {"method": "instances_rendered.retrieve_render"},
            "/method",
            r"no method .*\. Did you mean instances_rendered\.retrieve_rendered\?",
        ),
        ("instances", {"method": "studies.store_instances"}, "/method", "is a POST, where a GET"),
        (
            "instances",
            {"method": "dicom_stores.retrieve_rendered"},
            "/method",
            "takes framesId, which a row does not tell",
        ),
        ("studies", {}, "/method", "takes instancesId, which a row does not tell"),
        ("instances_metadata", {}, "", "stands at searches alone"),
        ("instances", {"accept": "text/html"}, "/accept", "text/html"),
        ("instances", {"none": [200]}, "/none/0", "200"),
        ("instances", {"query": {"viewport": ""}}, "/query/viewport", "too short|non-empty"),
        ("instances", {"size": 256}, "", "size"),
    ],
)
def test_previews_that_cannot_be(
    standard: dict[str, Any], resource: str, change: dict[str, Any], path: str, said: str
) -> None:
    document = copy.deepcopy(standard)
    resources = document["components"]["x-stackQL-resources"]
    preview = resources["instances"]["x-dicomsql"]["dicom"]["preview"]
    resources[resource]["x-dicomsql"]["dicom"]["preview"] = copy.deepcopy(preview) | change
    with pytest.raises(DocumentError, match=said) as error:
        check_service(document, "s.yaml")
    base = f"/components/x-stackQL-resources/{resource}/x-dicomsql/dicom/preview"
    assert error.value.path == base + path
