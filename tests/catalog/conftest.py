"""The bundled catalog, compiled once, and a small registry as someone else would write it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Method, Resource

SHELF = "/v2/libraries/{libraryId}/shelves"

# A provider document and a service document with StackQL's keys alone.
PROVIDER: dict[str, Any] = {
    "id": "library",
    "name": "library",
    "version": "v0.2.0",
    "title": "A library",
    "providerServices": {
        "shelving": {
            "id": "shelving:v0.2.0",
            "name": "shelving",
            "title": "Shelves",
            "version": "v0.2.0",
            "service": {"$ref": "library/v0.2.0/services/shelving.yaml"},
        }
    },
}


def _path(tail: str, verb: str) -> dict[str, str]:
    return {"$ref": "#/paths/" + (SHELF + tail).replace("/", "~1") + "/" + verb}


def _json(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


SERVICE: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shelves", "version": "v2"},
    "servers": [
        {
            "url": "https://{region}.library.example/",
            "variables": {"region": {"default": "north"}},
        }
    ],
    "x-stackQL-config": {
        "pagination": {
            "requestToken": {"key": "after", "location": "query"},
            "responseToken": {"key": "$.next", "location": "body"},
        },
        "requestBodyTranslate": {"algorithm": "naive"},
    },
    "paths": {
        SHELF: {
            "parameters": [{"$ref": "#/components/parameters/libraryId"}],
            "get": {
                "operationId": "shelves.list",
                "parameters": [
                    {"name": "pageSize", "in": "query", "schema": {"type": "integer"}},
                    {
                        "name": "colour",
                        "in": "query",
                        "schema": {"$ref": "#/components/schemas/Colours"},
                    },
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"description": "ok", **_json("Shelves")}},
            },
            "post": {
                "operationId": "shelves.create",
                "requestBody": _json("Shelf"),
                "responses": {"201": {"description": "made", **_json("Shelf")}},
            },
        },
        SHELF + "/{shelfId}": {
            "parameters": [
                {"$ref": "#/components/parameters/shelfId"},
                {"$ref": "#/components/parameters/libraryId"},
            ],
            "get": {
                "operationId": "shelves.get",
                "responses": {"200": {"description": "ok", **_json("Shelf")}},
            },
            "delete": {
                "operationId": "shelves.burn",
                "responses": {"204": {"description": "gone"}},
            },
        },
    },
    "components": {
        "parameters": {
            name: {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("libraryId", "shelfId")
        },
        "schemas": {
            "Colours": {"type": "array", "items": {"type": "string"}},
            "Weight": {"type": "number", "format": "double"},
            "Base": {"type": "object", "properties": {"id": {"type": "string"}}},
            "Shelf": {
                "allOf": [{"$ref": "#/components/schemas/Base"}],
                "required": ["id"],
                "properties": {
                    "weight": {"$ref": "#/components/schemas/Weight"},
                    "built": {"type": "string", "format": "date"},
                    "books": {"type": "array", "items": {"type": "string"}},
                    "code": {"type": "integer", "x-stackQL-stringOnly": True},
                    "anything": {},
                },
            },
            "Shelves": {
                "type": "object",
                "properties": {
                    "found": {
                        "type": "object",
                        "properties": {
                            "shelves": {
                                "type": "array",
                                "items": {"$ref": "#/components/schemas/Shelf"},
                            },
                            "ids": {"type": "array", "items": {"type": "integer"}},
                        },
                    },
                    "next": {"type": "string"},
                },
            },
        },
        "x-stackQL-resources": {
            "shelves": {
                "id": "library.shelving.shelves",
                "name": "shelves",
                "title": "Shelves",
                "methods": {
                    "get": {
                        "operation": _path("/{shelfId}", "get"),
                        "response": {"mediaType": "application/json", "openAPIDocKey": "200"},
                    },
                    "list": {
                        "operation": _path("", "get"),
                        "response": {
                            "mediaType": "application/json",
                            "openAPIDocKey": "200",
                            "objectKey": "$['found'].shelves[*]",
                        },
                        "config": {
                            "queryParamPushdown": {"top": {"paramName": "pageSize", "maxValue": 70}}
                        },
                    },
                    "create": {
                        "operation": _path("", "post"),
                        "request": {"mediaType": "application/json"},
                    },
                    "burn": {"operation": _path("/{shelfId}", "delete")},
                },
                "sqlVerbs": {
                    "select": [
                        {"$ref": "#/components/x-stackQL-resources/shelves/methods/get"},
                        {"$ref": "#/components/x-stackQL-resources/shelves/methods/list"},
                    ],
                    "insert": [{"$ref": "#/components/x-stackQL-resources/shelves/methods/create"}],
                },
            },
            "shelf_ids": {
                "methods": {
                    "list": {
                        "operation": _path("", "get"),
                        "response": {"objectKey": "$.found.ids"},
                    }
                },
                "sqlVerbs": {
                    "select": [{"$ref": "#/components/x-stackQL-resources/shelf_ids/methods/list"}]
                },
            },
        },
    },
}

Write = Callable[[dict[str, Any], dict[str, Any]], Path]
Find = Callable[[str], Resource]
FindMethod = Callable[[str, str], Method]


@pytest.fixture
def provider_document() -> dict[str, Any]:
    return copy.deepcopy(PROVIDER)


@pytest.fixture
def service_document() -> dict[str, Any]:
    return copy.deepcopy(SERVICE)


@pytest.fixture
def registry(tmp_path: Path) -> Write:
    """Writes a registry and gives its folder."""

    def write(provider: dict[str, Any], service: dict[str, Any]) -> Path:
        folder = tmp_path / "registry" / "src" / "library" / "v0.2.0"
        (folder / "services").mkdir(parents=True, exist_ok=True)
        (folder / "provider.yaml").write_text(yaml.safe_dump(provider, sort_keys=False), "utf-8")
        (folder / "services" / "shelving.yaml").write_text(
            yaml.safe_dump(service, sort_keys=False), "utf-8"
        )
        return tmp_path / "registry"

    return write


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundled documents' compiled form."""
    folder = tmp_path_factory.mktemp("compiled")
    Catalog.open(cache=folder).service("google", "healthcare")
    return folder


@pytest.fixture(scope="session")
def catalog(compiled: Path) -> Catalog:
    return Catalog.open(cache=compiled)


@pytest.fixture(scope="session")
def resource(catalog: Catalog) -> Find:
    return lambda name: catalog.resource("google", "healthcare", name)


@pytest.fixture(scope="session")
def method(resource: Find) -> FindMethod:
    return lambda name, method: resource(name).methods[method]
