"""Shows a result: on a terminal so that it fits or is paged, elsewhere whole.

The first rows are shown when they are there. How they are laid out is decided by them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TextIO

from dicomsql.output.options import ByteStream, Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dicomsql.output.grid import Frame
    from dicomsql.output.pieces import Piece
    from dicomsql.result import Result, ResultColumn, Statistics

# Formats that are tables, which may be too wide, and those that are bytes and no text.
_TABLES = frozenset({"table", "box"})
_BINARY = frozenset({"parquet", "arrow"})
# Formats in which every row counts, however many are seen.
_OF_ALL_ROWS = frozenset({"chart", "html"})
# Formats in which lines of a text (a plan, a statement) are written as the text that they are.
_AS_TEXT = _TABLES | {"vertical"}

# Where a table does not fit, so many rows are shown one below the other.
_FEW_ROWS = 3
# No table is of use on a terminal that is narrower.
_NARROW = 40


class Hideable(Protocol):
    """What is drawn on the terminal beside the rows: a line of progress."""

    def clear(self) -> None:
        """Take it away, until it is drawn again."""

    def hidden(self) -> AbstractContextManager[None]:
        """Draw nothing for the time of a block."""


@dataclass(slots=True)
class Look:
    """How results look; the shell changes it as it goes.

    Attributes:
        format: one of `output.FORMATS`.
        expanded: `on` shows tables as `vertical`, `off` never; `auto` where a table does not fit
            and there are few rows, or the terminal is narrow.
        types: write types under names, on terminals.
        null: what stands for NULL in the formats for people.
        json: `compact`, or `pretty` for JSON in lines of its own, in the formats for people.
        pager: `auto` pages what is longer or wider than the screen, `on` everything, `off` nothing.
        max_rows: rows that are shown on a terminal without a pager; the rest is not fetched.
        pictures: show BLOBs that are pictures as such.
        headers: write the columns' names.
        delimiter: what stands between the values of csv.
    """

    format: str = "table"
    expanded: str = "auto"
    types: bool = True
    null: str = "NULL"
    json: str = "compact"
    pager: str = "auto"
    max_rows: int = 1000
    pictures: bool = True
    headers: bool = True
    delimiter: str = ","


@dataclass(frozen=True, slots=True)
class Screen:
    """What rows are written to.

    Attributes:
        width, height: of the terminal; None where it is none.
        color: it shows colors.
        pager: the command of the pager; empty where there is none.
        line: what is taken away before rows are written.
    """

    stream: ByteStream
    width: int | None = None
    height: int | None = None
    color: bool = False
    pager: tuple[str, ...] = ()
    line: Hideable | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown.

    Attributes:
        rows: that were written; None for a statement that has none.
        more: there are rows that were not written, and not fetched.
        done: what the statement was to do is done, whether or not all rows were written.
        waited, read: seconds that the pager's person took, while rows were written and afterwards.
        left_out: columns for which there was no room.
        format: in which they were written.
        notes: sentences on what could not be shown as it should be.
    """

    rows: int | None
    more: bool = False
    left_out: tuple[str, ...] = ()
    format: str = ""
    notes: tuple[str, ...] = ()
    done: bool = False
    waited: float = field(default=0.0, compare=False)
    read: float = field(default=0.0, compare=False)


def of_note(result: Result) -> Result:
    """The rows of a result that a person has to see, where its message counts the others.

    Of these rows the reason stands first, which a long path would push off the screen. A result of
    which all rows are to be seen is given as it is; one without such a row has no columns.
    """
    if result.of_note is None or result.columns is None:
        return result
    import pyarrow as pa
    import pyarrow.compute as pc

    from dicomsql.result import Result

    name, value = result.of_note
    batches = [batch.filter(pc.equal(batch[name], value)) for batch in result.batches()]
    kept = pa.Table.from_batches(batches, result.schema)
    if not kept.num_rows:
        return Result(None, iter(()), statistics=result.statistics)
    first = {name, "reason"}
    columns = sorted(result.columns, key=lambda column: column.name not in first)
    table = kept.select([column.name for column in columns])
    return Result(
        tuple(columns),
        iter(table.to_batches()),
        schema=table.schema,
        affected=result.affected,
        statistics=result.statistics,
    )


def show(result: Result, look: Look, screen: Screen, statement: str = "") -> Shown:
    """Write a result's rows as the look has it, and close the result.

    On a terminal, what is longer or wider than the screen goes to the pager, row by row as it is
    scrolled; whoever leaves the pager, or interrupts there, gets no error.

    Parameters:
        statement: the SQL text that gave the rows, for the formats that tell it.

    Raises:
        InterfaceError: the format is unknown, or the delimiter cannot be one.
        Error: what reading the rows raised.
    """
    from dicomsql import output

    left_out: list[str] = []
    options = _options(result, look, screen, statement, left_out)
    try:
        # What cannot be written is said before anything is.
        output.writer_of(look.format, options)
        if result.columns is None:
            for _ in result.batches():
                pass
            return Shown(None)
        if output.is_text(result) and look.format in _AS_TEXT:
            return _show_text(result, look, screen)
        return _Showing(result, look, screen, options).run(left_out)
    finally:
        result.close()


def screen_of(stdout: TextIO, line: Hideable | None = None) -> Screen:
    """The screen behind a stream such as sys.stdout.

    It has colors unless NO_COLOR is set, and a pager where a person can use it: that of
    DICOMSQL_PAGER or PAGER, or less. TERM=dumb has neither.
    """
    import shutil
    import sys

    from dicomsql.output.pager import pager_of

    if not stdout.isatty():
        return Screen(stdout.buffer, line=line)
    width, height = shutil.get_terminal_size()
    dumb = os.environ.get("TERM", "") in {"", "dumb"}
    heard = sys.stdin is not None and sys.stdin.isatty()
    return Screen(
        stdout.buffer,
        width,
        height,
        color=not dumb and not os.environ.get("NO_COLOR"),
        pager=pager_of(os.environ) if heard else (),
        line=line,
    )


def remarks(shown: Shown, statistics: Statistics) -> list[str]:
    """What there is to say below the rows: what was left out, and how it is seen."""
    said = []
    if shown.left_out:
        columns = "column" if len(shown.left_out) == 1 else "columns"
        said.append(
            f"{len(shown.left_out)} more {columns}: {', '.join(shown.left_out)}; vertical shows all"
        )
    if shown.more:
        whole = statistics.expected
        count = (
            f"about {whole - (shown.rows or 0):,} " if whole and whole > (shown.rows or 0) else ""
        )
        said.append(
            f"... {count}more rows, which are not shown; all that the statement does is done"
            if shown.done
            else f"... {count}more rows, which were not fetched"
        )
    return [*said, *shown.notes]


def summary(shown: Shown, statistics: Statistics) -> str:
    """What a statement gave and what it cost: `(1,234 rows, 12 requests, 3.4 MB, 0.8 s)`."""
    from dicomsql.progress import size_text

    parts = []
    if shown.rows is not None:
        parts.append(f"{shown.rows:,} row{'s' * (shown.rows != 1)}")
    if statistics.requests:
        parts.append(f"{statistics.requests:,} request{'s' * (statistics.requests != 1)}")
        parts.append(size_text(statistics.bytes_received))
    if statistics.from_cache:
        parts.append(f"{statistics.from_cache:,} from the cache")
    # What the person took is not what the statement took.
    parts.append(f"{max(0.0, statistics.seconds - shown.waited):,.1f} s")
    return f"({', '.join(parts)})"


def _options(
    result: Result, look: Look, screen: Screen, statement: str, left_out: list[str]
) -> Options:
    terminal = screen.width is not None
    color = screen.color
    if color and _may_page(look, screen):
        from dicomsql.output.pager import shows_colors

        color = shows_colors(screen.pager, os.environ)
    return Options(
        headers=look.headers,
        delimiter=look.delimiter,
        width=screen.width,
        left_out=left_out.extend,
        height=screen.height,
        color=color,
        types=look.types and terminal,
        null=look.null,
        json=look.json,
        statement=statement,
        statistics=result.statistics,
        pictures=look.pictures and terminal,
        schema=result.schema if look.format in _BINARY else None,
    )


def _show_text(result: Result, look: Look, screen: Screen) -> Shown:
    """Write lines of a text, such as a plan's."""
    from dicomsql import output

    with _target(look, screen, result) as stream:
        output.write_text(result, stream, escape=screen.width is not None)
    return _paged(Shown(len(result.rows or ()), format="text"), stream)


class _Showing:
    """A result on its way to the screen."""

    def __init__(self, result: Result, look: Look, screen: Screen, options: Options) -> None:
        self._result = result
        self._look = look
        self._screen = screen
        self._options = options
        self._given = 0
        self._whole = False
        self._format = look.format
        self._notes: dict[str, None] = {}

    def run(self, left_out: list[str]) -> Shown:
        """Write the rows."""
        from dicomsql import output
        from dicomsql.output.pieces import pieces_of

        columns = self._result.columns or ()
        pieces = pieces_of(self._result)
        if self._options.pictures and any(column.type == "BLOB" for column in columns):
            pieces = self._drawn(columns, pieces)
        if self._format in _TABLES:
            pieces = self._arranged(columns, pieces)
        options = replace(self._options, told=lambda note: self._notes.update({note: None}))
        write = output.writer_of(self._format, options)
        with _target(self._look, self._screen, self._result, at_once=options.whole) as target:
            write(columns, self._counted(pieces), target, options)
        shown = Shown(
            self._given,
            not self._whole,
            tuple(left_out),
            self._format,
            tuple(self._notes),
            done=self._result.affected >= 0,
        )
        return _paged(shown, target)

    def _counted(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The rows, counted, and no more of them than are shown without a pager."""
        terminal = self._screen.width is not None
        bounded = terminal and self._look.format not in _OF_ALL_ROWS
        most = self._look.max_rows if bounded and not _may_page(self._look, self._screen) else None
        for piece in pieces:
            if most is not None and self._given + piece.count > most:
                room = most - self._given
                self._given = most
                if room:
                    yield piece.head(room)
                return
            self._given += piece.count
            yield piece
        self._whole = True

    def _drawn(self, columns: tuple[ResultColumn, ...], pieces: Iterator[Piece]) -> Iterator[Piece]:
        """Let the terminal draw pictures by itself where it can; the pieces.

        Its protocols know no columns and no pager: they are for values one below the other.
        """
        from dicomsql.output.pictures import can_draw, terminal_protocol

        alone = len(columns) == 1 and self._format in _TABLES
        if not self._screen.color or not can_draw() or not (alone or self._format == "vertical"):
            return pieces
        protocol = terminal_protocol(os.environ)
        if protocol != "blocks":
            self._format = "vertical"
            self._look = replace(self._look, pager="off")
            self._options = replace(self._options, protocol=protocol)
        return pieces

    def _arranged(
        self, columns: tuple[ResultColumn, ...], pieces: Iterator[Piece]
    ) -> Iterator[Piece]:
        """Decide how a table's first rows are best seen; the pieces with them."""
        look, screen = self._look, self._screen
        # A pager has room for all of a value.
        self._options = replace(self._options, cuts=not _may_page(look, screen))
        if look.expanded == "on":
            self._format = "vertical"
        width = screen.width
        if width is None or look.expanded == "on":
            return pieces
        from dicomsql.output.cells import cells_of
        from dicomsql.output.grid import fitting, natural_widths

        taken = [piece for piece in [next(pieces, None)] if piece is not None]
        frame = _frame(look.format)
        cells = [cells_of(piece, columns, self._options) for piece in taken]
        natural = natural_widths(columns, cells, self._options)
        if frame.width(natural) <= width:
            return chain(taken, pieces)
        pages = _may_page(look, screen)
        rows = sum(piece.count for piece in taken)
        fits = len(fitting(natural, width, frame)) == len(columns) and width >= _NARROW
        if not fits and look.expanded == "auto":
            if width >= _NARROW and rows <= _FEW_ROWS and taken:
                # Whether these are all decides; where they are few, the next come soon.
                taken += [piece for piece in [next(pieces, None)] if piece is not None]
                rows = sum(piece.count for piece in taken)
            if width < _NARROW or rows <= _FEW_ROWS:
                self._format = "vertical"
                return chain(taken, pieces)
        if pages and (not fits or rows > (screen.height or 0)):
            self._options = replace(self._options, whole=True)
        return chain(taken, pieces)


def _frame(format: str) -> Frame:
    from dicomsql.output import box, table

    return box.FRAME if format == "box" else table.FRAME


def _may_page(look: Look, screen: Screen) -> bool:
    pages = look.pager != "off" and bool(screen.pager) and screen.width is not None
    return pages and look.format not in _BINARY


@contextmanager
def _target(
    look: Look, screen: Screen, result: Result, *, at_once: bool = False
) -> Iterator[ByteStream]:
    """Where rows go: to the stream, or to it as long as the screen holds them.

    Who leaves the pager, or stops the statement there, has what came: that is no error.
    """
    stream = screen.stream if screen.line is None else _Below(screen.stream, screen.line)
    if not _may_page(look, screen):
        yield stream
        return
    from dicomsql.errors import CancelledError
    from dicomsql.output.pager import Paged, PagerLeftError

    assert screen.width is not None
    with Paged(
        stream,
        screen.pager,
        screen.width,
        screen.height or 24,
        at_once=at_once or look.pager == "on",
        hidden=screen.line.hidden if screen.line is not None else nullcontext,
        cancel=result.cancel,
    ) as paged:
        try:
            yield paged
        except PagerLeftError:
            pass
        except CancelledError:
            if not paged.is_open:
                raise
            paged.stopped()


def _paged(shown: Shown, stream: ByteStream) -> Shown:
    """What was shown, with the time that the pager's person took."""
    from dicomsql.output.pager import Paged

    if isinstance(stream, Paged):
        return replace(shown, waited=stream.waited, read=stream.read)
    return shown


class _Below:
    """A stream before which the line of progress is taken away."""

    def __init__(self, stream: ByteStream, line: Hideable) -> None:
        self._stream = stream
        self._line = line

    def write(self, data: bytes) -> None:
        self._line.clear()
        self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()
