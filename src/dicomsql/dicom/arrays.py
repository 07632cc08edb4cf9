"""Elements of one attribute, a page of them, into the Arrow array of a column.

Nothing here uses `pyarrow.compute`: its import costs more than a small page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

from dicomsql.dicom import elements, values
from dicomsql.dicom.columns import AttributeColumn, Kind, Part
from dicomsql.dicom.elements import LooseElement, NameElement, SequenceElement

__all__ = ["column_array", "from_values"]

_loose_element = msgspec.json.Decoder(LooseElement)


def column_array(
    column: AttributeColumn, form: type, page: Sequence[Any], offsets: Sequence[int | None]
) -> pa.Array:
    """The column's array.

    `page` has an element per row, all of them of `form`: a strict shape, `LooseElement`, or `Raw`
    (empty where the dataset lacks the attribute). `offsets` has the minutes from UTC of each
    dataset and is only looked at for `Part.UTC`.

    Raises:
        OverflowError, UnicodeEncodeError, pa.ArrowInvalid: strict elements hold a value that the
            column cannot; loose and raw ones never do.
    """
    if column.part in (Part.RAW, Part.PRIVATE):
        return from_values(column.arrow_type, [elements.raw_text(element) for element in page])
    if form is Raw:
        form, page = _opened(column, page)
    if form is SequenceElement:
        texts = [elements.sequence_text(element.Value) for element in page]
        return from_values(column.arrow_type, texts)
    if form is LooseElement or column.many:
        return _loose_array(column, form, page, offsets)
    return _single_array(column, form, page, offsets)


def from_values(kind: pa.DataType, found: Iterable[Any]) -> pa.Array:
    """An array of that type, which may be an extension type; dates and times as integers."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(found, kind.storage_type))
    return pa.array(found, kind)


def _opened(column: AttributeColumn, page: Sequence[Raw]) -> tuple[type, list[Any]]:
    """Elements that came as text, in the form that the column's kind is read from."""
    form = SequenceElement if column.kind is Kind.SEQUENCE else LooseElement
    opened = []
    for element in page:
        try:
            opened.append(msgspec.json.decode(element, type=form) if element else form())
        except (msgspec.DecodeError, UnicodeDecodeError):
            opened.append(form())
    return form, opened


def _single_array(
    column: AttributeColumn,
    form: type[Struct],
    page: Sequence[Any],
    offsets: Sequence[int | None],
) -> pa.Array:
    """The array of strict elements with one value each."""
    if column.kind is Kind.BULK:
        return _text_array([element.BulkDataURI or None for element in page], column.vr)
    if form is NameElement:
        group = attrgetter(elements.name_group(column.part))
        names = map(group, [element.Value[0] for element in page])
        return _text_array([name or None for name in names], column.vr)
    if column.kind is Kind.TEXT:
        return _text_array([element.Value[0] or None for element in page], column.vr)
    memo = _MEMOS.get(column.kind)
    if memo is None:
        return from_values(column.arrow_type, [element.Value[0] for element in page])
    found: list[Any] = [memo[element.Value[0]] for element in page]
    if column.kind is Kind.DATETIME:
        found = _datetimes(column, found, offsets)
    return from_values(column.arrow_type, found)


_MEMOS: dict[Kind, values.Memo[Any]] = {
    Kind.DATE: elements.DATES,
    Kind.TIME: elements.TIMES,
    Kind.DATETIME: elements.DATETIMES,
}


def _loose_array(
    column: AttributeColumn, form: type, page: Sequence[Any], offsets: Sequence[int | None]
) -> pa.Array:
    if form is not LooseElement:
        array = _list_array(column, page)
        if array is not None:
            return array
        page = [LooseElement(list(element.Value or ())) for element in page]
    convert = elements.converter(column)
    found: list[Any] = [convert(element) for element in page]
    if column.kind is Kind.DATETIME:
        found = _datetimes(column, found, offsets)
    return from_values(column.arrow_type, found)


def _text_array(texts: list[str | None], vr: str) -> pa.Array:
    """The array of texts, their padding taken off."""
    array = pa.array(texts, pa.string())
    # Most columns hold no space at all, which costs less to learn than to look at each value.
    if _holds(array, b" ") or _holds(array, b"\0"):
        strip = elements.str_stripper(vr)
        array = pa.array([t and (strip(t, values.PADDING) or None) for t in texts], pa.string())
    return array


def _list_array(column: AttributeColumn, page: Sequence[Any]) -> pa.Array | None:
    """The array of strict elements with several values, None where each needs to be looked at."""
    found = [element.Value or None for element in page]
    array = pa.array(found, column.arrow_type)
    flat = array.values
    if flat.null_count:
        return None
    if column.kind is Kind.TEXT:
        if _holds(flat, b"\\"):
            return None
        strip = elements.str_stripper(column.vr)
        padded = _holds(flat, b" ") or _holds(flat, b"\0")
        for members in found:
            if members and ("" in members or (padded and _any_padded(members, strip))):
                return None
    return array


def _any_padded(members: tuple[str, ...], strip: Callable[[str, str], str]) -> bool:
    return any(strip(text, values.PADDING) != text for text in members)


def _holds(array: pa.Array, byte: bytes) -> bool:
    data = array.buffers()[2]
    return data is not None and byte in data.to_pybytes()


def _datetimes(
    column: AttributeColumn, found: list[Any], offsets: Sequence[int | None]
) -> list[Any]:
    """What `values.parse_datetime` gave, as the column's part of it."""
    if column.part is Part.UTC:
        part, datasets = _instant, offsets
    else:
        part, datasets = _written, [None] * len(found)
    if not column.many:
        return [part(value, offset) for value, offset in zip(found, datasets, strict=True)]
    return [
        None if several is None else [part(value, offset) for value in several]
        for several, offset in zip(found, datasets, strict=True)
    ]


def _written(value: tuple[int, int | None] | None, _: int | None, /) -> int | None:
    return None if value is None else value[0]


def _instant(value: tuple[int, int | None] | None, dataset_offset: int | None, /) -> int | None:
    if value is None:
        return None
    written, own_offset = value
    offset = dataset_offset if own_offset is None else own_offset
    return None if offset is None else values.to_utc(written, offset)
