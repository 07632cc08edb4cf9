"""Makes cells safe and measurable on a terminal: escaped control characters, display widths."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicomsql.output.pieces import Piece

NULL = "NULL"

# Controls move the cursor or change the terminal's state, and marks of direction reorder what is
# read: a patient's name must do neither.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def safe(text: str) -> str:
    """The text with control characters and marks of direction written as escapes."""
    return _UNSAFE.sub(_escape, text) if _UNSAFE.search(text) else text


def cells_of(piece: Piece) -> list[list[str]]:
    """Safe texts of some rows, column by column, NULL by name."""
    return [[NULL if text is None else safe(text) for text in column] for column in piece.texts()]


def width_of(text: str) -> int:
    """How many columns of a terminal the text takes: wide letters two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


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


def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def _escape(found: re.Match[str]) -> str:
    letter = found.group()
    code = ord(letter)
    return _SHORT.get(letter) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
