"""Colors what is typed, by the language's own tokens; as much of it as is seen, and no more."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

from dicomsql.language.lexer import DUCKDB, Kind, Lexis, Token, words
from dicomsql.language.parse import STATEMENT_WORDS
from dicomsql.shell.pieces import is_meta_line, tokens_of

__all__ = ["STYLE", "Colors"]

# Names of classes -> how they look, in colors that terminals let their users choose.
STYLE = {
    "sql.keyword": "ansiblue bold",
    "sql.string": "ansigreen",
    "sql.number": "ansicyan",
    "sql.comment": "ansibrightblack italic",
    "sql.variable": "ansimagenta",
    "sql.meta": "ansiyellow",
    "prompt": "bold",
    "continuation": "ansibrightblack",
    "bottom-toolbar": "noreverse ansibrightblack",
    "completion-menu.meta.completion": "italic",
}

_OF_KIND = {
    Kind.STRING: "class:sql.string",
    Kind.NUMBER: "class:sql.number",
    Kind.COMMENT: "class:sql.comment",
    Kind.HINT: "class:sql.keyword",
    Kind.PARAMETER: "class:sql.variable",
    Kind.VARIABLE: "class:sql.variable",
    Kind.PLACEHOLDER: "class:sql.variable",
}
_KEYWORD = "class:sql.keyword"
_OPEN = "class:sql.string"
_META = "class:sql.meta"

_KEYWORDS = frozenset(STATEMENT_WORDS) | words(
    "FROM WHERE AND OR NOT IN IS NULL LIKE ILIKE BETWEEN EXISTS ON USING JOIN INNER LEFT RIGHT "
    "FULL OUTER CROSS NATURAL LATERAL SEMI ANTI ASOF GROUP BY HAVING QUALIFY ORDER ASC DESC NULLS "
    "LIMIT OFFSET UNION ALL EXCEPT INTERSECT DISTINCT AS CASE WHEN THEN ELSE END CAST INTO VALUES "
    "SET RETURNING RECURSIVE OVER PARTITION TRUE FALSE DATE TIMESTAMP INTERVAL EXTENDED METHOD "
    "METHODS PROVIDERS SERVICES RESOURCES ANALYZE FORMAT TABLE VIEW TEMP TEMPORARY MATERIALIZED IF "
    "REPLACE TO UNNEST FILTER EXCLUDE COLUMNS SAMPLE AWAIT IGNORE CONFLICT DO NOTHING WINDOW "
    "ROWS RANGE"
)

# Letters that are cut into tokens at a time, beyond the line that is asked for.
_AHEAD = 20_000
# Tokens before a place that are cut with what follows it.
_AROUND = 8


class Colors(Lexer):
    """The colors of statements and meta-commands.

    Parameters:
        rules: gives the lexical rules as they are now.
    """

    def __init__(self, rules: Callable[[], Lexis] = lambda: DUCKDB) -> None:
        self._rules = rules
        self._last = _Cut("", DUCKDB)

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The styled pieces of each line, by its number."""
        text, lines = document.text, document.lines
        if is_meta_line(text) or text in {"help", "quit", "exit"}:
            return lambda number: [(_META, lines[number])] if number < len(lines) else []
        # Whoever asked for another text may still ask for its lines.
        cut = self._last = _Cut(text, self._rules(), self._last)

        def line(number: int) -> StyleAndTextTuples:
            if number >= len(lines):
                return []
            start = document.translate_row_col_to_index(number, 0)
            return cut.line(start, start + len(lines[number]))

        return line


class _Cut:
    """A text that is cut into tokens as far as it is asked for.

    Parameters:
        before: of the text as it was; what both begin with is not cut again.
    """

    def __init__(self, text: str, rules: Lexis, before: _Cut | None = None) -> None:
        self._text = text
        self._rules = rules
        self._tokens: list[Token] = []
        # How far the text is cut; what is open from `_opened` on has no end yet.
        self._done = 0
        self._opened: int | None = None
        if before is not None and before._rules == rules:
            same = _common(before._text, text)
            kept = bisect_left(before._tokens, same, key=_end_of) - 1
            self._tokens = before._tokens[: max(kept, 0)]
            self._done = self._tokens[-1].end if self._tokens else 0

    def line(self, start: int, end: int) -> StyleAndTextTuples:
        """The styled pieces of the text from `start` to `end`."""
        self._reach(end)
        text, tokens = self._text, self._tokens
        found: StyleAndTextTuples = []
        position = start
        index = bisect_right(tokens, start, key=_end_of)
        while index < len(tokens) and tokens[index].start < end:
            token = tokens[index]
            index += 1
            left, right = max(token.start, start), min(token.end, end)
            if left > position:
                found.append(("", text[position:left]))
            found.append((_style(token), text[left:right]))
            position = right
        opened = end if self._opened is None else min(max(position, self._opened), end)
        if position < opened:
            found.append(("", text[position:opened]))
        if opened < end:
            found.append((_OPEN, text[opened:end]))
        return found

    def _reach(self, position: int) -> None:
        """Cut the text into tokens as far as a position."""
        text, ahead = self._text, _AHEAD
        while self._done < min(position, len(text)) and self._opened is None:
            end = min(len(text), position + ahead)
            # What an operator is, the tokens before it say.
            before = self._tokens[-_AROUND:]
            start = before[0].start if before else 0
            tokens, opened = tokens_of(text[:end], self._rules, start)
            tokens = [token for token in tokens if token.start >= self._done]
            if end == len(text):
                self._tokens += tokens
                self._done = end
                self._opened = opened if opened < end else None
                return
            # What the end of the piece has cut off may be another token as a whole.
            del tokens[-_AROUND:]
            self._tokens += tokens
            self._done = tokens[-1].end if tokens else self._done
            ahead *= 4


def _end_of(token: Token) -> int:
    return token.end


def _style(token: Token) -> str:
    if token.kind is Kind.WORD:
        return _KEYWORD if token.text.upper() in _KEYWORDS else ""
    if token.kind is Kind.OPERATOR and token.text == "\\":
        return _META
    return _OF_KIND.get(token.kind, "")


def _common(one: str, other: str) -> int:
    """How many letters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
