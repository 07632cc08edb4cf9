"""The committed provider documents are what the script makes, whole, and named as StackQL's are."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "provider" / "src" / "googleapis.com" / "v00.00.00000"

# resource: SELECT | INSERT | UPDATE | REPLACE | DELETE | EXEC, where these resources and methods
# are StackQL's; `+` before what only dicomsql has.
STACKQL = """
attribute_definitions: get list | create | patch | | delete |
consent_artifacts: get list | create | | | delete |
consent_stores: get list | create | patch | | delete | check_data_access evaluate_user_consents query_accessible_data
consent_stores_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
consents: get list | create | patch | | delete | activate reject revoke
consents_revisions: list_revisions | | | | delete_revision |
data_mapper_workspaces_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
datasets: get list | create | patch | | delete | deidentify
datasets_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
dicom_store_metrics: get_dicomstore_metrics | | | | |
dicom_stores: get list | create | patch | | delete | deidentify export import retrieve_bulkdata retrieve_frames retrieve_rendered search_for_instances search_for_series search_for_studies set_blob_storage_settings store_instances +update_instances
dicom_stores_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
fhir: | create | patch | update | delete | binary-create binary-read binary-update binary-vread bulk-export capabilities conditional_delete conditional_patch conditional_update consent-enforcement-status execute_bundle history patient-consent-enforcement-status patient-everything read resource-purge resource-validate search search-type vread
fhir_operation_status: get-fhir-operation-status | | | | |
fhir_store_metrics: get_fhirstore_metrics | | | | |
fhir_stores: get list | create | patch | | delete bulk_delete | apply_admin_consents apply_consents bulk-export-group deidentify explain_data_access export import rollback
fhir_stores_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
hl7_v2_store_metrics: get_hl7v2_store_metrics | | | | |
hl7_v2_stores: get list | create | patch | | delete | export import rollback
hl7_v2_stores_iam_policies: get_iam_policy | | | set_iam_policy | | test_iam_permissions
instances: +search_in_series +search_in_study +search | | | | delete | retrieve_instance
instances_metadata: retrieve_metadata | | | | | +update_metadata
instances_rendered: retrieve_rendered | | | | |
instances_storage_info: get_storage_info | | | | |
locations: get list | | | | |
messages: get list | create | patch | | delete | ingest
nlp: | | | | | analyze_entities
operations: get list | | | | | cancel delete-fhir-operation
series: +search_in_study +search | | | | delete | retrieve_series search_for_instances
series_metadata: retrieve_metadata | | | | | +update_metadata
series_metrics: get_series_metrics | | | | |
studies: +search | | | | delete | search_for_instances search_for_series set_blob_storage_settings store_instances +update_instances
studies_metadata: retrieve_metadata | | | | | +update_metadata
studies_study: retrieve_study | | | | |
study_metrics: get_study_metrics | | | | |
user_data_mappings: get list | create | patch | | delete | archive
"""  # noqa: E501


NEIGHBOURS = ("bigquery", "cloudresourcemanager", "pubsub", "serviceusage", "storage")


def read_yaml(path: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(yaml.load(path.read_text("utf-8"), Loader=loader))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = REPOSITORY / "scripts" / "build_provider.py"
    spec = importlib.util.spec_from_file_location("build_provider", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read_yaml(FOLDER / "services" / "healthcare.yaml")


def test_the_script_gives_the_committed_files(script: ModuleType, tmp_path: Path) -> None:
    assert script.main([str(tmp_path)]) == 0
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    committed = {
        p.relative_to(REPOSITORY / "provider"): p.read_bytes()
        for p in (REPOSITORY / "provider" / "src").rglob("*")
        if p.is_file()
    }
    assert made == committed


def test_resources_and_methods_are_named_as_stackql_names_them(document: dict[str, Any]) -> None:
    resources = document["components"]["x-stackQL-resources"]
    expected: dict[str, list[list[str]]] = {}
    for line in STACKQL.strip().splitlines():
        name, _, verbs = line.partition(":")
        expected[name] = [part.replace("+", "").split() for part in verbs.split("|")]
    found: dict[str, list[list[str]]] = {}
    for name, resource in resources.items():
        verbs = resource["sqlVerbs"]
        listed = [
            [entry["$ref"].rsplit("/", 1)[1] for entry in verbs[verb]]
            for verb in ("select", "insert", "update", "replace", "delete")
        ]
        reached = {method for methods in listed for method in methods}
        found[name] = [*listed, sorted(set(resource["methods"]) - reached)]
    assert found == {name: [*v[:5], sorted(v[5])] for name, v in expected.items()}


def test_every_discovered_method_is_an_operation(
    script: ModuleType, document: dict[str, Any]
) -> None:
    operations = {
        operation["operationId"]: (path, verb)
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if verb != "parameters"
    }
    overlay = script.read_overlay().services["healthcare"]
    discovered = script.ServiceDocument("google", script.read_discovery(), overlay).methods
    first = {m["id"]: m for key, m in discovered.items() if ":" not in key}
    assert len(first) == 154
    assert len([path for path, _ in operations.values() if path.startswith("/v1beta1/")]) == 5
    for name, method in first.items():
        path = f"/{method['flatPath']}"
        assert document["paths"][path][method["httpMethod"].lower()]["operationId"] == name


def test_no_text_is_taken_from_discovery(script: ModuleType) -> None:
    theirs: set[str] = set()
    ours: set[str] = set()
    documents = [read_yaml(path) for path in sorted((FOLDER / "services").glob("*.yaml"))]
    assert len(documents) == 6
    sources = [(theirs, d) for d in script.read_discovery().values()]
    for found, node in (*sources, *((ours, d) for d in documents)):
        stack: list[Any] = [node]
        while stack:
            value = stack.pop()
            if isinstance(value, dict):
                if isinstance(value.get("description"), str):
                    found.add(value["description"])
                stack.extend(value.values())
            elif isinstance(value, list):
                stack.extend(value)
    assert ours
    assert sorted(ours & theirs) == []


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_everything_of_the_neighbours_is_described(name: str) -> None:
    resources = read_yaml(FOLDER / "services" / f"{name}.yaml")["components"]["x-stackQL-resources"]
    silent = [r for r, entry in resources.items() if not entry.get("description")]
    silent += [
        f"{r}.{m}"
        for r, entry in resources.items()
        for m, method in entry["methods"].items()
        if not method.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_a_neighbour_s_method_loses_needs_consent(name: str) -> None:
    document = read_yaml(FOLDER / "services" / f"{name}.yaml")
    for resource, entry in document["components"]["x-stackQL-resources"].items():
        for method, settings in entry["methods"].items():
            _, path, verb = settings["operation"]["$ref"].rsplit("/", 2)
            losing = verb == "delete" or method.startswith(("set_iam", "delete", "disable"))
            if losing:
                assert "consent" in settings.get("x-dicomsql", {}), f"{resource}.{method} {path}"
            # What makes an object may be where there is one already.
            if name == "storage" and method in {"insert", "copy", "rewrite", "move", "compose"}:
                made = settings.get("x-dicomsql", {}).get("query", {})
                assert resource == "buckets" or made["ifGenerationMatch"] == "0"


def test_dicom_things_are_described(document: dict[str, Any]) -> None:
    resources = document["components"]["x-stackQL-resources"]
    named = re.compile("^(locations|datasets|dicom_|operations|stud|series|instances)")
    below = {name: r for name, r in resources.items() if named.match(name)}
    silent = [name for name, r in below.items() if not r.get("description")]
    silent += [
        f"{name}.{method}"
        for name, r in below.items()
        for method, entry in r["methods"].items()
        if not entry.get("description") and "fhir" not in method
    ]
    assert len(below) == 18
    assert silent == []


def test_every_attribute_is_in_the_dictionary(document: dict[str, Any]) -> None:
    from pydicom.datadict import tag_for_keyword

    tables = {
        name: resource["x-dicomsql"]["dicom"]
        for name, resource in document["components"]["x-stackQL-resources"].items()
        if "dicom" in resource.get("x-dicomsql", {})
    }
    assert sorted(tables) == [
        "instances",
        "instances_metadata",
        "series",
        "series_metadata",
        "studies",
        "studies_metadata",
    ]
    for table in tables.values():
        for attribute in table["attributes"]:
            assert tag_for_keyword(attribute["keyword"]) is not None, attribute["keyword"]


def test_an_overlay_that_forgets_or_invents_a_method_is_refused(script: ModuleType) -> None:
    discovery = script.read_discovery()
    forgetting = script.read_overlay()
    resources(forgetting)["nlp"]["methods"].pop("analyze_entities")
    with pytest.raises(ValueError, match=r"services\.nlp\.analyzeEntities"):
        script.build(discovery, forgetting)
    inventing = script.read_overlay()
    resources(inventing)["nlp"]["methods"]["guess"] = {"of": "services.nlp.guess"}
    with pytest.raises(ValueError, match=r"no method services\.nlp\.guess"):
        script.build(discovery, inventing)
    answering = script.read_overlay()
    resources(answering)["nlp"]["methods"]["analyze_entities"]["answer"] = "Nothing"
    with pytest.raises(ValueError, match="no schema Nothing"):
        script.build(discovery, answering)
    leaving = script.read_overlay()
    leaving.services["storage"].document["service"]["leave"].remove("rapidCaches.")
    with pytest.raises(ValueError, match=r"rapidCaches\.list"):
        script.build(discovery, leaving)


def resources(overlay: Any) -> dict[str, Any]:
    return dict(overlay.services["healthcare"].document["resources"])
