"""Elements of one attribute, a page of them, into the Arrow array of a column.

Three ways give the same array. A page of elements that are written alike is read as one text; else
all are parsed strictly, as a well-behaved server writes them; where a value surprises, each is read
loosely by itself. An element that is the same in all rows is read once.

Nothing here imports `pyarrow.compute` or NumPy, which costs more than a page does; the decoder of
many pages hands the former in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from types import ModuleType
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

from dicomsql.dicom import elements, nested, uniform, values
from dicomsql.dicom.columns import AttributeColumn, Kind, Part
from dicomsql.dicom.elements import Elements, LooseElement, NameElement, SequenceElement

__all__ = ["column_array", "from_values"]

# What a way raises where a value is not what it should be.
_SURPRISES = (
    msgspec.DecodeError,
    OverflowError,
    RecursionError,
    UnicodeEncodeError,
    pa.ArrowInvalid,
)

_PADDING = values.PADDING.encode()

_sequence = msgspec.json.Decoder(SequenceElement)


def column_array(
    column: AttributeColumn,
    page: Elements,
    offsets: Sequence[int | None],
    kernels: ModuleType | None = None,
) -> pa.Array:
    """The column's array.

    Args:
        page: the elements of its tag, one a row.
        offsets: minutes from UTC of each dataset, only looked at for `Part.UTC`.
        kernels: `pyarrow.compute`, where it is worth its import.
    """
    if not page.count:
        return from_values(column.arrow_type, [])
    # A value that depends on more than its element is not the same where the element is.
    repeated = page.repeated if column.part is not Part.UTC else None
    if repeated is not None:
        once = column_array(column, Elements(repeated, 1), offsets)
        return pa.repeat(once[0], page.count)
    if column.path:
        return _path_array(column, page, offsets)
    if column.part in (Part.RAW, Part.PRIVATE):
        return _raw_array(page)
    if kernels is not None and column.kind in _TEXTUAL and not column.many:
        texts = uniform.text_array(page, _group(column), kernels)
        if texts is not None:
            return _of_text_array(column, texts, kernels)
    for way in (_uniform_array, _strict_array):
        try:
            array = way(column, page, offsets)
        except _SURPRISES:
            continue
        if array is not None:
            return array
    if column.kind is Kind.SEQUENCE:
        return from_values(column.arrow_type, map(_loose_sequence, page.raws()))
    return _loose_array(column, page, offsets)


def from_values(kind: pa.DataType, found: Iterable[Any]) -> pa.Array:
    """An array of that type, which may be an extension type; dates and times as integers."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(found, kind.storage_type))
    return pa.array(found, kind)


def _uniform_array(
    column: AttributeColumn, page: Elements, offsets: Sequence[int | None]
) -> pa.Array | None:
    """The array of elements that are written all alike, None where they are not."""
    kind = column.kind
    number = _NUMBERS.get(kind)
    if column.many:
        members = number or (str if kind is Kind.TEXT else None)
        found = uniform.lists(page, members) if members is not None else None
        return None if found is None else _list_array(column, [one or None for one in found])
    if number is not None:
        several = uniform.numbers(page, number)
        return None if several is None else from_values(column.arrow_type, several)
    if kind in (Kind.BULK, Kind.SEQUENCE):
        return None
    texts = uniform.texts(page, _group(column))
    return None if texts is None else _of_texts(column, texts, offsets)


def _group(column: AttributeColumn) -> str:
    """The component group that the column shows of a person's name, empty for other values."""
    return elements.name_group(column.part) if column.kind is Kind.NAME else ""


_NUMBERS: dict[Kind, type] = {
    Kind.INTEGER: int,
    Kind.UNSIGNED: int,
    Kind.DECIMAL: float,
    Kind.FLOAT: float,
}


def _strict_array(
    column: AttributeColumn, page: Elements, offsets: Sequence[int | None]
) -> pa.Array | None:
    """The array of elements that each have the shape of a well-behaved server's."""
    form = elements.strict_shape(column.kind, many=column.many)
    if form is LooseElement:
        return None
    found = _strict_elements(form).decode(page.json)
    if form is SequenceElement:
        return from_values(column.arrow_type, [elements.sequence_text(e.Value) for e in found])
    if column.many:
        return _list_array(column, [element.Value or None for element in found])
    if column.kind is Kind.BULK:
        return _text_array([element.BulkDataURI or None for element in found], column.vr)
    if form is NameElement:
        group = attrgetter(elements.name_group(column.part))
        names = map(group, [element.Value[0] for element in found])
        return _text_array([name or None for name in names], column.vr)
    return _of_texts(column, [element.Value[0] for element in found], offsets)


@cache
def _strict_elements(form: type[Struct]) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[form])  # type: ignore[valid-type]


def _of_texts(
    column: AttributeColumn, found: Sequence[Any], offsets: Sequence[int | None]
) -> pa.Array:
    """The array of single values: texts by the column's VR, numbers as they are."""
    if column.kind in (Kind.TEXT, Kind.NAME):
        return _text_array([text or None for text in found] if "" in found else found, column.vr)
    memo = _MEMOS.get(column.kind)
    if memo is None:
        return from_values(column.arrow_type, found)
    parsed: list[Any] = list(map(memo.__getitem__, found))
    if column.kind is Kind.DATETIME:
        parsed = _datetimes(column, parsed, offsets)
    return from_values(column.arrow_type, parsed)


_MEMOS: dict[Kind, values.Memo[Any]] = {
    Kind.DATE: elements.DATES,
    Kind.TIME: elements.TIMES,
    Kind.DATETIME: elements.DATETIMES,
}


# What stands as one text in JSON, and whose meaning depends on nothing else.
_TEXTUAL = frozenset({Kind.TEXT, Kind.NAME, Kind.DATE, Kind.TIME})


def _of_text_array(column: AttributeColumn, texts: pa.Array, kernels: ModuleType) -> pa.Array:
    """The same as `_of_texts` of texts that are an array already."""
    memo = _MEMOS.get(column.kind)
    if memo is not None:
        # Dates and times are the same in many rows.
        found = texts.dictionary_encode()
        parsed = [memo[text] for text in found.dictionary.to_pylist()]
        return from_values(column.arrow_type, parsed).take(found.indices)
    if uniform.holds(texts, _PADDING):
        leading = elements.keeps_leading_spaces(column.vr)
        trim = kernels.ascii_rtrim if leading else kernels.ascii_trim
        texts = trim(texts, values.PADDING)
    if column.kind is Kind.NAME and not all(map(elements.has_name, _openers(texts, kernels))):
        empty = [text is not None and not elements.has_name(text) for text in texts.to_pylist()]
        texts = kernels.if_else(pa.array(empty), None, texts)
    # Most columns have no empty text, which their lengths tell fastest.
    if kernels.min(kernels.binary_length(texts)).as_py():
        return texts
    return kernels.if_else(kernels.equal(texts, ""), None, texts)


def _openers(names: pa.Array, kernels: ModuleType) -> list[str]:
    """The names, each once, that begin as one of empty components would."""
    begins = kernels.or_(kernels.starts_with(names, "^"), kernels.starts_with(names, " "))
    return [name for name in kernels.unique(names.filter(begins)).to_pylist() if name]


def _loose_array(
    column: AttributeColumn, page: Elements, offsets: Sequence[int | None]
) -> pa.Array:
    """The array of elements that may hold anything."""
    convert = elements.converter(column)
    found: list[Any] = [convert(elements.loose_element(element)) for element in page.raws()]
    if column.kind is Kind.DATETIME:
        found = _datetimes(column, found, offsets)
    return from_values(column.arrow_type, found)


def _loose_sequence(element: Raw) -> str | None:
    try:
        return elements.sequence_text(_sequence.decode(element).Value)
    except msgspec.DecodeError:
        return None


def _raw_array(page: Elements) -> pa.Array:
    """The array of the elements' text, whatever they are."""
    texts: Sequence[str | None] | None = uniform.texts(page)
    if texts is None:
        texts = [elements.raw_text(element) for element in page.raws()]
    return pa.array([text or None for text in texts], pa.string())


def _path_array(column: AttributeColumn, page: Elements, offsets: Sequence[int | None]) -> pa.Array:
    """The array of what the items of sequences hold, a list a row."""
    several = [nested.leaves(element, column.path) for element in page.raws()]
    if column.part in (Part.RAW, Part.PRIVATE):
        texts = [[elements.raw_text(leaf) for leaf in leaves] or None for leaves in several]
        return from_values(column.arrow_type, texts)
    if column.kind is Kind.SEQUENCE:
        return from_values(column.arrow_type, map(nested.joined_items, several))
    leaf = column.leaf
    convert = elements.converter(leaf)
    found: list[Any] = []
    for leaves in several:
        held: list[Any] = [convert(elements.loose_element(element)) for element in leaves]
        if leaf.many:
            held = [value for members in held for value in members or ()]
        found.append(held or None)
    if column.kind is Kind.DATETIME:
        found = _datetimes(column, found, offsets)
    return from_values(column.arrow_type, found)


def _text_array(texts: Sequence[str | None], vr: str) -> pa.Array:
    """The array of texts, their padding taken off."""
    array = pa.array(texts, pa.string())
    # Most columns hold no space at all, which costs less to learn than to look at each value.
    if uniform.holds(array, _PADDING):
        strip = elements.str_stripper(vr)
        array = pa.array([t and (strip(t, values.PADDING) or None) for t in texts], pa.string())
    if vr == "PN" and not all(map(elements.has_name, filter(None, texts))):
        named = [t if t and elements.has_name(t) else None for t in array.to_pylist()]
        array = pa.array(named, pa.string())
    return array


def _list_array(column: AttributeColumn, found: Sequence[Any]) -> pa.Array | None:
    """The array of rows' values, each a list or None; None where each needs to be looked at."""
    array = pa.array(found, column.arrow_type)
    flat = array.values
    if flat.null_count:
        return None
    if column.kind is Kind.TEXT:
        strip = elements.str_stripper(column.vr)
        for text in set(chain.from_iterable(filter(None, found))):
            several = len(elements.split_values(text or "", column.vr)) > 1
            if not text or several or strip(text, values.PADDING) != text:
                return None
    return array


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
