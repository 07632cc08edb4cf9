"""Where the results of statements go, and in which form."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from dicomsql.cli.console import Console, RowStream
from dicomsql.cli.failures import UsageError

if TYPE_CHECKING:
    from dicomsql.result import Result

# What the ending of the output's file says about its format.
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "markdown",
    ".html": "html",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "csv",
}

# Formats of files that hold one result and are of no use on a terminal.
BINARY = frozenset({"parquet", "arrow"})
# Formats whose files hold one result.
SINGLE = BINARY | {"html"}

# Formats below whose rows their number is told.
_FOR_PEOPLE = frozenset({"table", "box", "vertical"})
# Bytes of a result that are held in memory until all of it is there, and on disk from there on.
_HELD = 8_000_000

_COLORED = {"on": True, "off": False}

ONE_RESULT = (
    "A {form} file holds one result, but more than one statement has one; "
    "write each to a file of its own."
)


class Writing:
    """Where results go, and how they look there.

    Parameters:
        form: the format; None for the usual one of what is written to.
        is_asked: the command line names the format.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        form: str | None,
        is_asked: bool,
        stream: RowStream,
        console: Console,
    ) -> None:
        self.console = console
        self._arguments = arguments
        self._form = form
        self._is_asked = is_asked
        self._stream = stream
        self._to_terminal = (
            arguments.outfile in {None, "-"} and sys.stdout is not None and sys.stdout.isatty()
        )

    @contextmanager
    def held(self) -> Iterator[Writing]:
        """One that keeps what is written, until the block ends without an error."""
        from shutil import copyfileobj
        from tempfile import SpooledTemporaryFile

        with SpooledTemporaryFile(_HELD) as file:
            made = copy(self)
            made._stream = RowStream(cast(BinaryIO, file), self.console)
            made._stream.written = self._stream.written
            yield made
            file.seek(0)
            copyfileobj(file, self._stream)
            self._stream.flush()

    def write(self, result: Result, statement: str) -> None:
        """Write a result: its rows, then what there is to say of it."""
        from dicomsql import output

        form = self._form
        if output.is_text(result) and self._is_written_as_text(result):
            output.write_text(result, self._stream, escape=self._to_terminal)
        else:
            self._write_rows(result, statement)
        if result.summary is not None and form in {"json", "jsonl"}:
            import json

            self.console.say(json.dumps(result.summary))
        elif result.message:
            self.console.say(result.message)
        for note in result.statistics.notes:
            self.console.say(f"note: {note}")

    def _write_rows(self, result: Result, statement: str) -> None:
        form = self._form or ("table" if self._to_terminal else "csv")
        if form in SINGLE and self._stream.written and result.columns is not None:
            result.close()
            raise UsageError(ONE_RESULT.format(form=form))
        rows, left_out = self._show(result, form, statement)
        self._stream.flush()
        if left_out:
            columns = "column" if len(left_out) == 1 else "columns"
            names = ", ".join(left_out)
            self.console.say(f"{len(left_out)} more {columns}: {names}; -o vertical shows all")
        if rows is not None and form in _FOR_PEOPLE:
            self.console.say(f"({rows:,} row{'' if rows == 1 else 's'})")

    def _show(
        self, result: Result, form: str, statement: str
    ) -> tuple[int | None, tuple[str, ...]]:
        """Write rows; their number, and the columns for which there was no room."""
        headers, delimiter = not self._arguments.hideheaders, self._arguments.delimiter
        color = _COLORED.get(self._arguments.color)
        if not self._to_terminal:
            from dicomsql import output

            options = output.Options(
                headers=headers,
                delimiter=delimiter,
                color=bool(color),
                statement=statement,
                statistics=result.statistics,
            )
            return output.write(result, form, self._stream, options), ()
        from dicomsql.output.display import Look, screen_of, show

        screen = replace(screen_of(sys.stdout), stream=self._stream)
        if color is not None:
            screen = replace(screen, color=color)
        look = Look(
            form,
            # What is written by a command is whole, and of one form however wide the terminal is.
            expanded="off",
            pager="off",
            max_rows=sys.maxsize,
            headers=headers,
            delimiter=delimiter,
        )
        shown = show(result, look, screen, statement)
        self._stream.flush()
        for note in shown.notes:
            self.console.say(note)
        return shown.rows, shown.left_out

    def _is_written_as_text(self, result: Result) -> bool:
        """Whether lines of a text are written as such, and not as rows of one column."""
        if self._form == "table":
            # A document in a cell that is cut to the terminal is of no use to anybody.
            return result.columns is not None and result.columns[0].type == "JSON"
        return not self._is_asked and self._form not in SINGLE


def asked_format(output: str | None, outfile: str | None) -> str | None:
    """The format that is asked for by its name or by the file's ending; None for neither.

    Raises:
        UsageError: the ending is none that is known, or the format cannot be written there.
    """
    ending = Path(outfile or "").suffix.lower()
    form = output or _ENDINGS.get(ending)
    if form is None and ending:
        raise UsageError(
            f"{outfile}: the ending {ending} says nothing of the format. Those known are "
            f"{', '.join(_ENDINGS)}; for another, name the format with -o."
        )
    if form in BINARY and (outfile in {None, "-"} or not _is_file(outfile)):
        raise UsageError(
            f"{form.capitalize()} is written to a file and to nothing else: name it with -f FILE."
        )
    return form


def _is_file(outfile: str | None) -> bool:
    """Whether it is a file, or nothing yet."""
    path = Path(outfile or "").expanduser()
    return path.is_file() or not path.exists()
