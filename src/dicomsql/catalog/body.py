"""Request bodies against their schemas: values turned into what a field takes, faults found early.

Nothing here shows a value in an error, since bodies may hold what identifies a patient.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from dicomsql.catalog import shapes
from dicomsql.catalog.load import Catalog
from dicomsql.catalog.model import Method, Schema
from dicomsql.errors import PlanningError, nearest

Definition = Mapping[str, Any]

# Inclusive ranges of OpenAPI's integer formats.
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
# Texts that hold an integer, since JSON's numbers are not safe for so large ones.
_INTEGER_TEXTS = frozenset({"int64", "uint64"})
_INTEGER = re.compile(r"[+-]?\d+")
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
_KINDS = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "object": "a JSON object",
    "array": "a JSON list",
}


def body_fields(catalog: Catalog, method: Method) -> tuple[str, ...]:
    """The names of a method's body fields; empty where the body is not described."""
    schemas, body = _body(catalog, method)
    return tuple(shapes.properties_of(schemas, body))


def check_body(catalog: Catalog, method: Method, body: object) -> None:
    """Check a whole body: its fields, their types, and that none is missing.

    Args:
        body: as JSON would be read: mappings, lists, text, numbers, booleans, None.

    Raises:
        PlanningError: it does not fit; the text names the field.
    """
    given = body if isinstance(body, Mapping) else {}
    missing = [name for name in method.body_required if given.get(name) is None]
    if missing:
        raise PlanningError(
            f"{method.full_name} needs {', '.join(missing)} in its body.",
            resource=method.full_name,
            missing={method.name: tuple(missing)},
            given=tuple(given),
        )
    check_fields(catalog, method, body)


def check_fields(catalog: Catalog, method: Method, body: object) -> None:
    """Check the fields that a body has, as of a patch, which need not be all.

    Raises:
        PlanningError: one does not fit; the text names it.
    """
    schemas, definition = _body(catalog, method)
    for fault in _faults(schemas, definition, body, ""):
        raise PlanningError(f"{method.full_name}: {fault}", resource=method.full_name)


def coerce_field(catalog: Catalog, method: Method, field: str, value: object) -> object:
    """What a body holds for a value of SQL that is given for a field.

    Objects and lists may be given as JSON text; 64-bit integers as numbers or digits; times as
    times or text. None stays None.

    Args:
        field: a field's name, or a path of members such as `labels.env`.

    Raises:
        PlanningError: there is no such field, or the value is not of its type.
    """
    schemas, body = _body(catalog, method)
    if value is None or not body:
        return value
    try:
        definition = _field(schemas, body, field)
        return _coerced(schemas, definition, field, value)
    except ValueError as error:
        raise PlanningError(f"{method.full_name}: {error}", resource=method.full_name) from None


class _Schemas(Mapping[str, Definition]):
    """A service's schemas by name, each read when it is asked for."""

    def __init__(self, catalog: Catalog, provider: str, service: str) -> None:
        self._of = (catalog, provider, service)

    def __getitem__(self, name: str) -> Definition:
        catalog, provider, service = self._of
        try:
            found: Schema = catalog.schema(provider, service, name)
        except PlanningError:
            raise KeyError(name) from None
        return found.definition

    def __iter__(self) -> Iterator[str]:
        catalog, provider, service = self._of
        return iter(catalog.schema_names(provider, service))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def schemas_of(catalog: Catalog, method: Method) -> Mapping[str, Definition]:
    """The schemas that a method's bodies and answers may refer to, by name."""
    return _Schemas(catalog, method.provider, method.service)


def _body(catalog: Catalog, method: Method) -> tuple[Mapping[str, Definition], Definition]:
    """The schemas and the body's own; an empty one where anything may be sent."""
    schemas = schemas_of(catalog, method)
    if not method.body:
        return schemas, {}
    definition = schemas[method.body]
    return schemas, {} if definition.get("x-dicomsql", {}).get("raw") else definition


def _field(schemas: Mapping[str, Definition], body: Definition, field: str) -> Definition:
    found, walked = body, ""
    for name in field.split("."):
        properties = shapes.properties_of(schemas, found)
        extra = shapes.followed(schemas, found).get("additionalProperties")
        if name in properties:
            found = properties[name]
        elif isinstance(extra, Mapping):
            found = extra
        elif not properties:
            return {}
        else:
            of = f"{walked} has" if walked else "the body has"
            raise ValueError(f"{of} no field {name}.{nearest(name, list(properties))}")
        walked = f"{walked}.{name}" if walked else name
    return found


def _coerced(
    schemas: Mapping[str, Definition], definition: Definition, field: str, value: object
) -> object:
    found = shapes.followed(schemas, definition)
    kind = found.get("type", "object" if "properties" in found else "")
    if kind in {"object", "array"}:
        return _coerced_json(kind, field, value)
    if kind == "string":
        return _coerced_text(found.get("format", ""), field, value)
    if kind in {"integer", "number"}:
        return _coerced_number(kind, field, value)
    if kind == "boolean" and isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if kind == "boolean" and not isinstance(value, bool):
        raise ValueError(f"{field} takes true or false.")
    return value


def _coerced_json(kind: str, field: str, value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=_no_constant)
        except ValueError as error:
            place = (
                f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            )
            raise ValueError(
                f"{field} takes {_KINDS[kind]}, and its text is no JSON{place}."
            ) from None
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, dict if kind == "object" else list):
        raise ValueError(f"{field} takes {_KINDS[kind]}.")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _coerced_text(form: str, field: str, value: object) -> object:
    if form in _INTEGER_TEXTS:
        return str(_integer(field, value))
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"{field} takes text.")
    return value


def _coerced_number(kind: str, field: str, value: object) -> object:
    if kind == "integer":
        return _integer(field, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, (Decimal, str)):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if number - number == 0:  # neither NaN nor infinite, which JSON does not have
            return number
    raise ValueError(f"{field} takes a number.")


def _integer(field: str, value: object) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            if value == int(value):
                return int(value)
        except (ValueError, OverflowError):  # NaN, infinity
            pass
    raise ValueError(f"{field} takes an integer.")


def _faults(
    schemas: Mapping[str, Definition], definition: Definition, value: object, path: str
) -> Iterator[str]:
    """What is wrong with a value, each as a sentence that names the field."""
    found = shapes.followed(schemas, definition)
    kind = found.get("type", "object" if "properties" in found or "allOf" in found else "")
    where = path or "the body"
    if value is None or not kind:
        return
    if not _is_of(kind, found.get("format", ""), value):
        yield f"{where} takes {_KINDS[kind]}."
    elif kind == "object" and isinstance(value, Mapping):
        yield from _object_faults(schemas, found, value, path)
    elif kind == "array" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _faults(schemas, found.get("items", {}), item, f"{path}[{index}]")
    else:
        yield from _scalar_faults(found, value, where)


def _is_of(kind: str, form: str, value: object) -> bool:
    match kind:
        case "object":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, list)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case _:
            number = form in _INTEGER_TEXTS and isinstance(value, int)
            return isinstance(value, str) or (number and not isinstance(value, bool))


def _object_faults(
    schemas: Mapping[str, Definition], found: Definition, value: Mapping[str, Any], path: str
) -> Iterator[str]:
    properties = shapes.properties_of(schemas, found)
    extra = found.get("additionalProperties", "properties" not in found and "allOf" not in found)
    longest = found.get("x-dicomsql", {}).get("keyMaxLength")
    most = found.get("maxProperties")
    if most is not None and len(value) > most:
        yield f"{path or 'the body'} has {len(value)} members; at most {most} may be given."
    for name, item in value.items():
        inner = f"{path}.{name}" if path else str(name)
        if name in properties:
            field = properties[name]
            if field.get("readOnly") and item is not None:
                yield f"{inner} is set by the server and cannot be given."
            else:
                yield from _faults(schemas, field, item, inner)
        elif extra is False:
            yield f"there is no field {inner}.{nearest(str(name), list(properties))}"
        else:
            if longest is not None and len(str(name)) > longest:
                yield f"{path} has a key of {len(str(name))} characters; at most {longest} fit."
            if isinstance(extra, Mapping):
                yield from _faults(schemas, extra, item, inner)
    for name in found.get("required", ()) if path else ():
        if value.get(name) is None:
            yield f"{path} needs {name}."


def _scalar_faults(found: Definition, value: object, where: str) -> Iterator[str]:
    choices, form = found.get("enum"), found.get("format", "")
    if choices is not None and value not in choices:
        hint = nearest(value, [str(c) for c in choices]) if isinstance(value, str) else ""
        yield f"{where} takes one of {', '.join(map(str, choices))}.{hint}"
    most = found.get("maxLength")
    if most is not None and isinstance(value, str) and len(value) > most:
        yield f"{where} has {len(value)} characters; at most {most} fit."
    if form in _RANGES:
        low, high = _RANGES[form]
        digits = str(value).strip()
        if not _INTEGER.fullmatch(digits):
            yield f"{where} takes an integer."
        elif not low <= int(digits) <= high:
            yield f"{where} takes an integer from {low} to {high}."
    elif form == "google-duration" and not _DURATION.fullmatch(str(value)):
        yield f"{where} takes a duration in seconds, such as 3.5s."
