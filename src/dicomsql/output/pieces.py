"""Some rows of a result as the writers take them, whether Arrow or plain texts hold them.

What the provider documents answer (SHOW, DESCRIBE, EXPLAIN) comes as texts; a command that asks for
no more must not wait for Arrow to be imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.result import Result, ResultColumn

# Rows that are turned into text at once: enough to be quick, few enough to be small.
ROWS_AT_ONCE = 8192


class Piece(Protocol):
    """Rows of a result, given column by column."""

    @property
    def count(self) -> int:
        """The number of rows."""

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""

    def head(self, count: int, /) -> Piece:
        """The first rows."""

    def texts(self) -> list[list[str | None]]:
        """The columns as texts; NULL is None."""

    def json_lines(self, names: list[str]) -> bytes:
        """The rows as JSON objects with these keys, one a line."""

    def batch(self) -> pa.RecordBatch:
        """The rows as Arrow has them."""

    def plain_lines(self, delimiter: str, /) -> bytes | None:
        """The rows as lines of fields where none needs quotes; None where that is not known."""


def pieces_of(result: Result) -> Iterator[Piece]:
    """A result's rows in pieces that are small enough to be turned into text at once."""
    columns = result.columns or ()
    if result.rows is not None:
        for start in range(0, len(result.rows), ROWS_AT_ONCE):
            yield TextPiece(result.rows[start : start + ROWS_AT_ONCE], columns)
        return
    from dicomsql.output.values import ArrowPiece

    for batch in result.batches():
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield ArrowPiece(batch.slice(start, ROWS_AT_ONCE), columns)


class TextPiece:
    """Rows whose values are texts or None."""

    def __init__(
        self, rows: tuple[tuple[object, ...], ...], columns: tuple[ResultColumn, ...]
    ) -> None:
        self._rows = rows
        self._columns = columns
        self.count = len(rows)
        self.numeric = [False] * len(columns)

    def head(self, count: int, /) -> TextPiece:
        return TextPiece(self._rows[:count], self._columns)

    def texts(self) -> list[list[str | None]]:
        return [
            [None if value is None else str(value) for value in column]
            for column in zip(*self._rows, strict=True)
        ]

    def batch(self) -> pa.RecordBatch:
        import pyarrow as pa

        arrays = [pa.array(column, pa.string()) for column in self.texts()]
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in self._columns])

    def json_lines(self, names: list[str]) -> bytes:
        nested = [column.type == "JSON" for column in self._columns]
        lines = [
            json.dumps(
                {
                    name: json.loads(str(value)) if is_json and value is not None else value
                    for name, value, is_json in zip(names, row, nested, strict=True)
                },
                ensure_ascii=False,
                separators=(",", ":"),
            )
            for row in self._rows
        ]
        return "".join(f"{line}\n" for line in lines).encode()

    def plain_lines(self, _delimiter: str, /) -> bytes | None:
        return None
