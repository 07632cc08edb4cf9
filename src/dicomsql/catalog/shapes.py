"""What a schema says of columns: SQL types, members behind an object key, references followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicomsql.catalog.model import Column, Type

Definition = Mapping[str, Any]

REFERENCE = "#/components/schemas/"

# (OpenAPI type, format) -> SQL type; the format None stands for all others.
SQL_TYPES: dict[tuple[str, str | None], Type] = {
    ("string", "int64"): Type.BIGINT,
    ("string", "uint64"): Type.UBIGINT,
    ("string", "date-time"): Type.TIMESTAMPTZ,
    ("string", "google-datetime"): Type.TIMESTAMPTZ,
    ("string", "date"): Type.DATE,
    ("string", "binary"): Type.BLOB,
    ("string", None): Type.VARCHAR,
    ("integer", "uint64"): Type.UBIGINT,
    ("integer", None): Type.BIGINT,
    ("number", None): Type.DOUBLE,
    ("boolean", None): Type.BOOLEAN,
}


def followed(schemas: Mapping[str, Definition], schema: Definition) -> Definition:
    """The schema itself where it is only a reference (to a reference, ...)."""
    seen: set[str] = set()
    while "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(REFERENCE)
        if name in seen or name not in schemas:
            return {}
        seen.add(name)
        schema = schemas[name]
    return schema


def sql_type(schemas: Mapping[str, Definition], schema: Definition) -> Type:
    """The SQL type of a field."""
    found = followed(schemas, schema)
    kind = str(found.get("type", ""))
    if found.get("x-stackQL-stringOnly"):
        return Type.VARCHAR
    exact = SQL_TYPES.get((kind, found.get("format")))
    return exact or SQL_TYPES.get((kind, None), Type.JSON)


def members(key: str) -> tuple[str, ...]:
    """The members that an object key walks through: `$.a.b[*]` gives a, b.

    Raises:
        ValueError: the key is not of that kind.
    """
    if not key or key == "$":
        return ()
    if not key.startswith("$"):
        raise ValueError(f"the object key {key!r} does not start with $")
    parts: list[str] = []
    rest = key[1:]
    while rest:
        if rest.startswith("[*]"):
            rest = rest[3:]
        elif rest.startswith("['") and "']" in rest:
            name, rest = rest[2:].split("']", 1)
            if "." in name:
                raise ValueError(f"the object key {key!r} names a member with a dot in it")
            parts.append(name)
        elif rest.startswith(".") and len(rest) > 1 and rest[1] not in ".[*":
            end = min((i for i in (rest.find(c, 1) for c in ".[") if i > 0), default=len(rest))
            parts.append(rest[1:end])
            rest = rest[end:]
        else:
            raise ValueError(f"the object key {key!r} is not of the form $.member.member")
    return tuple(parts)


def within(
    schemas: Mapping[str, Definition], schema: Definition, path: tuple[str, ...]
) -> Definition | None:
    """The schema of what lies at a path of members; None where the schema has no such member.

    Lists on the way stand for their elements. What a schema leaves open is an empty schema.
    """
    found = _element(schemas, schema)
    for name in path:
        properties = found.get("properties")
        if not properties and (found.get("type", "object") == "object"):
            extra = found.get("additionalProperties", {})
            found = _element(schemas, extra if isinstance(extra, Mapping) else {})
        elif not properties or name not in properties:
            return None
        else:
            found = _element(schemas, properties[name])
    return found


def columns(schemas: Mapping[str, Definition], schema: Definition) -> tuple[Column, ...]:
    """The columns of a row with that schema: its members."""
    row = _element(schemas, schema)
    return tuple(
        Column(name, sql_type(schemas, field), (name,), str(field.get("description", "")))
        for name, field in properties_of(schemas, row).items()
    )


def properties_of(schemas: Mapping[str, Definition], schema: Definition) -> dict[str, Definition]:
    """The members of an object schema, those of its `allOf` parts included."""
    found = followed(schemas, schema)
    made: dict[str, Definition] = {}
    for part in found.get("allOf", ()):
        made |= properties_of(schemas, part)
    return made | dict(found.get("properties", {}))


def _element(schemas: Mapping[str, Definition], schema: Definition) -> Definition:
    found = followed(schemas, schema)
    while found.get("type") == "array":
        found = followed(schemas, found.get("items", {}))
    if "allOf" in found:
        return {**found, "properties": properties_of(schemas, found)}
    return found
