"""Writes a table for people: columns as wide as their content, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.cells import cells_of, cut, safe, width_of
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# The widths are those of so many rows; the rest streams, and a wider cell there shifts its line.
_MEASURED_ROWS = 10_000

_BETWEEN = " | "

# A column is shown so wide, or as wide as it is, or not at all: less of a UID or of a name like
# StudyInstanceUID tells it apart from no other.
_NARROWEST = 12


def write_table(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write a head, a rule and the rows.

    Where the options give a width, the widest columns are cut, and the last ones left out when
    that is not enough.
    """
    names = [safe(column.name) for column in columns]
    measured: list[list[list[str]]] = []
    numeric = [False] * len(columns)
    count = 0
    for piece in pieces:
        numeric = piece.numeric
        measured.append(cells_of(piece))
        count += piece.count
        if count >= _MEASURED_ROWS:
            break
    widths = [width_of(name) if options.headers else 0 for name in names]
    for cells in measured:
        widths = [
            max(width, max(map(width_of, column), default=0))
            for width, column in zip(widths, cells, strict=True)
        ]
    if options.width is not None:
        shown = _fitting(widths, options.width)
        if shown < len(names) and options.left_out is not None:
            options.left_out(tuple(names[shown:]))
        widths = _narrowed(widths[:shown], options.width)
    limit = widths if options.width is not None else None
    if options.headers:
        rule = "-+-".join("-" * width for width in widths)
        stream.write(f"{_line(names, widths, numeric, limit)}\n{rule}\n".encode())
    for cells in measured:
        _write_rows(stream, cells, widths, numeric, limit)
    for piece in pieces:
        _write_rows(stream, cells_of(piece), widths, numeric, limit)
        count += piece.count
    stream.flush()
    return count


def _write_rows(
    stream: ByteStream,
    cells: list[list[str]],
    widths: list[int],
    numeric: list[bool],
    limit: list[int] | None,
) -> None:
    lines = [_line(row, widths, numeric, limit) for row in zip(*cells, strict=True)]
    stream.write(("\n".join(lines) + "\n").encode())


def _line(
    cells: list[str] | tuple[str, ...],
    widths: list[int],
    numeric: list[bool],
    limit: list[int] | None,
) -> str:
    shown = []
    # Cells beyond the widths are those of columns that are left out.
    for i, cell in enumerate(cells[: len(widths)]):
        text = cell if limit is None else cut(cell, limit[i])
        padding = " " * (widths[i] - width_of(text))
        shown.append(padding + text if numeric[i] else text + padding)
    return _BETWEEN.join(shown).rstrip()


def _fitting(widths: list[int], total: int) -> int:
    """How many columns from the left fit the terminal when each is as narrow as it may be."""
    used, count = 0, 0
    for width in widths:
        used += min(width, _NARROWEST) + (len(_BETWEEN) if count else 0)
        if used > total:
            break
        count += 1
    return max(count, 1)


def _narrowed(widths: list[int], total: int) -> list[int]:
    """Widths that fit the terminal: the widest columns give way."""
    room = total - len(_BETWEEN) * (len(widths) - 1)
    if sum(widths) <= room:
        return widths
    cap = max(widths)
    while cap > _NARROWEST and sum(min(width, cap) for width in widths) > room:
        cap -= 1
    return [min(width, cap) for width in widths]
