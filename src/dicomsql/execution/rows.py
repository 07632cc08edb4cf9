"""Answers into Arrow batches: JSON objects by the members that are wanted, and bytes as they came.

Each decoder is made once for a scan and decodes page after page. Every batch also carries the
parameter columns: the values that the page was fetched with, or what the row's own name holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pyarrow as pa

from dicomsql.catalog.model import TokenPaging
from dicomsql.errors import IncompleteError, OperationalError
from dicomsql.execution.datasets import DatasetDecoder
from dicomsql.execution.decoded import ARROW_TYPES, Decoded, arrow_type, schema_of
from dicomsql.execution.instances import check_answer
from dicomsql.planning.read_plan import ColumnKind, RowShape, ScanColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import DicomTable, Method
    from dicomsql.execution.calls import Page
    from dicomsql.execution.decoded import Given

# What a member of that type may be in JSON; int64 comes as text from Google.
_JSON_TYPES: dict[str, Any] = {
    "VARCHAR": str | None,
    "BIGINT": int | str | None,
    "UBIGINT": int | str | None,
    "DOUBLE": float | str | None,
    "BOOLEAN": bool | None,
    "TIMESTAMPTZ": str | None,
    "JSON": msgspec.Raw,
}

# What of a second's fraction is finer than a microsecond.
_FINER = re.compile(r"(\.\d{6})\d+")

# What the reading of a nested value raises where it is no JSON that can be read.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class RowDecoder(Protocol):
    """Decodes the pages of one scan.

    Attributes:
        schema: of every batch.
    """

    schema: pa.Schema

    def decode(self, page: Page, given: Given) -> Decoded:
        """The rows of a page.

        Args:
            given: the parameters that the page was fetched with.
        """


def decoder_for(
    method: Method,
    columns: Sequence[ScanColumn],
    shape: RowShape,
    dicom: DicomTable | None,
    identity: tuple[str, ...] = (),
) -> RowDecoder:
    """The decoder for a scan's answers.

    Args:
        identity: tags of the DICOM attributes whose values are a row's key; none for no keys.
    """
    if shape is RowShape.BODY:
        return BodyDecoder(method, columns)
    if dicom is not None:
        return DatasetDecoder(method, columns, dicom, identity)
    return JsonDecoder(method, columns, shape)


class JsonDecoder:
    """Google's JSON: a list inside of an envelope, or one object."""

    def __init__(self, method: Method, columns: Sequence[ScanColumn], shape: RowShape) -> None:
        self._method = method
        self._columns = tuple(columns)
        self.schema = schema_of(columns)
        offered = method.page_columns if shape is RowShape.PAGES else method.columns
        known = {c.name: c for c in offered}
        self._paths = {
            c.source: known[c.source].path or (c.source,)
            for c in columns
            if c.kind is ColumnKind.ROW
        }
        self._types = {c.source: c.type for c in columns if c.kind is ColumnKind.ROW}
        key = method.object_key.removeprefix("$").strip(".") if shape is RowShape.ROWS else ""
        self._envelope = tuple(key.split(".")) if key else ()
        self._from_name = {
            c.source for c in columns if c.kind is ColumnKind.PARAMETER and method.row_name
        }
        self._decoder = msgspec.json.Decoder(self._struct())

    def _struct(self) -> Any:
        """The type of an answer, with the wanted members only."""
        fields: dict[str, Any] = {}
        self._slots: dict[str, str] = {}
        for source, path in self._paths.items():
            kind = _JSON_TYPES.get(self._types[source], msgspec.Raw)
            fields[path[0]] = msgspec.Raw if len(path) > 1 else kind
        if self._from_name and self._method.row_name not in fields:
            fields[self._method.row_name] = str | None
        rename = {}
        specs = []
        for number, (member, kind) in enumerate(fields.items()):
            slot = f"m{number}"
            self._slots[member] = slot
            rename[slot] = member
            specs.append((slot, kind, msgspec.Raw() if kind is msgspec.Raw else None))
        row: Any = msgspec.defstruct("Row", specs, rename=rename, gc=False)
        if not self._envelope:
            return row | list[row]
        made: Any = list[row]
        for member in reversed(self._envelope):
            made = msgspec.defstruct(
                "Envelope",
                [("inner", made | None, None), ("error", msgspec.Raw, msgspec.Raw())],
                rename={"inner": member},
                gc=False,
            )
        return made

    def decode(self, page: Page, given: Given) -> Decoded:
        rows = self._rows(page)
        arrays = []
        for c in self._columns:
            if c.kind is ColumnKind.ROW:
                arrays.append(self._member(rows, c))
            else:
                arrays.append(self._parameter(rows, c, given))
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=self.schema))

    def _rows(self, page: Page) -> list[Any]:
        if not page.body:
            return []
        try:
            found: Any = self._decoder.decode(page.body)
        except msgspec.ValidationError as error:
            raise OperationalError(
                f"{self._method.full_name}: the answer is not what the provider document says: "
                f"{_readable(str(error), self._slots)}."
            ) from None
        except (UnicodeDecodeError, RecursionError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else "no UTF-8"
            raise OperationalError(
                f"{self._method.full_name}: the answer cannot be read: it is {what}."
            ) from None
        except msgspec.DecodeError as error:
            if "truncated" in str(error):
                raise IncompleteError(
                    f"{self._method.full_name}: the answer ends in the middle, after "
                    f"{len(page.body):,} bytes."
                ) from None
            kind = page.media or "unknown media type"
            raise OperationalError(
                f"{self._method.full_name}: the answer is no JSON ({kind}, "
                f"{len(page.body):,} bytes). Is the endpoint that of the service?"
            ) from None
        if self._envelope:
            self._check_envelope(page, found)
        for _ in self._envelope:
            if found is None:
                return []
            found = found.inner
        if found is None:
            return []
        return found if isinstance(found, list) else [found]

    def _check_envelope(self, page: Page, found: Any) -> None:
        """Make sure that a list without rows is one, and no success that is none."""
        if bytes(found.error) not in {b"", b"null"}:
            raise OperationalError(
                f"{self._method.full_name}: the answer's status is a success ({page.status}), but "
                f"the answer holds an error. It was not taken for a list."
            )
        if found.inner is not None:
            return
        members = set(msgspec.json.decode(page.body, type=dict[str, msgspec.Raw]))
        known = {(c.path or (c.name,))[0] for c in self._method.page_columns}
        known.add(self._envelope[0])
        if isinstance(self._method.paging, TokenPaging):
            known.add(self._method.paging.response_token)
        if members and not members & known:
            raise OperationalError(
                f"{self._method.full_name}: the answer has none of the members that the provider "
                f"document names ({', '.join(sorted(known))}). Is the endpoint that of the "
                f"service?"
            )

    def _member(self, rows: list[Any], c: ScanColumn) -> pa.Array:
        path = self._paths[c.source]
        slot = self._slots[path[0]]
        values = [getattr(row, slot) for row in rows]
        if len(path) > 1:
            try:
                values = [_walk(v, path[1:]) for v in values]
            except _UNREADABLE:
                raise OperationalError(
                    f"{self._method.full_name}: the answer's {path[0]} cannot be read: it is "
                    f"nested too deeply or no UTF-8."
                ) from None
        return _array(values, c.type, self._method.full_name, c.name)

    def _parameter(self, rows: list[Any], c: ScanColumn, given: Given) -> pa.Array:
        if c.source in given:
            return pa.repeat(pa.scalar(given[c.source], pa.string()), len(rows))
        if self._from_name and self._name_pattern is not None:
            slot = self._slots[self._method.row_name]
            names = [getattr(row, slot) or "" for row in rows]
            matches = [self._name_pattern.fullmatch(n) for n in names]
            group = c.source if c.source in self._name_pattern.groupindex else ""
            values = [m[group] if m is not None and group else None for m in matches]
        else:
            return pa.nulls(len(rows), arrow_type(c.type))
        return _array(values, c.type, self._method.full_name, c.name)

    @cached_property
    def _name_pattern(self) -> re.Pattern[str] | None:
        template = self._method.row_name_template
        if not template:
            return None
        parts = re.split(r"\{(\+?\w+)\}", template)
        pattern = "".join(re.escape(p) if i % 2 == 0 else _group(p) for i, p in enumerate(parts))
        return re.compile(pattern)


def _group(name: str) -> str:
    """The pattern of a parameter in a name; `+` is before one that has slashes."""
    plain = name.removeprefix("+")
    return f"(?P<{plain}>{'.+' if plain != name else '[^/]+'})"


class BodyDecoder:
    """An answer that is no JSON: one row with its media type and its bytes."""

    def __init__(self, method: Method, columns: Sequence[ScanColumn]) -> None:
        self._method = method
        self._columns = tuple(columns)
        kinds = {"data": pa.binary()}
        self.schema = pa.schema(
            [pa.field(c.name, kinds.get(c.source) or ARROW_TYPES[c.type]) for c in columns]
        )

    def decode(self, page: Page, given: Given) -> Decoded:
        check_answer(self._method, page, given)
        # Parts can be told apart only by what stands behind their media type.
        is_of_parts = page.media.startswith("multipart/")
        kind = page.content_type if is_of_parts else page.media
        found = {"contentType": kind, "data": page.body}
        arrays = []
        for c, field in zip(self._columns, self.schema, strict=True):
            value = found.get(c.source) if c.kind is ColumnKind.ROW else given.get(c.source)
            arrays.append(_typed([value], field.type))
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=self.schema))


def columns_array(values: list[Any], sql_type: str, where: str, name: str) -> pa.Array:
    """An Arrow array of JSON values, as a column of that type."""
    return _array(values, sql_type, where, name)


def _array(values: list[Any], sql_type: str, where: str, name: str) -> pa.Array:
    try:
        if sql_type == "JSON":
            return _typed([_json_text(v) for v in values], ARROW_TYPES["JSON"])
        # A member that is decoded as raw JSON is so in every row.
        if values and isinstance(values[0], msgspec.Raw):
            values = [_plain(v) for v in values]
        if sql_type == "BIGINT":
            return pa.array([None if v is None else int(v) for v in values], pa.int64())
        if sql_type == "UBIGINT":
            return pa.array([None if v is None else int(v) for v in values], pa.uint64())
        if sql_type == "DOUBLE":
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
        if sql_type == "DATE":
            return pa.array(values, pa.string()).cast(ARROW_TYPES[sql_type])
        if sql_type == "TIMESTAMPTZ":
            # Google writes up to nanoseconds; DuckDB's type has microseconds.
            texts = [v and _FINER.sub(r"\1", v) for v in values]
            return pa.array(texts, pa.string()).cast(ARROW_TYPES[sql_type])
        return pa.array(values, arrow_type(sql_type))
    except (*_UNREADABLE, ValueError, TypeError, OverflowError, pa.ArrowException):
        raise OperationalError(
            f"{where}: the answer's {name} is no {sql_type}, as the provider document says it is."
        ) from None


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def _json_text(value: Any) -> bytes | None:
    if not isinstance(value, msgspec.Raw):
        return None if value is None else msgspec.json.encode(value)
    text = bytes(value)
    if not text or text == b"null":
        return None
    # Google indents its answers; a cell shows the value without that.
    return msgspec.json.format(text, indent=-1) if b"\n" in text else text


def _plain(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        return value
    return msgspec.json.decode(value) if bytes(value) else None


def _walk(value: msgspec.Raw, path: tuple[str, ...]) -> Any:
    found = _plain(value)
    for member in path:
        found = found.get(member) if isinstance(found, dict) else None
    return found


def _readable(text: str, slots: Mapping[str, str]) -> str:
    """msgspec's sentence with the document's names in place of ours."""
    for member, slot in slots.items():
        text = text.replace(f"$.{slot}", f"$.{member}")
    return text.rstrip(".")
