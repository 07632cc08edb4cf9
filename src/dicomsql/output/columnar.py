"""Writes parquet and arrow: the columns in their own types, a group of rows at a time.

JSON is text, as in the batches. What parquet has no type for (intervals) is text as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyarrow import types

from dicomsql.output.jsontext import unique_names
from dicomsql.output.options import ByteStream, Options
from dicomsql.output.values import texts

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# A group of rows ends at the first of these; it is held in memory until it is written.
_GROUP_ROWS = 131_072
_GROUP_BYTES = 32_000_000


def write_parquet(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write one parquet file; a column whose name an earlier one has gets a number behind it.

    The file's end, without which nothing reads it, is written once all rows are. Of the
    options only the schema means something here.
    """
    return _write(columns, pieces, stream, options, open_writer=_parquet)


def write_arrow(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write one file of Arrow's IPC format, under the same rules as parquet."""
    return _write(columns, pieces, stream, options, open_writer=_arrow)


def _write(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
    *,
    open_writer: Callable[[_Sink, pa.Schema], _Groups],
) -> int:
    names = unique_names([column.name for column in columns])
    sink = _Sink(stream)
    writer: _Groups | None = None
    group: list[pa.RecordBatch] = []
    count = 0
    try:
        for piece in pieces:
            batch = _storable(piece.batch(), columns, names)
            writer = writer or open_writer(sink, batch.schema)
            group.append(batch)
            count += batch.num_rows
            rows = sum(one.num_rows for one in group)
            if rows >= _GROUP_ROWS or sum(one.nbytes for one in group) >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group))
                group = []
        if writer is None:
            empty = _no_rows(options.schema or pa.schema((c.name, pa.string()) for c in columns))
            writer = open_writer(sink, _storable(empty, columns, names).schema)
        if group:
            writer.write_table(pa.Table.from_batches(group))
        writer.close()
    finally:
        # A writer that is left writes its end even so, and half a result would look whole.
        sink.close()
    stream.flush()
    return count


class _Groups(Protocol):
    """What Arrow's writers of both formats have."""

    def write_table(self, table: pa.Table, /) -> object: ...

    def close(self) -> object: ...


class _Sink:
    """The stream as Arrow's writer wants a file; what comes after `close` goes nowhere."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._written = 0
        self._open = True
        self.closed = False

    def write(self, data: bytes) -> int:
        if self._open:
            self._stream.write(bytes(data))
            self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        """Arrow's buffers are all written through `write`."""

    def close(self) -> None:
        """Take nothing more; the stream stays open."""
        self._open = False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _parquet(sink: _Sink, schema: pa.Schema) -> _Groups:
    import pyarrow.parquet as pq

    writer: _Groups = pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd")
    return writer


def _arrow(sink: _Sink, schema: pa.Schema) -> _Groups:
    writer: _Groups = pa.ipc.new_file(pa.PythonFile(sink, mode="w"), schema)
    return writer


def _storable(
    batch: pa.RecordBatch, columns: tuple[ResultColumn, ...], names: list[str]
) -> pa.RecordBatch:
    """The batch in types that parquet has."""
    arrays = [
        _stored(array, column.type) for array, column in zip(batch.columns, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _stored(array: pa.Array, sql_type: str) -> pa.Array:
    if types.is_dictionary(array.type):
        return array.cast(array.type.value_type)
    if isinstance(array.type, pa.BaseExtensionType):
        return array.storage
    if _has_interval(array.type):
        return texts(array, sql_type)
    return array


def _has_interval(kind: pa.DataType) -> bool:
    if types.is_interval(kind):
        return True
    return any(_has_interval(kind.field(i).type) for i in range(kind.num_fields))


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)
