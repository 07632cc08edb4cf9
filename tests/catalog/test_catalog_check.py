"""A broken document is refused with the place inside it and the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from dicomsql.catalog.check import check_provider, check_service
from dicomsql.catalog.openapi import pointed, pointer
from dicomsql.catalog.places import bundled_root
from dicomsql.errors import DocumentError

RESOURCES = "/components/x-stackQL-resources"
SHELVES = RESOURCES + "/shelves"
LIST = SHELVES + "/methods/list"
CREATE = SHELVES + "/methods/create"
SHELF_PATH = "/paths/~1v2~1libraries~1{libraryId}~1shelves~1{shelfId}"


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets what a JSON pointer points at, making mappings on the way."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]
        found: Any = document
        for part in parents:
            found = found[int(part)] if isinstance(found, list) else found.setdefault(part, {})
        if value is DELETE:
            del found[last]
        elif isinstance(found, list):
            found[int(last)] = value
        else:
            found[last] = value

    return change


DELETE = object()
DICOM = {
    "level": "study",
    "source": "search",
    "include": "pageSize",
    "attributes": [{"keyword": "StudyDate", "match": ["exact"]}],
}
LISTED = {"attributes": [{"keyword": "StudyDate", "returned": "default"}]}
ASKED = {"attributes": [{"keyword": "StudyDate", "returned": "include"}]}
ROWSET: dict[str, Any] = {
    "schema": "found.ids",
    "rows": "found.shelves",
    "complete": "next",
    "token": "next",
    "more": {"method": "shelves.list", "token": "pageSize", "parameters": {"libraryId": "next"}},
}
CONSENT = {"kind": "destructive", "phrase": "burn", "things": "shelves"}


def more(**changed: Any) -> dict[str, Any]:
    return {**ROWSET["more"], **changed}


def measured(**measure: Any) -> dict[str, Any]:
    return {
        **CONSENT,
        "measures": [{"resource": "shelves", "counts": {"books": "books"}, **measure}],
    }


def test_the_documents_that_come_along_are_whole() -> None:
    for file in (bundled_root() / "src").rglob("*.yaml"):
        document = yaml.load(
            file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        check = check_provider if file.name == "provider.yaml" else check_service
        check(document, str(file))


@pytest.mark.parametrize("kind", ["provider", "service"])
def test_the_schemas_are_schemas(kind: str) -> None:
    schema = json.loads((bundled_root() / "schema" / f"{kind}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    for name, part in schema["$defs"].items():
        closed = {"dicom", "attribute", "moves", "preview", "consent", "measure"}
        if name.endswith("Extension") or name in closed:
            assert part["additionalProperties"] is False, name


def test_a_good_document_of_someone_else(
    provider_document: dict[str, Any], service_document: dict[str, Any]
) -> None:
    check_provider(provider_document, "p.yaml")
    check_service(service_document, "s.yaml")


@pytest.mark.parametrize(
    "change",
    [
        put(LIST + "/x-dicomsql", {"pageSize": {"parameter": "pageSize", "max": 5}}),
        put(LIST + "/x-dicomsql", {"rowName": {"member": "id", "template": "l/{libraryId}"}}),
        put(CREATE + "/request/required", ["weight"]),
        put(LIST + "/x-dicomsql", {"consent": measured(number="weight", probe="shelf_ids")}),
        put(RESOURCES + "/shelf_ids/x-dicomsql", {"dicom": {**DICOM, "elsewhere": "shelves"}}),
        put(LIST + "/x-dicomsql", {"query": {"alt": "media"}, "rowset": ROWSET}),
        put("/components/parameters/libraryId/x-dicomsql", {"session": ""}),
        put(LIST + "/x-dicomsql", {"rowName": {"member": "id", "template": "{+shelfId}"}}),
    ],
)
def test_extensions_that_fit(
    service_document: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    change(service_document)
    check_service(service_document, "s.yaml")


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        (put("/name", DELETE), "", "'name' is a required property"),
        (put("/providerServices", {}), "/providerServices", "non-empty"),
        (
            put("/providerServices/shelving/service/$ref", "/etc/passwd"),
            "/providerServices/shelving/service/$ref",
            "does not match",
        ),
        (
            put("/providerServices/shelving/name", "other"),
            "/providerServices/shelving/name",
            "named 'other' inside",
        ),
    ],
)
def test_broken_providers(
    provider_document: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    path: str,
    said: str,
) -> None:
    change(provider_document)
    with pytest.raises(DocumentError, match=said) as error:
        check_provider(provider_document, "p.yaml")
    assert (error.value.document, error.value.path) == ("p.yaml", path)


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        # the form
        (put("/paths", DELETE), "", "'paths' is a required property"),
        (put("/servers", [{"url": "ftp://x"}]), "/servers/0/url", "does not match"),
        (put(LIST + "/operation", {}), LIST + "/operation", r"'\$ref' is a required"),
        (
            put(LIST + "/x-dicomsql", {"pagesize": 1}),
            LIST + "/x-dicomsql",
            "'pagesize' was unexpected",
        ),
        (put("/x-dicomsql", {"parallel": 0}), "/x-dicomsql/parallel", "less than the minimum"),
        (
            put(LIST + "/x-dicomsql", {"consent": {**CONSENT, "kind": "bad"}}),
            LIST + "/x-dicomsql/consent/kind",
            "is not one of",
        ),
        (
            put(
                SHELVES + "/x-dicomsql",
                {"dicom": {**DICOM, "attributes": [{"keyword": "00100020"}]}},
            ),
            SHELVES + "/x-dicomsql/dicom/attributes/0/keyword",
            "does not match",
        ),
        (
            put("/components/schemas/Weight/type", "heavy"),
            "/components/schemas/Weight/type",
            "is not one of",
        ),
        # what points at what
        (
            put("/components/schemas/Base/properties/id", {"$ref": "#/components/schemas/Gone"}),
            "/components/schemas/Base/properties/id/$ref",
            "nothing is at '#/components/schemas/Gone'",
        ),
        (
            put("/paths/~1v2~1libraries~1{libraryId}~1shelves/parameters/0", {"$ref": "#/x/0"}),
            "/paths/~1v2~1libraries~1{libraryId}~1shelves/parameters/0/$ref",
            "nothing is at",
        ),
        (
            put("/info/x", [{"$ref": "other.yaml#/a"}]),
            "/info/x/0/$ref",
            "leaves the document",
        ),
        (
            put(
                LIST + "/operation/$ref", "#/paths/~1v2~1libraries~1{libraryId}~1shelves/parameters"
            ),
            LIST + "/operation/$ref",
            "is no operation",
        ),
        (
            put(SHELVES + "/sqlVerbs/select/0/$ref", f"#{RESOURCES}/shelf_ids/methods/list"),
            SHELVES + "/sqlVerbs/select/0",
            "is no method of shelves",
        ),
        # paths and parameters
        (
            put(SHELF_PATH + "/parameters/0", {"name": "other", "in": "query"}),
            SHELF_PATH + "/get",
            "the path holds {shelfId}, which is no path parameter",
        ),
        (
            put(
                SHELF_PATH + "/get/parameters",
                [{"name": "floor", "in": "path", "required": True}],
            ),
            SHELF_PATH + "/get",
            "the path parameter floor is not in the path",
        ),
        # rows
        (
            put(LIST + "/response/objectKey", "$.found.books"),
            LIST + "/response/objectKey",
            r"the answer's schema has no \$\.found\.books",
        ),
        (put(LIST + "/response/objectKey", "found"), LIST + "/response/objectKey", "object key"),
        # names in the extension
        (
            put(LIST + "/x-dicomsql", {"pageSize": {"parameter": "pagSize"}}),
            LIST + "/x-dicomsql/pageSize/parameter",
            r"no query parameter pagSize\. Did you mean pageSize\?",
        ),
        (
            put(
                LIST + "/x-dicomsql",
                {"window": {"limit": "top", "offset": "pageSize", "maxLimit": 1, "maxOffset": 1}},
            ),
            LIST + "/x-dicomsql/window/limit",
            "no query parameter top",
        ),
        (put(LIST + "/x-dicomsql", {"mask": "m"}), LIST + "/x-dicomsql/mask", "parameter m"),
        (
            put(LIST + "/x-dicomsql", {"rowName": {"member": "nam", "template": "l/{libraryId}"}}),
            LIST + "/x-dicomsql/rowName/member",
            "a row has no member nam",
        ),
        (
            put(LIST + "/x-dicomsql", {"rowset": {**ROWSET, "rows": "found.rows"}}),
            LIST + "/x-dicomsql/rowset/rows",
            "has no found.rows",
        ),
        (
            put(LIST + "/x-dicomsql", {"rowset": {**ROWSET, "more": more(method="shelves.more")}}),
            LIST + "/x-dicomsql/rowset/more/method",
            "no method shelves.more",
        ),
        (
            put(LIST + "/x-dicomsql", {"rowset": {**ROWSET, "more": more(token="page")}}),
            LIST + "/x-dicomsql/rowset/more",
            "no parameter page",
        ),
        (
            put(
                LIST + "/x-dicomsql",
                {"rowset": {**ROWSET, "more": more(parameters={"pageSize": "x"})}},
            ),
            LIST + "/x-dicomsql/rowset/more/parameters/pageSize",
            "has no x",
        ),
        (
            put(CREATE + "/x-dicomsql", {"idFromName": {"parameter": "newId", "field": "id"}}),
            CREATE + "/x-dicomsql/idFromName/parameter",
            "no query parameter newId",
        ),
        (
            put(LIST.replace("list", "create") + "/request/required", ["wieght"]),
            CREATE + "/request/required",
            r"no field wieght\. Did you mean weight\?",
        ),
        # measures
        (
            put(LIST + "/x-dicomsql", {"consent": measured(resource="shelfs")}),
            LIST + "/x-dicomsql/consent/measures/0/resource",
            r"no resource shelfs\. Did you mean shelf_ids\?",
        ),
        (
            put(LIST + "/x-dicomsql", {"consent": measured(number="boks")}),
            LIST + "/x-dicomsql/consent/measures/0/number",
            r"shelves has no column boks\. Did you mean books\?",
        ),
        (
            put(LIST + "/x-dicomsql", {"consent": measured(resource="attic")}),
            LIST + "/x-dicomsql/consent/measures/0/counts/books",
            "attic has no column books",
        ),
        # DICOM
        (
            put(SHELVES + "/x-dicomsql", {"dicom": {**DICOM, "identity": {"shelfId": "StudyID"}}}),
            SHELVES + "/x-dicomsql/dicom/identity/shelfId",
            "StudyID is none of the attributes",
        ),
        (
            put(
                SHELVES + "/x-dicomsql", {"dicom": {**DICOM, "attributes": DICOM["attributes"] * 2}}
            ),  # type: ignore[operator]
            SHELVES + "/x-dicomsql/dicom/attributes/1",
            "StudyDate stands here twice",
        ),
        (
            put(SHELVES + "/x-dicomsql", {"dicom": {**DICOM, "elsewhere": "cellar"}}),
            SHELVES + "/x-dicomsql/dicom/elsewhere",
            "no resource cellar",
        ),
        (
            put(SHELVES + "/x-dicomsql", {"dicom": DICOM}),
            SHELVES + "/x-dicomsql/dicom/include",
            "has no query parameter pageSize",
        ),
        *(
            (
                put(SHELVES + "/x-dicomsql", {"dicom": {**DICOM, **change}}),
                SHELVES + "/x-dicomsql/dicom/" + path,
                said,
            )
            for change, path, said in (
                ({"tables": {"study": "shelf"}}, "tables/study", "shelf is no resource of search"),
                ({"tables": {"series": "shelves"}}, "tables/series", "searches the level study"),
                ({"tables": {"patient": "shelves"}}, "tables", "patient"),
                ({"metadata": {"study": "shelves"}}, "metadata/study", "no resource of metadata"),
                (
                    {"sizes": [{"resource": "shelvs", "column": "books"}]},
                    "sizes/0",
                    r"no resource shelvs\. Did you mean shelves\?",
                ),
                (
                    {"sizes": [{"resource": "shelves", "column": "boks"}]},
                    "sizes/0",
                    r"shelves has no column boks\. Did you mean books\?",
                ),
                ({"split": "StudyDate"}, "split", "no attribute that is matched by ranges"),
                ({"sendable": "[A-"}, "sendable", "is no regular expression"),
                (
                    {"attributes": [{"keyword": "StudyDate", "match": ["fuzzy"]}]},
                    "attributes/0/match",
                    "how fuzzy matching is switched on",
                ),
                (
                    {"attributes": [{"keyword": "StudyDate", "returned": "metadata"}]},
                    "attributes/0/returned",
                    "no resource has the metadata",
                ),
                (
                    {"attributes": [{"keyword": "StudyDate", "returned": "counted"}]},
                    "attributes/0/returned",
                    "no resource has the levels below",
                ),
                (
                    {"attributes": [{"keyword": "StudyDate", "returned": "never"}]},
                    "attributes/0/returned",
                    "never",
                ),
            )
        ),
        (
            put(
                SHELVES + "/x-dicomsql",
                {"dicom": {"level": "study", "source": "search", "includeAny": True, **LISTED}},
            ),
            SHELVES + "/x-dicomsql/dicom/includeAny",
            "asks for further attributes",
        ),
        (
            put(
                SHELVES + "/x-dicomsql",
                {"dicom": {"level": "study", "source": "search", **ASKED}},
            ),
            SHELVES + "/x-dicomsql/dicom/attributes/0/returned",
            "asks for further attributes",
        ),
    ],
)
def test_broken_services(
    service_document: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    path: str,
    said: str,
) -> None:
    resources = service_document["components"]["x-stackQL-resources"]
    resources["attic"] = {"methods": {"get": resources["shelves"]["methods"]["get"]}}
    change(service_document)
    with pytest.raises(DocumentError, match=said) as error:
        check_service(service_document, "s.yaml")
    assert (error.value.document, error.value.path) == ("s.yaml", path)


def test_a_measure_of_a_broken_resource_is_reported_as_that(
    service_document: dict[str, Any],
) -> None:
    resources = service_document["components"]["x-stackQL-resources"]
    resources["shelves"]["methods"]["list"]["x-dicomsql"] = {
        "consent": measured(resource="shelf_ids", counts={"ids": "ids"})
    }
    rows = resources["shelf_ids"]["methods"]["list"]
    resources["shelf_ids"]["sqlVerbs"]["select"][0]["$ref"] = "#/info"
    with pytest.raises(DocumentError, match="'#/info' is no method of shelf_ids"):
        check_service(service_document, "s.yaml")
    reference = f"#{RESOURCES}/shelf_ids/methods/list"
    resources["shelf_ids"]["sqlVerbs"]["select"][0]["$ref"] = reference
    rows["response"]["objectKey"] = "ids"
    with pytest.raises(DocumentError, match="has no column ids"):
        check_service(service_document, "s.yaml")


def test_names_that_differ_by_case_alone(service_document: dict[str, Any]) -> None:
    resources = service_document["components"]["x-stackQL-resources"]
    resources["Shelves"] = {"methods": {"get": resources["shelves"]["methods"]["get"]}}
    with pytest.raises(DocumentError, match="has this name but for its case"):
        check_service(service_document, "s.yaml")


def test_a_long_message_is_cut(service_document: dict[str, Any]) -> None:
    service_document["servers"] = [{"url": "x" * 1000}]
    with pytest.raises(DocumentError) as error:
        check_service(service_document, "s.yaml")
    assert len(str(error.value)) < 320
    assert str(error.value).endswith("does not match '^https?://'")


def test_the_error_reaches_the_user_with_its_file(
    registry: Any, provider_document: Any, service_document: Any, tmp_path: Path
) -> None:
    from dicomsql.catalog.load import Catalog

    del service_document["components"]["x-stackQL-resources"]["shelves"]["methods"]["list"][
        "operation"
    ]
    root = registry(provider_document, service_document)
    said = re.escape("shelving.yaml#" + LIST + ": 'operation' is a required property")
    with pytest.raises(DocumentError, match=said):
        Catalog.open(root, cache=tmp_path / "c").service("library", "shelving")


def test_pointers() -> None:
    document = {"a/b": {"c~d": [1, {"e": 2}]}}
    assert pointer("a/b", "c~d", 1, "e") == "/a~1b/c~0d/1/e"
    assert pointed(document, "#/a~1b/c~0d/1/e") == 2
    for missing in ("#/a", "#/a~1b/c~0d/2", "#/a~1b/c~0d/x", "#/a~1b/c~0d/0/y"):
        with pytest.raises(KeyError):
            pointed(document, missing)
