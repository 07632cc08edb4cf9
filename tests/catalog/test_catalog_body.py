"""Bodies are checked against their schemas before anything is sent; no error shows a value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dicomsql.catalog.body import (
    body_fields,
    check_body,
    check_fields,
    coerce_field,
    schemas_of,
)
from dicomsql.catalog.load import Catalog
from dicomsql.errors import PlanningError

TABLE = {"tableUri": "bq://p.d.t", "writeDisposition": "WRITE_APPEND"}


def test_bodies_that_fit(catalog: Catalog, method: Any) -> None:
    create = method("dicom_stores", "create")
    check_body(
        catalog,
        create,
        {
            "name": "n",
            "labels": {"env": "prod"},
            "notificationConfig": {"pubsubTopic": "t", "sendForBulkImport": True},
            "streamConfigs": [{"bigqueryDestination": TABLE}],
            "notificationConfigs": None,
        },
    )
    check_body(catalog, create, {})
    assert body_fields(catalog, create)[0] == "name"
    assert body_fields(catalog, method("dicom_stores", "get")) == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"lables": {}}, "there is no field lables. Did you mean labels?"),
        (
            {"streamConfigs": [{"bigqueryDestination": {"tableUrl": "bq://x"}}]},
            "no field streamConfigs[0].bigqueryDestination.tableUrl. Did you mean tableUri?",
        ),
        ({"labels": "env"}, "labels takes a JSON object."),
        ({"labels": {"env": 1}}, "labels.env takes text."),
        ({"labels": {"env": "v" * 64}}, "labels.env has 64 characters; at most 63 fit."),
        ({"labels": {"k" * 64: "v"}}, "labels has a key of 64 characters; at most 63 fit."),
        (
            {"labels": {f"k{n}": "v" for n in range(65)}},
            "labels has 65 members; at most 64 may be given.",
        ),
        ({"streamConfigs": {}}, "streamConfigs takes a JSON list."),
        ({"streamConfigs": ["x"]}, "streamConfigs[0] takes a JSON object."),
        (
            {"notificationConfig": {"sendForBulkImport": "yes"}},
            "notificationConfig.sendForBulkImport takes true or false.",
        ),
        (
            {"streamConfigs": [{"bigqueryDestination": {"writeDisposition": "WRITE_APEND"}}]},
            "Did you mean WRITE_APPEND?",
        ),
        (["x"], "the body takes a JSON object."),
    ],
)
def test_bodies_that_do_not_fit(catalog: Catalog, method: Any, body: Any, said: str) -> None:
    with pytest.raises(PlanningError) as error:
        check_fields(catalog, method("dicom_stores", "patch"), body)
    assert said in str(error.value)
    assert error.value.resource == "google.healthcare.dicom_stores.patch"


def test_schemas_are_a_mapping(catalog: Catalog, method: Any) -> None:
    schemas = schemas_of(catalog, method("dicom_stores", "create"))
    assert "DicomStore" in schemas
    assert "Nothing" not in schemas
    assert len(schemas) == len(list(schemas)) > 100


def test_what_the_server_sets_cannot_be_given(catalog: Catalog, method: Any) -> None:
    with pytest.raises(PlanningError, match="satisfiesPzs is set by the server"):
        check_fields(catalog, method("datasets", "patch"), {"satisfiesPzs": True})


def test_required_fields(catalog: Catalog, method: Any) -> None:
    deidentify = method("dicom_stores", "deidentify")
    with pytest.raises(PlanningError, match="needs destinationStore in its body") as error:
        check_body(catalog, deidentify, {"config": {}})
    assert error.value.missing == {"deidentify": ("destinationStore",)}
    assert error.value.given == ("config",)
    check_body(catalog, deidentify, {"destinationStore": "projects/p/x"})
    check_fields(catalog, deidentify, {"config": {}})


def test_a_raw_body_may_be_anything_and_a_patch_is_a_list(catalog: Catalog, method: Any) -> None:
    check_body(catalog, method("fhir", "create"), {"resourceType": "Patient", "id": 1})
    assert body_fields(catalog, method("fhir", "create")) == ()
    assert coerce_field(catalog, method("fhir", "create"), "x", "y") == "y"
    update = method("studies_metadata", "update_metadata")
    check_body(catalog, update, [{"op": "replace", "path": "/00100020", "value": {"vr": "LO"}}])
    with pytest.raises(PlanningError, match=r"\[0\] needs path"):
        check_body(catalog, update, [{"op": "remove"}])
    with pytest.raises(PlanningError, match=r"\[0\]\.op takes one of .* Did you mean remove\?"):
        check_body(catalog, update, [{"op": "remov", "path": "/00100020"}])


@pytest.mark.parametrize(
    ("name", "field", "value", "made"),
    [
        ("dicom_stores.create", "labels", '{"env": "prod"}', {"env": "prod"}),
        ("dicom_stores.create", "labels", {"env": "prod"}, {"env": "prod"}),
        ("dicom_stores.create", "labels.env", "prod", "prod"),
        ("dicom_stores.create", "labels", None, None),
        ("dicom_stores.create", "streamConfigs", "[]", []),
        ("dicom_stores.create", "streamConfigs", ({"a": 1},), [{"a": 1}]),
        ("dicom_stores.create", "name", "007", "007"),
        ("dicom_stores.create", "notificationConfig.sendForBulkImport", "TRUE", True),
        ("dicom_stores.create", "notificationConfig.sendForBulkImport", False, False),
        (
            "fhir_stores.rollback",
            "rollbackTime",
            datetime(2026, 1, 2, tzinfo=UTC),
            "2026-01-02T00:00:00Z",
        ),
        ("fhir_stores.rollback", "rollbackTime", datetime(2026, 1, 2, 3), "2026-01-02T03:00:00Z"),
        ("fhir_stores.rollback", "rollbackTime", date(2026, 1, 2), "2026-01-02"),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.etag", b"\x00\x01", "AAE="),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", "3", 3),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", Decimal(3), 3),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", 3.0, 3),
    ],
)
def test_values_become_what_a_field_takes(
    catalog: Catalog, method: Any, *, name: str, field: str, value: object, made: object
) -> None:
    assert coerce_field(catalog, method(*name.split(".")), field, value) == made


@pytest.mark.parametrize(
    ("name", "field", "value", "said"),
    [
        (
            "dicom_stores.create",
            "labels",
            "secret=1",
            "labels takes a JSON object, and its text is no JSON at character 1.",
        ),
        ("dicom_stores.create", "labels", '{"a": NaN}', "its text is no JSON."),
        ("dicom_stores.create", "labels", "[]", "labels takes a JSON object."),
        ("dicom_stores.create", "streamConfigs", "{}", "streamConfigs takes a JSON list."),
        ("dicom_stores.create", "name", 7, "name takes text."),
        (
            "dicom_stores.create",
            "lables",
            "{}",
            "the body has no field lables. Did you mean labels?",
        ),
        (
            "dicom_stores.create",
            "notificationConfig.topic",
            "x",
            "notificationConfig has no field topic.",
        ),
        (
            "dicom_stores.create",
            "notificationConfig.sendForBulkImport",
            "yes",
            "takes true or false.",
        ),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", "3.5", "takes an integer."),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", 3.5, "takes an integer."),
        (
            "dicom_stores_iam_policies.set_iam_policy",
            "policy.version",
            float("nan"),
            "takes an integer.",
        ),
        ("dicom_stores_iam_policies.set_iam_policy", "policy.version", True, "takes an integer."),
    ],
)
def test_values_that_no_field_takes(
    catalog: Catalog, method: Any, *, name: str, field: str, value: object, said: str
) -> None:
    with pytest.raises(PlanningError) as error:
        coerce_field(catalog, method(*name.split(".")), field, value)
    assert said in str(error.value)
    assert "secret" not in str(error.value)


@pytest.fixture
def shelf(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> tuple[Catalog, Any]:
    """A method whose body has a field of every kind of number."""
    fields = service_document["components"]["schemas"]["Shelf"]["properties"]
    for form in ("int32", "uint32"):
        fields[form] = {"type": "integer", "format": form}
    for form in ("int64", "uint64", "google-duration"):
        fields[form] = {"type": "string", "format": form}
    fields["inner"] = {"$ref": "#/components/schemas/Base"}
    fields["free"] = {"type": "object"}
    catalog = Catalog.open(registry(provider_document, service_document), cache=tmp_path / "c")
    return catalog, catalog.resource("library", "shelving", "shelves").methods["create"]


@pytest.mark.parametrize(
    ("field", "value", "made"),
    [
        ("int64", 2**53 + 1, "9007199254740993"),
        ("int64", " 12 ", "12"),
        ("weight", "1.5", 1.5),
        ("weight", Decimal("1.5"), 1.5),
        ("weight", 2, 2),
        ("anything", "text", "text"),
        ("free.x.y", "text", "text"),
        ("inner", '{"id": "a"}', {"id": "a"}),
    ],
)
def test_numbers_and_open_fields(
    shelf: tuple[Catalog, Any], field: str, value: object, made: object
) -> None:
    assert coerce_field(*shelf, field, value) == made


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("int64", "twelve", "int64 takes an integer."),
        ("weight", "nan", "weight takes a number."),
        ("weight", "heavy", "weight takes a number."),
        ("weight", True, "weight takes a number."),
    ],
)
def test_texts_that_are_no_numbers(
    shelf: tuple[Catalog, Any], field: str, value: object, said: str
) -> None:
    with pytest.raises(PlanningError, match=said):
        coerce_field(*shelf, field, value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"int32": 2**31}, "int32 takes an integer from"),
        ({"uint32": -1}, "uint32 takes an integer from 0"),
        ({"int64": "1x"}, "int64 takes an integer."),
        ({"int64": True}, "int64 takes text."),
        ({"int32": "1"}, "int32 takes an integer."),
        ({"weight": "1"}, "weight takes a number."),
        ({"google-duration": "3 s"}, "takes a duration in seconds"),
        ({"inner": {"name": "x"}}, "there is no field inner.name."),
        ({"books": [1]}, r"books\[0\] takes text."),
    ],
)
def test_numbers_out_of_their_range(
    shelf: tuple[Catalog, Any], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(PlanningError, match=said):
        check_fields(*shelf, fields)


def test_all_of_the_parts_count(shelf: tuple[Catalog, Any]) -> None:
    catalog, create = shelf
    assert body_fields(catalog, create)[:2] == ("id", "weight")
    check_body(
        catalog,
        create,
        {"id": "a", "int64": 5, "google-duration": "3.5s", "free": {"x": 1}, "anything": [1]},
    )
    with pytest.raises(PlanningError, match="needs id in its body"):
        check_body(catalog, create, {})
    with pytest.raises(PlanningError, match="there is no field nothing"):
        check_fields(catalog, create, {"nothing": 1})
