"""Which candidates fit what is typed, the best first, and how they are written into the text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from dicomsql.language.lexer import words

__all__ = ["Candidate", "Form", "matching", "written"]


class Form(Enum):
    """How a candidate is written."""

    NAME = "name"  # in quotes where it needs them
    METHOD = "method"  # a name that may have hyphens
    WORD = "word"  # a keyword, in the case that the person types
    TEXT = "text"  # a string in quotes
    RAW = "raw"  # as it is


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be typed.

    Attributes:
        text: what it is, without quotes.
        about: a short description.
        rank: smaller ones stand first among those that fit alike.
        form: how it is written.
        key: what is compared with what is typed; empty for the text.
        low: the key in lower case.
        loose: letters between those that are typed may be left out only where three are typed, as
            there are thousands of its kind.
    """

    text: str
    about: str = ""
    rank: int = 0
    form: Form = Form.NAME
    key: str = ""
    loose: bool = True
    low: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", (self.key or self.text).lower())


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Letters that have to be typed before any others may be left out between them.
_ENOUGH = 3

# Words that DuckDB reserves, which as names stand in quotes.
_RESERVED = words(
    "all analyse analyze and any array as asc both case cast check collate column constraint "
    "create default deferrable desc describe distinct do else end except false fetch for "
    "foreign from group having in initially intersect into lambda lateral leading limit not "
    "null offset on only or order pivot placing primary qualify references returning select "
    "show some summarize symmetric table then to trailing true union unique unpivot using "
    "variadic when where window with anti asof cross full inner join left natural outer "
    "positional right semi is like ilike between"
)


def matching(candidates: Iterable[Candidate], typed: str, most: int) -> list[Candidate]:
    """The candidates that fit, the best first; each text once.

    What begins with what is typed comes first, then what has it at the beginning of a word, then
    what has it anywhere, then what has its letters in that order, those closest together first.

    Args:
        most: candidates to give at most.
    """
    if not typed:
        first: dict[tuple[str, Form], Candidate] = {}
        for candidate in sorted(candidates, key=lambda c: c.rank):
            first.setdefault((candidate.text, candidate.form), candidate)
        return list(first.values())[:most]
    lowered = typed.lower()
    letters = re.compile(".*?".join(map(re.escape, lowered)))
    letter = f"(?:{re.escape(typed[0].lower())}|{re.escape(typed[0].upper())})"
    starts = re.compile(rf"(?:(?<=[_.\s-])|(?<=[a-z])(?=[A-Z])){letter}")
    found: list[tuple[tuple[int, ...], Candidate]] = []
    for number, candidate in enumerate(candidates):
        low = candidate.low
        fit = letters.search(low)
        if fit is None:
            continue
        if low.startswith(lowered):
            # Of thousands, the shorter ones first; others have an order of their own.
            length = 0 if candidate.loose else len(low)
            quality = (0 if len(low) == len(lowered) else 1, candidate.rank, length, 0)
        elif (at := low.find(lowered)) >= 0:
            begins = starts.match(candidate.key or candidate.text, at) is not None
            quality = (2 if begins else 3, candidate.rank, at, 0)
        elif candidate.form is not Form.WORD and (candidate.loose or len(typed) >= _ENOUGH):
            quality = (4, fit.end() - fit.start(), candidate.rank, fit.start())
        else:
            continue
        found.append(((*quality, number), candidate))
    found.sort(key=lambda pair: pair[0])
    best: dict[tuple[str, Form], Candidate] = {}
    for _, candidate in found:
        best.setdefault((candidate.text, candidate.form), candidate)
        if len(best) == most:
            break
    return list(best.values())


def written(
    candidate: Candidate, *, upper: bool, quote: str = "", closed: bool = False, mark: str = '"'
) -> str:
    """What a candidate puts into the text, in place of what is typed.

    Args:
        upper: keywords are written in capitals.
        quote: what the text before the cursor has opened.
        closed: its end is there already.
        mark: what identifiers are quoted with.
    """
    text = candidate.text
    if candidate.form is Form.TEXT:
        end = quote or "'"
        inner = text.replace(end, end * 2)
        return (inner if quote else f"{end}{inner}") + ("" if closed else end)
    if candidate.form is Form.WORD:
        return text if upper else text.lower()
    if candidate.form is Form.RAW:
        return text
    if quote:
        return f"{quote}{text.replace(quote, quote * 2)}{'' if closed else quote}"
    is_method = candidate.form is Form.METHOD
    if _PLAIN_METHOD.fullmatch(text) if is_method else _is_plain(text):
        return text
    return f"{mark}{text.replace(mark, mark * 2)}{mark}"


def _is_plain(name: str) -> bool:
    """Whether SQL reads a name back without quotes."""
    return _PLAIN.fullmatch(name) is not None and name.lower() not in _RESERVED
