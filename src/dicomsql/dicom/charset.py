"""Text of DICOM data sets to str, by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1)."""

from __future__ import annotations

import re

# ISO registration number -> Python's codec; the same under "ISO_IR n" and "ISO 2022 IR n"
_REGISTRATIONS = {
    "6": "ascii",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "144": "iso8859_5",
    "127": "iso8859_6",
    "126": "iso8859_7",
    "138": "iso8859_8",
    "148": "iso8859_9",
    "203": "iso8859_15",
    "13": "shift_jis",
    "166": "iso8859_11",
    "192": "utf_8",
    "87": "iso2022_jp",
    "159": "iso2022_jp_2",
    "149": "euc_kr",
    "58": "gb2312",
}
_NAMED = {"GB18030": "gb18030", "GBK": "gbk"}

# PS3.3 tables C.12-3 and C.12-4: escape sequence -> codec of what follows
_ESCAPES = {
    b"\x1b(B": "ascii",
    b"\x1b-A": "latin_1",
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-L": "iso8859_5",
    b"\x1b-G": "iso8859_6",
    b"\x1b-F": "iso8859_7",
    b"\x1b-H": "iso8859_8",
    b"\x1b-M": "iso8859_9",
    b"\x1b-b": "iso8859_15",
    b"\x1b-T": "iso8859_11",
    b"\x1b)I": "shift_jis",
    b"\x1b(J": "shift_jis",
    b"\x1b$B": "iso2022_jp",
    b"\x1b$(D": "iso2022_jp_2",
    b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gb2312",
}
_ESCAPE = re.compile(b"(" + b"|".join(re.escape(sequence) for sequence in _ESCAPES) + b")")
# these codecs read the escape sequence themselves
_STATEFUL = {"iso2022_jp", "iso2022_jp_2"}

DEFAULT: tuple[str, ...] = ("ascii",)


def codecs_for(terms: list[str]) -> tuple[str, ...]:
    """Python's codecs for the values of (0008,0005); an unknown term reads as Latin-1.

    Latin-1 loses nothing: the bytes can still be had back from the text.
    """
    found = []
    for term in terms or [""]:
        number = re.fullmatch(r"ISO[ _](?:2022 )?IR[ _](\d+)", term.strip(), re.IGNORECASE)
        if number:
            found.append(_REGISTRATIONS.get(number[1], "latin_1"))
        else:
            found.append(_NAMED.get(term.strip().upper(), "latin_1" if term.strip() else "ascii"))
    return tuple(found)


def decode(value: bytes, codecs: tuple[str, ...]) -> str:
    """The text of a value; bytes that its character set does not have become U+FFFD."""
    if b"\x1b" not in value:
        if codecs[0] == "ascii":
            # files that declare nothing and hold Latin-1 are common, and pure ASCII is the same
            return value.decode("latin_1")
        return value.decode("ascii" if codecs[0] in _STATEFUL else codecs[0], "replace")
    codec, text = codecs[0], []
    for piece in _ESCAPE.split(value):
        if piece in _ESCAPES:
            codec = _ESCAPES[piece]
        elif codec in _STATEFUL:
            sequence = next(key for key, name in _ESCAPES.items() if name == codec)
            text.append((sequence + piece).decode(codec, "replace"))
        elif piece:
            text.append(piece.decode(codec, "replace"))
    return "".join(text)
