"""Google's service documents: one discovery document and one overlay in, one document out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from scripts.documents import (
    Json,
    dicom_table,
    operation_reference,
    sql_verbs,
)

JSON = "application/json"

# Discovery's formats that OpenAPI calls otherwise.
FORMATS = {"google-datetime": "date-time"}

# The bytes of an object as they are; its schema is the overlay's.
BYTES = "application/octet-stream"


@dataclass(frozen=True)
class ServiceOverlay:
    """The hand-written part of one service.

    Attributes:
        document: its own file.
        schemas: descriptions and limits of bodies, and the bodies that discovery does not describe.
        dicom: the tables of DICOM datasets; empty for services without them.
    """

    document: Json
    schemas: Json
    dicom: Json

    @property
    def service(self) -> Json:
        return dict(self.document["service"])


class ServiceDocument:
    """The service document while it is made."""

    def __init__(self, provider: str, discovery: Mapping[str, Json], overlay: ServiceOverlay):
        self.provider = provider
        self.overlay = overlay
        self.service = overlay.service
        # By the names that references use: the first one is the service's own version.
        self.discovery = {n.partition(".")[2]: discovery[n] for n in self.service["discovery"]}
        self.versions = tuple(self.discovery)
        self.about_parameters: dict[str, str] = overlay.document["parameters"]
        self.paths: dict[str, Json] = {}
        self.path_parameters: dict[str, Json] = {}
        self.schemas: dict[str, Json] = {}

    def document(self) -> Json:
        """The whole document."""
        service, first = self.service, self.versions[0]
        resources = {
            name: self._resource(name, entry)
            for name, entry in self.overlay.document["resources"].items()
        }
        self._check_complete()
        extension = {key: service[key] for key in ("operations", "parallel") if key in service}
        return {
            "openapi": "3.0.0",
            "info": {
                "title": service["title"],
                "description": service["description"],
                "version": first,
            },
            "servers": [{"url": self.discovery[first]["rootUrl"].rstrip("/")}],
            "x-dicomsql": extension,
            "paths": dict(sorted(self.paths.items())),
            "components": {
                "parameters": dict(sorted(self.path_parameters.items())),
                "schemas": dict(sorted(self.schemas.items())),
                "x-stackQL-resources": resources,
            },
        }

    @cached_property
    def methods(self) -> dict[str, Json]:
        """The discovery methods by id; those of later versions behind `version:`."""
        found: dict[str, Json] = {}
        for version, document in self.discovery.items():
            prefix = "" if version == self.versions[0] else f"{version}:"
            for method in _walk(document):
                name = method["id"].removeprefix(self.service["prefix"])
                found[prefix + name] = method | {"flatPath": self._path(document, method)}
        return found

    def _path(self, document: Json, method: Json) -> str:
        """A method's path below the server, with parameters as the overlay names them."""
        path = f"{document.get('servicePath', '')}{method.get('flatPath', method['path'])}"
        for theirs, ours in self.service.get("paths", {}).items():
            path = path.replace(theirs, ours)
        return path

    def _check_complete(self) -> None:
        entries = [
            method["of"]
            for resource in self.overlay.document["resources"].values()
            for method in resource["methods"].values()
            if "of" in method
        ]
        left = tuple(self.service.get("leave", ()))
        own = {name for name in self.methods if ":" not in name}
        missing = {name for name in own if not (left and name.startswith(left))} - set(entries)
        twice = {name for name in entries if entries.count(name) > 1}
        if missing or twice:
            raise ValueError(f"methods without a resource {missing}, with several {twice}")

    def _resource(self, name: str, entry: Json) -> Json:
        resource: Json = {
            "id": f"{self.provider}.{self.service['name']}.{name}",
            "name": name,
            "title": name.replace("_", " ").capitalize(),
        }
        if "about" in entry:
            resource["description"] = entry["about"]
        if "dicom" in entry:
            resource["x-dicomsql"] = {"dicom": dicom_table(self.overlay.dicom, entry["dicom"])}
        if entry.get("offered"):
            resource.setdefault("x-dicomsql", {})["offered"] = True
        # The method that gets one of these resources by its name.
        get = self.methods[entry["methods"]["get"]["of"]] if "get" in entry["methods"] else None
        resource["methods"] = {
            method: self._method(settings, get) for method, settings in entry["methods"].items()
        }
        resource["sqlVerbs"] = sql_verbs(name, entry)
        return resource

    def _method(self, settings: Json, get: Json | None) -> Json:
        reference = settings.get("of") or settings["again"]
        if reference not in self.methods:
            raise ValueError(f"discovery has no method {reference}")
        method = self.methods[reference]
        method = _over_media(method, settings)
        named = settings.get("answer") or method.get("response", {}).get("$ref", "")
        answer = self._schema(named) if named else ""
        media = settings.get("media", JSON)
        operation = self._operation(method, settings, answer, media)
        path, verb = "/" + method["flatPath"], method["httpMethod"].lower()

        made: Json = {}
        if "about" in settings:
            made["description"] = settings["about"]
        made["operation"] = operation_reference(path, verb)
        if "requestBody" in operation:
            made["request"] = {"mediaType": next(iter(operation["requestBody"]["content"]))}
            if required := settings.get("required", self._required(method)):
                made["request"]["required"] = required
        made["response"] = (
            {"mediaType": media, "openAPIDocKey": "200"} if answer else {"openAPIDocKey": "204"}
        )
        if media.endswith("+json"):
            made["response"]["overrideMediaType"] = JSON
        member = self._row_member(method)
        rows = settings.get("rows") or f"$.{member}"
        if rows != "$.":
            made["response"]["objectKey"] = rows
        if "pageToken" in method.get("parameters", {}) and "rowset" not in settings:
            made["config"] = {
                "pagination": {
                    "requestToken": {"key": "pageToken", "location": "query"},
                    "responseToken": {
                        "key": settings.get("pageToken", "nextPageToken"),
                        "location": "body",
                    },
                }
            }
        extension = self._extension(method, settings, get)
        if extension:
            made["x-dicomsql"] = extension
        return made

    def _extension(self, method: Json, settings: Json, get: Json | None) -> Json:
        made: Json = {}
        parameters = method.get("parameters", {})
        answer = method.get("response", {}).get("$ref", "")
        if "pageSize" in parameters:
            most = re.search(r"larger than (\d+)", parameters["pageSize"]["description"])
            made["pageSize"] = {"parameter": "pageSize", "max": int(most[1]) if most else 0}
        elif "pageToken" in parameters and "page" in self.service and "rowset" not in settings:
            made["pageSize"] = settings.get("page", self.service["page"])
        if "search" in settings:
            names = self.overlay.dicom["parameters"]
            made["window"] = {
                "limit": names["limit"],
                "offset": names["offset"],
                "maxLimit": settings["search"],
                "maxOffset": self.overlay.dicom["limits"]["maxOffset"],
                "capped": self.overlay.dicom["limits"]["capped"],
            }
        if method["httpMethod"] == "GET" and answer not in {"", "HttpBody"}:
            made["fields"] = "fields"
        if "updateMask" in parameters and method["httpMethod"] == "PATCH":
            made["mask"] = "updateMask"
        identifier = self._identifier(method)
        if identifier:
            made["idFromName"] = {"parameter": identifier, "field": "name"}
        if "rowName" in settings:
            made["rowName"] = settings["rowName"]
        elif get and self._names(get, {answer, self._item(method)}):
            template = get["flatPath"].split("/", 1)[1]
            made["rowName"] = {"member": "name", "template": template}
        if answer == "Operation" and method["httpMethod"] != "GET":
            made["operation"] = True
        for key in (
            *("query", "failures", "refusals", "rowset", "accept", "openQuery", "repeatable"),
            "consent",
        ):
            if key in settings:
                made[key] = settings[key]
        return made

    def _names(self, get: Json, rows: set[str]) -> bool:
        """Whether rows of one of these schemas are named by the path to them, as is usual."""
        schema = get["response"]["$ref"]
        named = "name" in self._discovered(schema).get("properties", {})
        return named and schema in rows and not self.service.get("bareNames", False)

    def _identifier(self, method: Json) -> str:
        """The query parameter of a create method that takes the new resource's id."""
        if not method["id"].endswith(".create") or "request" not in method:
            return ""
        named = "name" in self._discovered(method["request"]["$ref"]).get("properties", {})
        ids = [
            name
            for name, parameter in method["parameters"].items()
            if parameter["location"] == "query" and name.endswith("Id")
        ]
        return ids[0] if named and len(ids) == 1 else ""

    def _required(self, method: Json) -> list[str]:
        """Body fields that the service's own documentation calls required.

        A patch sends only what changes, so that nothing is required of its body.
        """
        if method["httpMethod"] == "PATCH":
            return []
        schema = self._discovered(method["request"]["$ref"])
        return [
            name
            for name, field in schema.get("properties", {}).items()
            if field.get("description", "").startswith("Required.")
        ]

    def _row_member(self, method: Json) -> str:
        """The member of a list's answer that holds its rows."""
        if "response" not in method or method["httpMethod"] != "GET":
            return ""
        properties = self._discovered(method["response"]["$ref"]).get("properties", {})
        if "nextPageToken" not in properties:
            return ""
        lists = {n: p["items"] for n, p in properties.items() if "items" in p}
        members = [n for n, items in lists.items() if "$ref" in items or "properties" in items]
        members = members or list(lists)
        if len(members) != 1:
            raise ValueError(f"{method['id']} has no single list of rows")
        return str(members[0])

    def _item(self, method: Json) -> str:
        """The schema of a list's rows."""
        member = self._row_member(method)
        if not member:
            return ""
        properties = self._discovered(method["response"]["$ref"])["properties"]
        return str(properties[member]["items"].get("$ref", ""))

    def _operation(self, method: Json, settings: Json, answer: str, media: str) -> Json:
        """The OpenAPI operation, entered under its path once."""
        item = self.paths.setdefault("/" + method["flatPath"], {})
        verb = method["httpMethod"].lower()
        if verb in item:
            return dict(item[verb])
        if "parameters" not in item:
            names = re.findall(r"\{(\w+)\}", method["flatPath"])
            item["parameters"] = [self._path_parameter(name) for name in names]
        operation: Json = {"operationId": method["id"]}
        query = self._query_parameters(method, settings)
        if query:
            operation["parameters"] = query
        if "request" in method:
            name = self._schema(settings.get("bodySchema") or method["request"]["$ref"])
            body = {"schema": {"$ref": f"#/components/schemas/{name}"}}
            first = BYTES if settings.get("upload") else JSON
            media_in = [settings.get("bodyMedia", first), *settings.get("bodyMediaToo", [])]
            operation["requestBody"] = {"content": dict.fromkeys(media_in, body)}
        if answer:
            schema = {"$ref": f"#/components/schemas/{answer}"}
            content = {media: {"schema": schema}}
            operation["responses"] = {"200": {"description": "The answer.", "content": content}}
        else:
            operation["responses"] = {"204": {"description": "It is done."}}
        item[verb] = operation
        return operation

    def _path_parameter(self, name: str) -> Json:
        self.path_parameters[name] = self._described(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
        return {"$ref": f"#/components/parameters/{name}"}

    def _query_parameters(self, method: Json, settings: Json) -> list[Json]:
        found: list[Json] = []
        for name, parameter in sorted(method.get("parameters", {}).items()):
            if parameter["location"] != "query":
                continue
            schema = {k: parameter[k] for k in ("type", "format", "enum") if k in parameter}
            if parameter.get("repeated"):
                schema = {"type": "array", "items": schema}
            entry: Json = {"name": name, "in": "query"}
            if parameter.get("required"):
                entry["required"] = True
            if name in settings.get("demand", ()):
                entry["required"] = True
            found.append(self._described(entry | {"schema": schema}))
        added: dict[str, Json] = {}
        if "search" in settings:
            names = self.overlay.dicom["parameters"]
            added[names["limit"]] = {"type": "integer", "format": "int32"}
            added[names["offset"]] = {"type": "integer", "format": "int32"}
            added[names["include"]] = {"type": "array", "items": {"type": "string"}}
            added[self.overlay.dicom["fuzzy"]["parameter"]] = {"type": "boolean"}
        answer = method.get("response", {}).get("$ref", "")
        if method["httpMethod"] == "GET" and answer not in {"", "HttpBody"}:
            added["fields"] = {"type": "string", "format": "google-fieldmask"}
        for name, schema in added.items():
            found.append(self._described({"name": name, "in": "query", "schema": schema}))
        return found

    def _described(self, parameter: Json) -> Json:
        name, made = parameter["name"], dict(parameter)
        if about := self.about_parameters.get(name):
            made["description"] = about
        if name in self.service.get("session", {}):
            made["x-dicomsql"] = {"session": self.service["session"][name]}
        return made

    def _discovered(self, name: str) -> Json:
        if name in (added := self.overlay.schemas.get("add", {})):
            return dict(added[name])
        for document in self.discovery.values():
            if name in document["schemas"]:
                return dict(document["schemas"][name])
        raise ValueError(f"discovery has no schema {name}")

    def _schema(self, name: str) -> str:
        """Enter a schema and all that it refers to; gives its name back."""
        if name in self.schemas:
            return name
        added = self.overlay.schemas.get("add", {}).get(name)
        if added is not None:
            self.schemas[name] = added
            for referred in re.findall(r"#/components/schemas/(\w+)", json.dumps(added)):
                self._schema(referred)
            return name
        self.schemas[name] = {}
        made = self._converted(self._discovered(name))
        for key, value in self.overlay.schemas.get("describe", {}).get(name, {}).items():
            if key == "fields":
                for field, further in value.items():
                    made["properties"][field] = made["properties"][field] | further
            else:
                made[key] = value
        self.schemas[name] = made
        return name

    def _converted(self, schema: Json) -> Json:
        """A discovery schema as OpenAPI's, without its texts."""
        made: Json = {}
        if "$ref" in schema:
            made["$ref"] = f"#/components/schemas/{self._schema(schema['$ref'])}"
        elif schema.get("type") not in {None, "any"}:
            made["type"] = schema["type"]
        if "format" in schema:
            made["format"] = FORMATS.get(schema["format"], schema["format"])
        for key in ("enum", "readOnly", "deprecated"):
            if key in schema:
                made[key] = schema[key]
        if "items" in schema:
            made["items"] = self._converted(schema["items"])
        if "additionalProperties" in schema:
            made["additionalProperties"] = self._converted(schema["additionalProperties"])
        if "properties" in schema:
            made["properties"] = {
                name: self._converted(field)
                # A resource's name leads its columns; discovery has the others in order.
                for name, field in sorted(
                    schema["properties"].items(), key=lambda item: (item[0] != "name", item[0])
                )
            }
        return made


def _walk(resource: Json) -> Iterator[Json]:
    for name in sorted(resource.get("methods", {})):
        yield resource["methods"][name]
    for name in sorted(resource.get("resources", {})):
        yield from _walk(resource["resources"][name])


def _over_media(method: Json, settings: Json) -> Json:
    """The method as it takes, or gives, the bytes of an object instead of what describes it."""
    path = method["flatPath"]
    if settings.get("upload"):
        path = method["mediaUpload"]["protocols"]["simple"]["path"].lstrip("/")
    elif settings.get("download"):
        return method | {"flatPath": f"download/{path}", "response": {"$ref": "HttpBody"}}
    return method | {"flatPath": path}
