"""Shows the first rows of a result in a notebook: as HTML with pictures, and as text.

A notebook keeps what it shows in its file, so that no more goes into it than the columns that were
asked for, and of them only what is seen.
"""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from dicomsql.output.cells import NULL, cut, safe, type_text
from dicomsql.output.options import Options
from dicomsql.output.pictures import described, is_picture, size_text
from dicomsql.output.pieces import TextPiece
from dicomsql.output.table import write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.result import ResultColumn

__all__ = ["ROWS_SEEN", "shown"]

# What is shown at most: rows, columns, letters of a value, bytes of all pictures together.
ROWS_SEEN = 20
_COLUMNS_SEEN = 50
_LETTERS_SEEN = 200
_PICTURES_SEEN = 8_000_000

_PICTURE = (
    '<img src="data:image/{kind};base64,{data}" alt="{about}" title="{about}" '
    'style="max-width:20em;max-height:20em">'
)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A value as text, and the picture that it is, if it is one."""

    text: str | None
    picture: str = ""
    data: bytes = b""


def shown(
    columns: Sequence[ResultColumn],
    batches: Iterable[pa.RecordBatch],
    before: int = 0,
    said: Iterable[str] = (),
) -> dict[str, str]:
    """What a notebook shows of a result, by MIME types.

    Args:
        batches: its next rows, more than `ROWS_SEEN` if there are.
        before: rows that were fetched before them.
        said: what else there is to say of the result.
    """
    seen = columns[:_COLUMNS_SEEN]
    rows, more, numeric = _rows(seen, batches)
    notes = [_counted(len(rows), more, before)]
    if len(seen) < len(columns):
        left = ", ".join(safe(column.name) for column in columns[len(seen) :])
        notes.append(f"{len(columns) - len(seen):,} columns are left out: {cut(left, 1_000)}.")
    if any(len(cell.text or "") > _LETTERS_SEEN for row in rows for cell in row):
        notes.append("Long values are cut.")
    notes += said
    return {
        "text/html": _html(seen, rows, numeric, notes),
        "text/plain": _plain(tuple(seen), rows, numeric, notes),
    }


def _counted(count: int, more: bool, before: int) -> str:
    rows = f"{count:,} row{'s' * (count != 1)}"
    if more:
        rows = f"The {'next' if before else 'first'} {rows}; there are more"
    return f"{rows}, after {before:,} that were fetched." if before else f"{rows}."


def _rows(
    columns: Sequence[ResultColumn], batches: Iterable[pa.RecordBatch]
) -> tuple[list[tuple[_Cell, ...]], bool, list[bool]]:
    """The rows that are seen, whether there are more, and which columns are numbers."""
    from dicomsql.output.values import is_number

    rows: list[tuple[_Cell, ...]] = []
    numeric = [False] * len(columns)
    for batch in batches:
        if batch.num_rows and len(rows) == ROWS_SEEN:
            return rows, True, numeric
        numeric = [is_number(array.type) for array in batch.columns[: len(columns)]]
        part = batch.slice(0, ROWS_SEEN - len(rows))
        cells = [_cells(c, a) for c, a in zip(columns, part.columns, strict=False)]
        rows += zip(*cells, strict=True)
        if part.num_rows < batch.num_rows:
            return rows, True, numeric
    return rows, False, numeric


def _cells(column: ResultColumn, array: pa.Array) -> list[_Cell]:
    from pyarrow import types

    from dicomsql.output.values import texts

    if column.type == "BLOB" and (types.is_binary(array.type) or types.is_large_binary(array.type)):
        return [_of_bytes(value) for value in array.to_pylist()]
    return [_Cell(text) for text in texts(array, column.type).to_pylist()]


def _of_bytes(value: bytes | None) -> _Cell:
    if value is None:
        return _Cell(None)
    kind = is_picture(value)
    return _Cell(described(value), kind, value) if kind else _Cell(size_text(value))


def _html(
    columns: Sequence[ResultColumn],
    rows: Sequence[tuple[_Cell, ...]],
    numeric: Sequence[bool],
    notes: Iterable[str],
) -> str:
    head = "".join(
        f"<th>{escape(safe(column.name))}<br><small>{escape(type_text(column.type))}</small></th>"
        for column in columns
    )
    align = [' style="text-align:right"' if n else ' style="text-align:left"' for n in numeric]
    room, left_out = _PICTURES_SEEN, 0
    lines = []
    for row in rows:
        fields = []
        for cell, style in zip(row, align, strict=True):
            picture = bool(cell.picture) and len(cell.data) <= room
            room -= len(cell.data) if picture else 0
            left_out += bool(cell.picture) and not picture
            fields.append(f"<td{style}>{_field(cell, picture)}</td>")
        lines.append(f"<tr>{''.join(fields)}</tr>")
    if left_out:
        notes = (*notes, f"{left_out:,} more pictures would make the notebook too large.")
    return (
        f'<table class="dataframe"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table><p>{escape(' '.join(notes))}</p>"
    )


def _field(cell: _Cell, picture: bool) -> str:
    if cell.text is None:
        return f"<small>{NULL}</small>"
    about = escape(cut(safe(cell.text), _LETTERS_SEEN))
    if not picture:
        return about
    data = base64.b64encode(cell.data).decode("ascii")
    return _PICTURE.format(kind=cell.picture, data=data, about=about)


def _plain(
    columns: tuple[ResultColumn, ...],
    rows: Sequence[tuple[_Cell, ...]],
    numeric: list[bool],
    notes: Sequence[str],
) -> str:
    texts = tuple(
        tuple(None if c.text is None else cut(c.text, _LETTERS_SEEN) for c in row) for row in rows
    )
    piece = TextPiece(texts, columns)
    piece.numeric = numeric
    left_out: list[str] = []
    width = shutil.get_terminal_size().columns
    stream = io.BytesIO()
    write_table(
        columns,
        iter([piece] if rows else []),
        stream,
        Options(width=width, left_out=left_out.extend),
    )
    if left_out:
        notes = [*notes, f"No room for {', '.join(left_out)}."]
    return f"{stream.getvalue().decode()}{' '.join(notes)}"
