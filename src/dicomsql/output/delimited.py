"""Writes csv and tsv: RFC 4180, but for lines that end in LF; NULL is an empty field."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from dicomsql.output.options import ByteStream, Options
from dicomsql.output.values import texts

if TYPE_CHECKING:
    from dicomsql.result import ResultColumn


# From so many rows on, Arrow's writer earns its import.
_MANY_ROWS = 100


def write_csv(
    columns: tuple[ResultColumn, ...],
    batches: Iterator[pa.RecordBatch],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write rows separated by the options' delimiter."""
    return _write(columns, batches, stream, options, options.delimiter)


def write_tsv(
    columns: tuple[ResultColumn, ...],
    batches: Iterator[pa.RecordBatch],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write rows separated by tabs; fields that hold one are quoted, as in csv."""
    return _write(columns, batches, stream, options, "\t")


def _write(
    columns: tuple[ResultColumn, ...],
    batches: Iterator[pa.RecordBatch],
    stream: ByteStream,
    options: Options,
    delimiter: str,
) -> int:
    if options.headers:
        stream.write(_quoted([[column.name] for column in columns], delimiter))
    count = 0
    for batch in batches:
        arrays = [texts(a, c.type) for a, c in zip(batch.columns, columns, strict=True)]
        stream.write(_lines(arrays, delimiter))
        stream.flush()
        count += batch.num_rows
    stream.flush()
    return count


def _lines(arrays: list[pa.Array], delimiter: str) -> bytes:
    """Rows by Arrow's writer where no field needs quotes, which is several times as quick."""
    # A row of one empty field must be quoted, lest it be an empty line that readers skip.
    if len(arrays) > 1 and len(arrays[0]) >= _MANY_ROWS:
        import pyarrow.csv as pa_csv

        buffer = io.BytesIO()
        # Positions name the columns here: a result may have two of one name.
        batch = pa.record_batch(arrays, names=[str(i) for i in range(len(arrays))])
        write = pa_csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none")
        try:
            pa_csv.write_csv(batch, buffer, write)
        except pa.ArrowInvalid:
            pass
        else:
            return buffer.getvalue()
    return _quoted([array.to_pylist() for array in arrays], delimiter)


def _quoted(columns: list[list[str | None]], delimiter: str) -> bytes:
    """Rows with quotes where a field needs them; the csv module leaves a lone CR without."""
    special = re.compile(f'["\r\n{re.escape(delimiter)}]')

    def field(text: str | None) -> str:
        if not text:
            return ""
        return '"' + text.replace('"', '""') + '"' if special.search(text) else text

    lines = [delimiter.join(map(field, row)) or '""' for row in zip(*columns, strict=True)]
    return ("\n".join(lines) + "\n").encode()
