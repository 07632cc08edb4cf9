"""Answers that are tables with columns of their own: their pages, and their values as SQL's.

The form is that of BigQuery's queries: `schema` is a list of columns with `name`, `type`, `mode`
and `fields`; a row is `{"f": [{"v": value}, ...]}`, whose values are texts whatever their type.
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dicomsql.errors import CancelledError, OperationalError
from dicomsql.execution.calls import CallValues, Page, json_object, make_request, single
from dicomsql.execution.decoded import arrow_type
from dicomsql.result import ResultColumn

if TYPE_CHECKING:
    from dicomsql.catalog.model import Method, Rowset
    from dicomsql.execution.run import Run

# Seconds between two questions whether the rows are there.
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_GROWTH = 1.5

_DECIMAL = "DECIMAL(38,9)"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

# The types of columns by both of their names -> SQL's; all others are text.
_TYPES = {
    **dict.fromkeys(("INTEGER", "INT64"), "BIGINT"),
    **dict.fromkeys(("FLOAT", "FLOAT64"), "DOUBLE"),
    **dict.fromkeys(("BOOLEAN", "BOOL"), "BOOLEAN"),
    **dict.fromkeys(("RECORD", "STRUCT", "JSON"), "JSON"),
    "NUMERIC": _DECIMAL,
    "BYTES": "BLOB",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATE": "DATE",
    "TIME": "TIME",
    "DATETIME": "TIMESTAMP",
}


class Rows:
    """An answer of rows, with its further pages.

    Attributes:
        columns: None where what was done gives no rows.
        affected: rows that were written; None where it was not that.
    """

    def __init__(self, run: Run, method: Method, more: Method, base_url: str) -> None:
        assert method.rowset is not None
        self._run = run
        self._method = method
        self._more = more
        self._base_url = base_url
        self._form: Rowset = method.rowset
        self.columns: tuple[ResultColumn, ...] | None = None
        self.affected: int | None = None
        self._fields: Sequence[Mapping[str, Any]] = ()
        self._batches: list[pa.RecordBatch] = []

    def read(self, first: Page, values: CallValues) -> None:
        """Read the answer to a call and the pages that follow it.

        Args:
            values: the call's own parameters.

        Raises:
            OperationalError: the answer is no table, or some of its rows did not come.
            CancelledError: the statement was cancelled; the query goes on.
        """
        form = self._form
        answer: Mapping[str, Any] = self._object(first)
        again = self._asked_again(answer, values)
        answer = self._completed(answer, again)
        fields = _at(answer, form.schema)
        self.affected = _number(_at(answer, form.affected)) if form.affected else None
        if fields is None:
            return
        if not isinstance(fields, list) or not all(_is_column(f) for f in fields):
            raise self._wrong("what it says of the columns cannot be read")
        self._fields = fields
        self.columns = tuple(ResultColumn(f["name"], _sql_type(f)) for f in fields)
        total = _number(_at(answer, form.total)) if form.total else None
        # What begins in the middle, or is one page by its own words, is not all of the rows.
        whole = set(values) <= {*self._method.path_parameters, *dict(form.more_values)}
        tokens: set[str] = set()
        while True:
            self._take(answer)
            token = _at(answer, form.token)
            if not token or form.more_token in values:
                break
            if token in tokens:
                raise self._wrong("its pages go round in a circle")
            tokens.add(token)
            answer = self._object(self._ask({**again, form.more_token: token}))
        found = sum(batch.num_rows for batch in self._batches)
        if whole and total is not None and total != found:
            raise self._wrong(f"{found:,} rows came where there are {total:,}")

    def table(self) -> pa.Table:
        """The rows; JSON is text."""
        columns = self.columns or ()
        schema = pa.schema([pa.field(c.name, _arrow(c.type)) for c in columns])
        return pa.Table.from_batches(self._batches, schema)

    def _asked_again(self, answer: Mapping[str, Any], values: CallValues) -> CallValues:
        """What asks for more of the same answer."""
        found: CallValues = {}
        for name, path in self._form.more_values:
            value = _at(answer, path)
            if isinstance(value, str) and value:
                found[name] = value
            elif name in values:
                found[name] = values[name]
        return found

    def _completed(self, answer: Mapping[str, Any], again: CallValues) -> Mapping[str, Any]:
        """The answer once all of its rows are made."""
        delay = _FIRST_DELAY
        while _at(answer, self._form.complete) is False:
            if self._run.cancel.wait(delay):
                raise CancelledError("The statement was cancelled; the query goes on.")
            delay = min(delay * _GROWTH, _LONGEST_DELAY)
            answer = self._object(self._ask(again))
        return answer

    def _ask(self, values: CallValues) -> Page:
        missing = [name for name in self._more.required if name not in values]
        if missing:
            raise self._wrong(f"it does not say its {', '.join(missing)}, so that it ends here")
        return single(self._run, make_request(self._more, self._base_url, values))

    def _object(self, page: Page) -> dict[str, Any]:
        return json_object(page, self._method.full_name)

    def _take(self, answer: Mapping[str, Any]) -> None:
        rows = _at(answer, self._form.rows) or []
        cells = []
        for row in rows:
            found = row.get("f") if isinstance(row, dict) else None
            if not isinstance(found, list) or len(found) != len(self._fields):
                raise self._wrong("a row has not as many values as there are columns")
            cells.append([_inner(cell) for cell in found])
        arrays = []
        assert self.columns is not None
        for number, (field, column) in enumerate(zip(self._fields, self.columns, strict=True)):
            try:
                values = [_value(field, row[number]) for row in cells]
                if column.type == "JSON":
                    values = [None if v is None else _json_text(field, v) for v in values]
                arrays.append(pa.array(values, _arrow(column.type)))
            except (ValueError, TypeError, ArithmeticError, OverflowError, pa.ArrowException):
                raise self._wrong(
                    f"a value of {column.name} is no {field['type']}, as the answer says it is"
                ) from None
        names = [column.name for column in self.columns]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, names=names))

    def _wrong(self, what: str) -> OperationalError:
        return OperationalError(f"{self._method.full_name}: the answer is not whole: {what}.")


def _at(answer: Any, path: str) -> Any:
    for member in path.split("."):
        answer = answer.get(member) if isinstance(answer, Mapping) else None
    return answer


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isdigit() else None


def _is_column(field: Any) -> bool:
    if not isinstance(field, dict):
        return False
    inner = field.get("fields", [])
    plain = isinstance(field.get("name"), str) and isinstance(field.get("type"), str)
    return plain and isinstance(inner, list) and all(_is_column(f) for f in inner)


def _is_list(field: Mapping[str, Any]) -> bool:
    return str(field.get("mode", "")).upper() == "REPEATED"


def _kind(field: Mapping[str, Any]) -> str:
    return _TYPES.get(str(field["type"]).upper(), "VARCHAR")


def _sql_type(field: Mapping[str, Any]) -> str:
    kind = _kind(field)
    # A list of objects is one JSON value.
    return f"{kind}[]" if _is_list(field) and kind != "JSON" else kind


def _arrow(sql_type: str) -> pa.DataType:
    if sql_type.endswith("[]"):
        return pa.list_(_arrow(sql_type[:-2]))
    if sql_type == _DECIMAL:
        return pa.decimal128(38, 9)
    return pa.string() if sql_type == "JSON" else arrow_type(sql_type)


def _inner(cell: Any) -> Any:
    if not isinstance(cell, dict):
        raise TypeError
    return cell.get("v")


def _value(field: Mapping[str, Any], value: Any) -> Any:
    """A value of a column for Arrow; of a RECORD, the mapping that it is."""
    if value is None:
        return None
    if _is_list(field):
        if not isinstance(value, list):
            raise TypeError
        single_field = {**field, "mode": "NULLABLE"}
        return [_value(single_field, _inner(item)) for item in value]
    fields = field.get("fields")
    if fields:
        cells = value["f"]
        return {f["name"]: _value(f, _inner(c)) for f, c in zip(fields, cells, strict=True)}
    return _READ[_kind(field)](value)


def _json_text(field: Mapping[str, Any], value: Any) -> str:
    """A value of a JSON column as its text."""
    if field.get("fields"):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    if not isinstance(value, list):
        json.loads(value)
        return str(value)
    return json.dumps([None if v is None else json.loads(v) for v in value], ensure_ascii=False)


def _plain(value: Any) -> str:
    """What JSON has no type for, inside a RECORD."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    return str(value.isoformat())


def _boolean(value: Any) -> bool:
    if value in {True, "true"}:
        return True
    if value in {False, "false"}:
        return False
    raise ValueError


def _moment(value: Any) -> datetime.datetime:
    """A TIMESTAMP: seconds with a fraction or an exponent, microseconds, or ISO 8601."""
    text = str(value)
    if "T" in text or ":" in text:
        found = datetime.datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    number = Decimal(text)
    if "." in text or "E" in text.upper():
        number *= 1_000_000
    return _EPOCH + datetime.timedelta(microseconds=int(number.to_integral_value()))


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value, validate=True)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "VARCHAR": str,
    "BIGINT": int,
    "DOUBLE": float,
    "BOOLEAN": _boolean,
    "JSON": str,
    "BLOB": _bytes,
    "DATE": datetime.date.fromisoformat,
    "TIME": datetime.time.fromisoformat,
    "TIMESTAMP": datetime.datetime.fromisoformat,
    "TIMESTAMPTZ": _moment,
    _DECIMAL: Decimal,
}
