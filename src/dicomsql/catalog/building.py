"""Makes provider documents of an OpenAPI 3 document or one of Google's discovery documents.

Every operation becomes a method that EXEC reaches. A verb of SQL it gets only where the document
leaves no doubt: SELECT for a GET that answers rows and is not paged in a way that nobody has said,
DELETE for a DELETE of one thing, which needs consent. What is not taken over is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomsql.catalog import shapes
from dicomsql.catalog.check import check_provider, check_service
from dicomsql.catalog.discovery import as_openapi
from dicomsql.catalog.openapi import RESOURCES, answer_schema, pointed
from dicomsql.catalog.reading import parse, read_bytes
from dicomsql.errors import DocumentError

__all__ = ["Built", "build"]

Json = dict[str, Any]

VERSION = "v00.00.00000"

_HTTP_METHODS = ("get", "post", "put", "patch", "delete")
_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Query parameters that say that an answer is a page of more.
_PAGED = re.compile(
    r"(page|cursor|offset|skip|start|marker|continuation|after|before|next)"
    r"(_?(token|number|no|index|id|size|key))?|limit|per_?page|max_?results|top|count|size",
    re.IGNORECASE,
)
# The one way of paging that a service has where its document says nothing; see `compile`.
_TOKEN, _NEXT = "pageToken", "nextPageToken"


@dataclass(frozen=True, slots=True)
class Built:
    """The documents.

    Attributes:
        files: texts by their path below the registry.
        notes: what was left out, or has to be looked at.
    """

    files: Mapping[str, str]
    notes: tuple[str, ...]


def build(file: Path, provider: str, service: str) -> Built:
    """The provider's and the service's document.

    Args:
        file: an OpenAPI 3 document or a discovery document, JSON or YAML.
        provider, service: what SQL is to call them.

    Raises:
        DocumentError: it is neither, or what came of it does not fit together.
    """
    for name in (provider, service):
        if not _NAME.fullmatch(name):
            raise DocumentError(f"{name!r} is no name; it has letters, digits and _")
    source = parse(read_bytes(file), str(file))
    if source.get("kind") == "discovery#restDescription":
        source = as_openapi(source)
    elif not str(source.get("openapi", "")).startswith("3."):
        raise DocumentError(
            "this is neither an OpenAPI 3 document nor a Google discovery document",
            document=str(file),
        )
    maker = _Maker(source, service)
    document = maker.document()
    folder = f"{provider}/{VERSION}"
    name = f"src/{folder}/services/{service}.yaml"
    check_service(document, name)
    about = {
        "id": provider,
        "name": provider,
        "version": VERSION,
        "title": provider,
        "description": f"Made of {file.name} by `dicomsql provider build`.",
        "protocolType": "http",
        "config": {"auth": {"type": "null_auth"}},
        "providerServices": {
            service: {
                "id": f"{service}:{VERSION}",
                "name": service,
                "title": str(document["info"]["title"]),
                "version": str(document["info"]["version"]),
                "description": str(document["info"]["title"]),
                "preferred": True,
                "service": {"$ref": f"{folder}/services/{service}.yaml"},
            }
        },
    }
    check_provider(about, f"src/{folder}/provider.yaml")
    files = {f"src/{folder}/provider.yaml": _yaml(about), name: _yaml(document)}
    return Built(files, tuple(maker.notes))


class _Maker:
    """A service document while it is made."""

    def __init__(self, source: Mapping[str, Any], service: str) -> None:
        self._source = source
        self._service = service
        self.notes: list[str] = []

    def document(self) -> Json:
        """The whole document."""
        source = self._source
        components = source.get("components", {})
        info = source.get("info", {})
        servers = [
            {"url": server["url"]}
            for server in source.get("servers", ())
            if re.match(r"https?://[^{]+$", str(server.get("url", "")))
        ]
        if not servers:
            self.notes.append("the document names no server: a connection or --endpoint does")
        if components.get("securitySchemes"):
            self.notes.append(
                "who asks is said by a connection (auth = basic or bearer), or with --endpoint"
            )
        made: Json = {
            "openapi": "3.0.0",
            "info": {
                "title": str(info.get("title") or self._service),
                "version": str(info.get("version") or VERSION),
            },
            **({"servers": servers} if servers else {}),
            "paths": {path: self._item(item) for path, item in source["paths"].items()},
            "components": {
                "schemas": {
                    name: self._schema(schema)
                    for name, schema in components.get("schemas", {}).items()
                },
            },
        }
        made["components"][RESOURCES] = self._resources(made)
        return made

    def _item(self, item: Mapping[str, Any]) -> Json:
        shared = [self._parameter(p) for p in item.get("parameters", ())]
        return {
            method: self._operation(item[method], shared)
            for method in _HTTP_METHODS
            if method in item
        }

    def _operation(self, operation: Mapping[str, Any], shared: list[Json]) -> Json:
        own = [self._parameter(p) for p in operation.get("parameters", ())]
        named = {(p["in"], p["name"]) for p in own}
        parameters = [p for p in shared if (p["in"], p["name"]) not in named] + own
        made: Json = {}
        if operation.get("operationId"):
            made["operationId"] = str(operation["operationId"])
        if parameters:
            made["parameters"] = [p for p in parameters if p["in"] in {"path", "query", "header"}]
        if "requestBody" in operation:
            made["requestBody"] = self._body(operation["requestBody"])
        made["responses"] = {
            str(status): self._body(answer)
            for status, answer in (operation.get("responses") or {"200": {}}).items()
        }
        return made

    def _parameter(self, parameter: Mapping[str, Any]) -> Json:
        found = self._followed(parameter)
        made = {"name": found["name"], "in": found["in"]}
        if found.get("required"):
            made["required"] = True
        return made | {"schema": self._schema(found.get("schema", {"type": "string"}))}

    def _body(self, body: Mapping[str, Any]) -> Json:
        found = self._followed(body)
        made: Json = {"description": str(found.get("description", ""))[:200]}
        content = {
            media: {"schema": self._schema(part["schema"])} if "schema" in part else {}
            for media, part in found.get("content", {}).items()
        }
        return made | ({"content": content} if content else {})

    def _followed(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        try:
            found: Mapping[str, Any] = pointed(self._source, node["$ref"])
        except KeyError:
            raise DocumentError(f"nothing is at {node['$ref']!r}") from None
        return found

    def _schema(self, schema: Any) -> Json:
        """A schema with what the catalog reads of it."""
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" in schema:
            local = str(schema["$ref"]).startswith("#/components/schemas/")
            return {"$ref": schema["$ref"]} if local else {}
        made: Json = {}
        kind = schema.get("type")
        if isinstance(kind, list):
            # OpenAPI 3.1 says so that a value may be null, which in SQL each may.
            kinds = [one for one in kind if one != "null"]
            kind = kinds[0] if len(kinds) == 1 else None
        if kind in _TYPES:
            made["type"] = kind
        for key in ("format", "enum", "readOnly"):
            if key in schema:
                made[key] = schema[key]
        if isinstance(schema.get("properties"), Mapping):
            made["properties"] = {k: self._schema(v) for k, v in schema["properties"].items()}
            made.setdefault("type", "object")
        if isinstance(schema.get("required"), list):
            made["required"] = [str(name) for name in schema["required"]]
        if "items" in schema:
            made["items"] = self._schema(schema["items"])
        return made

    # -- resources -------------------------------------------------------------------------------

    def _resources(self, document: Json) -> Json:
        resources: Json = {}
        names = _resource_names(document["paths"], self._service)
        for path, item in document["paths"].items():
            name = names[path]
            for http_method, operation in item.items():
                resource = resources.setdefault(
                    name, {"id": name, "name": name, "title": name, "methods": {}, "sqlVerbs": {}}
                )
                method = _method_name(operation, http_method, resource["methods"])
                reference = f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{http_method}"
                made: Json = {"operation": {"$ref": reference}}
                resource["methods"][method] = made
                answer = next((s for s in operation["responses"] if s.startswith("2")), "200")
                made["response"] = {"mediaType": "application/json", "openAPIDocKey": answer}
                verb = self._verb(document["components"]["schemas"], reference, operation, made)
                if verb:
                    base = f"#/components/{RESOURCES}/{name}/methods/"
                    resource["sqlVerbs"].setdefault(verb, []).append({"$ref": base + method})
        if not resources:
            raise DocumentError("the document has no operation")
        return resources

    def _verb(self, schemas: Json, reference: str, operation: Json, method: Json) -> str:
        """The verb of SQL for an operation; empty where only EXEC is right."""
        path, _, http_method = reference.rpartition("/")
        # Of the reference, in which slashes are written `~1`.
        name = path.removeprefix("#/paths/").replace("~1", "/").replace("~0", "~")
        is_item = name.endswith("}")
        if http_method == "delete":
            consent = {"kind": "destructive", "phrase": "delete", "things": name, "explicit": True}
            method["x-dicomsql"] = {"consent": consent}
            return "delete" if is_item else ""
        if http_method != "get":
            return ""
        answer = answer_schema(operation, method["response"])
        content = operation["responses"][method["response"]["openAPIDocKey"]].get("content", {})
        if answer is None or not any("json" in media for media in content):
            self.notes.append(f"GET {name}: EXEC only, since the form of its answer is not said")
            return ""
        query = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
        tokens = _TOKEN in query and _NEXT in _properties(schemas, answer)
        paged = sorted(p for p in query if _PAGED.fullmatch(p))
        if paged and not tokens:
            self.notes.append(
                f"GET {name}: EXEC only, since {', '.join(paged)} may page it in a way that the "
                "document does not say, and rows would be missing"
            )
            return ""
        lists = [] if is_item else _lists(schemas, answer)
        if len(lists) == 1:
            method["response"]["objectKey"] = f"$['{lists[0]}']"
        elif lists:
            self.notes.append(f"GET {name}: its answer is one row, since it holds several lists")
        return "select"


def _resource_names(paths: Mapping[str, Any], service: str) -> dict[str, str]:
    """The resource of each path: its last fixed part, or all of them where others end so too."""
    fixed = {path: tuple(_fixed(path)) or (service,) for path in paths}
    ends: dict[str, set[tuple[str, ...]]] = {}
    for parts in fixed.values():
        ends.setdefault(parts[-1].lower(), set()).add(parts)
    return {
        path: parts[-1] if len(ends[parts[-1].lower()]) == 1 else "_".join(parts)
        for path, parts in fixed.items()
    }


def _fixed(path: str) -> Iterator[str]:
    for part in path.split("/"):
        text = re.sub(r"\{[^}]*\}", "", part).partition(":")[0]
        name = _snake(text)
        # The version that many paths begin with names nothing.
        if name and not re.fullmatch(r"v[0-9]+\w*", name):
            yield name


def _method_name(operation: Json, http_method: str, taken: Mapping[str, Any]) -> str:
    given = str(operation.get("operationId", "")).rpartition(".")[2]
    name = base = _snake(given) or http_method
    number = 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _snake(text: str) -> str:
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    name = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()
    return f"_{name}" if name[:1].isdigit() else name


def _properties(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = shapes.within(schemas, schema, ())
    properties: Mapping[str, Any] = (found or {}).get("properties", {})
    return properties


def _lists(schemas: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """The members of an answer that are lists of objects."""
    found = []
    for name, member in _properties(schemas, answer).items():
        items = member.get("items")
        if (
            member.get("type") == "array"
            and "." not in name
            and items
            and _properties(schemas, items)
        ):
            found.append(name)
    return found


def _yaml(document: Json) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
            return True

    text: str = yaml.dump(
        document, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=100,
        allow_unicode=True,
    )  # fmt: skip
    return text
