"""DICOM JSON (PS3.18 Annex F) into Arrow, by projection: only what the columns need is read.

A page is read strictly first, as a well-behaved server sends it: msgspec builds the wanted values
and nothing else. Where a value surprises, the same page is read loosely, value by value; where
even the JSON does, by the standard library's parser, which forgives more. All three give the same
rows wherever more than one can.
"""

from __future__ import annotations

import codecs
import gc
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, NoReturn

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

from dicomsql.dicom import elements
from dicomsql.dicom.arrays import column_array, from_values
from dicomsql.dicom.columns import AttributeColumn, Kind, Part
from dicomsql.dicom.elements import LooseElement, SequenceElement
from dicomsql.errors import IncompleteError, InternalError, OperationalError

__all__ = ["Decoder", "count", "uids"]

_OFFSET = AttributeColumn("TimezoneOffsetFromUTC", Part.VALUE, "00080201", "SH", many=False)

# What a reading raises where a value, or the JSON, is not what it should be.
_SURPRISES = (
    msgspec.DecodeError,
    OverflowError,
    RecursionError,
    UnicodeDecodeError,
    UnicodeEncodeError,
    pa.ArrowInvalid,
)

_OPENERS = {b"<": "a page of markup (HTML or XML)", b"{": "a JSON object", b'"': "a JSON string"}


class Decoder:
    """Reads pages of DICOM JSON into record batches that all have the same columns.

    One decoder may be used by several threads.

    Attributes:
        columns: what each column of the batches holds.
        schema: of the batches.
    """

    def __init__(self, columns: Sequence[AttributeColumn]) -> None:
        if not columns:
            # Arrow gives batches without columns no rows, which would be a wrong number.
            raise InternalError("A decoder needs columns; `count` tells the number of rows.")
        self.columns = tuple(columns)
        self.schema = pa.schema([pa.field(c.name, c.arrow_type) for c in self.columns])
        read = [column for column in self.columns if column.tag]
        if any(column.part is Part.UTC for column in read):
            read.append(_OFFSET)
        self._tags = tuple(dict.fromkeys(column.tag for column in read))
        by_tag = [[c for c in read if c.tag == tag] for tag in self._tags]
        self._strict = _Reading(self._tags, tuple(map(_strict_form, by_tag)))
        self._loose = _Reading(self._tags, tuple(map(_loose_form, by_tag)))
        self._whole = any(not column.tag for column in self.columns)

    def decode(self, body: bytes) -> pa.RecordBatch:
        """The rows of one answer: a JSON array of datasets, or nothing at all for no rows.

        A value that is not of its VR is NULL in its typed column. Of a tag that occurs twice in a
        dataset the last counts. `dropped` looks at the top level of a dataset.

        Raises:
            IncompleteError: the answer ends before its array does.
            OperationalError: the answer is something else than an array of datasets.
        """
        if not body or body.isspace():
            return pa.RecordBatch.from_arrays(
                [from_values(field.type, []) for field in self.schema], schema=self.schema
            )
        body = body.removeprefix(codecs.BOM_UTF8)
        with _collector_paused():
            for reading in (self._strict, self._loose):
                try:
                    page = reading.page(body, whole=self._whole)
                    batch = self._batch(page)
                except _SURPRISES:
                    continue
                if not self._missed(page, batch):
                    return batch
            return self._batch(self._loose.forgiven_page(body, whole=self._whole))

    def _batch(self, page: _Page) -> pa.RecordBatch:
        offsets: Sequence[int | None] = ()
        if any(column.part is Part.UTC for column in self.columns):
            form, found = page.elements[_OFFSET.tag]
            texts = column_array(_OFFSET, form, found, ()).to_pylist()
            offsets = [elements.OFFSETS[text] for text in texts]
        arrays = []
        for column in self.columns:
            if column.part is Part.DATASET:
                arrays.append(from_values(column.arrow_type, page.texts))
            elif column.part is Part.DROPPED:
                arrays.append(from_values(column.arrow_type, map(_dropped, page.texts)))
            else:
                arrays.append(column_array(column, *page.elements[column.tag], offsets))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _missed(self, page: _Page, batch: pa.RecordBatch) -> bool:
        """Whether a value is missing because the server writes tags in lower case."""
        return any(
            array.null_count and page.in_lower_case(column.tag)
            for column, array in zip(self.columns, batch.columns, strict=True)
        )


def count(body: bytes) -> int:
    """The number of datasets in an answer, none of which is read.

    Raises: as `Decoder.decode`.
    """
    if not body or body.isspace():
        return 0
    try:
        return len(_raw_datasets.decode(body.removeprefix(codecs.BOM_UTF8)))
    except _SURPRISES:
        return len(_forgiven(body.removeprefix(codecs.BOM_UTF8)))


def uids(body: bytes, tag: str) -> list[str | None]:
    """The value of a UID attribute (its tag in eight hexadecimal digits) in each dataset.

    Raises: as `Decoder.decode`.
    """
    found = _uid_decoder(tag.upper()).decode(body).column(0).to_pylist()
    return [None if value is None else str(value) for value in found]


@cache
def _uid_decoder(tag: str) -> Decoder:
    return Decoder([AttributeColumn(tag, Part.VALUE, tag, "UI", many=False)])


def _strict_form(columns: list[AttributeColumn]) -> type:
    """What a tag's elements are read as where they are as they should be."""
    loose = _loose_form(columns)
    first = columns[0]
    return elements.strict_shape(first.kind, many=first.many) if loose is LooseElement else loose


def _loose_form(columns: list[AttributeColumn]) -> type:
    """What a tag's elements are read as where anything may be in them."""
    if any(column.part in (Part.RAW, Part.PRIVATE) for column in columns):
        return Raw
    return SequenceElement if columns[0].kind is Kind.SEQUENCE else LooseElement


class _Element(Struct, gc=False):
    """What tells a sequence that the server left out."""

    vr: Any = None
    BulkDataURI: Any = None


_raw_datasets = msgspec.json.Decoder(list[Raw])
_any_elements = msgspec.json.Decoder(dict[str, _Element])


@dataclass(frozen=True, slots=True)
class _Page:
    """A page's datasets, taken apart.

    Attributes:
        rows: structs with an attribute per tag, and one per tag in lower case; empty where the
            page was read without them.
        texts: the JSON text of each dataset; empty where no column needs it.
        elements: tag -> the form of its elements, and the elements, one per dataset.
    """

    rows: Sequence[Struct]
    texts: Sequence[bytes]
    elements: Mapping[str, tuple[type, Sequence[Any]]]

    def in_lower_case(self, tag: str) -> bool:
        """Whether any dataset has that tag with lower-case digits."""
        if not self.rows or not tag or tag == tag.lower():
            return False
        return any(found is not None for found in map(attrgetter(f"lower_{tag}"), self.rows))


class _Reading:
    """One way to read datasets: for each tag, the form that its elements are read in."""

    def __init__(self, tags: tuple[str, ...], forms: tuple[type, ...]) -> None:
        self._forms = dict(zip(tags, forms, strict=True))
        lettered = [tag for tag in tags if tag != tag.lower()]
        row = msgspec.defstruct(
            "Row",
            [(f"tag_{tag}", form, form()) for tag, form in self._forms.items()]
            + [(f"lower_{tag}", Any, None) for tag in lettered],
            rename={f"tag_{tag}": tag for tag in tags}
            | {f"lower_{tag}": tag.lower() for tag in lettered},
            gc=False,
        )
        self._row = msgspec.json.Decoder(row)
        self._rows = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]

    def page(self, body: bytes, *, whole: bool) -> _Page:
        """The datasets of a body, with their texts where `whole`.

        Raises: any of `_SURPRISES`.
        """
        texts: list[bytes] = []
        if whole:
            raws = _raw_datasets.decode(body)
            rows = [self._row.decode(raw) for raw in raws]
            texts = [bytes(raw) for raw in raws]
        else:
            rows = self._rows.decode(body)
        found = {
            tag: (form, list(map(attrgetter(f"tag_{tag}"), rows)))
            for tag, form in self._forms.items()
        }
        return _Page(rows, texts, found)

    def forgiven_page(self, body: bytes, *, whole: bool) -> _Page:
        """The same of a body that may be strange in any way, though it must be datasets.

        Raises: as `Decoder.decode`.
        """
        datasets = _forgiven(body)
        found = {
            tag: (form, [_forgiven_element(form, dataset.get(tag)) for dataset in datasets])
            for tag, form in self._forms.items()
        }
        texts: list[bytes] = []
        if whole:
            try:
                texts = [bytes(raw) for raw in _raw_datasets.decode(body)]
            except (msgspec.DecodeError, RecursionError):
                # No JSON text could be passed on as it is, so it is one that means the same.
                texts = [json.dumps(dataset).encode() for dataset in datasets]
        return _Page((), texts, found)


def _forgiven_element(form: type, found: object) -> object:
    if form is Raw:
        return Raw() if found is None else Raw(json.dumps(found).encode())
    if not isinstance(found, dict):
        return form()
    if form is SequenceElement:
        items = found.get("Value")
        return form() if items is None else SequenceElement(Raw(json.dumps(items).encode()))
    return LooseElement(found.get("Value"), found.get("BulkDataURI"))


def _forgiven(body: bytes) -> list[dict[str, Any]]:
    """The datasets of a body, by a parser that also takes NaN, raw line ends and their like.

    Tags get upper-case digits. Raises: as `Decoder.decode`.
    """
    try:
        text = body.decode()
        datasets = json.loads(
            text, parse_constant=str, parse_float=_float, parse_int=_integer, strict=False
        )
    except UnicodeDecodeError as error:
        raise OperationalError(
            f"The answer is no DICOM JSON: it is not UTF-8 at byte {error.start:,}"
            f" of {len(body):,}."
        ) from None
    except RecursionError:
        raise OperationalError("The answer is no DICOM JSON: it is nested too deeply.") from None
    except json.JSONDecodeError as error:
        _refuse(body, text, error)
    if not isinstance(datasets, list):
        _refuse(body, text, None)
    for number, dataset in enumerate(datasets, start=1):
        if not isinstance(dataset, dict):
            raise OperationalError(
                f"The answer is no DICOM JSON: member {number:,} of its array is no object."
            )
    return [
        {tag.upper() if len(tag) == 8 else tag: found for tag, found in dataset.items()}
        for dataset in datasets
    ]


def _float(text: str) -> float | str:
    """A number; as text where a double cannot hold it, so that it is not taken for infinite."""
    value = float(text)
    return value if math.isfinite(value) else text


def _integer(text: str) -> int | str:
    """A whole number; as text where it has more digits than any VR allows."""
    return int(text) if len(text) <= 40 else text


def _refuse(body: bytes, text: str, error: json.JSONDecodeError | None) -> NoReturn:
    """Say what came instead of datasets, without its content."""
    opener = body.lstrip()[:1]
    size = f"({len(body):,} bytes)"
    if error is not None and opener == b"[":
        at = len(text[: error.pos].encode())
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise IncompleteError(
                f"The answer ends in the middle of its DICOM JSON {size}; the connection may have"
                " been cut. Run the statement again."
            ) from None
        raise OperationalError(
            f"The answer is no DICOM JSON: it breaks off being JSON at byte {at:,} {size}."
        ) from None
    what = _OPENERS.get(opener, "something else" if error is not None else "another JSON value")
    raise OperationalError(
        f"Expected a DICOM JSON array of datasets, but the answer is {what} {size}."
        " Check that the endpoint is a DICOMweb service."
    ) from None


def _dropped(dataset: bytes) -> str:
    """The JSON list of the tags whose sequence the server replaced with a URI."""
    try:
        found = _any_elements.decode(dataset)
    except _SURPRISES:
        found = {
            tag: _Element(element.get("vr"), element.get("BulkDataURI"))
            for tag, element in _forgiven(b"[" + dataset + b"]")[0].items()
            if isinstance(element, dict)
        }
    tags = [tag.upper() for tag, e in found.items() if e.vr == "SQ" and e.BulkDataURI]
    return json.dumps(sorted(tags))


_pause = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking over a page's values again and again.

    They hold no cycles, so there is nothing for it to find, and they live until the page is done.
    The collector belongs to the process: the last of several threads to finish turns it on again.
    """
    global _pauses, _was_enabled  # noqa: PLW0603
    with _pause:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _pause:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()
