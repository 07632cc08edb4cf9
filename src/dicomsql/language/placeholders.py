"""Fills `{{ name }}` from variables so that a value can never become more than a value.

Where a placeholder stands decides how its value is written:

    in a string literal                 as text, escaped for that literal
    in a string of JSON in a literal    as text, escaped for JSON and then for the literal
    alone in a string of JSON           a mapping or list replaces the string, quotes included
    in JSON text, outside its strings   as JSON
    in a quoted identifier              as text, escaped for it
    outside all of these                numbers and plain names only
    in a comment                        not at all

The filled text is cut into tokens again and compared with what was expected: a value that joined
or changed its neighbours would be seen there, whatever the rules above overlook.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import (
    DUCKDB,
    NAME,
    PLACEHOLDER,
    Kind,
    Lexis,
    Token,
    identifier_value,
    lex,
    string_value,
    unescape,
)

_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DOTTED_NAME = re.compile(NAME)

# What stands in for a value while a literal is asked whether it is JSON: valid there both in a
# string and outside of one.
_PROBE = "0"


def fill(
    text: str, variables: Mapping[str, object], rules: Lexis = DUCKDB
) -> tuple[str, list[Token]]:
    """Give the text with its placeholders filled, and its tokens.

    A dotted name is looked up as it stands, then as a path into nested mappings. Variables that
    no placeholder names are left alone.

    Raises:
        LanguageError: a variable is missing (all that are, by name), or its value cannot stand
            where its placeholder does. Positions are those in the unfilled text.
    """
    tokens = lex(text, rules)
    _check_all_given(text, tokens, variables)
    pieces: list[str] = []
    expected: list[tuple[Kind, str]] = []
    done = 0
    for token in tokens:
        new = _filled(text, token, variables, rules)
        pieces += (text[done : token.start], new)
        done = token.end
        if token.kind is Kind.PLACEHOLDER:
            expected += ((t.kind, t.text) for t in lex(new, rules))
        else:
            expected.append((token.kind, new))
    pieces.append(text[done:])
    filled = "".join(pieces)
    again = lex(filled, rules)
    if [(t.kind, t.text) for t in again] != expected:
        raise LanguageError(
            "A placeholder outside a literal touches what stands beside it; put spaces around it, "
            "or write the whole value as one variable",
            text=text,
            position=next((t.start for t in tokens if t.kind is Kind.PLACEHOLDER), None),
        )
    return filled, again


def _check_all_given(text: str, tokens: list[Token], variables: Mapping[str, object]) -> None:
    missing: dict[str, int] = {}
    for token in tokens:
        if token.kind in {Kind.COMMENT, Kind.HINT}:
            continue
        for found in PLACEHOLDER.finditer(token.text):
            if not _has(variables, found.group(1)):
                missing.setdefault(found.group(1), token.start + found.start())
    if missing:
        names = ", ".join(missing)
        these = "this variable has" if len(missing) == 1 else "these variables have"
        raise LanguageError(
            f"A placeholder needs a value, but {these} none: {names}. "
            f"Give it with --var {next(iter(missing))}=value or in a file with --vars",
            text=text,
            position=next(iter(missing.values())),
        )


def _has(variables: Mapping[str, object], name: str) -> bool:
    try:
        _lookup(variables, name)
    except KeyError:
        return False
    return True


def _lookup(variables: Mapping[str, object], name: str) -> object:
    if name in variables:
        return variables[name]
    value: object = variables
    for part in name.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(name)
        value = value[part]
    return value


def _filled(text: str, token: Token, variables: Mapping[str, object], rules: Lexis) -> str:
    """The token's text with its placeholders filled."""
    if token.kind is Kind.PLACEHOLDER:
        found = PLACEHOLDER.fullmatch(token.text)
        assert found is not None
        name = found.group(1)
        return _code(name, _lookup(variables, name), text, token.start)
    if token.kind not in {Kind.STRING, Kind.QUOTED} or not PLACEHOLDER.search(token.text):
        return token.text
    filler = _Filler(text, token, variables)
    if token.kind is Kind.QUOTED:
        mark = token.text[0]
        value = filler.plain(identifier_value(token.text))
        return mark + value.replace(mark, mark * 2) + mark
    return _string(filler, token.text, rules)


def _string(filler: _Filler, literal: str, rules: Lexis) -> str:
    """A string literal with its placeholders filled, in the same kind of quotes."""
    mark = literal[-1]
    if mark == "$":
        opener = literal[: literal.index("$", 1) + 1]
        value = filler.content(string_value(literal))
        # A value may end the literal alone or together with the text around it.
        if (value + opener).index(opener) != len(value):
            raise filler.error(f"holds {opener}, which ends the literal; write '...' instead")
        return opener + value + opener
    prefix = literal[: literal.index(mark)]
    inner = literal[len(prefix) + 1 : -1]
    if rules.backslash and prefix:
        value = filler.content(inner)
        if mark in value:
            raise filler.error("holds a quote, which ends an r'...' literal; write '...' instead")
    elif rules.backslash or prefix:
        value = filler.content(unescape(inner, mark))
        value = value.replace("\\", "\\\\").replace(mark, "\\" + mark)
    else:
        value = filler.content(inner.replace(mark * 2, mark)).replace(mark, mark * 2)
    return prefix + mark + value + mark


class _Filler:
    """Fills the placeholders in the content of one literal."""

    def __init__(self, text: str, token: Token, variables: Mapping[str, object]) -> None:
        self._text = text
        self._token = token
        self._variables = variables
        self._name = ""

    def error(self, reason: str) -> LanguageError:
        """An error about the placeholder that was filled last; its value is not shown."""
        at = self._token.text.find("{{")
        return LanguageError(
            f"The value of the variable {self._name} {reason}",
            text=self._text,
            position=self._token.start + max(at, 0),
        )

    def content(self, content: str) -> str:
        """The content of a string, as JSON where it is a JSON object or array."""
        if _is_json(PLACEHOLDER.sub(_PROBE, content)):
            return self._json(content)
        return self.plain(content)

    def plain(self, content: str) -> str:
        return PLACEHOLDER.sub(lambda found: self._text_of(found.group(1)), content)

    def _json(self, content: str) -> str:
        pieces: list[str] = []
        done = 0
        in_string = False
        for found in PLACEHOLDER.finditer(content):
            before = content[done : found.start()]
            in_string = _in_string(before, in_string)
            done = found.end()
            name = found.group(1)
            value = self._value(name)
            if not in_string:
                pieces += (before, self._as_json(value))
                continue
            opened = _ends_with_opening_quote(content[: found.start()])
            whole = opened and content.startswith('"', done)
            if whole and isinstance(value, (Mapping, list, tuple)):
                pieces += (before[:-1], self._dumps(value))
                done += 1
                in_string = False
            else:
                pieces += (before, json.dumps(self._text_of(name), ensure_ascii=False)[1:-1])
        pieces.append(content[done:])
        return "".join(pieces)

    def _as_json(self, value: object) -> str:
        """A value outside the strings of JSON text: text is taken only where it is JSON itself."""
        if not isinstance(value, str):
            return self._dumps(value)
        try:
            json.loads(value)
        except ValueError:
            raise self.error(
                'is not JSON, but its placeholder stands where JSON does; put "..." around it'
            ) from None
        return value

    def _dumps(self, value: object) -> str:
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_date_text)
        except (TypeError, ValueError):
            raise self.error("holds something that cannot be written as JSON") from None

    def _value(self, name: str) -> object:
        self._name = name
        return _lookup(self._variables, name)

    def _text_of(self, name: str) -> str:
        """A value as the text that a literal takes."""
        value = self._value(name)
        if isinstance(value, str):
            return value
        if isinstance(value, (date, time)):
            return value.isoformat()
        if isinstance(value, (bool, Mapping, list, tuple)):
            return self._dumps(value)
        if isinstance(value, (int, float, Decimal)):
            return str(value)
        kind = "null" if value is None else f"a {type(value).__name__}"
        raise self.error(f"is {kind}, which has no text to stand in a literal")


def _code(name: str, value: object, text: str, position: int) -> str:
    """A value outside of any literal."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if value is None:
        return "NULL"
    if isinstance(value, (str, int, float, Decimal)) and _NUMBER.fullmatch(str(value)):
        return str(value)
    if isinstance(value, str) and _DOTTED_NAME.fullmatch(value):
        return value
    raise LanguageError(
        f"The variable {name} stands outside a literal, where only a number or a plain name can "
        f"be filled in; write '{{{{ {name} }}}}' for text",
        text=text,
        position=position,
    )


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _in_string(text: str, inside: bool) -> bool:
    """Whether a string of JSON is open after this text, `inside` being the state before it."""
    return inside ^ (re.sub(r"\\.", "", text, flags=re.DOTALL).count('"') % 2 == 1)


def _ends_with_opening_quote(before: str) -> bool:
    """Whether the text, which ends inside a string of JSON, ends with that string's quote."""
    return before.endswith('"') and not _in_string(before[:-1], False)


def _date_text(value: object) -> str:
    if isinstance(value, (date, time)):
        return value.isoformat()
    raise TypeError
