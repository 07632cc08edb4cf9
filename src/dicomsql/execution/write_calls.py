"""Rows become the calls of a write: parameters, bodies, requests, all checked before the first."""

from __future__ import annotations

import base64
import binascii
import datetime
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicomsql.catalog.body import check_body, check_fields, coerce_field
from dicomsql.dicom.multipart import (
    OutgoingPart,
    multipart_content_type,
    multipart_writer,
    new_boundary,
)
from dicomsql.errors import DataError, InternalError, PlanningError
from dicomsql.execution.calls import CallValues, make_request
from dicomsql.execution.reads import ReadRun

if TYPE_CHECKING:
    from dicomsql.catalog.load import Catalog
    from dicomsql.catalog.model import Method
    from dicomsql.execution.run import Run
    from dicomsql.planning.plan import WritePlan
    from dicomsql.transport.base import Body, Request

# Bytes read from a file at a time.
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One call of a write.

    Attributes:
        row: its row in the source, from 1.
    """

    row: int
    values: CallValues
    request: Request


class FileBody:
    """A file as a body that is read anew for each attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


class PartBody:
    """A body as the only part of a multipart body, read anew for each attempt."""

    def __init__(self, body: FileBody, media: str, boundary: str) -> None:
        self._body = body
        self._media = media
        self._boundary = boundary

    def __call__(self) -> Iterator[bytes]:
        yield from multipart_writer([OutgoingPart(self._body(), self._media)], self._boundary)


def calls_of(run: Run, plan: WritePlan, catalog: Catalog) -> list[WriteCall]:
    """Every call of a write, checked, before the first one is made.

    Raises:
        PlanningError: a row lacks a parameter, or a body does not fit its schema.
        DataError: a condition rests on a value that is not of its type.
    """
    fixed = [[(c.parameter, v) for v in c.values] for c in plan.constants if len(c.values) != 1]
    single: CallValues = {c.parameter: c.values[0] for c in plan.constants if len(c.values) == 1}
    rows = _source_rows(run, plan)
    calls: list[WriteCall] = []
    made: set[tuple[tuple[str, str | tuple[str, ...]], ...]] = set()
    for combination in itertools.product(*fixed):
        for number, row in enumerate(rows, 1):
            values: CallValues = {**single, **dict(combination)}
            members = _members(plan, row, values, catalog, number)
            if plan.mask and plan.method.mask:
                values[plan.method.mask] = ",".join(plan.mask)
            _check_complete(plan, number, values)
            if plan.verb == "delete":
                # What a query shows twice can be deleted once.
                key = tuple(sorted(values.items()))
                if key in made:
                    continue
                made.add(key)
            calls.append(WriteCall(len(calls) + 1, values, _request(plan, values, members)))
    return calls


def _check_complete(plan: WritePlan, number: int, values: CallValues) -> None:
    missing = [name for name in plan.method.required if not values.get(name)]
    if missing:
        raise PlanningError(
            f"{plan.method.full_name}: row {number} has no value for {', '.join(missing)}.",
            resource=plan.resource,
            missing={plan.method.name: tuple(missing)},
            given=tuple(values),
        )


# -- the source ------------------------------------------------------------------------------------


def _source_rows(run: Run, plan: WritePlan) -> list[tuple[Any, ...]]:
    """The rows that a write's query gives, once they have passed its guards."""
    if plan.source is None:
        return [()]
    active = ReadRun(run, plan.source)
    # The engine has one result open at a time, so the guards come before the query.
    rows = active.open(lambda: _guard(run, plan))
    if rows is None:
        raise InternalError("The source of a write gives no rows.")
    try:
        if len(rows.columns) != len(plan.fields):
            raise PlanningError(
                f"The query gives {len(rows.columns)} columns, but {len(plan.fields)} are to be "
                f"filled: {', '.join('.'.join(f.path) for f in plan.fields)}.",
                resource=plan.resource,
            )
        is_json = [c.type == "JSON" for c in rows.columns]
        found: list[tuple[Any, ...]] = []
        for batch in active.batches():
            columns = [
                _json_values(column.to_pylist()) if nested else column.to_pylist()
                for column, nested in zip(batch.columns, is_json, strict=True)
            ]
            found += zip(*columns, strict=True)
        return found
    finally:
        active.close()


def _guard(run: Run, plan: WritePlan) -> None:
    """Stop where a row's condition rests on a value that did not parse."""
    assert plan.source is not None
    for sql, name in plan.source.guards:
        unparsed = run.engine.value(sql)
        if isinstance(unparsed, int) and unparsed:
            raise DataError(
                f"{unparsed:,} row{'s' * (unparsed != 1)} of {plan.resource} "
                f"{'have' if unparsed != 1 else 'has'} a {name} that is no value of its type, so "
                f"the condition cannot be judged. Nothing was written; SELECT {name}_raw shows "
                f"the text."
            )


def _json_values(values: list[Any]) -> list[Any]:
    return [json.loads(v) if isinstance(v, str) else v for v in values]


# -- bodies ----------------------------------------------------------------------------------------


def _members(
    plan: WritePlan, row: tuple[Any, ...], values: CallValues, catalog: Catalog, number: int
) -> dict[str, Any]:
    """The body's members in a row's call; parameters in the row go into `values`."""
    method = plan.method
    members = _given_body(plan)
    for field, value in zip(plan.fields, row, strict=True):
        if value is None:
            continue
        if field.where == "parameter":
            values[field.path[0]] = _text(value)
            continue
        made = coerce_field(catalog, method, ".".join(field.path), value)
        _place(plan, members, field.path, made)
    if method.id_from_name is not None:
        parameter, source = method.id_from_name
        name = members.get(source)
        if isinstance(name, str) and name:
            _check_name(plan, name, values, number)
        if not values.get(parameter) and isinstance(name, str) and name:
            # The id says the name; what is no full resource name would be refused as one.
            values[parameter] = name.rsplit("/", 1)[-1]
            if "/" not in name:
                del members[source]
    if method.body and plan.verb == "update":
        check_fields(catalog, method, members)
    elif method.body and not plan.file and plan.body is None and (members or plan.verb != "exec"):
        check_body(catalog, method, members)
    return members


def _check_name(plan: WritePlan, name: str, values: CallValues, number: int) -> None:
    """Make sure that a full resource name says the same as the row's parameters.

    Raises:
        PlanningError: it names another place or another id, so that one of them is not meant.
    """
    assert plan.method.id_from_name is not None
    parameter, source = plan.method.id_from_name
    found = name.split("/")
    expected = plan.method.path.strip("/").split("/")
    if found[0] in expected:
        # The path's version stands before what the name begins with.
        expected = expected[expected.index(found[0]) :]
    expected.append(f"{{{parameter}}}")
    if len(found) != len(expected):
        return  # what is no full name is for the server to judge
    contradicted = []
    for segment, part in zip(expected, found, strict=True):
        inner = segment.removeprefix("{").removesuffix("}")
        if segment == inner:
            if segment != part:
                return
        elif values.get(inner) and values[inner] != part:
            contradicted.append(inner)
    if contradicted:
        raise PlanningError(
            f"{plan.method.full_name}: in row {number} the {source} contradicts "
            f"{', '.join(contradicted)}, which the statement or the session gives otherwise. Give "
            f"the last part of the {source} alone, or the same place in both.",
            resource=plan.resource,
        )


def _given_body(plan: WritePlan) -> dict[str, Any]:
    """The body that the statement gives whole, made anew for each call."""
    found = json.loads(plan.body) if plan.body is not None else {}
    if not isinstance(found, dict):
        raise PlanningError(
            f"{plan.method.full_name}: the body has to be a JSON object.", resource=plan.resource
        )
    return found


def _place(plan: WritePlan, members: dict[str, Any], path: tuple[str, ...], made: object) -> None:
    inner = members
    for depth, member in enumerate(path[:-1], 1):
        found = inner.setdefault(member, {})
        if not isinstance(found, dict):
            raise PlanningError(
                f"{plan.method.full_name}: {'.'.join(path[:depth])} is no object, so that "
                f"{'.'.join(path)} cannot be set in it.",
                resource=plan.resource,
            )
        inner = found
    inner[path[-1]] = made


def _request(plan: WritePlan, values: CallValues, members: dict[str, Any]) -> Request:
    """A row's request. Its URL is made once here, so that a bad value stops all of the calls."""
    method = plan.method
    body: Body = None
    media = ""
    if plan.file:
        body, media = _file_body(_existing(method, plan.file), method.body_media)
    elif method.body_media and "json" not in method.body_media:
        body, media = _raw_body(plan, members)
    elif method.body:
        body, media = json.dumps(members).encode(), "application/json"
    request = make_request(method, plan.base_url, values, body=body, media=media)
    assert request.url
    return request


def _existing(method: Method, name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise PlanningError(f"{method.full_name}: there is no file {name}.")
    return path


def _file_body(path: Path, media: str) -> tuple[Body, str]:
    """A file as a body; where the method takes several parts, as the only one of them."""
    if not media.startswith("multipart/"):
        return FileBody(path), media
    boundary = new_boundary()
    kind = re.search(r'type="([^"]+)"', media)
    part = kind[1] if kind else "application/dicom"
    return PartBody(FileBody(path), part, boundary), multipart_content_type(boundary, part)


def _raw_body(plan: WritePlan, members: Mapping[str, Any]) -> tuple[Body, str]:
    """Google's HttpBody as it goes over the wire: the bytes themselves, under their own type."""
    method = plan.method
    media = str(members.get("contentType") or method.body_media)
    if "\r" in media or "\n" in media:
        raise PlanningError(f"{method.full_name}: the contentType is one line.")
    if members.get("file"):
        if members.get("data"):
            raise PlanningError(f"{method.full_name}: give a file or data as the body, not both.")
        return _file_body(_existing(method, str(members["file"])), media)
    data = members.get("data", "")
    if isinstance(data, bytes):
        return data, media
    try:
        return base64.b64decode(str(data), validate=True), media
    except (binascii.Error, ValueError):
        raise PlanningError(
            f"{method.full_name}: the body's data has to be base64; "
            f"@@file = 'path' sends a file as it is."
        ) from None


def _text(value: Any) -> str:
    """A value of SQL as a parameter's text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)
