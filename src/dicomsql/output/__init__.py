"""Writes results batch by batch: table, csv, json, parquet and the other formats."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dicomsql.errors import InterfaceError, nearest
from dicomsql.output.options import ByteStream, Options, Writer
from dicomsql.output.pieces import pieces_of

if TYPE_CHECKING:
    from dicomsql.result import Result

__all__ = ["FORMATS", "ByteStream", "Options", "is_text", "write", "write_text", "writer_of"]

# Each format's module and function; imported when it is used.
_WRITERS = {
    "table": ("table", "write_table"),
    "box": ("box", "write_box"),
    "csv": ("delimited", "write_csv"),
    "tsv": ("delimited", "write_tsv"),
    "json": ("jsontext", "write_json"),
    "jsonl": ("jsontext", "write_jsonl"),
    "markdown": ("plain", "write_markdown"),
    "vertical": ("vertical", "write_vertical"),
    "html": ("page", "write_page"),
    "chart": ("chart", "write_chart"),
    "parquet": ("columnar", "write_parquet"),
    "arrow": ("columnar", "write_arrow"),
}

FORMATS = tuple(_WRITERS)

# Those whose files have columns of types, also where there are no rows.
_TYPED = frozenset({"parquet", "arrow"})

_USUAL = Options()

# Columns of EXPLAIN, of dry runs and of SHOW INSERT METHODS: their rows are lines of a text.
_TEXTS = frozenset({"plan", "insert_statement"})


def is_text(result: Result) -> bool:
    """Whether the rows are lines of a text, for people to read and for programs to take whole."""
    # A query can name a column so too; its rows come through Arrow.
    columns = result.columns or ()
    return result.rows is not None and len(columns) == 1 and columns[0].name in _TEXTS


def write_text(result: Result, stream: ByteStream, *, escape: bool) -> None:
    """Write a result that `is_text` as the text that it is.

    Parameters:
        escape: write control characters as escapes, as a terminal must have it.
    """
    from dicomsql.output.cells import safe

    try:
        for (value,) in result.rows or ():
            lines = str(value).split("\n")
            text = "\n".join(map(safe, lines) if escape else lines)
            stream.write(f"{text}\n".encode())
        stream.flush()
    finally:
        result.close()


def write(result: Result, format: str, stream: ByteStream, options: Options = _USUAL) -> int | None:
    """Write a result's rows and give their number; None if it is one that has none.

    Formats of text are in UTF-8.

    Parameters:
        format: one of FORMATS.

    Raises:
        InterfaceError: the format is unknown, or the delimiter cannot be one.
    """
    writer = writer_of(format, options)
    if result.columns is None:
        # A statement without rows still runs by being read.
        for _ in result.batches():
            pass
        return None
    try:
        if format in _TYPED:
            options = replace(options, schema=result.schema)
        return writer(result.columns, pieces_of(result), stream, options)
    finally:
        result.close()


def writer_of(format: str, options: Options) -> Writer:
    """What writes a format.

    Raises:
        InterfaceError: the format is unknown, or the delimiter cannot be one.
    """
    if format not in _WRITERS:
        raise InterfaceError(
            f"There is no output format {format!r}.{nearest(format, FORMATS)} "
            f"The formats are {', '.join(FORMATS)}."
        )
    delimiter = options.delimiter
    if len(delimiter) != 1 or ord(delimiter) > 127 or delimiter in '"\r\n':
        raise InterfaceError(
            "A delimiter is one ASCII character other than a quote or a line's end."
        )
    module, function = _WRITERS[format]
    return cast(Writer, getattr(import_module(f"dicomsql.output.{module}"), function))
