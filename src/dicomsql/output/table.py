"""Writes a table for people: columns as wide as their content, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.grid import Frame, write_grid
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# A colon parts the cells of a row's further lines, so that they are not taken for rows.
FRAME = Frame(
    head=("", "-", "-+-", ""),
    cells=("", " ", " | ", ""),
    more=("", " ", " : ", ""),
)


def write_table(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write a head, a rule and the rows.

    Where the options give a width, the widest columns are wrapped, and the last ones left out when
    that is not enough.
    """
    return write_grid(columns, pieces, stream, options, FRAME)
