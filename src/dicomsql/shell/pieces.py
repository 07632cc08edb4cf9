"""Cuts what was typed into statements and meta-commands, and tells whether more is to come.

Statements end at a `;` by the language's own tokens, so that none in a string, a comment or a
`$$...$$` counts. A meta-command begins with a backslash, after a statement too
(`SELECT 1 \\gx`), or with a dot at the beginning of a line where no statement is begun, and goes
to the end of its line.

A comment that ends in `;` ends no statement here, as it does in a file: whoever types the next
condition below it must not find that the statement has run without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import DUCKDB, Kind, Lexis, Token, lex

__all__ = ["Meta", "Sql", "is_complete", "is_meta_line", "pieces", "tokens_of"]


@dataclass(frozen=True, slots=True)
class Sql:
    """Text of the language.

    Attributes:
        text: without the `;`, and without what is blank around it.
        start: its place in what was typed.
        ended: a `;` ends it; else it is begun only, or a meta-command says what becomes of it.
    """

    text: str
    start: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Meta:
    """A meta-command.

    Attributes:
        name: as typed, without the backslash or dot.
        arguments: the rest of its line.
        start: its place in what was typed.
    """

    name: str
    arguments: str
    start: int


# Words that are commands of their own where nothing else stands on the only line.
_WORDS = frozenset({"help", "quit", "exit", "?"})
_ENDS = frozenset({";", "\\"})

_AT_LINE = re.compile(r"[^\S\r\n]*(?:\\|\.(?=[A-Za-z?!]))")
# A name is of letters, or one sign; `\d+`.
_META = re.compile(r"(?:([A-Za-z_]+\+?)|([?!]))?[^\S\r\n]*([^\r\n]*)")
_BLANK = re.compile(r"[\s\ufeff]*")


def pieces(text: str, rules: Lexis = DUCKDB) -> tuple[Sql | Meta, ...]:
    """The statements and meta-commands of a text, in order; what is blank is left out."""
    word = text.strip().rstrip(";").strip()
    if word.lower() in _WORDS:
        return (Meta(word.lower(), "", 0),)
    found: list[Sql | Meta] = []
    position = 0
    while position < len(text):
        position = _after_blank(text, position)
        if is_meta_line(text, position):
            meta, position = _meta(text, position)
            found.append(meta)
            continue
        start = position
        try:
            tokens = lex(text, rules, position, _ENDS)
        except LanguageError:
            # A string or a comment is open to the end.
            found.append(Sql(text[start:].rstrip(), start, ended=False))
            break
        last = tokens[-1] if tokens else None
        ends = last is not None and last.is_operator(*_ENDS)
        end = last.start if last is not None and ends else len(text)
        said = tokens[: len(tokens) - ends]
        if any(token.kind is not Kind.COMMENT for token in said):
            ended = last is not None and last.is_operator(";")
            found.append(Sql(text[start:end].strip(), start, ended))
        position = end
        if last is not None and ends:
            if last.text == ";":
                position = last.end
            else:
                meta, position = _meta(text, last.start)
                found.append(meta)
    return tuple(found)


def is_meta_line(text: str, position: int = 0) -> bool:
    """Whether a meta-command begins at the beginning of a line, or of what is blank before it."""
    return _AT_LINE.match(text, position) is not None


def is_complete(text: str, rules: Lexis = DUCKDB) -> bool:
    """Whether Enter runs the text, and does not go on to another line."""
    found = pieces(text, rules)
    if not found:
        # Comments alone, a `;` alone, nothing at all: there is nothing to go on with.
        return True
    last = found[-1]
    return isinstance(last, Meta) or last.ended


def tokens_of(text: str, rules: Lexis = DUCKDB, start: int = 0) -> tuple[list[Token], int]:
    """The tokens of a text that may not be finished, and where what is open begins.

    The latter is the text's length where nothing is.
    """
    try:
        return lex(text, rules, start), len(text)
    except LanguageError as error:
        opened = error.position if error.position is not None else start
        return lex(text[:opened], rules, start), opened


def _after_blank(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    return found.end() if found is not None else position


def _meta(text: str, position: int) -> tuple[Meta, int]:
    """The meta-command that begins here, and where its line ends."""
    start = _after_blank(text, position)
    found = _META.match(text, start + 1)
    assert found is not None  # every part of it may be empty
    name = found[1] or found[2] or ""
    return Meta(name, found[3].strip(), start), found.end()
