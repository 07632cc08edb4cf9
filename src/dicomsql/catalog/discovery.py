"""Google's discovery documents, said as OpenAPI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["as_openapi"]

Json = dict[str, Any]


def as_openapi(discovery: Mapping[str, Any]) -> Json:
    """An OpenAPI document with the operations and schemas of a discovery document."""
    paths: dict[str, Json] = {}
    for method in _methods(discovery):
        path = f"/{discovery.get('servicePath', '')}{method.get('flatPath', method['path'])}"
        # What a path takes with slashes in it, flatPath has in parts.
        path = path.replace("{+", "{").replace("//", "/")
        paths.setdefault(path, {})[method["httpMethod"].lower()] = _operation(path, method)
    return {
        "openapi": "3.0.0",
        "info": {"title": discovery.get("title", ""), "version": discovery.get("version", "")},
        "servers": [{"url": str(discovery.get("rootUrl", "")).rstrip("/")}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {n: _schema(s) for n, s in discovery.get("schemas", {}).items()},
        },
    }


def _methods(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from node.get("methods", {}).values()
    for resource in node.get("resources", {}).values():
        yield from _methods(resource)


def _operation(path: str, method: Mapping[str, Any]) -> Json:
    declared = method.get("parameters", {})
    names = [part.partition("}")[0] for part in path.split("{")[1:]]
    parameters: list[Json] = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names
    ]
    for name, parameter in declared.items():
        if parameter.get("location") == "query":
            schema = _schema(parameter)
            if parameter.get("repeated"):
                schema = {"type": "array", "items": schema}
            required = {"required": True} if parameter.get("required") else {}
            parameters.append({"name": name, "in": "query", **required, "schema": schema})
    made: Json = {"operationId": method["id"], "parameters": parameters}
    if "request" in method:
        made["requestBody"] = _content(method["request"])
    made["responses"] = {"200": _content(method["response"]) if "response" in method else {}}
    return made


def _content(reference: Mapping[str, Any]) -> Json:
    return {"content": {"application/json": {"schema": _schema(reference)}}}


def _schema(schema: Mapping[str, Any]) -> Json:
    if "$ref" in schema:
        return {"$ref": f"#/components/schemas/{schema['$ref']}"}
    made: Json = {}
    if schema.get("type") not in {None, "any"}:
        made["type"] = schema["type"]
    for key in ("format", "enum", "readOnly"):
        if key in schema:
            made[key] = schema[key]
    if "properties" in schema:
        made["properties"] = {k: _schema(v) for k, v in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _schema(schema["items"])
    return made
