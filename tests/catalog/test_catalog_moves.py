"""How instances are moved: what the documents say of it, and what they may not say."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicomsql.catalog.check import check_service
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Moves
from dicomsql.catalog.places import bundled_root
from dicomsql.errors import DocumentError

STANDARD = Moves(
    store="dicom_stores.store_instances",
    store_in_study="studies.store_instances",
    retrieve=(
        ("study", "studies_study.retrieve_study"),
        ("series", "series.retrieve_series"),
        ("instance", "instances.retrieve_instance"),
    ),
    rendered="instances_rendered.retrieve_rendered",
    rendered_frame="dicom_stores.retrieve_rendered",
)


def moves_of(catalog: Catalog, provider: str, service: str) -> Moves | None:
    dicom = catalog.resource(provider, service, "instances").dicom
    assert dicom is not None
    return dicom.moves


@pytest.mark.parametrize("service", ["standard", "orthanc", "dcm4chee"])
def test_servers_of_dicomweb(catalog: Catalog, service: str) -> None:
    assert moves_of(catalog, "dicomweb", service) == STANDARD


def test_google_overwrites_and_tells(catalog: Catalog) -> None:
    found = moves_of(catalog, "google", "healthcare")
    assert found is not None
    assert (found.replace, found.delete) == ("dicom_stores.update_instances", "instances.delete")
    assert (found.single, found.tells_conflicts, found.exists) == (True, True, (272, 45070))


def test_only_the_search_of_instances_moves_them(catalog: Catalog) -> None:
    service = catalog.service("google", "healthcare")
    resources = (catalog.resource("google", "healthcare", n) for n in service.resource_names)
    assert [r.name for r in resources if r.dicom is not None and r.dicom.moves] == ["instances"]


def test_files_are_asked_for_as_they_are_stored(catalog: Catalog) -> None:
    for provider, service in (("google", "healthcare"), ("dicomweb", "standard")):
        found = moves_of(catalog, provider, service)
        assert found is not None
        for _, name in found.retrieve:
            resource, _, method = name.partition(".")
            accept = catalog.resource(provider, service, resource).methods[method].accept
            assert "application/dicom" in accept
            assert accept.endswith("; transfer-syntax=*")


# -- documents of someone else ---------------------------------------------------------------------


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
            {"store": "dicom_stores.store_instance"},
            "/store",
            r"no method .*\. Did you mean dicom_stores\.store_instances\?",
        ),
        ("instances", {"store": "store_instances"}, "/store", "does not match"),
        ("instances", {"delete": "studies.store_instances"}, "/delete", "is a POST, where a DEL"),
        (
            "instances",
            {"retrieve": {"instance": "dicom_stores.store_instances"}},
            "/retrieve/instance",
            "is a POST, where a GET belongs",
        ),
        ("instances", {"retrieve": {"study": "series.retrieve_series"}}, "/retrieve", "instance"),
        ("instances", {"exists": [70000]}, "/exists/0", "70000"),
        ("instances", {"stores": "a.b"}, "", "stores"),
        ("series", {"single": True}, "", "stands at the search of instances alone"),
        ("instances_metadata", {"single": True}, "", "stands at the search of instances alone"),
    ],
)
def test_moves_that_cannot_be(
    standard: dict[str, Any], resource: str, change: dict[str, Any], path: str, said: str
) -> None:
    document = copy.deepcopy(standard)
    entry = document["components"]["x-stackQL-resources"][resource]
    dicom = entry["x-dicomsql"]["dicom"]
    dicom["moves"] = dicom.get("moves", {}) | change
    with pytest.raises(DocumentError, match=said) as error:
        check_service(document, "s.yaml")
    base = f"/components/x-stackQL-resources/{resource}/x-dicomsql/dicom/moves"
    assert error.value.path == base + path


def test_what_is_moved_has_to_be_named(standard: dict[str, Any]) -> None:
    document = copy.deepcopy(standard)
    entry = document["components"]["x-stackQL-resources"]["instances"]
    del entry["x-dicomsql"]["dicom"]["identity"]["seriesId"]
    with pytest.raises(DocumentError, match="no path parameter has the SeriesInstanceUID"):
        check_service(document, "s.yaml")
