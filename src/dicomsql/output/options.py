"""What every writer is given besides the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are written.

    Attributes:
        headers: write the columns' names.
        delimiter: what stands between the values of csv; one character.
        width: columns of the terminal that a table may take; None where nothing limits it.
        left_out: told the names of the columns for which a table found no room.
    """

    headers: bool = True
    delimiter: str = ","
    width: int | None = None
    left_out: Callable[[tuple[str, ...]], object] | None = None


class ByteStream(Protocol):
    """What the writers need of a binary file."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


# Writes rows in one format and gives their number.
Writer = Callable[["tuple[ResultColumn, ...]", "Iterator[Piece]", ByteStream, Options], int]
