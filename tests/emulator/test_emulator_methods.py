"""The table of methods against the API's own documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import googleapiclient
import pytest

from dicomsql.emulator.call import COMMON_PARAMETERS
from dicomsql.emulator.methods import FIELDS, METHODS, VERSIONS

DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"


def document(version: str) -> dict[str, Any]:
    text = (DOCUMENTS / f"healthcare.{version}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def methods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for below in resource.get("resources", {}).values():
        yield from methods(below)


def documented(version: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Methods by verb and path, `{}` for each name in it."""
    found = {}
    for method in methods(document(version)):
        path = re.sub(r"\{\w+\}", "{}", method["flatPath"].removeprefix(version + "/"))
        # the rest of a path, which the document takes for two segments
        found[method["httpMethod"], path.replace("bulkdata/{}/{}", "bulkdata/{*}")] = method
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_every_method_is_there_and_no_other(version: str) -> None:
    known = {
        (method.verb, re.sub(r"\{\w+(\*?)\}", r"{\1}", method.path))
        for method in METHODS
        if version in method.versions
    }
    assert known == set(documented(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_their_parameters_are_those_of_the_document(version: str) -> None:
    assert set(document(version)["parameters"]) <= COMMON_PARAMETERS
    described = documented(version)
    for method in METHODS:
        if version in method.versions and method.parameters is not None:
            path = re.sub(r"\{\w+(\*?)\}", r"{\1}", method.path)
            parameters = described[method.verb, path]["parameters"]
            names = {name for name, about in parameters.items() if about["location"] == "query"}
            assert method.parameters == names, path


def test_the_fields_that_answers_can_be_asked_for() -> None:
    found: set[str] = set()
    for version in VERSIONS:
        schemas = document(version)["schemas"]
        left = [
            about["response"]["$ref"]
            for (_, path), about in documented(version).items()
            if not re.search("fhirStores|hl7V2Stores|consentStores|dataMapper|nlp", path)
        ]
        for name in left:
            for field, kind in schemas[name].get("properties", {}).items():
                if name != "HttpBody":
                    found.add(field)
                below = kind.get("$ref") or kind.get("items", {}).get("$ref")
                if below and below not in left:
                    left.append(below)
    assert found == FIELDS
