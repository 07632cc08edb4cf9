"""Checks provider documents: their form by JSON Schema, then that their parts fit together.

A broken document is refused with the file, the place inside it as a JSON pointer, and the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dicomsql.catalog import shapes
from dicomsql.catalog.openapi import (
    RESOURCES,
    Document,
    answer_schema,
    body_schema,
    operation_parameters,
    pointed,
    pointer,
)
from dicomsql.catalog.places import bundled_root
from dicomsql.errors import DocumentError, nearest

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_PLACEHOLDER = re.compile(r"\{\+?([^{}]+)\}")


def check_provider(document: Document, name: str) -> None:
    """Check a provider document.

    Args:
        name: of the file, for the error.

    Raises:
        DocumentError: it is broken.
    """
    _check_form("provider", document, name)
    for key, entry in document["providerServices"].items():
        if key != entry["name"]:
            raise DocumentError(
                f"the service is named {entry['name']!r} inside",
                document=name,
                path=pointer("providerServices", key, "name"),
            )


def check_service(document: Document, name: str) -> None:
    """Check a service document.

    Args:
        name: of the file, for the error.

    Raises:
        DocumentError: it is broken.
    """
    _check_form("service", document, name)
    for path, message in _faults(document):
        raise DocumentError(message, document=name, path=path)


@cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    text = (bundled_root() / "schema" / f"{kind}.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def _check_form(kind: str, document: Document, name: str) -> None:
    from jsonschema.exceptions import best_match

    error = best_match(_validator(kind).iter_errors(document))
    if error is not None:
        message = error.message
        if len(message) > 300:
            # The instance stands first in these messages and may be most of the document.
            message = "… " + message[-250:]
        raise DocumentError(message, document=name, path=pointer(*error.absolute_path))


Fault = tuple[str, str]


def _faults(document: Document) -> Iterator[Fault]:
    """(path, reason) of what does not fit together; the first is what is reported."""
    yield from _dangling(document, document, "")
    yield from _path_faults(document)
    resources = document["components"][RESOURCES]
    lowered: dict[str, str] = {}
    for name, resource in resources.items():
        base = pointer("components", RESOURCES, name)
        if lowered.setdefault(name.lower(), name) != name:
            yield base, "another resource has this name but for its case"
        yield from _verb_faults(name, resource, base)
        for method, entry in resource["methods"].items():
            yield from _operation_faults(document, entry, base + pointer("methods", method))
    # From here on every verb names a method, and every method an operation.
    for name, resource in resources.items():
        base = pointer("components", RESOURCES, name)
        for method, entry in resource["methods"].items():
            yield from _method_faults(document, entry, base + pointer("methods", method))
        dicom = resource.get("x-dicomsql", {}).get("dicom")
        if dicom:
            yield from _dicom_faults(document, resource, dicom, base + "/x-dicomsql/dicom")


def _dangling(document: Document, node: Any, path: str) -> Iterator[Fault]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str):
            if not reference.startswith("#/"):
                yield path + "/$ref", f"the reference {reference!r} leaves the document"
            else:
                try:
                    pointed(document, reference)
                except KeyError:
                    yield path + "/$ref", f"nothing is at {reference!r}"
        for key, value in node.items():
            if isinstance(value, (Mapping, list)):
                yield from _dangling(document, value, path + pointer(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _dangling(document, value, f"{path}/{index}")


def _path_faults(document: Document) -> Iterator[Fault]:
    """Placeholders of paths against the parameters that are declared for them."""
    for path, item in document["paths"].items():
        placeholders = set(_PLACEHOLDER.findall(path))
        for verb, operation in item.items():
            if not isinstance(operation, Mapping) or "responses" not in operation:
                continue
            declared = {
                p["name"]
                for p in operation_parameters(document, item, operation)
                if p["in"] == "path"
            }
            where = pointer("paths", path, verb)
            if placeholders - declared:
                names = ", ".join(sorted(placeholders - declared))
                yield where, f"the path holds {{{names}}}, which is no path parameter"
            if declared - placeholders:
                names = ", ".join(sorted(declared - placeholders))
                yield where, f"the path parameter {names} is not in the path"


def _verb_faults(name: str, resource: Mapping[str, Any], base: str) -> Iterator[Fault]:
    prefix = pointer("components", RESOURCES, name, "methods") + "/"
    for verb, references in resource.get("sqlVerbs", {}).items():
        for index, reference in enumerate(references):
            target = reference["$ref"].removeprefix("#")
            if not target.startswith(prefix) or "/" in target[len(prefix) :]:
                where = base + pointer("sqlVerbs", verb, index)
                yield where, f"{reference['$ref']!r} is no method of {name}"


def _operation_faults(document: Document, method: Mapping[str, Any], base: str) -> Iterator[Fault]:
    reference = method["operation"]["$ref"]
    operation = pointed(document, reference)
    if not isinstance(operation, Mapping) or "responses" not in operation:
        yield base + "/operation/$ref", f"{reference!r} is no operation"


def _method_faults(document: Document, method: Mapping[str, Any], base: str) -> Iterator[Fault]:
    reference = method["operation"]["$ref"]
    operation = pointed(document, reference)
    item = pointed(document, reference.rsplit("/", 1)[0])
    schemas = document["components"].get("schemas", {})
    answer = answer_schema(operation, method.get("response", {}))
    rows: Mapping[str, Any] | None = answer
    key = method.get("response", {}).get("objectKey", "")
    if key:
        try:
            path = shapes.members(key)
        except ValueError as error:
            yield base + "/response/objectKey", str(error)
            return
        rows = shapes.within(schemas, answer, path) if answer is not None else None
        if answer is not None and rows is None:
            yield base + "/response/objectKey", f"the answer's schema has no {key}"
    body = body_schema(operation, method.get("request", {}))
    fields = _members(schemas, body)
    for name in method.get("request", {}).get("required", ()):
        if fields and name not in fields:
            where = base + "/request/required"
            yield where, f"the body has no field {name}.{nearest(name, list(fields))}"
    extension = method.get("x-dicomsql", {})
    query = [
        p["name"] for p in operation_parameters(document, item, operation) if p["in"] == "query"
    ]
    for path_, name in _query_names(extension):
        if name not in query:
            where = base + "/x-dicomsql" + path_
            yield where, f"there is no query parameter {name}.{nearest(name, query)}"
    source = extension.get("idFromName")
    if source and fields and source["field"] not in fields:
        where = base + "/x-dicomsql/idFromName/field"
        yield where, f"the body has no field {source['field']}.{nearest(source['field'], fields)}"
    row_name = extension.get("rowName")
    found = _members(schemas, rows)
    if row_name and found and row_name["member"] not in found:
        where = base + "/x-dicomsql/rowName/member"
        member = row_name["member"]
        yield where, f"a row has no member {member}.{nearest(member, found)}"
    failures = extension.get("failures")
    known = _members(schemas, answer)
    if failures and known and failures not in known:
        where = base + "/x-dicomsql/failures"
        yield where, f"the answer has no member {failures}.{nearest(failures, known)}"
    if "rowset" in extension:
        where = base + "/x-dicomsql/rowset"
        yield from _rowset_faults(document, extension["rowset"], answer or {}, where)
    for index, measure in enumerate(extension.get("consent", {}).get("measures", ())):
        where = base + pointer("x-dicomsql", "consent", "measures", index)
        yield from _measure_faults(document, measure, where)


def _rowset_faults(
    document: Document, rowset: Mapping[str, Any], answer: Mapping[str, Any], base: str
) -> Iterator[Fault]:
    """What a rowset names that its answer, or the method of further pages, does not have."""
    schemas = document["components"].get("schemas", {})
    more = rowset["more"]
    paths = {key: rowset[key] for key in rowset if key != "more"}
    paths |= {f"more/parameters/{name}": path for name, path in more["parameters"].items()}
    for key, path in paths.items():
        if shapes.within(schemas, answer, tuple(path.split("."))) is None:
            yield f"{base}/{key}", f"the answer's schema has no {path}"
    resource, _, name = more["method"].partition(".")
    entry = document["components"][RESOURCES].get(resource, {}).get("methods", {}).get(name)
    if entry is None:
        yield base + "/more/method", f"there is no method {more['method']}"
        return
    reference = entry["operation"]["$ref"]
    item = pointed(document, reference.rsplit("/", 1)[0])
    known = [p["name"] for p in operation_parameters(document, item, pointed(document, reference))]
    for wanted in (more["token"], *more["parameters"]):
        if wanted not in known:
            said = f"{more['method']} has no parameter {wanted}.{nearest(wanted, known)}"
            yield base + "/more", said


def _query_names(extension: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The query parameters that a method's extension names, each with its place there."""
    for path in ("pageSize/parameter", "window/limit", "window/offset", "fields", "mask"):
        node: Any = extension
        for part in path.split("/"):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None:
            yield "/" + path, node
    if "idFromName" in extension:
        yield "/idFromName/parameter", extension["idFromName"]["parameter"]


def _measure_faults(document: Document, measure: Mapping[str, Any], base: str) -> Iterator[Fault]:
    resources = document["components"][RESOURCES]
    for key in ("resource", "each", "probe"):
        name = measure.get(key)
        if name is not None and name not in resources:
            yield base + "/" + key, f"there is no resource {name}.{nearest(name, list(resources))}"
            return
    known = _selected_columns(document, resources[measure["resource"]])
    wanted = {f"/counts/{label}": column for label, column in measure["counts"].items()}
    if "number" in measure:
        wanted["/number"] = measure["number"]
    for where, column in wanted.items():
        if column not in known:
            said = f"{measure['resource']} has no column {column}.{nearest(column, known)}"
            yield base + where, said


def _selected_columns(document: Document, resource: Mapping[str, Any]) -> list[str]:
    references = resource.get("sqlVerbs", {}).get("select", ())
    if not references:
        return []
    method = pointed(document, references[0]["$ref"])
    response = method.get("response", {})
    answer = answer_schema(pointed(document, method["operation"]["$ref"]), response)
    schemas = document["components"].get("schemas", {})
    try:
        path = shapes.members(response.get("objectKey", ""))
    except ValueError:
        return []
    return _members(schemas, shapes.within(schemas, answer or {}, path))


def _dicom_faults(
    document: Document, resource: Mapping[str, Any], dicom: Mapping[str, Any], base: str
) -> Iterator[Fault]:
    keywords = [attribute["keyword"] for attribute in dicom["attributes"]]
    for index, keyword in enumerate(keywords):
        if keyword in keywords[:index]:
            yield base + pointer("attributes", index), f"{keyword} stands here twice"
    for parameter, keyword in dicom.get("identity", {}).items():
        if keyword not in keywords:
            yield base + pointer("identity", parameter), f"{keyword} is none of the attributes"
    resources = document["components"][RESOURCES]
    if dicom.get("elsewhere", "") not in {"", *resources}:
        yield base + "/elsewhere", f"there is no resource {dicom['elsewhere']}"
    yield from _relation_faults(document, dicom, base)
    yield from _matching_faults(dicom, base)
    yield from _moving_faults(document, dicom, base)
    yield from _preview_faults(document, resource, dicom, base)
    named = {"/include": dicom.get("include"), "/fuzzy": dicom.get("fuzzy", {}).get("parameter")}
    for reference in resource.get("sqlVerbs", {}).get("select", ()):
        target = pointed(document, reference["$ref"])["operation"]["$ref"]
        item = pointed(document, target.rsplit("/", 1)[0])
        parameters = operation_parameters(document, item, pointed(document, target))
        query = {p["name"] for p in parameters if p["in"] == "query"}
        for where, name in named.items():
            if name is not None and name not in query:
                yield base + where, f"{reference['$ref']!r} has no query parameter {name}"


def _relation_faults(document: Document, dicom: Mapping[str, Any], base: str) -> Iterator[Fault]:
    """The other resources that a DICOM table names: searches, metadata, metrics."""
    resources = document["components"][RESOURCES]
    for key, source in (("tables", "search"), ("metadata", "metadata")):
        for level, name in dicom.get(key, {}).items():
            found = resources.get(name, {}).get("x-dicomsql", {}).get("dicom", {})
            if found.get("source") != source:
                said = f"{name} is no resource of {source}.{nearest(name, list(resources))}"
                yield base + pointer(key, level), said
            elif key == "tables" and found["level"] != level:
                yield base + pointer(key, level), f"{name} searches the level {found['level']}"
    for index, size in enumerate(dicom.get("sizes", ())):
        name, column = size["resource"], size["column"]
        where = base + pointer("sizes", index)
        if name not in resources:
            yield where, f"there is no resource {name}.{nearest(name, list(resources))}"
            continue
        known = _selected_columns(document, resources[name])
        if column not in known:
            yield where, f"{name} has no column {column}.{nearest(column, known)}"


# What names an instance, its study's first.
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

# The HTTP method of each method that moves instances.
_MOVING = {
    "store": "post",
    "storeInStudy": "post",
    "replace": "put",
    "delete": "delete",
    "retrieve/study": "get",
    "retrieve/series": "get",
    "retrieve/instance": "get",
    "rendered": "get",
    "renderedFrame": "get",
}


def _moving_faults(document: Document, dicom: Mapping[str, Any], base: str) -> Iterator[Fault]:
    """Methods that are said to move instances and cannot."""
    moves = dicom.get("moves")
    if moves is None:
        return
    if (dicom["level"], dicom["source"]) != ("instance", "search"):
        yield base + "/moves", "stands at the search of instances alone"
    for keyword in _UIDS:
        if keyword not in dicom.get("identity", {}).values():
            yield base + "/moves", f"no path parameter has the {keyword} as its identity"
    resources = document["components"][RESOURCES]
    known = [f"{name}.{method}" for name in resources for method in resources[name]["methods"]]
    retrieved = {f"retrieve/{level}": name for level, name in moves.get("retrieve", {}).items()}
    for key, name in ({k: v for k, v in moves.items() if k in _MOVING} | retrieved).items():
        where = base + "/moves/" + key
        if name not in known:
            yield where, f"there is no method {name}.{nearest(name, known)}"
            continue
        resource, _, method = name.partition(".")
        reference = resources[resource]["methods"][method]["operation"]["$ref"]
        found = reference.rsplit("/", 1)[1]
        if found != _MOVING[key]:
            yield where, f"{name} is a {found.upper()}, where a {_MOVING[key].upper()} belongs"


def _preview_faults(
    document: Document, resource: Mapping[str, Any], dicom: Mapping[str, Any], base: str
) -> Iterator[Fault]:
    """A method that is said to give a row's picture and cannot."""
    preview = dicom.get("preview")
    if preview is None:
        return
    base += "/preview"
    if dicom["source"] != "search":
        yield base, "stands at searches alone"
    resources = document["components"][RESOURCES]
    known = [f"{name}.{method}" for name in resources for method in resources[name]["methods"]]
    if preview["method"] not in known:
        said = f"there is no method {preview['method']}.{nearest(preview['method'], known)}"
        yield base + "/method", said
        return
    of, _, method = preview["method"].partition(".")
    reference = resources[of]["methods"][method]["operation"]["$ref"]
    item, _, verb = reference.rpartition("/")
    if verb != "get":
        yield base + "/method", f"{preview['method']} is a {verb.upper()}, where a GET belongs"
    given = {*dicom.get("identity", {})}
    for each in resource.get("sqlVerbs", {}).get("select", ()):
        target = pointed(document, each["$ref"])["operation"]["$ref"]
        given |= _in_path(document, target.rpartition("/")[0], target)
    for name in sorted(_in_path(document, item, reference) - given):
        yield base + "/method", f"{preview['method']} takes {name}, which a row does not tell"


def _in_path(document: Document, item: str, operation: str) -> set[str]:
    """The path parameters of an operation, by the references of its path and of itself."""
    found = operation_parameters(document, pointed(document, item), pointed(document, operation))
    return {p["name"] for p in found if p["in"] == "path"}


def _matching_faults(dicom: Mapping[str, Any], base: str) -> Iterator[Fault]:
    """What attributes are said to do that the table has no means for."""
    matches = {a["keyword"]: a.get("match", ()) for a in dicom["attributes"]}
    try:
        re.compile(dicom.get("sendable", ""))
    except re.error as error:
        yield base + "/sendable", f"is no regular expression: {error}"
    split = dicom.get("split")
    if split is not None and "range" not in matches.get(split, ()):
        yield base + "/split", f"{split} is no attribute that is matched by ranges"
    for index, attribute in enumerate(dicom["attributes"]):
        where = base + pointer("attributes", index)
        if "fuzzy" in attribute.get("match", ()) and "fuzzy" not in dicom:
            yield where + "/match", "nothing says how fuzzy matching is switched on"
        returned = attribute.get("returned")
        if returned == "include" and dicom["source"] == "search" and "include" not in dicom:
            yield where + "/returned", "no query parameter asks for further attributes"
        if returned == "metadata" and not dicom.get("metadata"):
            yield where + "/returned", "no resource has the metadata"
        if returned == "counted" and not dicom.get("tables"):
            yield where + "/returned", "no resource has the levels below"
    if dicom.get("includeAny") and "include" not in dicom:
        yield base + "/includeAny", "no query parameter asks for further attributes"


def _members(
    schemas: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Any] | None
) -> list[str]:
    return list(shapes.properties_of(schemas, schema)) if schema is not None else []
