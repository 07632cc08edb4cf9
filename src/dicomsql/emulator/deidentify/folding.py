"""Texts made comparable: in one case, without accents, and back to where a match stands.

A name is written in many ways: MÜLLER, Müller, Muller and Mueller; Weiß and WEISS; in full and in
half width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

__all__ = ["fold", "folded", "spellings"]

# letters that Unicode does not take apart
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "þ": "th", "æ": "ae", "œ": "oe"}
)
_PAIRS = (("ae", "a"), ("oe", "o"), ("ue", "u"))
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


def fold(text: str) -> str:
    """A text in the form in which it is compared."""
    plain = unicodedata.normalize("NFKD", text.casefold()).casefold()
    return "".join(c for c in plain if not unicodedata.combining(c)).translate(_LETTERS)


def folded(text: str) -> tuple[str, list[int]]:
    """A text as `fold` has it, and for each character of it where that stands in the text."""
    if text.isascii():
        return text.lower(), list(range(len(text)))
    pieces = [(fold(character), at) for at, character in enumerate(text)]
    return "".join(piece for piece, _ in pieces), [at for piece, at in pieces for _ in piece]


def spellings(word: str) -> Iterator[str]:
    """The forms in which a word may be written, folded."""
    yield fold(word)
    composed = unicodedata.normalize("NFC", word.casefold())
    yield fold(composed.translate(_UMLAUTS))
    short = fold(word)
    for pair, letter in _PAIRS:
        short = short.replace(pair, letter)
    yield short
