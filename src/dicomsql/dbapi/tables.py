"""Tables of other packages as readers of Arrow batches, whose rows a local table takes whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dicomsql.errors import DataError, Error, OperationalError, ProgrammingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

__all__ = ["Incoming"]

_COLUMN = re.compile(r"[Cc]onversion failed for column (.+) with type")

# polars' type of objects, of which others get addresses in memory.
_OBJECTS = "Object"


class Incoming:
    """The rows of a table of another package, as they come.

    Parameters:
        data: has the Arrow PyCapsule interface.

    Attributes:
        reader: of its rows, in types that the engine takes without losing anything.
        failure: what has gone wrong while they were read; None where nothing has.

    Raises:
        ProgrammingError: it is no table, or Arrow has no type for one of its columns.
    """

    def __init__(self, data: object) -> None:
        import pyarrow as pa

        self.failure: Error | None = None
        # Who wrote a reader here in Python sees what it raised; other words may repeat values.
        self._is_own = isinstance(data, pa.RecordBatchReader)
        source = _reader_of(data)
        schema = pa.schema([field.with_type(_taken(field.type)) for field in source.schema])
        self.reader: pa.RecordBatchReader = pa.RecordBatchReader.from_batches(
            schema, self._batches(source, schema)
        )

    def _batches(self, source: pa.RecordBatchReader, to: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in source:
                yield batch if batch.schema.equals(to) else self._cast(batch, to)
        except Error as error:
            self.failure = self.failure or error
            raise
        except Exception as error:
            self.failure = OperationalError(
                f"The rows could not be read to their end ({type(error).__name__}), and none of "
                "them was loaded."
            )
            self.failure.__cause__ = error if self._is_own else None
            raise

    def _cast(self, batch: pa.RecordBatch, to: pa.Schema) -> pa.RecordBatch:
        import pyarrow as pa

        for field, values in zip(to, batch.columns, strict=True):
            try:
                values.cast(field.type)
            except pa.ArrowInvalid:
                raise DataError(
                    f"Column {field.name} ({values.type}) holds durations with nanoseconds, which "
                    "an INTERVAL has not: round them to microseconds, or give them as numbers. "
                    "Nothing was loaded."
                ) from None
        return batch.cast(to)


def _reader_of(data: object) -> pa.RecordBatchReader:
    import pyarrow as pa

    kind = type(data).__name__
    kinds = getattr(data, "dtypes", None)
    if isinstance(kinds, list) and any(str(of) == _OBJECTS for of in kinds):
        raise ProgrammingError(
            f"The {kind} has a column of objects of Python (Object), for which Arrow has no type: "
            "give it one (cast), or leave it out."
        )
    if isinstance(data, pa.RecordBatchReader):
        return data
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data)
        if hasattr(data, "__arrow_c_array__"):
            return pa.Table.from_batches([pa.record_batch(data)]).to_reader()
    except Error:
        raise
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        said = " ".join(map(str, error.args))
        if hasattr(data, "to_frame") or "non-struct" in said:
            raise ProgrammingError(
                f"A {kind} is one column and no table: give its DataFrame (to_frame())."
            ) from None
        column = _COLUMN.search(said)
        raise ProgrammingError(
            f"The {kind} cannot be handed over as Arrow: "
            f"{f'column {column[1]}' if column else 'one of its columns'} holds values of several "
            "types, or of one that Arrow has none for, or two columns have one name. Give each "
            "column a name and one type (astype, cast)."
        ) from None
    raise ProgrammingError(
        f"A {kind} is no table: give a DataFrame of pandas or polars, an Arrow table or reader, or "
        "a cursor."
    )


def _taken(kind: Any) -> pa.DataType:
    """The type in which the engine takes values whole."""
    import pyarrow as pa
    import pyarrow.types as of

    if of.is_null(kind):
        # The engine's own type for it takes no value later.
        return pa.string()
    if of.is_float16(kind):
        return pa.float32()
    if of.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if of.is_struct(kind):
        return pa.struct([f.with_type(_taken(f.type)) for f in kind])
    if of.is_map(kind):
        return pa.map_(_taken(kind.key_type), _taken(kind.item_type))
    for is_list, make in (
        (of.is_list, pa.list_),
        (of.is_large_list, pa.large_list),
        (of.is_fixed_size_list, lambda f: pa.list_(f, kind.list_size)),
    ):
        if is_list(kind):
            return make(kind.value_field.with_type(_taken(kind.value_type)))
    return kind
