"""A named connection is a service of its provider, at the server that the user named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomsql.catalog.about import describe_method, show_resources, show_services
from dicomsql.catalog.load import Catalog
from dicomsql.errors import InterfaceError, PlanningError

PACS = {"pacs": ("DICOMweb.Orthanc", "http://pacs.example/dicom-web/")}


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog.open(connections=PACS, cache=tmp_path_factory.mktemp("compiled"))


def test_a_connection_is_the_service_at_its_own_server(connected: Catalog) -> None:
    resource = connected.resolve(("PACS", "Series"), ("dicomweb",))
    there = connected.resolve(("dicomweb", "orthanc", "series"))
    assert resource.full_name == "dicomweb.pacs.series"
    method = resource.methods["search"]
    assert method.full_name == "dicomweb.pacs.series.search"
    assert method.servers == ("http://pacs.example/dicom-web",)
    assert there.methods["search"].servers == ()
    assert (resource.dicom, method.parameters) == (
        there.dicom,
        there.methods["search"].parameters,
    )
    assert connected.resolve(("dicomweb", "pacs", "series")) is resource
    assert connected.service("dicomweb", "pacs").name == "pacs"


def test_a_connection_is_listed_and_described(connected: Catalog) -> None:
    names = [row[1] for row in show_services(connected, "dicomweb").rows]
    assert names == ["dcm4chee", "orthanc", "pacs", "standard"]
    ids = [row[1] for row in show_resources(connected, "dicomweb", "pacs").rows]
    assert "dicomweb.pacs.studies" in ids
    store = connected.resolve_method(("dicomweb", "pacs", "studies", "store_instances"))
    assert describe_method(connected, store).rows[0][0] == "studiesId"


def test_an_unknown_service_is_told_with_the_connections(connected: Catalog) -> None:
    with pytest.raises(PlanningError, match=r"no service pac\. Did you mean pacs\?"):
        connected.resolve(("dicomweb", "pac", "studies"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pacs": ("dicomweb.ortanc", "http://a")}, r"Did you mean dicomweb\.orthanc\?"),
        ({"Orthanc": ("dicomweb.standard", "http://a")}, "cannot be named Orthanc"),
        ({"my-pacs": ("dicomweb.standard", "http://a")}, "'my-pacs' cannot be the name"),
        (PACS | {"Pacs": ("dicomweb.standard", "http://a")}, "cannot be named Pacs"),
        (PACS | {"b": ("dicomweb.pacs", "http://a")}, r"the service dicomweb\.pacs, which is not"),
    ],
)
def test_names_that_cannot_be(given: dict[str, tuple[str, str]], said: str, compiled: Path) -> None:
    with pytest.raises(InterfaceError, match=said):
        Catalog.open(connections=given, cache=compiled)


def test_connections_of_two_providers_may_share_a_name(tmp_path: Path) -> None:
    catalog = Catalog.open(
        connections={
            "here": ("dicomweb.standard", "http://a"),
            "Here": ("google.healthcare", "http://b"),
        },
        cache=tmp_path,
    )
    google = catalog.resolve(("google", "here", "studies"))
    assert google.methods["search"].servers == ("http://b",)
    assert catalog.resolve(("dicomweb", "here", "studies")).methods["search"].servers == (
        "http://a",
    )
