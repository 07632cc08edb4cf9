"""Instances as rows of a table: one column for each attribute, or all of them in one of JSON.

The flattened form follows Google's page on the BigQuery schema of DICOM metadata: columns are named
by keyword and typed by the dictionary's VR, whatever VR the file says; an attribute of more than
one value (VM) is repeated; names of persons and sequences are records. What finds no column of its
own (private attributes, unknown ones, values that are not what their VR says) is in `OtherElements`
with its tag and its values as text; what holds no text (binary values, sequences over 1 MB) is
named in `DroppedTags`. Of what that page leaves open: DS and IS are texts, as in the public tables
of the Imaging Data Commons.

The JSON form is that of `SchemaJSON` in the discovery document of the API.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dicomsql.emulator.neighbours.base import Column
from dicomsql.emulator.neighbours.columns import merged

__all__ = ["LARGEST_ROW", "Form", "Row", "Source", "row"]

LARGEST_ROW = 1_000_000  # bytes of a row's JSON; BigQuery's limit for streams
_LARGEST_SEQUENCE = 1_000_000

Dataset = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """An instance that becomes a row.

    Attributes:
        store: the resource name of its store.
        dataset: DICOM JSON.
        structured_size: bytes of its metadata.
        blob_size: bytes of its file.
        updated: when it was stored or changed, seconds since 1970.
        change: `INSERT` or `DELETE`.
    """

    store: str
    dataset: Dataset
    structured_size: int
    blob_size: int
    storage_class: str
    updated: float
    change: str = "INSERT"


@dataclass(frozen=True, slots=True)
class Form:
    """Which columns a table gets."""

    flattened: bool = True
    source_store: bool = False

    @staticmethod
    def of(destination: Mapping[str, Any]) -> Form:
        """The form that a BigQueryDestination asks for; flattened unless it asks for JSON."""
        return Form("schemaJson" not in destination, bool(destination.get("includeSourceStore")))


@dataclass(frozen=True, slots=True)
class Row:
    """A row and the columns that it needs; those of a table are the columns of all its rows."""

    columns: tuple[Column, ...]
    values: dict[str, Any]


def row(source: Source, form: Form) -> Row | None:
    """The row of an instance; None where it is larger than BigQuery takes."""
    made = _flattened(source.dataset) if form.flattened else _as_json(source)
    if form.source_store:
        columns = (*made.columns, Column("SourceDicomStore", "STRING"))
        made = Row(columns, {**made.values, "SourceDicomStore": source.store})
    size = len(json.dumps(made.values, ensure_ascii=False).encode())
    return made if size <= LARGEST_ROW else None


_OTHER = Column(
    "OtherElements",
    "RECORD",
    "REPEATED",
    (Column("Tag", "STRING"), Column("Data", "STRING", "REPEATED")),
)
_DROPPED = Column("DroppedTags", "RECORD", "REPEATED", (Column("TagName", "STRING"),))
_NAME_PARTS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_FIELDS = tuple(Column(part, "STRING") for part in _NAME_PARTS)
_TEXTS = "AE AS AT CS DS IS LO LT SH ST UC UI UR UT"
_INTEGERS = "SL SS SV UL US UV"
_TYPES = {
    **dict.fromkeys(_TEXTS.split(), "STRING"),
    **dict.fromkeys(("FL", "FD"), "FLOAT"),
    **dict.fromkeys(_INTEGERS.split(), "INTEGER"),
    "DA": "DATE",
    "DT": "TIMESTAMP",
    "PN": "RECORD",
    "SQ": "RECORD",
    "TM": "TIME",
}
_JSON_COLUMNS = (
    Column("StudyInstanceUID", "STRING"),
    Column("SeriesInstanceUID", "STRING"),
    Column("SOPInstanceUID", "STRING"),
    Column("Metadata", "JSON"),
    Column("StructuredStorageSize", "INTEGER"),
    Column("DroppedTags", "STRING", "REPEATED"),
    Column("StorageClass", "STRING"),
    Column("LastUpdated", "TIMESTAMP"),
    Column("BlobStorageSize", "INTEGER"),
    Column("Type", "STRING"),
)
_UIDS = {"StudyInstanceUID": "0020000D", "SeriesInstanceUID": "0020000E"}
_UIDS["SOPInstanceUID"] = "00080018"


@dataclass(frozen=True, slots=True)
class _Attribute:
    """What the dictionary says of an attribute."""

    keyword: str
    vr: str
    repeated: bool


class _Misfit(Exception):
    """A value is not what the dictionary says of its attribute."""


def _as_json(source: Source) -> Row:
    kept, dropped = {}, []
    for tag, element in source.dataset.items():
        if _is_binary(element) or _too_large(element):
            dropped.append(_shown(tag))
        else:
            kept[tag] = element
    values: dict[str, Any] = {
        name: _first(source.dataset.get(tag, {})) for name, tag in _UIDS.items()
    }
    moment = datetime.datetime.fromtimestamp(source.updated, datetime.UTC)
    values |= {
        "Metadata": json.dumps(kept, ensure_ascii=False, separators=(",", ":")),
        "StructuredStorageSize": source.structured_size,
        "DroppedTags": dropped,
        "StorageClass": source.storage_class,
        "LastUpdated": moment.isoformat(),
        "BlobStorageSize": source.blob_size,
        "Type": source.change,
    }
    return Row(_JSON_COLUMNS, values)


def _flattened(dataset: Dataset) -> Row:
    dropped: list[str] = []
    columns, values = _record(dataset, "", dropped)
    columns[_DROPPED.name] = _DROPPED
    values[_DROPPED.name] = [{"TagName": name} for name in dropped]
    last = (_OTHER.name, _DROPPED.name)
    ordered = [columns[name] for name in sorted(columns) if name not in last]
    return Row((*ordered, _OTHER, _DROPPED), {_OTHER.name: [], **values})


def _record(
    dataset: Dataset, path: str, dropped: list[str]
) -> tuple[dict[str, Column], dict[str, Any]]:
    """The columns and values of a data set, or of an item of a sequence."""
    columns: dict[str, Column] = {}
    values: dict[str, Any] = {}
    others: list[dict[str, Any]] = []
    for tag, element in dataset.items():
        attribute = _attribute(tag)
        if _is_binary(element) or _too_large(element):
            dropped.append(path + _shown(tag))
        elif attribute is None:
            if element.get("vr") == "SQ":
                dropped.append(path + _shown(tag))
            else:
                others.append(_other(tag, element))
        elif attribute.vr == "SQ" or element.get("vr") == "SQ":
            if attribute.vr != element.get("vr"):
                dropped.append(path + attribute.keyword)
                continue
            name = attribute.keyword
            fields, items = _items(element, f"{path}{name}.", dropped)
            if fields:
                columns[name] = Column(name, "RECORD", "REPEATED", fields)
                values[name] = items
        else:
            column = _column(attribute)
            try:
                values[column.name] = _value(attribute, element)
            except _Misfit:
                others.append(_other(tag, element))
                values.setdefault(column.name, [] if attribute.repeated else None)
            columns[column.name] = column
    if others:
        columns[_OTHER.name] = _OTHER
        values[_OTHER.name] = others
    return columns, values


def _items(
    element: Mapping[str, Any], path: str, dropped: list[str]
) -> tuple[tuple[Column, ...], list[dict[str, Any]]]:
    fields: tuple[Column, ...] = ()
    items = []
    for item in element.get("Value", ()):
        columns, values = _record(item or {}, path, dropped)
        fields = merged(fields, tuple(columns[name] for name in sorted(columns)))
        items.append(values)
    return fields, items


@cache
def _attribute(tag: str) -> _Attribute | None:
    """The dictionary's words on a tag; None for a private, an unknown and a repeating one."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR, keyword_for_tag

    number = int(tag, 16)
    if not dictionary_has_tag(number) or not keyword_for_tag(number):
        return None
    vr = dictionary_VR(number).split(" or ")[0]
    return _Attribute(keyword_for_tag(number), vr, dictionary_VM(number) != "1")


@cache
def _column(attribute: _Attribute) -> Column:
    mode = "REPEATED" if attribute.repeated else "NULLABLE"
    fields = _NAME_FIELDS if attribute.vr == "PN" else ()
    return Column(attribute.keyword, _TYPES.get(attribute.vr, "STRING"), mode, fields)


def _value(attribute: _Attribute, element: Mapping[str, Any]) -> Any:
    values = element.get("Value", [])
    if not attribute.repeated:
        if len(values) > 1:
            raise _Misfit
        return _scalar(attribute.vr, values[0]) if values else None
    read = [_scalar(attribute.vr, value) for value in values]
    if None not in read:
        return read
    if _TYPES.get(attribute.vr, "STRING") != "STRING":
        raise _Misfit  # a list of BigQuery has no empty place
    return ["" if value is None else value for value in read]


def _scalar(vr: str, value: Any) -> Any:
    if value is None:
        return None
    if vr == "PN":
        if not isinstance(value, Mapping):
            raise _Misfit
        return {part: value.get(part) for part in _NAME_PARTS}
    if isinstance(value, Mapping | list):
        raise _Misfit
    kind = _TYPES.get(vr, "STRING")
    if kind == "STRING":
        return str(value)
    if kind in _MOMENTS:
        return _MOMENTS[kind](str(value))
    try:
        if kind == "FLOAT":
            float(value)
            return value
        number = int(value)
    except (ValueError, OverflowError):
        raise _Misfit from None
    if not -(2**63) <= number < 2**63 or number != float(value):
        raise _Misfit
    return number


def _date(text: str) -> str:
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)", text.strip())
    if match is None:
        raise _Misfit
    found = "-".join(part for part in match.groups() if part is not None)
    try:
        return datetime.date.fromisoformat(found).isoformat()
    except ValueError:
        raise _Misfit from None


def _time(text: str) -> str:
    match = re.fullmatch(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d{1,6})?)?)?", text.strip())
    if match is None:
        raise _Misfit
    hour, minute, second, fraction = match.groups()
    found = f"{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"
    try:
        return datetime.time.fromisoformat(found).isoformat()
    except ValueError:
        raise _Misfit from None


def _moment(text: str) -> str:
    """A DT; what it leaves out is the first of its kind, and UTC."""
    match = re.fullmatch(
        r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\.\d{1,6})?([+-]\d{4})?", text.strip()
    )
    if match is None:
        raise _Misfit
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    zone = f"{offset[:3]}:{offset[3:]}" if offset else "+00:00"
    date = f"{year}-{month or '01'}-{day or '01'}"
    clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}"
    try:
        found = datetime.datetime.fromisoformat(f"{date}T{clock}{zone}")
        return found.astimezone(datetime.UTC).isoformat()
    except (ValueError, OverflowError):
        raise _Misfit from None


_MOMENTS = {"DATE": _date, "TIME": _time, "TIMESTAMP": _moment}


def _is_binary(element: Mapping[str, Any]) -> bool:
    return "InlineBinary" in element or "BulkDataURI" in element


def _too_large(element: Mapping[str, Any]) -> bool:
    return (
        element.get("vr") == "SQ"
        and len(json.dumps(element, ensure_ascii=False).encode()) > _LARGEST_SEQUENCE
    )


def _other(tag: str, element: Mapping[str, Any]) -> dict[str, Any]:
    return {"Tag": f"Tag_{tag}", "Data": [_text(value) for value in element.get("Value", ())]}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "=".join(str(value.get(part) or "") for part in _NAME_PARTS).rstrip("=")
    return str(value)


def _shown(tag: str) -> str:
    attribute = _attribute(tag)
    return attribute.keyword if attribute else f"Tag_{tag}"


def _first(element: Mapping[str, Any]) -> str | None:
    values: Iterable[Any] = element.get("Value", ())
    return next((str(value) for value in values if value is not None), None)
