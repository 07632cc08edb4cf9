"""Writes markdown tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.cells import cells_of, safe
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# What would end a cell or be read as markup in it.
_MARKUP = re.compile(r"([\\|<>*`\[\]])")


def write_markdown(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write a table as GitHub's markdown has it; numbers to the right.

    A markdown table cannot do without its head.
    """
    names = [_marked(safe(column.name)) for column in columns]
    count = 0
    for piece in pieces:
        if count == 0:
            stream.write(_markdown_head(names, piece.numeric))
        cells = [[_marked(cell) for cell in cells] for cells in cells_of(piece, columns, options)]
        lines = [f"| {' | '.join(row)} |\n" for row in zip(*cells, strict=True)]
        stream.write("".join(lines).encode())
        stream.flush()
        count += piece.count
    if count == 0:
        stream.write(_markdown_head(names, [False] * len(names)))
    stream.flush()
    return count


def _markdown_head(names: list[str], numeric: list[bool]) -> bytes:
    rules = ["---:" if number else "---" for number in numeric]
    return f"| {' | '.join(names)} |\n| {' | '.join(rules)} |\n".encode()


def _marked(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)
