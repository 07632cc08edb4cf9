"""The compiled form of a document: lines of JSON, of which a reader decodes only what it needs.

The first line is a digest of the rest, so that a damaged file is known as one. The second line is
the head with the names of all parts; each further line is one part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dicomsql.catalog.compiled import CompiledProvider, CompiledService, ServiceEntry
from dicomsql.catalog.model import (
    Attribute,
    Column,
    Consent,
    DicomTable,
    Measure,
    Method,
    Moves,
    OffsetPaging,
    Operations,
    Parameter,
    Preview,
    Provider,
    Resource,
    Rowset,
    Schema,
    Service,
    TokenPaging,
    Type,
)

# The modules that decide what a compiled form holds. Their text is part of its name, so that no
# version of dicomsql reads what another one made, whether or not someone thought of a number.
_MAKERS = ("compile", "compiled", "model", "openapi", "pack", "shapes")


class Damaged(ValueError):
    """The bytes are no compiled form, or were changed."""


def digest(*parts: bytes) -> str:
    """A short name for bytes, the same wherever they are the same."""
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made.hexdigest()


@cache
def makers() -> bytes:
    """The text of the modules that make compiled forms; empty where they have none."""
    files = (Path(__file__).with_name(f"{name}.py") for name in _MAKERS)
    return b"".join(file.read_bytes() for file in files if file.is_file())


def to_lines(head: object, parts: Sequence[object] = ()) -> bytes:
    """The compiled form of a head and its parts."""
    lines = b"\n".join(
        json.dumps(_plain(part), separators=(",", ":"), ensure_ascii=False).encode()
        for part in (head, *parts)
    )
    return digest(lines).encode() + b"\n" + lines


def from_lines(data: bytes) -> list[bytes]:
    """The lines of a compiled form, the head first, still as JSON.

    Raises:
        Damaged: the digest is another.
    """
    first, _, rest = data.partition(b"\n")
    if first != digest(rest).encode():
        raise Damaged("the digest does not fit")
    return rest.split(b"\n")


def pack_provider(compiled: CompiledProvider) -> bytes:
    """The compiled form of a provider."""
    return to_lines(compiled)


def unpack_provider(lines: Sequence[bytes]) -> CompiledProvider:
    """The provider of a compiled form."""
    found = json.loads(lines[0])
    return CompiledProvider(
        provider=Provider(**_tuples(found["provider"], "services", "scopes")),
        entries=tuple(ServiceEntry(**entry) for entry in found["entries"]),
        config=found["config"],
    )


def pack_service(compiled: CompiledService) -> bytes:
    """The compiled form of a service: a head, its resources, its schemas."""
    head = {"service": compiled.service, "schemas": [schema.name for schema in compiled.schemas]}
    return to_lines(head, [*compiled.resources, *(s.definition for s in compiled.schemas)])


class PackedService:
    """A service read from its compiled form; resources and schemas are made when asked for."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        head = json.loads(lines[0])
        found = head["service"]
        operations = found.pop("operations", None)
        self.service = Service(
            **_tuples(found, "resource_names"),
            operations=Operations(**operations) if operations else None,
        )
        names = self.service.resource_names
        self._resources = dict(zip(names, lines[1:], strict=False))
        self._schemas = dict(zip(head["schemas"], lines[1 + len(names) :], strict=True))
        self._made_resources: dict[str, Resource] = {}
        self._made_schemas: dict[str, Schema] = {}

    @property
    def schema_names(self) -> tuple[str, ...]:
        return tuple(self._schemas)

    def resource(self, name: str) -> Resource:
        """The resource of exactly that name."""
        if name not in self._made_resources:
            self._made_resources[name] = _resource(json.loads(self._resources[name]))
        return self._made_resources[name]

    def schema(self, name: str) -> Schema:
        """The schema of exactly that name."""
        if name not in self._made_schemas:
            self._made_schemas[name] = Schema(name, json.loads(self._schemas[name]))
        return self._made_schemas[name]


def _plain(value: object) -> Any:
    """Mappings, lists and scalars for a value; fields with their default value are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        made = {}
        for field in fields(value):
            content = getattr(value, field.name)
            if field.default is MISSING or content != field.default:
                made[field.name] = _plain(content)
        return made
    if isinstance(value, Mapping):
        return {key: _plain(content) for key, content in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(content) for content in value]
    return value


def _resource(found: dict[str, Any]) -> Resource:
    dicom = found.pop("dicom", None)
    return Resource(
        **found
        | {
            "methods": {name: _method(entry) for name, entry in found["methods"].items()},
            "verbs": {verb: tuple(names) for verb, names in found["verbs"].items()},
        },
        dicom=_dicom(dicom) if dicom else None,
    )


def _method(found: dict[str, Any]) -> Method:
    made = _tuples(found, "body_required", "servers")
    made["parameters"] = tuple(Parameter(**p) for p in found["parameters"])
    for key in ("columns", "page_columns"):
        made[key] = tuple(_column(c) for c in found.get(key, ()))
    if "paging" in found:
        paging = found["paging"]
        made["paging"] = OffsetPaging(**paging) if "max_offset" in paging else TokenPaging(**paging)
    made["query"] = _pairs(found.get("query", ()))
    if "rowset" in found:
        rowset = found["rowset"]
        made["rowset"] = Rowset(**rowset | {"more_values": _pairs(rowset["more_values"])})
    if "id_from_name" in found:
        made["id_from_name"] = tuple(found["id_from_name"])
    if "consent" in found:
        consent = found["consent"]
        measures = tuple(
            Measure(**m | {"counts": tuple((label, name) for label, name in m["counts"])})
            for m in consent.get("measures", ())
        )
        made["consent"] = Consent(**consent | {"measures": measures})
    return Method(**made)


def _column(found: dict[str, Any]) -> Column:
    return Column(**_tuples(found, "path") | {"type": Type(found["type"])})


def _dicom(found: dict[str, Any]) -> DicomTable:
    made = _tuples(found, "fuzzy")
    made["attributes"] = tuple(Attribute(**_tuples(a, "match")) for a in found["attributes"])
    for key in ("identity", "tables", "metadata", "sizes"):
        made[key] = _pairs(found.get(key, ()))
    if "moves" in found:
        moves = _tuples(found["moves"], "exists")
        made["moves"] = Moves(**moves | {"retrieve": _pairs(moves.get("retrieve", ()))})
    if "preview" in found:
        preview = _tuples(found["preview"], "none")
        made["preview"] = Preview(**preview | {"query": _pairs(preview.get("query", ()))})
    return DicomTable(**made)


def _pairs(found: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in found)


def _tuples(found: dict[str, Any], *names: str) -> dict[str, Any]:
    return found | {name: tuple(found[name]) for name in names if name in found}
