"""Makes cells safe and measurable on a terminal: escaped control characters, display widths."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from dicomsql.output.options import Options
    from dicomsql.output.pieces import Piece
    from dicomsql.result import ResultColumn

NULL = "NULL"

# Columns and lines of a picture beside other values; and those that one that is alone leaves for a
# table's frame and head, and for the prompt of a shell with its menu.
_THUMBNAIL = (24, 12)
_AROUND = (4, 14)

# Narrower texts lose their end alone.
_BOTH_ENDS = 5

# Controls move the cursor or change the terminal's state, and marks of direction reorder what is
# read: a patient's name must do neither.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SGR = re.compile("\x1b\\[[0-9;]*m")
_NULL_TYPE = re.compile(r'"NULL"(?=[\[\]),]|$)')
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def safe(text: str) -> str:
    """The text with control characters and marks of direction written as escapes."""
    return _UNSAFE.sub(_escape, text) if _UNSAFE.search(text) else text


def cells_of(piece: Piece, columns: Sequence[ResultColumn], options: Options) -> list[list[str]]:
    """Safe texts of some rows, column by column, as people are to see them.

    A text that reads as NULL does is put in quotes, so that a cell is the options' `null` just
    where there is no value. A line's end in a cell is one that was put there to be seen.
    """
    null = safe(options.null)
    taken = f"'{null}'" if null else null
    pretty = options.json == "pretty"
    cells = []
    for at, (texts, column) in enumerate(zip(piece.texts(), columns, strict=True)):
        shown = [null if text is None else safe(text) for text in texts]
        if null in texts:
            shown = [
                taken if text == null else cell for text, cell in zip(texts, shown, strict=True)
            ]
        if is_json(column.type) and (pretty or column.type == "JSON"):
            shown = [
                cell if text is None else "\n".join(map(safe, _json_lines(text, pretty=pretty)))
                for text, cell in zip(texts, shown, strict=True)
            ]
        if column.type == "BLOB":
            shown = _with_pictures(shown, piece.batch().column(at), columns, options)
        cells.append(shown)
    return cells


def _with_pictures(
    cells: list[str], values: pa.Array, columns: Sequence[ResultColumn], options: Options
) -> list[str]:
    """Cells of a BLOB column in which pictures are drawn, or named where they cannot be."""
    from pyarrow import types

    from dicomsql.output import pictures

    if not (types.is_binary(values.type) or types.is_large_binary(values.type)):
        return cells
    draws = options.pictures and pictures.can_draw()
    shown = []
    for cell, value in zip(cells, values.to_pylist(), strict=True):
        if value is None or not pictures.is_picture(value):
            shown.append(cell)
        elif draws:
            shown.append(_picture(value, columns, options))
        else:
            shown.append(f"<{pictures.described(value)}>")
            if options.pictures and options.told is not None:
                options.told(pictures.MISSING)
    return shown


def _picture(data: bytes, columns: Sequence[ResultColumn], options: Options) -> str:
    from dicomsql.errors import InterfaceError
    from dicomsql.output import pictures

    width, height = (options.width or 80) - _AROUND[0], options.height or 24
    height = max(height // 2, height - _AROUND[1])
    if len(columns) > 1:
        # Beside other values it is there to be recognized; alone it has the screen.
        width, height = min(width, _THUMBNAIL[0]), _THUMBNAIL[1]
    width, height = max(1, width), max(1, height)
    try:
        if options.protocol:
            # It stands beside its name.
            width = max(1, width - max(width_of(column.name) for column in columns))
            return pictures.picture_text(
                data, width=width, height=height, protocol=options.protocol
            )
        return Thumbnail.of(data, width, height, color=options.color)
    except InterfaceError:
        return f"<{pictures.described(data)}, which cannot be shown>"


class Thumbnail(str):
    """A picture as the cell of a table: its lines, which can be had smaller.

    Attributes:
        data: the picture.
        height: lines that it takes at most.
        color: the reader shows colors (SGR codes).
    """

    data: bytes
    height: int
    color: bool

    @classmethod
    def of(cls, data: bytes, width: int, height: int, *, color: bool) -> Thumbnail:
        """A picture in so many cells at most.

        Raises:
            InterfaceError: it cannot be read as a picture, or what draws it is not installed.
        """
        from dicomsql.output.pictures import thumbnail_lines

        made = cls("\n".join(thumbnail_lines(data, width, height, color=color)))
        made.data, made.height, made.color = data, height, color
        return made

    def within(self, width: int) -> list[str]:
        """Its lines, none of them wider."""
        from dicomsql.output.pictures import thumbnail_lines

        return thumbnail_lines(self.data, width, self.height, color=self.color)


def type_text(sql_type: str) -> str:
    """A column's type as people are to see it.

    The engine quotes the name of the type of a NULL that nothing gives another.
    """
    return safe(_NULL_TYPE.sub("NULL", sql_type))


def is_json(sql_type: str) -> bool:
    """Whether values of the type are written as JSON."""
    return sql_type == "JSON" or sql_type.endswith("]") or sql_type.startswith(("STRUCT(", "MAP("))


def _json_lines(text: str, *, pretty: bool) -> list[str]:
    """JSON on a line, or indented on several; text that is none as it is."""
    if not pretty and "\n" not in text:
        return [text]
    import msgspec

    try:
        made = msgspec.json.format(text, indent=2 if pretty else -1)
    except msgspec.DecodeError:
        return [text]
    return made.split("\n")


def width_of(text: str) -> int:
    """How many columns of a terminal the text takes: wide letters two, combining marks none.

    What sets a color takes none either; in values it would have become an escape.
    """
    if text.isascii():
        return len(text) if "\x1b" not in text else len(_SGR.sub("", text))
    return sum(map(_letter_width, _SGR.sub("", text)))


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where it was cut."""
    if width_of(text) <= width:
        return text
    taken, used = [], 0
    for letter in text:
        used += _letter_width(letter)
        if used > width - 1:
            break
        taken.append(letter)
    return "".join(taken) + "…"


def cut_within(text: str, width: int) -> str:
    """The text in at most `width` columns; what was cut are letters of its middle.

    Of UIDs the beginnings are often the same, of texts the ends.
    """
    if width_of(text) <= width:
        return text
    if width < _BOTH_ENDS:
        return cut(text, width)
    head, tail = cut(text, width // 2 + 1), cut(text[::-1], (width - 1) // 2 + 1)
    # Marks belong to the letter before them.
    end = tail[-2::-1]
    while end and not _letter_width(end[0]):
        end = end[1:]
    return head[:-1] + "…" + end


def wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most `width` columns, parted at blanks where there are any.

    A letter that is wider than that has a line of its own.
    """
    while width_of(text) > width:
        end = _end_within(text, width)
        blank = text.rfind(" ", 1, end + 1)
        if blank > 0 and text[:blank].strip():
            yield text[:blank].rstrip()
            text = text[blank:].lstrip(" ")
        else:
            yield text[:end]
            text = text[end:]
            if not text:
                return
    yield text


def _end_within(text: str, width: int) -> int:
    """How many letters fit, at least one, with the marks that belong to the last of them."""
    if text.isascii():
        return max(1, width)
    used = 0
    for at, letter in enumerate(text):
        used += _letter_width(letter)
        if used > width and at:
            return at
    return len(text)


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def _escape(found: re.Match[str]) -> str:
    letter = found.group()
    code = ord(letter)
    return _SHORT.get(letter) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
