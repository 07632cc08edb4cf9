"""Writes one page of HTML that needs nothing beside itself: a table that sorts and filters.

The first rows are rows of the table, for readers without scripts and for small results, which most
are. The rest is JSON in blocks between, which the script makes rows of where they are looked at, so
that a browser carries a hundred thousand of them. Rows are written as they come.

The page's policy lets it load nothing and run nothing but its own script; values reach it as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from dicomsql.output.cells import NULL, is_json, safe, type_text
from dicomsql.output.options import ByteStream, Options
from dicomsql.output.page.figure import Figure
from dicomsql.output.pictures import described, is_picture, size_text

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn, Statistics

# Rows that are written as rows of the table; the browser lays each of them out.
_PLAIN_ROWS = 2_000

# Hides the sentence that says that a page is not whole; it stands at the end of those that are.
_WHOLE = "#torn{display:none}"

_LAID_OUT = re.compile(r"([\n\t])")

# What JSON does not escape and a page's text must not hold as it is.
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})

# How a column sorts, by what its type begins with; the script knows these names.
_ORDERS = {"TIMESTAMP": "timestamp", "DATE": "date", "TIME": "time"}

# What the page shows of a value: its text, NULL, a picture, or the length of other bytes.
_Value = str | None | tuple[str, str, str] | tuple[str]


def write_page(
    columns: tuple[ResultColumn, ...],
    pieces: Iterator[Piece],
    stream: ByteStream,
    options: Options,
) -> int:
    """Write a page with the rows, the statement that gave them and what it cost.

    Its title is the first resource that was read, never a value or a name of a local table. A
    result that can be a chart has it above its rows.
    """
    # What a small page is of is known before its first byte.
    begin, rows, numeric = _begin(columns, pieces)
    figure = Figure(columns)
    for piece in begin:
        figure.add(piece)
    title = _title(options)
    _write(stream, _head(title, options))
    ends = len(rows) < _PLAIN_ROWS
    if ends:
        _write(stream, figure.svg())
    _write(stream, _table_head(columns, numeric))
    shown, later = rows[:_PLAIN_ROWS], rows[_PLAIN_ROWS:]
    _write(stream, "".join(_row(row, numeric) for row in shown))
    _write(stream, "</tbody></table></div>\n")
    count = len(rows)
    if later:
        _write(stream, _block(later))
    for piece in pieces:
        figure.add(piece)
        count += piece.count
        _write(stream, _block(_rows_of(piece, columns)))
    if not ends:
        _write(stream, figure.svg())
    _write(stream, _foot(count, options.statistics))
    return count


def _begin(
    columns: tuple[ResultColumn, ...], pieces: Iterator[Piece]
) -> tuple[list[Piece], list[tuple[_Value, ...]], list[bool]]:
    """The first pieces with their rows, as many as stand in the table if there are, and which
    columns are numbers.
    """
    taken: list[Piece] = []
    rows: list[tuple[_Value, ...]] = []
    numeric = [False] * len(columns)
    for piece in pieces:
        taken.append(piece)
        numeric = piece.numeric
        rows += _rows_of(piece, columns)
        if len(rows) >= _PLAIN_ROWS:
            break
    return taken, rows, numeric


def _rows_of(piece: Piece, columns: tuple[ResultColumn, ...]) -> list[tuple[_Value, ...]]:
    """Rows as the page shows them; control characters are escapes, but ends of lines stay."""
    values: list[Sequence[_Value]] = []
    blobs = [column.type == "BLOB" for column in columns]
    batch = piece.batch() if any(blobs) else None
    for at, texts in enumerate(piece.texts()):
        if batch is not None and blobs[at]:
            values.append([_bytes(v) for v in batch.column(at).to_pylist()])
        else:
            values.append([None if text is None else _lines(text) for text in texts])
    return list(zip(*values, strict=True))


def _bytes(value: object) -> _Value:
    if not isinstance(value, bytes):
        return None if value is None else _lines(str(value))
    kind = is_picture(value)
    if kind is None:
        return (size_text(value),)
    return kind, described(value), base64.b64encode(value).decode("ascii")


def _lines(text: str) -> str:
    """Safe text; ends of lines and tabs are what they are, as a page shows them and copies them."""
    return "".join(part if part in "\n\t" else safe(part) for part in _LAID_OUT.split(text))


# -- parts of the page ---------------------------------------------------------------------------


def _head(title: str, options: Options) -> str:
    style, script = _file("page.css"), _file("page.js")
    policy = (
        f"default-src 'none'; img-src data:; script-src {_hash(script)}; "
        f"style-src {_hash(style)} {_hash(_WHOLE)}; base-uri 'none'; form-action 'none'"
    )
    statement = _lines(options.statement.strip())
    details = f"<details open><summary>Statement</summary><pre>{escape(statement)}</pre></details>"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{details if statement else ""}
<div id="tools"></div>
<p id="torn">This page is not whole: its writing was stopped.</p>
</header>
"""


def _table_head(columns: Sequence[ResultColumn], numeric: Sequence[bool]) -> str:
    heads = "".join(
        f'<th scope="col" data-order="{_order(column.type, number)}"'
        f"{' data-json' if is_json(column.type) else ''}{_number_class(number)}>"
        f"<span>{escape(safe(column.name))}</span> "
        f"<small>{escape(type_text(column.type))}</small></th>"
        for column, number in zip(columns, numeric, strict=True)
    )
    return (
        '<div id="view" role="region" aria-label="Rows" tabindex="0"><table>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n"
    )


def _row(row: Sequence[_Value], numeric: Sequence[bool]) -> str:
    cells = "".join(_cell(value, number) for value, number in zip(row, numeric, strict=True))
    return f"<tr>{cells}</tr>\n"


def _cell(value: _Value, number: bool) -> str:
    if value is None:
        return f'<td class="null{" number" * number}">{NULL}</td>'
    if isinstance(value, str):
        return f"<td{_number_class(number)}>{escape(value)}</td>"
    if len(value) == 1:
        return f'<td class="bytes">{value[0]}</td>'
    kind, about, data = value
    return f'<td><img alt="{about}" src="data:image/{kind};base64,{data}"></td>'


def _block(rows: Sequence[tuple[_Value, ...]]) -> str:
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return f'<script type="application/json" class="rows">{text.translate(_IN_SCRIPT)}</script>\n'


def _foot(count: int, statistics: Statistics | None) -> str:
    facts = [f"{count:,} row{'s' * (count != 1)}"]
    notes: list[str] = []
    if statistics is not None:
        from dicomsql.progress import size_text as bytes_text

        requests = statistics.requests
        if requests:
            facts.append(f"{requests:,} request{'s' * (requests != 1)}")
            facts.append(bytes_text(statistics.bytes_received))
        if statistics.from_cache:
            facts.append(f"{statistics.from_cache:,} from the cache")
        facts.append(f"{statistics.seconds:,.1f} s")
        notes = statistics.notes
    facts.append(f"written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by dicomsql")
    later = max(0, count - _PLAIN_ROWS)
    unseen = (
        f"<noscript><p>{later:,} more rows are seen where scripts run.</p></noscript>"
        if later
        else ""
    )
    said = "".join(f"<p>{escape(safe(note))}</p>" for note in notes)
    return (
        f"{unseen}<footer><p>{escape(' · '.join(facts))}</p>{said}</footer>\n"
        f"<style>{_WHOLE}</style>\n<script>{_file('page.js')}</script>\n</body>\n</html>\n"
    )


def _title(options: Options) -> str:
    if options.title:
        return safe(options.title)
    scans = options.statistics.scans if options.statistics is not None else []
    return scans[0].resource if scans else "Result"


def _order(sql_type: str, number: bool) -> str:
    if number:
        return "number"
    return next((order for begin, order in _ORDERS.items() if sql_type.startswith(begin)), "text")


def _number_class(number: bool) -> str:
    return ' class="number"' if number else ""


def _write(stream: ByteStream, text: str) -> None:
    # Half of a surrogate, which no text should hold, does not keep the rest from being read.
    stream.write(text.encode("utf-8", "replace"))
    stream.flush()


@cache
def _file(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")


@cache
def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
