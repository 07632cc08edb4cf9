"""What the rows of a page are decoded to: batches, and the Arrow types of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.dicom.columns import column
from dicomsql.errors import InternalError
from dicomsql.planning.read_plan import ColumnKind

if TYPE_CHECKING:
    from dicomsql.planning.read_plan import ScanColumn

ARROW_TYPES = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.uint64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "JSON": pa.json_(pa.string()),
    "BLOB": pa.binary(),
}

Given = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of a page.

    Attributes:
        keys: the columns that identify each row, or None where that was not asked for.
        unread: names of columns -> the rows of the batch in which they are NULL where the dataset
            has a value that is none of its VR.
    """

    batch: pa.RecordBatch
    keys: tuple[pa.Array, ...] | None = None
    unread: Mapping[str, Sequence[int]] = field(default_factory=dict)


def arrow_type(sql_type: str) -> pa.DataType:
    """The Arrow type of a column's SQL type, lists included."""
    if sql_type.endswith("[]"):
        return pa.list_(arrow_type(sql_type[:-2]))
    try:
        return ARROW_TYPES[sql_type]
    except KeyError:
        raise InternalError(f"No Arrow type stands for {sql_type}.") from None


def schema_of(columns: Sequence[ScanColumn]) -> pa.Schema:
    fields = []
    for c in columns:
        attribute = column(c.source) if c.kind is ColumnKind.ATTRIBUTE else None
        kind = attribute.arrow_type if attribute is not None else arrow_type(c.type)
        fields.append(pa.field(c.name, kind))
    return pa.schema(fields)
