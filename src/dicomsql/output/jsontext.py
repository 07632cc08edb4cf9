"""Writes json (one array of objects) and jsonl (one object a line), values in their own types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn


def write_json(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    _options: Options,
) -> int:
    """Write one array, a row a line; `[]` for no rows. The options mean nothing here."""
    names = unique_names([column.name for column in columns])
    count = 0
    for piece in pieces:
        stream.write(b",\n" if count else b"[")
        # The encoder escapes line ends inside values, so that each one here parts two rows.
        stream.write(piece.json_lines(names)[:-1].replace(b"\n", b",\n"))
        stream.flush()
        count += piece.count
    stream.write(b"]\n" if count else b"[]\n")
    stream.flush()
    return count


def write_jsonl(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    _options: Options,
) -> int:
    """Write one object a line; nothing for no rows. The options mean nothing here."""
    names = unique_names([column.name for column in columns])
    count = 0
    for piece in pieces:
        stream.write(piece.json_lines(names))
        stream.flush()
        count += piece.count
    return count


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
