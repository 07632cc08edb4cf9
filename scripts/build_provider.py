"""Writes provider/: discovery documents and overlays in, StackQL documents out.

    python scripts/build_provider.py [folder]

Google's discovery documents are those that google-api-python-client carries; the overlay in
scripts/overlay/google says what they leave out. Texts of the discovery documents are not taken
over: descriptions are the overlay's. The documents of DICOMweb servers are made of their overlay
alone, by scripts/dicomweb_documents.py. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
# Run as a file, the script has its own folder on the path but not the one that holds it.
sys.path.insert(0, str(REPOSITORY))

from scripts import dicomweb_documents  # noqa: E402
from scripts.documents import (  # noqa: E402
    Json,
    dicom_table,
    dump,
    operation_reference,
    sql_verbs,
)

OVERLAY = REPOSITORY / "scripts" / "overlay" / "google"
ROOT_ID = "healthcare.projects.locations."
VERSIONS = ("v1", "v1beta1")
JSON = "application/json"

# Discovery's formats that OpenAPI calls otherwise.
FORMATS = {"google-datetime": "date-time"}


@dataclass(frozen=True)
class Overlay:
    """The hand-written files."""

    healthcare: Json
    dicom: Json
    schemas: Json


def build(discovery: Mapping[str, Json], overlay: Overlay) -> dict[str, str]:
    """The documents' texts by their path below the registry's root.

    Args:
        discovery: the discovery documents by version.
        overlay: what they leave out.

    Raises:
        ValueError: the overlay and the discovery documents do not fit.
    """
    provider = overlay.healthcare["provider"]
    folder = f"{provider['folder']}/{provider['version']}"
    reference = f"{folder}/services/{overlay.healthcare['service']['name']}.yaml"
    revisions = ", ".join(f"{v} {discovery[v]['revision']}" for v in VERSIONS)
    head = (
        "# Made by scripts/build_provider.py; change scripts/overlay and run it again.\n"
        f"# Discovery revisions: {revisions}.\n"
    )
    service = ServiceDocument(discovery, overlay).document()
    return {
        f"src/{folder}/provider.yaml": head + dump(_provider_document(overlay, reference)),
        f"src/{reference}": head + dump(service),
    }


def read_discovery() -> dict[str, Json]:
    """The discovery documents of the installed google-api-python-client."""
    import googleapiclient

    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    return {v: json.loads((folder / f"healthcare.{v}.json").read_text("utf-8")) for v in VERSIONS}


def read_overlay(folder: Path = OVERLAY) -> Overlay:
    """The overlay's files."""
    parts = {
        name: yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))
        for name in ("healthcare", "dicom", "schemas")
    }
    return Overlay(**parts)


def _provider_document(overlay: Overlay, reference: str) -> Json:
    provider, service = overlay.healthcare["provider"], overlay.healthcare["service"]
    version = provider["version"]
    entry = {
        "id": f"{service['name']}:{version}",
        "name": service["name"],
        "preferred": True,
        "title": service["title"],
        "version": version,
        "description": service["description"],
        "service": {"$ref": reference},
    }
    return {
        "id": provider["id"],
        "name": provider["name"],
        "version": version,
        "title": provider["title"],
        "description": provider["description"],
        "protocolType": provider["protocolType"],
        "config": provider["config"],
        "providerServices": {service["name"]: entry},
    }


class ServiceDocument:
    """The service document while it is made."""

    def __init__(self, discovery: Mapping[str, Json], overlay: Overlay) -> None:
        self.discovery = discovery
        self.overlay = overlay
        self.about_parameters: dict[str, str] = overlay.healthcare["parameters"]
        self.paths: dict[str, Json] = {}
        self.path_parameters: dict[str, Json] = {}
        self.schemas: dict[str, Json] = {}

    def document(self) -> Json:
        """The whole document."""
        service = self.overlay.healthcare["service"]
        resources = {
            name: self._resource(name, entry)
            for name, entry in self.overlay.healthcare["resources"].items()
        }
        self._check_complete()
        return {
            "openapi": "3.0.0",
            "info": {
                "title": service["title"],
                "description": service["description"],
                "version": VERSIONS[0],
            },
            "servers": [{"url": self.discovery[VERSIONS[0]]["rootUrl"].rstrip("/")}],
            "x-dicomsql": {"operations": service["operations"], "parallel": service["parallel"]},
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
        for version in VERSIONS:
            prefix = "" if version == VERSIONS[0] else f"{version}:"
            for method in _walk(self.discovery[version]):
                found[prefix + method["id"].removeprefix(ROOT_ID)] = method
        return found

    def _check_complete(self) -> None:
        entries = [
            method["of"]
            for resource in self.overlay.healthcare["resources"].values()
            for method in resource["methods"].values()
            if "of" in method
        ]
        missing = {name for name in self.methods if ":" not in name} - set(entries)
        twice = {name for name in entries if entries.count(name) > 1}
        if missing or twice:
            raise ValueError(f"methods without a resource {missing}, with several {twice}")

    def _resource(self, name: str, entry: Json) -> Json:
        resource: Json = {
            "id": f"{self.overlay.healthcare['provider']['name']}.healthcare.{name}",
            "name": name,
            "title": name.replace("_", " ").capitalize(),
        }
        if "about" in entry:
            resource["description"] = entry["about"]
        if "dicom" in entry:
            resource["x-dicomsql"] = {"dicom": dicom_table(self.overlay.dicom, entry["dicom"])}
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
        answer = self._schema(settings.get("answer") or method["response"]["$ref"])
        media = settings.get("media", JSON)
        operation = self._operation(method, settings, answer, media)
        path, verb = "/" + method["flatPath"], method["httpMethod"].lower()

        made: Json = {}
        if "about" in settings:
            made["description"] = settings["about"]
        made["operation"] = operation_reference(path, verb)
        if "requestBody" in operation:
            made["request"] = {"mediaType": next(iter(operation["requestBody"]["content"]))}
            required = settings.get("required") or self._required(method)
            if required:
                made["request"]["required"] = required
        made["response"] = {"mediaType": media, "openAPIDocKey": "200"}
        if media.endswith("+json"):
            made["response"]["overrideMediaType"] = JSON
        member = self._row_member(method)
        rows = settings.get("rows") or f"$.{member}"
        if rows != "$.":
            made["response"]["objectKey"] = rows
        if "pageToken" in method["parameters"]:
            made["config"] = {
                "pagination": {
                    "requestToken": {"key": "pageToken", "location": "query"},
                    "responseToken": {"key": "nextPageToken", "location": "body"},
                }
            }
        extension = self._extension(method, settings, get)
        if extension:
            made["x-dicomsql"] = extension
        return made

    def _extension(self, method: Json, settings: Json, get: Json | None) -> Json:
        made: Json = {}
        parameters, answer = method["parameters"], method["response"]["$ref"]
        if "pageSize" in parameters:
            most = re.search(r"larger than (\d+)", parameters["pageSize"]["description"])
            made["pageSize"] = {"parameter": "pageSize", "max": int(most[1]) if most else 0}
        if "search" in settings:
            names = self.overlay.dicom["parameters"]
            made["window"] = {
                "limit": names["limit"],
                "offset": names["offset"],
                "maxLimit": settings["search"],
                "maxOffset": self.overlay.dicom["limits"]["maxOffset"],
                "capped": self.overlay.dicom["limits"]["capped"],
            }
        if method["httpMethod"] == "GET" and answer != "HttpBody":
            made["fields"] = "fields"
        if "updateMask" in parameters and method["httpMethod"] == "PATCH":
            made["mask"] = "updateMask"
        identifier = self._identifier(method)
        if identifier:
            made["idFromName"] = {"parameter": identifier, "field": "name"}
        if get and get["response"]["$ref"] in {answer, self._item(method)}:
            template = get["flatPath"].split("/", 1)[1]
            made["rowName"] = {"member": "name", "template": template}
        if answer == "Operation" and method["httpMethod"] != "GET":
            made["operation"] = True
        for key in ("accept", "openQuery", "repeatable", "consent"):
            if key in settings:
                made[key] = settings[key]
        return made

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
        properties = self._discovered(method["response"]["$ref"]).get("properties", {})
        if "nextPageToken" not in properties or method["httpMethod"] != "GET":
            return ""
        members = [n for n, p in properties.items() if p.get("items", {}).get("$ref")]
        if len(members) != 1:
            raise ValueError(f"{method['id']} has no single list of rows")
        return str(members[0])

    def _item(self, method: Json) -> str:
        """The schema of a list's rows."""
        member = self._row_member(method)
        if not member:
            return ""
        properties = self._discovered(method["response"]["$ref"])["properties"]
        return str(properties[member]["items"]["$ref"])

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
            media_in = [settings.get("bodyMedia", JSON), *settings.get("bodyMediaToo", [])]
            operation["requestBody"] = {"content": dict.fromkeys(media_in, body)}
        schema = {"$ref": f"#/components/schemas/{answer}"}
        operation["responses"] = {
            "200": {"description": "The answer.", "content": {media: {"schema": schema}}}
        }
        item[verb] = operation
        return operation

    def _path_parameter(self, name: str) -> Json:
        self.path_parameters[name] = self._described(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        )
        return {"$ref": f"#/components/parameters/{name}"}

    def _query_parameters(self, method: Json, settings: Json) -> list[Json]:
        found: list[Json] = []
        for name, parameter in sorted(method["parameters"].items()):
            if parameter["location"] != "query":
                continue
            schema = {k: parameter[k] for k in ("type", "format", "enum") if k in parameter}
            if parameter.get("repeated"):
                schema = {"type": "array", "items": schema}
            entry: Json = {"name": name, "in": "query"}
            if parameter.get("required"):
                entry["required"] = True
            found.append(self._described(entry | {"schema": schema}))
        names = self.overlay.dicom["parameters"]
        added: dict[str, Json] = {}
        if "search" in settings:
            added[names["limit"]] = {"type": "integer", "format": "int32"}
            added[names["offset"]] = {"type": "integer", "format": "int32"}
            added[names["include"]] = {"type": "array", "items": {"type": "string"}}
            added[self.overlay.dicom["fuzzy"]["parameter"]] = {"type": "boolean"}
        if method["httpMethod"] == "GET" and method["response"]["$ref"] != "HttpBody":
            added["fields"] = {"type": "string", "format": "google-fieldmask"}
        for name, schema in added.items():
            found.append(self._described({"name": name, "in": "query", "schema": schema}))
        return found

    def _described(self, parameter: Json) -> Json:
        about = self.about_parameters.get(parameter["name"])
        return parameter | {"description": about} if about else parameter

    def _discovered(self, name: str) -> Json:
        for version in VERSIONS:
            if name in self.discovery[version]["schemas"]:
                return dict(self.discovery[version]["schemas"][name])
        raise ValueError(f"discovery has no schema {name}")

    def _schema(self, name: str) -> str:
        """Enter a schema and all that it refers to; gives its name back."""
        if name in self.schemas:
            return name
        added = self.overlay.schemas["add"].get(name)
        if added is not None:
            self.schemas[name] = added
            for referred in re.findall(r"#/components/schemas/(\w+)", json.dumps(added)):
                self._schema(referred)
            return name
        self.schemas[name] = {}
        made = self._converted(self._discovered(name))
        for key, value in self.overlay.schemas["describe"].get(name, {}).items():
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


def main(arguments: list[str]) -> int:
    """Write the documents below the folder given, or below provider/."""
    root = Path(arguments[0]) if arguments else REPOSITORY / "provider"
    documents = build(read_discovery(), read_overlay())
    documents |= dicomweb_documents.build(dicomweb_documents.read_overlay())
    for name, text in documents.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
