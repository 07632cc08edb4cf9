"""Answers SHOW and DESCRIBE from the documents, with StackQL's result columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dicomsql.catalog import shapes
from dicomsql.catalog.body import body_fields, schemas_of
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Attribute, DicomTable, Method, Parameter, Resource, Type
from dicomsql.errors import PlanningError

Row = tuple[str | None, ...]

# The prefix that tells a body field from a parameter of the same name, as in StackQL.
BODY_PREFIX = "data__"

# What DESCRIBE says of the columns of a DICOM table: the attribute's value representation, tag and
# level, where its values come from, and how the server can filter by it.
_DICOM_COLUMNS = ("vr", "tag", "level", "source", "filter")

# Where the values of an attribute come from, by what the document says of its search.
SOURCES = {
    "default": "search",
    "include": "search (asked for)",
    "metadata": "metadata",
    "counted": "counted",
    "rendered": "rendered",
}

# How deep DESCRIBE METHOD unfolds the schemas that a field refers to.
_DEPTH = 4


class Detail(StrEnum):
    """How much a listing says."""

    BRIEF = "brief"
    EXTENDED = "extended"


class Fields(StrEnum):
    """Which columns the template of an INSERT has."""

    ALL = "all"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows of text under their columns' names."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def show_providers(catalog: Catalog) -> Listing:
    """SHOW PROVIDERS."""
    rows = tuple((p.name, p.version) for p in catalog.providers())
    return Listing(("name", "version"), rows)


def show_services(catalog: Catalog, provider: str, detail: Detail = Detail.BRIEF) -> Listing:
    """SHOW SERVICES IN a provider; reads no service document.

    Raises:
        PlanningError: there is no such provider.
    """
    rows: list[Row] = [
        (f"{e.name}:{e.version}", e.name, e.title, e.description, e.version)
        for e in sorted(catalog.entries(provider), key=lambda e: e.name)
    ]
    return _cut(("id", "name", "title", "description", "version"), rows, 3, detail)


def show_resources(
    catalog: Catalog, provider: str, service: str, detail: Detail = Detail.BRIEF
) -> Listing:
    """SHOW RESOURCES IN a service.

    Raises:
        PlanningError: there is no such provider or service.
    """
    found = catalog.service(provider, service)
    resources = [catalog.resource(provider, service, n) for n in sorted(found.resource_names)]
    rows: list[Row] = [(r.name, r.full_name, r.title, r.description) for r in resources]
    return _cut(("name", "id", "title", "description"), rows, 2, detail)


def show_methods(resource: Resource, detail: Detail = Detail.BRIEF) -> Listing:
    """SHOW METHODS IN a resource: those of SQL's verbs in their order, then those of EXEC."""
    listed = [(verb, m) for verb in resource.verbs for m in resource.for_verb(verb)]
    rows: list[Row] = [
        (m.name, ", ".join(m.required), verb.upper(), m.description) for verb, m in listed
    ]
    return _cut(("MethodName", "RequiredParams", "SQLVerb", "description"), rows, 3, detail)


def show_insert(catalog: Catalog, resource: Resource, fields: Fields = Fields.ALL) -> Listing:
    """SHOW INSERT INTO a resource: a statement with a placeholder for each column.

    Raises:
        PlanningError: nothing can be inserted into the resource.
    """
    methods = resource.for_verb("insert")
    if not methods:
        verbs = ", ".join(verb.upper() for verb in resource.verbs)
        raise PlanningError(
            f"Nothing can be inserted into {resource.full_name}; it takes {verbs}.",
            resource=resource.full_name,
        )
    text = insert_statement(catalog, methods[0], fields)
    return Listing(("insert_statement",), ((text,),))


def insert_statement(catalog: Catalog, method: Method, fields: Fields) -> str:
    """An INSERT for a method, with `{{ name }}` for every value and RETURNING its columns."""
    parameters = [p.name for p in method.parameters if fields is Fields.ALL or p.required]
    # A resource gets its id from this parameter or from its name, so that one must be there.
    source = method.id_from_name
    if fields is Fields.REQUIRED and source and source[0] not in parameters:
        parameters.append(source[0])
    schemas = schemas_of(catalog, method)
    definitions = shapes.properties_of(schemas, schemas[method.body]) if method.body else {}
    body = [
        name
        for name in body_fields(catalog, method)
        if not definitions[name].get("readOnly")
        and (fields is Fields.ALL or name in method.body_required)
    ]
    taken = {name.lower() for name in parameters}
    columns = [(_quoted(name), name) for name in parameters]
    columns += [
        (_quoted(BODY_PREFIX + name if name.lower() in taken else name), name) for name in body
    ]
    into = ",\n".join(f"  {column}" for column, _ in columns)
    values = ",\n".join(f"  '{{{{ {name} }}}}'" for _, name in columns)
    target = f"{method.provider}.{method.service}.{method.resource}"
    text = f"INSERT INTO {target} (\n{into}\n)\nSELECT\n{values}"
    if method.columns:
        text += "\nRETURNING\n" + ",\n".join(f"  {_quoted(c.name)}" for c in method.columns)
    return text + "\n;"


def describe(resource: Resource, detail: Detail = Detail.BRIEF) -> Listing:
    """DESCRIBE a resource: the columns of its rows.

    Raises:
        PlanningError: the resource gives no rows.
    """
    methods = resource.for_verb("select")
    if not methods:
        raise PlanningError(
            f"{resource.full_name} has no columns, since it cannot be selected from;"
            f" SHOW METHODS IN {resource.full_name} lists what it can do.",
            resource=resource.full_name,
        )
    if resource.dicom is not None:
        return _describe_dicom(resource, resource.dicom, detail)
    rows: list[Row] = [(c.name, c.type.value, c.description) for c in methods[0].columns]
    return _cut(("name", "type", "description"), rows, 2, detail)


def describe_method(catalog: Catalog, method: Method, detail: Detail = Detail.BRIEF) -> Listing:
    """DESCRIBE METHOD: what it takes and what it gives."""
    schemas = schemas_of(catalog, method)
    rows: list[Row] = []
    for parameter in method.parameters:
        kind = "input_required" if parameter.required else "input_optional"
        shape = _text(_parameter_shape(parameter))
        rows.append((parameter.name, parameter.type, kind, shape, parameter.description))
    taken = {p.name.lower() for p in method.parameters}
    definitions = shapes.properties_of(schemas, schemas[method.body]) if method.body else {}
    for name in body_fields(catalog, method):
        if definitions[name].get("readOnly"):
            continue
        kind = "input_required" if name in method.body_required else "input_optional"
        shown = BODY_PREFIX + name if name.lower() in taken else name
        rows.append(_field_row(schemas, shown, definitions[name], kind))
    answer = shapes.followed(schemas, schemas[method.response]) if method.response else {}
    row = shapes.within(schemas, answer, shapes.members(method.object_key)) or {}
    for name, definition in shapes.properties_of(schemas, row).items():
        rows.append(_field_row(schemas, name, definition, "output"))
    return _cut(("name", "type", "param_type", "shape", "description"), rows, 4, detail)


def words_of(keyword: str) -> str:
    """An attribute's name in words: `SOPInstanceUID` is `SOP Instance UID`."""
    return " ".join(re.findall(r"[A-Z]+s?(?![a-z])|[A-Z][a-z]+|\d+|[a-z]+", keyword))


def parameter_row(parameter: Parameter) -> Row:
    """What DESCRIBE EXTENDED says of a request parameter of a DICOM table."""
    in_path = parameter.location == "path"
    kind = Type.VARCHAR if in_path else shapes.SQL_TYPES.get((parameter.type, None), Type.VARCHAR)
    # What stands in the path is where the search goes: no filter could be more exact.
    match = "exact" if in_path else ""
    return parameter.name, str(kind), parameter.description, None, None, None, "parameter", match


def preview_row(table: DicomTable) -> Row:
    """What DESCRIBE EXTENDED says of the column `preview`."""
    about = f"A small picture of the {table.level}, where it has one; never part of *"
    return "preview", str(Type.BLOB), about, None, None, None, SOURCES["rendered"], ""


def _describe_dicom(resource: Resource, table: DicomTable, detail: Detail) -> Listing:
    """The columns of a DICOM table: those of SELECT *; extended, all that the document names."""
    rows = [
        _attribute_row(table, attribute, detail)
        for attribute in table.attributes
        # Every attribute is a column, but DESCRIBE shows what SELECT * does, as for any table.
        if attribute.usual or detail is Detail.EXTENDED
    ]
    if detail is Detail.EXTENDED:
        parameters = {
            p.name: p for method in resource.for_verb("select") for p in method.parameters
        }
        if table.preview is not None:
            rows.append(preview_row(table))
        rows += [parameter_row(p) for p in parameters.values()]
        return Listing(("name", "type", "description", *_DICOM_COLUMNS), tuple(rows))
    return Listing(("name", "type", *_DICOM_COLUMNS), tuple(rows))


def _attribute_row(table: DicomTable, attribute: Attribute, detail: Detail) -> Row:
    from dicomsql.dicom.columns import column
    from dicomsql.dicom.tags import lookup

    found, tag = column(attribute.keyword), lookup(attribute.keyword)
    kind = found.sql_type if found else str(Type.VARCHAR)
    source = "metadata" if table.source == "metadata" else SOURCES[attribute.returned]
    about = (
        found.vr if found else None,
        tag.tag if tag else None,
        tag.level if tag else None,
        source,
        ", ".join(attribute.match),
    )
    if detail is Detail.BRIEF:
        return attribute.keyword, kind, *about
    return attribute.keyword, kind, words_of(attribute.keyword), *about


def _field_row(
    schemas: Mapping[str, shapes.Definition], name: str, definition: shapes.Definition, kind: str
) -> Row:
    shape = _shape(schemas, definition, _DEPTH)
    about = str(definition.get("description", ""))
    return name, str(shape.get("type", "any")), kind, _text(shape), about


def _parameter_shape(parameter: Parameter) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": parameter.type}
    if parameter.format:
        shape["format"] = parameter.format
    return {"type": "array", "items": shape} if parameter.repeated else shape


def _shape(
    schemas: Mapping[str, shapes.Definition], definition: shapes.Definition, depth: int
) -> dict[str, Any]:
    """A schema without its texts, references unfolded as deep as that."""
    found = shapes.followed(schemas, definition)
    made = {k: found[k] for k in ("type", "format", "enum", "maxLength") if k in found}
    properties = shapes.properties_of(schemas, found)
    if properties:
        made.setdefault("type", "object")
    if depth == 0:
        return made
    if "items" in found:
        made["items"] = _shape(schemas, found["items"], depth - 1)
    if properties:
        made["properties"] = {n: _shape(schemas, p, depth - 1) for n, p in properties.items()}
    extra = found.get("additionalProperties")
    if isinstance(extra, Mapping):
        made["additionalProperties"] = _shape(schemas, extra, depth - 1)
    return made


def _text(shape: Mapping[str, Any]) -> str:
    return json.dumps(shape, separators=(",", ":"))


def _quoted(name: str) -> str:
    """A column's name as SQL reads it back."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f'"{name}"'


def _cut(columns: tuple[str, ...], rows: list[Row], brief: int, detail: Detail) -> Listing:
    """The listing, without the columns behind the brief ones where those alone are wanted."""
    if detail is Detail.EXTENDED:
        return Listing(columns, tuple(rows))
    return Listing(columns[:brief], tuple(row[:brief] for row in rows))
