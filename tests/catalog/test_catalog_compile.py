"""What the documents say arrives in the catalog's values, StackQL's own documents' as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dicomsql.catalog import shapes
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import (
    Column,
    Consent,
    Measure,
    OffsetPaging,
    Resource,
    TokenPaging,
    Type,
)
from dicomsql.errors import DocumentError

STORE = (
    "projects/{projectsId}/locations/{locationsId}/datasets/{datasetsId}"
    "/dicomStores/{dicomStoresId}"
)
SIZES = (("bytes", "blobStorageSizeBytes"), ("bytes of metadata", "structuredStorageSizeBytes"))


def test_a_list_has_rows_pages_and_names(method: Any) -> None:
    found = method("dicom_stores", "list")
    assert (found.verb, found.http_method, found.object_key) == ("select", "GET", "$.dicomStores")
    assert found.path == "/v1/" + STORE.removesuffix("/{dicomStoresId}")
    assert found.required == ("projectsId", "locationsId", "datasetsId")
    assert [p.name for p in found.parameters[3:]] == ["filter", "pageSize", "pageToken"]
    assert [c.name for c in found.columns][:2] == ["name", "labels"]
    assert [c.name for c in found.page_columns] == ["dicomStores", "nextPageToken"]
    assert found.paging == TokenPaging("pageToken", "nextPageToken", "pageSize", 1000)
    assert (found.row_name, found.row_name_template) == ("name", STORE)
    assert found.fields == "fields"
    assert method("datasets", "list").paging.max_size == 1000
    assert method("operations", "list").paging.max_size == 0
    assert method("locations", "list").row_name_template.endswith("/locations/{locationsId}")


def test_writes(method: Any) -> None:
    create, patch = method("dicom_stores", "create"), method("dicom_stores", "patch")
    assert (create.verb, create.body, create.body_media) == (
        "insert",
        "DicomStore",
        "application/json",
    )
    assert create.id_from_name == ("dicomStoreId", "name")
    assert not create.operation
    assert method("datasets", "create").id_from_name == ("datasetId", "name")
    assert method("datasets", "create").operation
    assert method("datasets", "create").row_name == ""
    assert method("fhir_stores", "create").id_from_name == ("fhirStoreId", "name")
    assert (patch.verb, patch.mask, patch.body_required) == ("update", "updateMask", ())
    assert method("dicom_stores", "deidentify").body_required == ("destinationStore",)
    assert method("consents", "patch").body_required == ()


def test_columns_have_sql_types(method: Any) -> None:
    types = {
        c.name: c.type for c in method("dicom_store_metrics", "get_dicomstore_metrics").columns
    }
    assert types["name"] is Type.VARCHAR
    assert types["instanceCount"] is Type.BIGINT
    operation = {c.name: c.type for c in method("operations", "get").columns}
    assert operation["done"] is Type.BOOLEAN
    assert operation["metadata"] is Type.JSON
    assert {c.name: c.type for c in method("consents", "get").columns}["expireTime"] is (
        Type.TIMESTAMPTZ
    )
    bindings = method("dicom_stores_iam_policies", "get_iam_policy")
    assert [c.name for c in bindings.columns] == ["condition", "members", "role"]
    assert "etag" in [c.name for c in bindings.page_columns]


def test_consent(method: Any) -> None:
    delete = method("dicom_stores", "delete").consent
    counts = (
        ("studies", "studyCount"),
        ("series", "seriesCount"),
        ("instances", "instanceCount"),
        *SIZES,
    )
    measure = Measure("dicom_store_metrics", counts, "instanceCount", probe="instances")
    assert delete == Consent("destructive", "delete", "DICOM stores", True, (measure,))
    dataset = method("datasets", "delete").consent
    assert dataset.explicit
    assert dataset.always
    assert [(m.resource, m.each, m.number) for m in dataset.measures] == [
        ("dicom_store_metrics", "dicom_stores", "instanceCount"),
    ]
    assert method("studies", "delete").consent.measures[0].resource == "study_metrics"
    assert method("series", "delete").consent.measures[0].counts == (
        ("instances", "instanceCount"),
        *SIZES,
    )
    assert method("instances", "delete").consent.kind == "bulk"
    assert method("dicom_stores", "get").consent is None


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "destructive",
            "datasets.delete dicom_stores.delete fhir_stores.delete hl7_v2_stores.delete"
            " consent_stores.delete studies.delete series.delete fhir.resource-purge"
            " fhir_stores.rollback hl7_v2_stores.rollback fhir_stores.bulk_delete"
            " dicom_stores_iam_policies.set_iam_policy datasets_iam_policies.set_iam_policy"
            " studies.update_instances instances_metadata.update_metadata",
        ),
        (
            "costly",
            "datasets.deidentify dicom_stores.deidentify dicom_stores.import dicom_stores.export"
            " dicom_stores.set_blob_storage_settings studies.set_blob_storage_settings"
            " fhir_stores.export fhir.bulk-export hl7_v2_stores.import",
        ),
        ("bulk", "instances.delete messages.delete fhir.delete"),
    ],
)
def test_what_needs_consent(method: Any, kind: str, names: str) -> None:
    for name in names.split():
        assert method(*name.split(".")).consent.kind == kind, name


def test_every_delete_needs_consent(catalog: Catalog) -> None:
    for name in catalog.service("google", "healthcare").resource_names:
        found = catalog.resource("google", "healthcare", name)
        assert all(m.consent is not None for m in found.for_verb("delete")), name


def test_searches(resource: Any) -> None:
    series = resource("series")
    assert [m.name for m in series.for_verb("select")] == ["search_in_study", "search"]
    search = series.methods["search_in_study"]
    assert search.required[-1] == "studiesId"
    assert search.paging == OffsetPaging("limit", "offset", 5000, 1_000_000)
    assert (search.open_query, search.accept) == (True, "application/dicom+json")
    assert search.columns == ()
    assert search.parameter("IncludeField").repeated  # type: ignore[union-attr]
    assert resource("instances").methods["search"].paging.max_limit == 50_000
    assert resource("dicom_stores").methods["search_for_studies"].verb == "exec"


def test_dicom_tables(resource: Any) -> None:
    studies, series = resource("studies").dicom, resource("series").dicom
    by_name = {a.keyword: a for a in studies.attributes}
    assert (studies.level, studies.source, studies.open) == ("study", "search", False)
    assert studies.identity == (("studiesId", "StudyInstanceUID"),)
    assert (studies.include, studies.fuzzy) == ("includefield", ("fuzzymatching", "true"))
    assert (studies.include_any, studies.include_all) == (False, "all")
    assert (studies.separator, studies.sendable, studies.split) == (",", "", "StudyDate")
    assert studies.elsewhere == "series"
    assert dict(series.tables) == {"study": "studies", "series": "series", "instance": "instances"}
    assert dict(series.metadata) == {
        "study": "studies_metadata",
        "series": "series_metadata",
        "instance": "instances_metadata",
    }
    assert studies.sizes == (("dicom_store_metrics", "studyCount"),)
    assert resource("instances").dicom.sizes == (
        ("series_metrics", "instanceCount"),
        ("study_metrics", "instanceCount"),
        ("dicom_store_metrics", "instanceCount"),
    )
    assert by_name["StudyDate"].match == ("exact", "range")
    assert by_name["PatientName"].match == ("fuzzy",)
    assert len([a for a in studies.attributes if a.returned == "default"]) == 10
    assert [k for k, a in by_name.items() if a.match] == [
        "StudyInstanceUID",
        "StudyDate",
        "AccessionNumber",
        "PatientName",
        "PatientID",
    ]
    lower = {a.keyword: a for a in series.attributes}
    assert "Modality" not in by_name
    assert lower["Modality"].match == ("exact",)
    assert lower["PatientID"].match == ("exact",)
    assert (lower["PatientID"].returned, lower["PatientID"].usual) == ("include", False)
    assert lower["StudyInstanceUID"].usual
    assert "ModalitiesInStudy" not in lower
    metadata = resource("studies_metadata").dicom
    assert (metadata.sizes, metadata.split) == ((("study_metrics", "instanceCount"),), "")
    assert (metadata.tables, metadata.metadata) == (series.tables, series.metadata)
    assert (metadata.level, metadata.source, metadata.open) == ("instance", "metadata", True)
    assert all(not a.match for a in metadata.attributes)
    assert dict(resource("instances_metadata").dicom.identity) == {
        "studiesId": "StudyInstanceUID",
        "seriesId": "SeriesInstanceUID",
        "instancesId": "SOPInstanceUID",
    }


def test_bytes_have_their_media_types(method: Any) -> None:
    store = method("studies", "store_instances")
    assert (store.body_media, store.accept) == ("application/dicom", "application/dicom+json")
    assert store.repeatable
    study = method("studies_study", "retrieve_study")
    assert study.accept == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert [(c.name, c.type.value) for c in study.columns][:2] == [
        ("contentType", "VARCHAR"),
        ("data", "BLOB"),
    ]
    update = method("series_metadata", "update_metadata")
    assert update.path.startswith("/v1beta1/")
    assert (update.http_method, update.body_media) == ("PATCH", "application/json-patch+json")
    assert (update.operation, update.mask, update.verb) == (True, "", "exec")
    assert method("dicom_stores_iam_policies", "test_iam_permissions").repeatable
    assert not method("dicom_stores", "export").repeatable


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("locations", "locationsId"),
        ("datasets", "datasetsId"),
        ("dicom_stores", "dicomStoresId"),
        ("studies", "studiesId"),
        ("series", "seriesId"),
        ("instances", "instancesId"),
        ("operations", "operationsId"),
        ("dicom_store_metrics", ""),
        ("dicom_stores_iam_policies", ""),
        ("studies_metadata", ""),
    ],
)
def test_a_resource_knows_its_own_id(resource: Any, name: str, own: str) -> None:
    assert resource(name).own_id == own


@pytest.fixture
def library(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> Resource:
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    assert catalog.provider("library").auth == "none"
    return catalog.resource("library", "shelving", "shelves")


def test_a_document_of_stackql_alone(library: Resource) -> None:
    found = library.methods["list"]
    assert library.verbs == {"select": ("get", "list"), "insert": ("create",), "exec": ("burn",)}
    assert library.own_id == "shelfId"
    assert found.servers == ("https://north.library.example",)
    assert found.paging == TokenPaging("after", "next", "pageSize", 70)
    assert [(p.name, p.location, p.repeated) for p in found.parameters] == [
        ("libraryId", "path", False),
        ("pageSize", "query", False),
        ("colour", "query", True),
    ]
    assert [(c.name, c.type.value) for c in found.columns] == [
        ("id", "VARCHAR"),
        ("weight", "DOUBLE"),
        ("built", "DATE"),
        ("books", "JSON"),
        ("code", "VARCHAR"),
        ("anything", "JSON"),
    ]
    get = library.methods["get"]
    assert get.required == ("libraryId", "shelfId")
    assert get.paging is None
    create = library.methods["create"]
    assert (create.body, create.body_required, create.response) == ("Shelf", ("id",), "Shelf")
    assert library.methods["burn"].response == ""
    assert library.methods["burn"].verb == "exec"


def test_a_list_of_plain_values_is_one_column(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    found = catalog.resource("library", "shelving", "shelf_ids").methods["list"]
    assert found.columns == (Column("ids", Type.BIGINT),)


def test_tokens_are_googles_where_none_are_named(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    del service_document["x-stackQL-config"]
    properties = service_document["components"]["schemas"]["Shelves"]["properties"]
    properties["nextPageToken"] = properties.pop("next")
    shelves = service_document["components"]["x-stackQL-resources"]["shelves"]
    del shelves["methods"]["list"]["config"]
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    found = catalog.resource("library", "shelving", "shelves").methods["list"]
    assert found.paging == TokenPaging("pageToken", "nextPageToken", "pageSize", 0)


def test_a_providers_pagination_is_inherited(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    provider_document["config"] = {
        "auth": {"type": "interactive"},
        "pagination": service_document.pop("x-stackQL-config")["pagination"],
    }
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    found = catalog.resource("library", "shelving", "shelves").methods["list"]
    assert isinstance(found.paging, TokenPaging)
    assert found.paging.request_token == "after"
    assert catalog.provider("library").auth == "google"


def test_paging_that_is_not_known_is_refused(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    shelves = service_document["components"]["x-stackQL-resources"]["shelves"]
    shelves["methods"]["list"]["config"]["pagination"] = {
        "responseToken": {"key": "Link", "location": "header"}
    }
    with pytest.raises(DocumentError, match="only paging by a query parameter") as error:
        Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c").service(
            "library", "shelving"
        )
    assert error.value.path.endswith("/shelves/methods/list")


@pytest.mark.parametrize(
    ("key", "members"),
    [
        ("", ()),
        ("$", ()),
        ("$.a", ("a",)),
        ("$.a.b[*]", ("a", "b")),
        ("$['x-y'].b", ("x-y", "b")),
        ("$.a[*].b", ("a", "b")),
    ],
)
def test_object_keys(key: str, members: tuple[str, ...]) -> None:
    assert shapes.members(key) == members


@pytest.mark.parametrize("key", ["a", "/*/a", "$..a", "$.", "$.a[0]"])
def test_object_keys_of_other_kinds(key: str) -> None:
    with pytest.raises(ValueError, match="object key"):
        shapes.members(key)


def test_schemas_that_refer_to_themselves_end() -> None:
    schemas: dict[str, Any] = {
        "A": {"$ref": "#/components/schemas/B"},
        "B": {"$ref": "#/components/schemas/A"},
    }
    assert shapes.followed(schemas, schemas["A"]) == {}
    assert shapes.sql_type(schemas, schemas["A"]) is Type.JSON
    assert shapes.within({}, {"type": "object", "additionalProperties": True}, ("x",)) == {}
    assert shapes.within({}, {"type": "string"}, ("x",)) is None
