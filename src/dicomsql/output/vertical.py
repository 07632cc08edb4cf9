"""Writes vertical text: a block for each row, in it a line for each value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.cells import Thumbnail, cells_of, safe, width_of
from dicomsql.output.grid import BOLD, DIM, NULL, styled
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# Columns that a value must have beside its name; else it stands below.
_BESIDE = 20
_BETWEEN = " | "


def write_vertical(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write each row as a block of `name | value` lines under its number.

    Values are written whole: what is longer than a terminal's line is wrapped by the terminal, so
    that a UID is copied from there as one. Where a terminal is narrow, values stand below names.
    """
    names = [safe(column.name) for column in columns]
    widest = max(map(width_of, names))
    below = options.width is not None and options.width < widest + len(_BETWEEN) + _BESIDE
    labels = [f"{name}{' ' * (widest - width_of(name))}" for name in names]
    if below:
        labels, widest = names, min(widest, (options.width or 0) - 1)
    room = (options.width or sys.maxsize) - (2 if below else widest + len(_BETWEEN))
    null = safe(options.null)
    count = 0
    for piece in pieces:
        lines: list[str] = []
        for row in zip(*cells_of(piece, columns, options), strict=True):
            count += 1
            head = f"-[ row {count} ]{'-' * max(0, widest - len(str(count)) - 7)}"
            lines.append(styled(head, DIM, options))
            for label, cell in zip(labels, row, strict=True):
                shown = cell.split("\n")
                if isinstance(cell, Thumbnail) and max(map(width_of, shown)) > room:
                    shown = cell.within(room)
                if cell == null:
                    shown = [styled(cell, NULL, options)]
                lines += _value(label if options.headers else None, shown, options, below=below)
        stream.write(("\n".join(lines) + "\n").encode())
        stream.flush()
    stream.flush()
    return count


def _value(label: str | None, lines: list[str], options: Options, *, below: bool) -> list[str]:
    """A value's lines with its name before or above them."""
    if label is None:
        return [line.rstrip() for line in lines]
    name = styled(label, BOLD, options)
    if below:
        return [name, *(f"  {line}".rstrip() for line in lines)]
    between = styled(_BETWEEN, DIM, options)
    rest = " " * width_of(label) + styled(" : ", DIM, options)
    return [
        f"{name}{between}{lines[0]}".rstrip(),
        *(f"{rest}{line}".rstrip() for line in lines[1:]),
    ]
