"""SHOW and DESCRIBE answer with StackQL's columns, from the documents alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomsql.catalog.about import (
    Detail,
    Fields,
    describe,
    describe_method,
    show_insert,
    show_methods,
    show_providers,
    show_resources,
    show_services,
)
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Attribute
from dicomsql.errors import PlanningError


def test_show_providers_and_services(catalog: Catalog) -> None:
    assert show_providers(catalog).columns == ("name", "version")
    assert show_providers(catalog).rows == (
        ("dicomweb", "v00.00.00000"),
        ("google", "v00.00.00000"),
    )
    services = show_services(catalog, "google")
    assert services.columns == ("id", "name", "title")
    assert ("healthcare:v00.00.00000", "healthcare", "Cloud Healthcare API") in services.rows
    assert [name for _, name, _ in services.rows] == [
        *("bigquery", "cloudresourcemanager", "healthcare", "pubsub", "serviceusage", "storage"),
    ]
    assert show_services(catalog, "google", Detail.EXTENDED).columns[3:] == (
        "description",
        "version",
    )
    with pytest.raises(PlanningError, match="Did you mean google"):
        show_services(catalog, "goggle")


def test_show_resources(catalog: Catalog) -> None:
    brief = show_resources(catalog, "google", "healthcare")
    assert brief.columns == ("name", "id")
    assert ("dicom_stores", "google.healthcare.dicom_stores") in brief.rows
    assert list(brief.rows) == sorted(brief.rows)
    extended = show_resources(catalog, "google", "healthcare", Detail.EXTENDED)
    assert extended.columns == ("name", "id", "title", "description")
    row = next(r for r in extended.rows if r[0] == "studies")
    assert row[3] == "The studies of a DICOM store, one row for each, found by a search."


def test_show_methods(resource: Any) -> None:
    listing = show_methods(resource("dicom_stores"))
    assert listing.columns == ("MethodName", "RequiredParams", "SQLVerb")
    assert listing.rows[1] == ("list", "projectsId, locationsId, datasetsId", "SELECT")
    assert [r[2] for r in listing.rows[:6]] == [
        "SELECT",
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "EXEC",
    ]
    extended = show_methods(resource("dicom_stores"), Detail.EXTENDED)
    assert extended.columns[-1] == "description"
    assert extended.rows[0][3] == "Gets one DICOM store."


def test_show_insert(catalog: Catalog, resource: Any) -> None:
    listing = show_insert(catalog, resource("dicom_stores"))
    assert listing.columns == ("insert_statement",)
    ((text,),) = listing.rows
    assert text is not None
    lines = text.splitlines()
    assert lines[0] == "INSERT INTO google.healthcare.dicom_stores ("
    assert "  dicomStoreId," in lines
    assert "  '{{ streamConfigs }}'" in lines
    assert lines[-1] == ";"
    assert text.count("'{{ ") == 9
    ((text,),) = show_insert(catalog, resource("dicom_stores"), Fields.REQUIRED).rows
    assert text is not None
    assert "{{ dicomStoreId }}" in text
    assert "{{ labels }}" not in text
    with pytest.raises(PlanningError, match="Nothing can be inserted into google"):
        show_insert(catalog, resource("series"))


def test_a_field_with_the_name_of_a_parameter_is_prefixed(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    fields = service_document["components"]["schemas"]["Shelf"]["properties"]
    fields["libraryId"] = {"type": "string"}
    fields["made-by"] = {"type": "string", "readOnly": True}
    fields["sort-key"] = {"type": "string"}
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    found = catalog.resource("library", "shelving", "shelves")
    ((text,),) = show_insert(catalog, found).rows
    assert text is not None
    into = text.split("SELECT")[0]
    assert "\n  libraryId," in into
    assert "\n  data__libraryId," in into
    assert '\n  "sort-key"\n' in into
    assert "made-by" not in into
    ((text,),) = show_insert(catalog, found, Fields.REQUIRED).rows
    assert text is not None
    assert text.split(")")[0].split("(")[1].split() == ["libraryId,", "id"]
    rows = describe_method(catalog, found.methods["create"]).rows
    inputs = [r[:3] for r in rows if r[2] != "output"]
    assert inputs[:2] == [
        ("libraryId", "string", "input_required"),
        ("id", "string", "input_required"),
    ]
    assert ("data__libraryId", "string", "input_optional") in inputs
    assert ("anything", "any", "input_optional") in inputs
    assert "made-by" not in [r[0] for r in inputs]
    listed = describe_method(catalog, found.methods["list"]).rows
    assert ("colour", "string", "input_optional", '{"type":"array","items":{"type":"string"}}') in (
        listed
    )


def test_describe(resource: Any) -> None:
    brief = describe(resource("dicom_stores"))
    assert brief.columns == ("name", "type")
    assert brief.rows[:2] == (("name", "VARCHAR"), ("labels", "JSON"))
    extended = describe(resource("dicom_store_metrics"), Detail.EXTENDED)
    assert extended.columns == ("name", "type", "description")
    assert ("studyCount", "BIGINT", "Studies in the store.") in extended.rows
    with pytest.raises(PlanningError, match="SHOW METHODS IN google"):
        describe(resource("nlp"))


def test_describe_of_dicom_tables(resource: Any) -> None:
    brief = describe(resource("studies"))
    assert brief.columns == ("name", "type", "vr", "tag", "level", "source", "filter")
    rows = {r[0]: r[1:] for r in brief.rows}
    assert rows["StudyDate"] == ("DATE", "DA", "00080020", "study", "search", "exact, range")
    assert rows["ModalitiesInStudy"][:2] == ("VARCHAR[]", "CS")
    assert rows["StudyDescription"][4:] == ("search (asked for)", "")
    assert "PatientAge" not in rows
    extended = describe(resource("series"), Detail.EXTENDED)
    assert extended.columns == ("name", "type", "description", *brief.columns[2:])
    rows = {r[0]: r[2:] for r in extended.rows}
    assert rows["StudyInstanceUID"] == (
        "Study Instance UID",
        "UI",
        "0020000D",
        "study",
        "search (asked for)",
        "exact",
    )
    assert rows["OtherPatientIDs"][0] == "Other Patient IDs"
    about = "The study, by its StudyInstanceUID."
    assert rows["studiesId"] == (about, None, None, None, "parameter", "exact")
    assert next(r[1] for r in extended.rows if r[0] == "limit") == "BIGINT"
    metadata = describe(resource("studies_metadata"), Detail.EXTENDED)
    assert {r[6] for r in metadata.rows} == {"metadata", "parameter"}


def test_describe_says_what_only_the_metadata_has_and_what_is_counted(resource: Any) -> None:
    studies = resource("studies")
    attributes = (
        Attribute("StudyInstanceUID", ("exact", "list"), "default"),
        Attribute("PatientAge", (), "metadata"),
        Attribute("NumberOfStudyRelatedSeries", (), "counted"),
    )
    table = replace(studies.dicom, attributes=attributes)
    rows = describe(replace(studies, dicom=table)).rows
    assert [r[5:] for r in rows] == [("search", "exact, list"), ("metadata", ""), ("counted", "")]


def test_describe_method(catalog: Catalog, method: Any) -> None:
    listing = describe_method(catalog, method("dicom_stores", "create"))
    assert listing.columns == ("name", "type", "param_type", "shape")
    assert listing.rows[0][:3] == ("projectsId", "string", "input_required")
    rows = {(r[0], r[2]): r for r in listing.rows}
    shape = json.loads(rows["streamConfigs", "input_optional"][3] or "")
    table = shape["items"]["properties"]["bigqueryDestination"]["properties"]["tableUri"]
    assert table == {"type": "string", "maxLength": 2000}
    assert rows["name", "output"][1] == "string"
    extended = describe_method(catalog, method("dicom_stores", "list"), Detail.EXTENDED)
    assert extended.columns[-1] == "description"
    size = next(r for r in extended.rows if r[0] == "pageSize")
    assert size[3] == '{"type":"integer","format":"int32"}'
    assert next(r[0] for r in extended.rows if r[2] == "output") == "name"
    required = describe_method(catalog, method("dicom_stores", "deidentify"))
    assert ("destinationStore", "input_required") in {(r[0], r[2]) for r in required.rows}
