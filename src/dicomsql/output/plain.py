"""Writes markdown tables, and vertical text with one line a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.cells import cells_of, safe, width_of
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
    _options: Options,
) -> int:
    """Write a table as GitHub's markdown has it; numbers to the right.

    A markdown table cannot do without its head, so that the options mean nothing here.
    """
    names = [_marked(safe(column.name)) for column in columns]
    count = 0
    for piece in pieces:
        if count == 0:
            stream.write(_markdown_head(names, piece.numeric))
        cells = [[_marked(cell) for cell in cells] for cells in cells_of(piece)]
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


def write_vertical(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write each row as a block of `name | value` lines under its number."""
    names = [safe(column.name) for column in columns]
    widest = max(map(width_of, names))
    labels = [f"{name}{' ' * (widest - width_of(name))} | " for name in names]
    if not options.headers:
        labels = [""] * len(names)
    count = 0
    for piece in pieces:
        lines: list[str] = []
        for row in zip(*cells_of(piece), strict=True):
            count += 1
            lines.append(f"-[ row {count} ]{'-' * max(0, widest - len(str(count)) - 7)}")
            lines += [(label + cell).rstrip() for label, cell in zip(labels, row, strict=True)]
        stream.write(("\n".join(lines) + "\n").encode())
        stream.flush()
    return count
