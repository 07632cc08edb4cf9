"""Cuts SQL text into tokens by DuckDB's lexical rules, each with its place in the text.

This is a lexer of our own because the statements that need no query parser (SHOW, USE, SET, EXEC)
must not pay for importing one. It keeps comments, since StackQL's pages put separators into them.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from dicomsql.errors import LanguageError


class Kind(Enum):
    """What a token is."""

    WORD = "word"  # keywords and plain identifiers
    QUOTED = "quoted identifier"
    STRING = "string"
    NUMBER = "number"
    PARAMETER = "parameter"  # ?  $1  $name  :name
    VARIABLE = "variable"  # @name  @@name
    PLACEHOLDER = "placeholder"  # {{ name }}
    OPERATOR = "operator"  # everything else, brackets and separators included
    COMMENT = "comment"
    HINT = "hint"  # /*+ ... */


class Token(NamedTuple):
    """A piece of the text. A tuple, as a long VALUES list makes hundreds of thousands."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def is_word(self, *words: str) -> bool:
        """Whether this is one of these unquoted words, given in upper case."""
        return self.kind is Kind.WORD and self.text.upper() in words

    def is_operator(self, *operators: str) -> bool:
        return self.kind is Kind.OPERATOR and self.text in operators


class Lexis(NamedTuple):
    """Where a dialect's tokens differ from DuckDB's.

    Attributes:
        backslash: a backslash escapes in every string, as it does in E'...' alone in DuckDB.
        double_quoted: "..." is a string and not an identifier.
        hash_comments: `#` begins a comment, as `--` does.
    """

    backslash: bool = False
    double_quoted: bool = False
    hash_comments: bool = False


DUCKDB = Lexis()

# How many brackets an operator opens, or closes.
DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def words(text: str) -> frozenset[str]:
    """A set of words from a line of them."""
    return frozenset(text.split())


_BACKSLASH = words(
    "athena bigquery clickhouse databricks doris hive mysql redshift singlestore snowflake spark "
    "spark2 starrocks"
)
_DOUBLE_QUOTED = words(
    "bigquery databricks doris fabric hive mysql prql singlestore spark spark2 starrocks tableau "
    "tsql"
)
_HASH_COMMENTS = words("bigquery clickhouse doris mysql singlestore")


def lexis(dialect: str = "") -> Lexis:
    """The lexical rules of a dialect, by its sqlglot name; DuckDB's for one that is unknown."""
    name = dialect.lower()
    return Lexis(name in _BACKSLASH, name in _DOUBLE_QUOTED, name in _HASH_COMMENTS)


# A name that a placeholder or a `{{ }}` value may have: words with dots between them.
NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
PLACEHOLDER = re.compile(r"\{\{\s*(" + r"[^\W\d][\w-]*(?:\.[\w-]+)*" + r")\s*\}\}")

# As in DuckDB, everything beyond ASCII that is no space can stand in an identifier.
_FIRST = r"(?:[^\W\d]|[^\x00-\x7f\s])"
_REST = r"(?:[\w$]|[^\x00-\x7f\s])"

# The longer ones first, as the first that fits is taken.
_OPERATORS = "->> :: := -> => <= >= <> != == || && ** // << >> ^@ @> <@ !~ ~~"

_UNTERMINATED = {
    "'": "This string does not end; a closing ' is missing",
    '"': 'This identifier does not end; a closing " is missing',
    "`": "This identifier does not end; a closing ` is missing",
    "$": "This string does not end; its closing {opener} is missing",
    "/": "This comment does not end; a closing */ is missing",
}


_KINDS = {kind.name: kind for kind in Kind}


@lru_cache(maxsize=8)
def _pattern(rules: Lexis) -> re.Pattern[str]:
    """One expression for every token; its group's name is the kind's.

    Possessive quantifiers keep it linear: a long text without a closing quote must not make it
    try every way to end.
    """
    escaped = r"(?:[^{q}\\]|\\.|{q}{q})*+{q}"
    plain = r"[^{q}]*+(?:{q}{q}[^{q}]*+)*+{q}"
    body = escaped if rules.backslash else plain
    strings = ["'" + body.format(q="'")]
    identifiers = ["`" + plain.format(q="`")]
    (strings if rules.double_quoted else identifiers).append(
        '"' + (body if rules.double_quoted else plain).format(q='"')
    )
    if rules.backslash:
        # r'...' strings, in which a backslash is itself.
        strings.insert(0, r"(?:[rR][bB]?|[bB][rR])'[^']*'")
    else:
        strings.insert(0, "[eE]'" + escaped.format(q="'"))
    comment = r"(?:--|\#)" if rules.hash_comments else "--"
    operators = "|".join(re.escape(o) for o in _OPERATORS.split(" "))
    return re.compile(
        rf"""[\s\ufeff]*+(?:(?P<end>\Z)
        |(?P<COMMENT>{comment}[^\r\n]*)
        |(?P<block>/\*)
        |(?P<STRING>{"|".join(strings)})
        |(?P<QUOTED>{"|".join(identifiers)})
        |(?P<dollar>\$(?:{_FIRST}(?:\w|[^\x00-\x7f\s])*)?\$)
        |(?P<open>[eE]?'|["`])
        |(?P<WORD>{_FIRST}{_REST}*)
        |(?P<NUMBER>0[xX][0-9a-fA-F_]+|0[bB][01_]+
            |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
        |(?P<VARIABLE>@@?{_FIRST}\w*)
        |(?P<PARAMETER>\?|\$[0-9]+|\${_FIRST}\w*)
        |(?P<PLACEHOLDER>{PLACEHOLDER.pattern})
        |(?P<OPERATOR>{operators}|.))""",
        re.VERBOSE | re.DOTALL,
    )


_COLON_NAME = re.compile(rf":{_FIRST}\w*")


def lex(
    text: str, rules: Lexis = DUCKDB, start: int = 0, until: frozenset[str] = frozenset()
) -> list[Token]:
    """The tokens of a text, in order, comments included and white space left out.

    A `:` followed by a name is a parameter only where a value can begin: in `x[1:n]` and
    `{'a':b}` it is an operator.

    Args:
        start: where the first token begins at the earliest.
        until: the first of these operators is the last token.

    Raises:
        LanguageError: a string, quoted identifier or comment does not end.
    """
    match = _pattern(rules).match
    tokens: list[Token] = []
    position = start
    while True:
        found = match(text, position)
        # The last alternative takes any character, so that there always is a match.
        assert found is not None
        group = found.lastgroup or ""
        if group == "end":
            return tokens
        position = found.start(group)
        if group == "open":
            raise _unterminated(text, position, found.group(group))
        if group == "block":
            end = _comment_end(text, position)
            kind = Kind.HINT if text.startswith("/*+", position) else Kind.COMMENT
        elif group == "dollar":
            opener = found.group(group)
            closing = text.find(opener, found.end())
            if closing < 0:
                raise _unterminated(text, position, opener)
            kind, end = Kind.STRING, closing + len(opener)
        else:
            kind, end = _KINDS[group], found.end()
            if text[position] == ":" and end == position + 1 and _value_may_begin(tokens, position):
                named = _COLON_NAME.match(text, position)
                if named:
                    kind, end = Kind.PARAMETER, named.end()
        tokens.append(Token(kind, text[position:end], position))
        if until and kind is Kind.OPERATOR and tokens[-1].text in until:
            return tokens
        position = end


def string_value(literal: str) -> str:
    """What a string literal of DuckDB means: '...', E'...', $$...$$ or $tag$...$tag$."""
    if literal.startswith("$"):
        opener = literal[: literal.index("$", 1) + 1]
        return literal[len(opener) : -len(opener)]
    if literal[0] in "eE":
        return unescape(literal[2:-1])
    return literal[1:-1].replace("''", "'")


def unescape(text: str, quote: str = "'") -> str:
    """The text of a string in which a backslash escapes, as in E'...'."""

    def one(found: re.Match[str]) -> str:
        said: str | None = found.group(1)
        if said is None:
            return quote
        if said[0] == "x" and len(said) > 1:
            return chr(int(said[1:], 16))
        if said[0] in "01234567":
            return chr(int(said, 8) & 0xFF)
        return _ESCAPES.get(said, said)

    escape = r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)|" + quote + quote
    return re.sub(escape, one, text, flags=re.DOTALL)


def identifier_value(quoted: str) -> str:
    """What a quoted identifier means."""
    mark = quoted[0]
    return quoted[1:-1].replace(mark * 2, mark)


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _comment_end(text: str, start: int) -> int:
    """Where the comment that starts here ends; comments nest, as they do in DuckDB."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    raise _unterminated(text, start, "/*")


def _value_may_begin(tokens: list[Token], position: int) -> bool:
    """Whether a value can begin here, so that `:name` is a parameter and no slice or alias."""
    before = [t for t in tokens[-4:] if t.kind not in _COMMENTS]
    if not before:
        return True
    last = before[-1]
    if last.is_operator("["):
        # x[:n] is a slice, [:n] a list.
        return len(before) == 1 or before[-2].end != last.start
    if last.kind is Kind.OPERATOR:
        return last.text not in {")", "]", "}", "."}
    # `LIMIT :n` against `x[a:b]`, `{a:b}` and `a:b`.
    return last.kind is Kind.WORD and last.end < position


_COMMENTS = frozenset({Kind.COMMENT, Kind.HINT})


def _unterminated(text: str, position: int, opener: str) -> LanguageError:
    mark = opener[-1] if opener[0] in "eE" else opener[0]
    return LanguageError(_UNTERMINATED[mark].format(opener=opener), text=text, position=position)
