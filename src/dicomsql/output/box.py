"""Writes a table with lines around it and between its columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.grid import Frame, write_grid
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

FRAME = Frame(
    top=("┌─", "─", "─┬─", "─┐"),
    head=("├─", "─", "─┼─", "─┤"),
    bottom=("└─", "─", "─┴─", "─┘"),
    cells=("│ ", " ", " │ ", " │"),
    more=("│ ", " ", " ┊ ", " │"),
)


def write_box(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write as `table` does, with lines."""
    return write_grid(columns, pieces, stream, options, FRAME)
