"""Draws rows in columns: how wide each is, what is wrapped, what has no room, where colors go.

A terminal gets its first rows as soon as they are there: the widths are those of the first piece.
A wider cell that comes later is wrapped in its column; where that would lose most of it, its rows
begin under a head of their own. Where nothing bounds the width, more rows are measured, and a wider
cell shifts its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

from dicomsql.output.cells import Thumbnail, cells_of, cut, safe, type_text, width_of, wrapped
from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

# Rows that are measured where no width is given.
_MEASURED_ROWS = 10_000
# Lines of a cell that is narrower than its text: enough for a UID in a third of its width.
_LINES = 3
# Lines of JSON that is written in lines of its own.
_JSON_LINES = 60
# What is said then.
CUT = "Long values are cut, with … at their end; vertical shows them whole"
# A column is as wide as it is, or at least so wide, or is not shown at all.
_NARROWEST = 12
_WIDE_ENOUGH = 24
# The widest that a column becomes where rows are scrolled sideways.
_WIDEST = 1_000

BOLD, DIM, NULL, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[2;3m", "\x1b[0m"

# Where a name may be parted: StudyInstanceUID, store_name.
_NAME_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[_. -])")

# Types whose own names are longer than what is told of them.
_TYPE_NAMES = {
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "TIME WITH TIME ZONE": "timetz",
}

# Rows as cells, column by column.
Cells = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around and between cells.

    A line of the frame is its left end, what fills it, what parts two columns, its right end.

    Attributes:
        head: parts the names from the rows.
        top, bottom: above the names and below the rows.
        cells: around and between the cells of a row's first line; its filling is a blank.
        more: the same in its further lines.
    """

    head: tuple[str, str, str, str]
    cells: tuple[str, str, str, str]
    more: tuple[str, str, str, str]
    top: tuple[str, str, str, str] | None = None
    bottom: tuple[str, str, str, str] | None = None

    def width(self, widths: Sequence[int]) -> int:
        """Columns of the terminal that columns of these widths take."""
        left, _, between, right = self.cells
        return sum(widths) + len(between) * (len(widths) - 1) + len(left) + len(right)


def write_grid(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
    frame: Frame,
) -> int:
    """Write a head and the rows, and give their number."""
    grid = Grid(columns, stream, options, frame)
    measured: list[Cells] = []
    count = 0
    for piece in pieces:
        cells = cells_of(piece, columns, options)
        if count == 0:
            grid.numeric = piece.numeric
        count += piece.count
        if grid.is_begun:
            grid.rows(cells)
            continue
        measured.append(cells)
        if options.width is not None or count >= _MEASURED_ROWS:
            grid.begin(measured)
    if not grid.is_begun:
        grid.begin(measured)
    grid.end()
    return count


def natural_widths(
    columns: Sequence[ResultColumn], measured: Iterable[Cells], options: Options
) -> list[int]:
    """How wide columns are if none gives way."""
    widths = [0] * len(columns)
    if options.headers:
        widths = [width_of(safe(column.name)) for column in columns]
        if options.types:
            labels = [len(type_name(column.type)) for column in columns]
            widths = [max(w, min(n, _NARROWEST)) for w, n in zip(widths, labels, strict=True)]
    for cells in measured:
        widths = [max(w, _widest(column)) for w, column in zip(widths, cells, strict=True)]
    return widths


def fitting(widths: Sequence[int], total: int, frame: Frame) -> list[int]:
    """Widths with which columns fit a terminal: of all of them, or of the first ones.

    The widest give way, down to where a UID takes three lines.
    """
    floors = [
        min(width, max(_NARROWEST, min(_WIDE_ENOUGH, -(-width // _LINES)))) for width in widths
    ]
    count = len(floors)
    while count > 1 and frame.width(floors[:count]) > total:
        count -= 1
    floors, kept = floors[:count], list(widths[:count])
    cap = min(max(kept), total)
    while frame.width(kept) > total and cap > 1:
        kept = [max(floor, min(width, cap)) for floor, width in zip(floors, kept, strict=True)]
        cap -= 1
    if count == 1:
        kept = [max(1, min(kept[0], total - frame.width([0])))]
    return kept


def type_name(sql_type: str) -> str:
    """A column's type in a word, as it stands under the column's name."""
    if sql_type.endswith("[]"):
        return f"{type_name(sql_type[:-2])}[]"
    known = _TYPE_NAMES.get(sql_type)
    if known is not None:
        return known
    # What a STRUCT or an ENUM consists of is DESCRIBE's to tell.
    named = sql_type.partition("(")[0] if sql_type[:4] in {"STRU", "MAP(", "ENUM", "UNIO"} else ""
    return type_text(named or sql_type).lower()


def styled(text: str, style: str, options: Options) -> str:
    """The text in a style, where colors are shown."""
    return f"{style}{text}{_PLAIN}" if style and text and options.color else text


class Grid:
    """Columns of a frame.

    Attributes:
        numeric: which columns hold numbers.
    """

    def __init__(
        self,
        columns: tuple[ResultColumn, ...],
        stream: ByteStream,
        options: Options,
        frame: Frame,
    ) -> None:
        self._columns = columns
        self._stream = stream
        self._options = options
        self._frame = frame
        self._natural: list[int] = []
        self._widths: list[int] = []
        self.numeric = [False] * len(columns)
        self._bounded = options.width is not None or options.whole
        self._null = safe(options.null)

    @property
    def is_begun(self) -> bool:
        """Whether the columns have their widths."""
        return bool(self._widths)

    def begin(self, measured: Sequence[Cells]) -> None:
        """Give the columns the widths that these rows need, and write the head and the rows."""
        self._natural = natural_widths(self._columns, measured, self._options)
        self._widths = self._allowed(self._natural)
        left_out = self._columns[len(self._widths) :]
        if left_out and self._options.left_out is not None:
            self._options.left_out(tuple(safe(column.name) for column in left_out))
        self._head()
        for cells in measured:
            self._rows(cells)

    def rows(self, cells: Cells) -> None:
        """Write some more rows, under a head of their own where the columns are far too narrow."""
        if self._bounded:
            self._widen(cells)
        self._rows(cells)

    def end(self) -> None:
        """Write the line below the rows."""
        self._write(self._edge(self._frame.bottom))

    def _allowed(self, natural: list[int]) -> list[int]:
        if self._options.whole:
            return [min(width, _WIDEST) for width in natural]
        if self._options.width is not None:
            return fitting(natural, self._options.width, self._frame)
        return natural

    def _widen(self, cells: Cells) -> None:
        wide = [_widest(column) for column in cells]
        if all(w <= _LINES * width for w, width in zip(wide, self._widths, strict=False)):
            return
        natural = [max(pair) for pair in zip(self._natural, wide, strict=True)]
        widths = self._allowed(natural)
        if len(widths) == len(self._widths) and widths != self._widths:
            self.end()
            self._natural, self._widths = natural, widths
            self._head(again=True)

    def _head(self, *, again: bool = False) -> None:
        """Write the names, their types, and the line below them."""
        frame, shown = self._frame, range(len(self._widths))
        lines = self._edge(frame.top or (frame.head if again else None))
        if self._options.headers:
            names = [self._name(at) for at in shown]
            lines += self._row(names, frame.cells, BOLD)
            if self._options.types:
                labels = [type_name(self._columns[at].type) for at in shown]
                types = [[cut(labels[at], self._widths[at])] for at in shown]
                lines += self._row(types, frame.cells, DIM)
            lines += self._edge(frame.head)
        self._write(lines)

    def _rows(self, cells: Cells) -> None:
        lines: list[str] = []
        for row in zip(*cells[: len(self._widths)], strict=True):
            parted = [self._lines_of(*cell) for cell in zip(row, self._widths, strict=True)]
            lines += self._row(parted, self._frame.more)
        self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            self._stream.write(("\n".join(lines) + "\n").encode())
        self._stream.flush()

    def _name(self, at: int) -> list[str]:
        name = safe(self._columns[at].name)
        return list(_name_lines(name, self._widths[at])) if self._bounded else [name]

    def _lines_of(self, cell: str, width: int) -> list[str]:
        """A cell's lines in the width of its column; what is cut ends in an ellipsis."""
        if isinstance(cell, Thumbnail):
            return cell.within(width) if _widest([cell]) > width else cell.split("\n")
        if "\n" not in cell and (not self._bounded or width_of(cell) <= width):
            return [cell]
        lines = cell.split("\n")
        if not self._bounded:
            return lines
        parts = chain.from_iterable(wrapped(line, width) for line in lines)
        if self._options.whole or not self._options.cuts:
            return list(parts)
        most = _JSON_LINES if len(lines) > 1 else _LINES
        first = list(islice(parts, most + 1))
        if len(first) <= most:
            return first
        if self._options.told is not None:
            self._options.told(CUT)
        return [*first[: most - 1], cut(first[-2] + "…", width)]

    def _row(
        self, cells: Sequence[list[str]], more: tuple[str, str, str, str], style: str = ""
    ) -> list[str]:
        """A row as lines, as many as its highest cell has."""
        return [
            self._line(texts, more if number else self._frame.cells, style)
            for number, texts in enumerate(zip_longest(*cells, fillvalue=""))
        ]

    def _line(self, texts: Sequence[str], edges: tuple[str, str, str, str], style: str) -> str:
        left, _, between, right = edges
        shown = []
        for text, width, number in zip(texts, self._widths, self.numeric, strict=False):
            padding = " " * (width - width_of(text))
            look = style or (NULL if text == self._null else "")
            cell = styled(text, look, self._options)
            shown.append(padding + cell if number else cell + padding)
        line = self._edge_text(left) + self._edge_text(between).join(shown)
        return line + self._edge_text(right) if right else line.rstrip(" ")

    def _edge(self, edge: tuple[str, str, str, str] | None) -> list[str]:
        if edge is None:
            return []
        left, filling, between, right = edge
        return [self._edge_text(left + between.join(filling * w for w in self._widths) + right)]

    def _edge_text(self, text: str) -> str:
        return styled(text, DIM if text.strip() else "", self._options)


def _widest(column: Sequence[str]) -> int:
    """Columns of the terminal that the widest line of a column's cells takes."""
    return max(
        (max(map(width_of, c.split("\n"))) if "\n" in c else width_of(c) for c in column), default=0
    )


def _name_lines(name: str, width: int) -> Iterator[str]:
    """A name in lines, parted between its words where it can be."""
    line = ""
    for part in _NAME_PARTS.split(name):
        if line and width_of(line + part) > width:
            yield from wrapped(line, width)
            line = ""
        line += part
    yield from wrapped(line, width)
