"""DICOM JSON (PS3.18 Annex F) into Arrow, by projection: only what the columns need is read.

msgspec finds the wanted elements of a page and skips the rest; `arrays` then reads each attribute's
elements together, in the fastest way that they allow. Where the JSON itself surprises, the page is
read by the standard library's parser, which forgives more. Both give the same rows wherever both
can.
"""

from __future__ import annotations

import codecs
import gc
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, NoReturn

import msgspec
import pyarrow as pa
from msgspec import Raw, Struct

from dicomsql.dicom import elements, nested
from dicomsql.dicom.arrays import column_array, from_values
from dicomsql.dicom.columns import AttributeColumn, Part
from dicomsql.dicom.elements import NO_ELEMENT, SEPARATOR, Elements
from dicomsql.dicom.unread import unread_rows
from dicomsql.errors import IncompleteError, InternalError, OperationalError

__all__ = ["Decoder", "Read", "count", "uids"]

# Rows of a result from which on more are likely to follow than the import of Arrow's kernels costs.
_KERNELS_AFTER = 20_000

_OFFSET = AttributeColumn("TimezoneOffsetFromUTC", Part.VALUE, "00080201", "SH", many=False)

# What is raised where the JSON is not what it should be.
_SURPRISES = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, pa.ArrowInvalid)

_OPENERS = {b"<": "a page of markup (HTML or XML)", b"{": "a JSON object", b'"': "a JSON string"}


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of one answer.

    Attributes:
        unread: names of columns -> the rows in which they are NULL where the dataset has a value
            that is none of its VR.
    """

    batch: pa.RecordBatch
    unread: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Decoder:
    """Reads pages of DICOM JSON into record batches that all have the same columns.

    One decoder may be used by several threads.

    Parameters:
        columns: what each column of the batches is to hold.
        kernels_after: rows from which on Arrow's kernels are used. They read columns in half the
            time, and let other threads run meanwhile, but their import takes as long as ten pages.

    Attributes:
        columns: what each column of the batches holds.
        schema: of the batches.
    """

    def __init__(
        self, columns: Sequence[AttributeColumn], kernels_after: int = _KERNELS_AFTER
    ) -> None:
        if not columns:
            # Arrow gives batches without columns no rows, which would be a wrong number.
            raise InternalError("A decoder needs columns; `count` tells the number of rows.")
        self.columns = tuple(columns)
        self.schema = pa.schema([pa.field(c.name, c.arrow_type) for c in self.columns])
        tags = [column.tag for column in self.columns if column.tag]
        if self._needs_offsets:
            tags.append(_OFFSET.tag)
        self._reading = _Reading(tuple(dict.fromkeys(tags)))
        self._whole = any(not column.tag for column in self.columns)
        self._rows_left = kernels_after
        self._kernels: ModuleType | None = None

    @property
    def _needs_offsets(self) -> bool:
        return any(column.part is Part.UTC for column in self.columns)

    def decode(self, body: bytes) -> pa.RecordBatch:
        """The batch of `read`."""
        return self.read(body).batch

    def read(self, body: bytes) -> Read:
        """The rows of one answer: a JSON array of datasets, or nothing at all for no rows.

        A value that is not of its VR is NULL in its typed column. Of a tag that occurs twice in a
        dataset the last counts. `dropped` looks at the top level of a dataset.

        Raises:
            IncompleteError: the answer ends before its array does.
            OperationalError: the answer is something else than an array of datasets.
        """
        if not body or body.isspace():
            empty = [from_values(member.type, []) for member in self.schema]
            return Read(pa.RecordBatch.from_arrays(empty, schema=self.schema))
        body = body.removeprefix(codecs.BOM_UTF8)
        with _collector_paused():
            try:
                page = self._reading.page(body, whole=self._whole)
                batch = self._batch(page)
            except _SURPRISES:
                pass
            else:
                if not self._may_miss(batch, body):
                    return Read(batch, self._unread(page, batch))
            page = self._reading.forgiven_page(body, whole=self._whole)
            batch = self._batch(page)
            return Read(batch, self._unread(page, batch))

    def _unread(self, page: _Page, batch: pa.RecordBatch) -> dict[str, Sequence[int]]:
        return {
            column.name: rows
            for column, array in zip(self.columns, batch.columns, strict=True)
            if column.tag and (rows := unread_rows(column, page.elements[column.tag], array))
        }

    def _batch(self, page: _Page) -> pa.RecordBatch:
        offsets: Sequence[int | None] = ()
        if self._needs_offsets:
            texts = column_array(_OFFSET, page.elements[_OFFSET.tag], ()).to_pylist()
            offsets = [elements.OFFSETS[text] for text in texts]
        if self._kernels is None:
            self._rows_left -= page.count
            if self._rows_left < 0:
                import pyarrow.compute

                self._kernels = pyarrow.compute
        arrays = [self._array(column, page, offsets) for column in self.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _array(
        self, column: AttributeColumn, page: _Page, offsets: Sequence[int | None]
    ) -> pa.Array:
        if column.tag:
            return column_array(column, page.elements[column.tag], offsets, self._kernels)
        found: Iterator[Any]
        if column.part is Part.DATASET:
            found = iter(page.texts)
        elif column.part is Part.DROPPED:
            found = map(_dropped, page.texts)
        else:
            group, element = column.element
            found = (nested.block_text(text, column.creator, group, element) for text in page.texts)
        return from_values(column.arrow_type, found)

    def _may_miss(self, batch: pa.RecordBatch, body: bytes) -> bool:
        """Whether a value may be missing because the server writes tags in lower case."""
        return any(
            array.null_count and column.tag != (low := column.tag.lower()) and low.encode() in body
            for column, array in zip(self.columns, batch.columns, strict=True)
        )


def count(body: bytes) -> int:
    """The number of datasets in the answer to a search, none of which is read.

    Raises: as `Decoder.decode`; OperationalError where one cannot have a UID that tells it apart.
    """
    if not body or body.isspace():
        return 0
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        datasets: Sequence[bytes] = list(map(bytes, _raw_datasets.decode(body)))
    except _SURPRISES:
        datasets = [json.dumps(dataset).encode() for dataset in _forgiven(body)]
    for number, dataset in enumerate(datasets, start=1):
        named = _STUDY in dataset or _INSTANCE in dataset or _A_UID.search(dataset)
        if not named or dataset[:1] != b"{":
            _forgiven(body)  # says what else is no object
            raise _nameless(number)
    return len(datasets)


def uids(body: bytes, tag: str) -> list[str]:
    """The value of a UID attribute (its tag in eight hexadecimal digits) in each dataset.

    Raises: as `Decoder.decode`; OperationalError where one has none.
    """
    found = _uid_decoder(tag.upper()).decode(body).column(0).to_pylist()
    if None in found:
        raise _nameless(found.index(None) + 1)
    return list(map(str, found))


def _nameless(number: int) -> OperationalError:
    return OperationalError(
        f"The answer is no result of a search: member {number:,} of its array lacks the UID that"
        " each result has (PS3.18 section 10.6.3). Check that the endpoint is a DICOMweb service."
    )


@cache
def _uid_decoder(tag: str) -> Decoder:
    return Decoder([AttributeColumn(tag, Part.VALUE, tag, "UI", many=False)])


class _Element(Struct, gc=False):
    """What tells a sequence that the server left out."""

    vr: Any = None
    BulkDataURI: Any = None


# The tags of the UIDs of studies, series and instances.
_STUDY, _INSTANCE = b'"0020000D"', b'"00080018"'
_A_UID = re.compile(rb'"(?:0020000[DdEe]|00080018)"')
_raw_datasets = msgspec.json.Decoder(list[Raw])
_ROWS = 200
_any_elements = msgspec.json.Decoder(dict[str, _Element])


@dataclass(frozen=True, slots=True)
class _Page:
    """A page's datasets, taken apart.

    Attributes:
        count: how many there are.
        texts: the JSON text of each dataset; empty where no column needs it.
        elements: tag -> its elements.
    """

    count: int
    texts: Sequence[bytes]
    elements: Mapping[str, Elements]


class _Reading:
    """How the elements of some tags are found in a page's datasets."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        # msgspec looks for a member behind the last one first, and datasets are in this order.
        self._tags = tuple(sorted(tags))
        row = msgspec.defstruct(
            "Row",
            [(f"tag_{tag}", Raw, NO_ELEMENT) for tag in self._tags],
            rename={f"tag_{tag}": tag for tag in self._tags},
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
        # Some rows at a time, from the last, so that they stay in the processor's cache from the
        # first look at their elements until they are gone.
        count = len(rows)
        parts: list[list[bytes]] = [[] for _ in self._tags]
        while rows:
            some = rows[-_ROWS:]
            del rows[-_ROWS:]
            columns = zip(*map(msgspec.structs.astuple, some), strict=True)
            for part, held in zip(parts, columns, strict=True):
                part.append(SEPARATOR.join(held))
        found = {}
        for tag, part in zip(self._tags, parts, strict=True):
            data = SEPARATOR.join(reversed(part))
            if not data.isascii():
                data.decode()  # what is no UTF-8 may not become a text
            found[tag] = Elements(data, count)
        return _Page(count, texts, found)

    def forgiven_page(self, body: bytes, *, whole: bool) -> _Page:
        """The same of a body that may be strange in any way, though it must be datasets.

        Raises: as `Decoder.decode`.
        """
        datasets = _forgiven(body)
        found = {
            tag: Elements(
                SEPARATOR.join(json.dumps(dataset.get(tag, {})).encode() for dataset in datasets),
                len(datasets),
            )
            for tag in self._tags
        }
        texts: list[bytes] = []
        if whole:
            try:
                texts = [bytes(raw) for raw in _raw_datasets.decode(body)]
            except (msgspec.DecodeError, RecursionError):
                # No JSON text could be passed on as it is, so it is one that means the same.
                texts = [json.dumps(dataset).encode() for dataset in datasets]
        return _Page(len(datasets), texts, found)


def _forgiven(body: bytes) -> list[dict[str, Any]]:
    """The datasets of a body, by a parser that also takes NaN, raw line ends and their like.

    Tags get upper-case digits. Raises: as `Decoder.decode`.
    """
    try:
        text = body.decode()
        datasets = elements.forgiven_json(text)
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
