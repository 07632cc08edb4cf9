"""What every writer is given besides the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn, Statistics


@dataclass(frozen=True, slots=True)
class Options:
    """How rows are written.

    Attributes:
        headers: write the columns' names.
        delimiter: what stands between the values of csv; one character.
        width: columns of the terminal that a table may take; None where nothing limits it.
        left_out: told the names of the columns for which a table found no room.
        height: lines of the terminal; None where rows do not go to one.
        color: the reader shows colors (SGR codes).
        types: write the columns' types under their names, in the formats for people.
        null: what stands for NULL in the formats for people.
        json: `pretty` writes JSON in lines of its own, in the formats for people; else `compact`.
        statement: the SQL text that gave the rows.
        statistics: what the statement costs; they grow while its rows are read.
        title: of a page.
        whole: a table whose rows are scrolled sideways, so that nothing has to be cut or left out.
        cuts: of a cell that needs more lines than a few, a table shows the first.
        pictures: show values that are pictures as such, in the formats for people.
        protocol: of the terminal, by which it is given pictures; blocks of color where it is empty.
        schema: Arrow's of the rows, for the formats that have types of their own.
        told: told what else a person should know, which may be the same more than once.
    """

    headers: bool = True
    delimiter: str = ","
    width: int | None = None
    left_out: Callable[[tuple[str, ...]], object] | None = None
    height: int | None = None
    color: bool = False
    types: bool = False
    null: str = "NULL"
    json: str = "compact"
    statement: str = ""
    statistics: Statistics | None = None
    title: str = ""
    whole: bool = False
    cuts: bool = True
    pictures: bool = False
    protocol: str = ""
    schema: pa.Schema | None = None
    told: Callable[[str], object] | None = None


class ByteStream(Protocol):
    """What the writers need of a binary file."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


# Writes rows in one format and gives their number.
Writer = Callable[["tuple[ResultColumn, ...]", "Iterator[Piece]", ByteStream, Options], int]
