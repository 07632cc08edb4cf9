"""Writes json (one array of objects) and jsonl (one object a line), values in their own types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.options import ByteStream, Options
from dicomsql.output.values import json_encoder, json_values

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.result import ResultColumn


def write_json(
    columns: tuple[ResultColumn, ...],
    batches: Iterator[pa.RecordBatch],
    stream: ByteStream,
    _options: Options,
) -> int:
    """Write one array, a row a line; `[]` for no rows. The options mean nothing here."""
    count = 0
    for batch in batches:
        stream.write(b",\n" if count else b"[")
        # The encoder escapes line ends inside values, so that each one here parts two rows.
        stream.write(_lines(columns, batch)[:-1].replace(b"\n", b",\n"))
        stream.flush()
        count += batch.num_rows
    stream.write(b"]\n" if count else b"[]\n")
    stream.flush()
    return count


def write_jsonl(
    columns: tuple[ResultColumn, ...],
    batches: Iterator[pa.RecordBatch],
    stream: ByteStream,
    _options: Options,
) -> int:
    """Write one object a line; nothing for no rows. The options mean nothing here."""
    count = 0
    for batch in batches:
        stream.write(_lines(columns, batch))
        stream.flush()
        count += batch.num_rows
    return count


def _lines(columns: tuple[ResultColumn, ...], batch: pa.RecordBatch) -> bytes:
    names = unique_names([column.name for column in columns])
    values = [json_values(a, c.type) for a, c in zip(batch.columns, columns, strict=True)]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    return json_encoder().encode_lines(rows)


def unique_names(names: list[str]) -> list[str]:
    """Names with a number behind those that an earlier column has: `a`, `a_1`.

    An object with a key twice would lose a column in most readers.
    """
    taken = set(names)
    seen: set[str] = set()
    given: list[str] = []
    for name in names:
        new, number = name, 0
        while new in seen or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        seen.add(new)
        given.append(new)
    return given
