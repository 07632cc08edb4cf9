"""The documents of DICOMweb servers: one overlay for all of them, and what is different in each.

`base.yaml` has the resources, methods and paths of PS3.18, and the attributes that its searches
match and return. A file for each server says what differs there: its mappings are laid over the
base's, key by key, and a null takes the base's entry away.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from scripts.documents import Json, dicom_table, dump, operation_reference, sql_verbs

OVERLAY = Path(__file__).resolve().parent / "overlay" / "dicomweb"
JSON = "application/json"
DICOM_JSON = "application/dicom+json"

_HEAD = "# Made by scripts/build_provider.py; change scripts/overlay/dicomweb and run it again.\n"


def read_overlay(folder: Path = OVERLAY) -> dict[str, Json]:
    """The overlay's files by name: `provider`, `base`, and one for each server."""
    return {
        file.stem: yaml.safe_load(file.read_text("utf-8")) for file in sorted(folder.glob("*.yaml"))
    }


def build(overlay: dict[str, Json]) -> dict[str, str]:
    """The documents' texts by their path below the registry's root.

    Raises:
        ValueError: a server's file takes away what the base does not have.
    """
    provider = overlay["provider"]
    folder = f"{provider['folder']}/{provider['version']}"
    made: dict[str, str] = {}
    services: Json = {}
    for name in provider["services"]:
        described = laid_over(overlay["base"], overlay.get(name, {}))
        reference = f"{folder}/services/{name}.yaml"
        made[f"src/{reference}"] = _HEAD + dump(service_document(provider["name"], name, described))
        services[name] = {
            "id": f"{name}:{provider['version']}",
            "name": name,
            "title": described["title"],
            "version": provider["version"],
            "description": described["description"],
            "service": {"$ref": reference},
        }
    document = {
        "id": provider["name"],
        "name": provider["name"],
        "version": provider["version"],
        "title": provider["title"],
        "description": provider["description"],
        "protocolType": "http",
        "config": {"auth": {"type": "null_auth"}},
        "providerServices": services,
    }
    return {f"src/{folder}/provider.yaml": _HEAD + dump(document)} | made


def laid_over(base: Json, changes: Json) -> Json:
    """The base with a server's changes.

    Raises:
        ValueError: a null stands where the base has nothing to take away.
    """
    made = dict(base)
    for key, value in changes.items():
        if value is None:
            if key not in base:
                raise ValueError(f"the base has no {key} that could be taken away")
            del made[key]
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            made[key] = laid_over(base[key], value)
        else:
            made[key] = value
    return made


def service_document(provider: str, service: str, described: Json) -> Json:
    """One server's document.

    Args:
        described: the base with the server's changes.
    """
    paths: dict[str, Json] = {}
    resources = {
        name: _resource(f"{provider}.{service}.{name}", name, entry, described, paths)
        for name, entry in described["resources"].items()
    }
    parameters = sorted({name for path in paths for name in re.findall(r"\{(\w+)\}", path)})
    return {
        "openapi": "3.0.0",
        "info": {
            "title": described["title"],
            "description": described["description"],
            "version": described["version"],
        },
        "x-dicomsql": {"parallel": described["parallel"]},
        "paths": dict(sorted(paths.items())),
        "components": {
            "parameters": {
                name: {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string"},
                    "description": described["parameters"][name],
                }
                for name in parameters
            },
            "schemas": described["schemas"],
            "x-stackQL-resources": resources,
        },
    }


def _resource(
    identifier: str, name: str, entry: Json, described: Json, paths: dict[str, Json]
) -> Json:
    made: Json = {
        "id": identifier,
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "description": entry["about"],
    }
    if name in described["dicom"]["tables"]:
        made["x-dicomsql"] = {"dicom": dicom_table(described["dicom"], name)}
    made["methods"] = {
        method: _method(f"{name}.{method}", settings, described, paths)
        for method, settings in entry["methods"].items()
    }
    made["sqlVerbs"] = sql_verbs(name, entry)
    return made


def _method(name: str, settings: Json, described: Json, paths: dict[str, Json]) -> Json:
    verb, path = settings["call"].split(" ")
    kind = described["kinds"][settings["kind"]]
    names, limits = described["dicom"]["parameters"], described["dicom"]["limits"]
    search = kind.get("search", False)
    _enter_operation(paths, path, verb.lower(), kind, described, name=name)
    made: Json = {
        "description": settings["about"],
        "operation": operation_reference(path, verb.lower()),
    }
    if "body" in kind:
        made["request"] = {"mediaType": kind["body"]}
    made["response"] = {"mediaType": kind["media"], "openAPIDocKey": "200"}
    if kind["media"] == DICOM_JSON:
        made["response"]["overrideMediaType"] = JSON
    extension: Json = {key: kind[key] for key in ("accept", "repeatable") if key in kind}
    if search:
        extension["window"] = {"limit": names["limit"], "offset": names["offset"], **limits}
        extension["openQuery"] = True
    if "consent" in settings:
        extension["consent"] = settings["consent"]
    if extension:
        made["x-dicomsql"] = extension
    return made


def _enter_operation(
    paths: dict[str, Json], path: str, verb: str, kind: Json, described: Json, *, name: str
) -> None:
    """Enter a method's operation under its path, unless another method has entered it."""
    item = paths.setdefault(path, {})
    names = re.findall(r"\{(\w+)\}", path)
    if names and "parameters" not in item:
        item["parameters"] = [{"$ref": f"#/components/parameters/{key}"} for key in names]
    if verb in item:
        return
    operation: Json = {"operationId": name}
    if kind.get("search", False):
        about = described["parameters"]
        operation["parameters"] = [
            {"name": key, "in": "query", "schema": schema, "description": about[key]}
            for key, schema in described["query"].items()
        ]
    schema = {"schema": {"$ref": f"#/components/schemas/{kind['answer']}"}}
    if "body" in kind:
        body = {"schema": {"$ref": "#/components/schemas/HttpBody"}}
        operation["requestBody"] = {"content": {kind["body"]: body}}
    operation["responses"] = {
        "200": {"description": "The answer.", "content": {kind["media"]: schema}}
    }
    item[verb] = operation
