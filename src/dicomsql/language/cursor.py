"""Walks the tokens of one statement: names, pieces of text up to a word, brackets, errors."""

from __future__ import annotations

import re

from dicomsql.errors import LanguageError
from dicomsql.language.lexer import DEPTH, Kind, Token, identifier_value, words
from dicomsql.language.statements import Engine, Fragment, Name

# What a query begins with.
QUERY_HEADS = words("SELECT WITH FROM VALUES PIVOT UNPIVOT TABLE")

_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_CLOSING = frozenset(_BRACKETS.values())


class Cursor:
    """A place among the tokens of one statement, with what every statement is made of."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = [t for t in tokens if t.kind is not Kind.HINT]
        self._hints = _statement_hints(tokens)
        self._index = 0

    # ---- pieces -------------------------------------------------------------------------------

    def _base(self) -> tuple[str, int, int, frozenset[str]]:
        """What every statement begins with; by now all of its tokens must have been read."""
        rest = self._peek()
        if rest is not None and self._index > 0:
            raise self._expected("the end of the statement", rest)
        return self._source, self._tokens[0].start, self._tokens[-1].end, self._hints

    def _name(self, what: str, hyphens: str = "") -> Name:
        """A dotted name; with hyphens where those stand unspaced inside its parts."""
        start = self._peek()
        parts = [self._identifier(what)]
        while (token := self._peek()) is not None:
            before = self._tokens[self._index - 1]
            if token.is_operator("."):
                self._next()
                parts.append(self._identifier("a name after `.`"))
            elif hyphens and token.is_operator(hyphens) and token.start == before.end:
                self._next()
                parts[-1] += hyphens + self._identifier("a name after `-`")
            else:
                break
        assert start is not None
        return Name(tuple(parts), start.start)

    def _identifier(self, what: str) -> str:
        token = self._peek()
        if token is None or token.kind not in {Kind.WORD, Kind.QUOTED}:
            raise self._expected(what, token)
        self._index += 1
        return identifier_value(token.text) if token.kind is Kind.QUOTED else token.text

    def _alias(self, *followers: str) -> str:
        """[AS] alias, where what stands here is not one of the words that may follow."""
        if self._accept("AS"):
            return self._identifier("an alias after AS")
        token = self._peek()
        if token is None or token.is_word(*followers):
            return ""
        return self._identifier(f"{' or '.join(followers[:2])}")

    def _where(self, *stops: str) -> Fragment | None:
        return self._until("a condition after WHERE", *stops) if self._accept("WHERE") else None

    def _returning(self) -> Fragment | None:
        return self._rest("columns after RETURNING") if self._accept("RETURNING") else None

    def _rest(self, what: str) -> Fragment:
        return self._until(what)

    def _engine(self) -> Engine:
        """The whole statement as one of the engine alone."""
        self._index = 0
        return Engine(*self._base(), fragment=self._rest("a statement"))

    def _until(self, what: str, *stops: str, separators: tuple[str, ...] = ()) -> Fragment:
        """The text up to one of the words or separators outside all brackets.

        A stop of two words (`ON CONFLICT`) needs both; the separator `@` is the next variable.
        """
        first = self._index
        heads = {stop.partition(" ")[0] for stop in stops}
        depth = 0
        while (token := self._peek()) is not None:
            kind, text = token.kind, token.text
            if kind is Kind.OPERATOR:
                depth += DEPTH.get(text, 0)
                if depth == 0 and text in separators:
                    break
            elif depth == 0 and (
                (kind is Kind.WORD and text.upper() in heads and self._stops(stops))
                or (kind is Kind.VARIABLE and "@" in separators)
            ):
                break
            self._index += 1
        if self._index == first:
            raise self._expected(what, self._peek())
        start = self._tokens[first].start
        return Fragment(self._source[start : self._tokens[self._index - 1].end], start)

    def _stops(self, stops: tuple[str, ...]) -> bool:
        """Whether one of the stops stands here, and neither as a member nor in an operator."""
        before = self._tokens[self._index - 1]
        if before.is_operator("."):
            return False
        for stop in stops:
            parts = stop.split()
            ahead = self._tokens[self._index : self._index + len(parts)]
            if [t.text.upper() for t in ahead if t.kind is Kind.WORD] == parts:
                # `a IS DISTINCT FROM b` goes on.
                return not (stop == "FROM" and before.is_word("DISTINCT"))
        return False

    # ---- tokens -------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._index + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _next(self) -> Token:
        self._index += 1
        return self._tokens[self._index - 1]

    def _at(self, operator: str) -> bool:
        token = self._peek()
        return token is not None and token.is_operator(operator)

    def _at_word(self, *words: str) -> bool:
        token = self._peek()
        return token is not None and token.is_word(*words)

    def _accept(self, word: str) -> Token | None:
        return self._next() if self._at_word(word) else None

    def _accept_operator(self, operator: str) -> Token | None:
        return self._next() if self._at(operator) else None

    def _expect(self, word: str) -> None:
        if self._accept(word) is None:
            raise self._expected(word, self._peek())

    def _expect_operator(self, operator: str, what: str) -> None:
        if self._accept_operator(operator) is None:
            raise self._expected(what, self._peek())

    # ---- errors -------------------------------------------------------------------------------

    def _check_brackets(self) -> None:
        open_: list[Token] = []
        for token in self._tokens:
            if token.kind is not Kind.OPERATOR:
                continue
            if token.text in _BRACKETS:
                open_.append(token)
            elif token.text in _CLOSING:
                if not open_:
                    raise self._error(f"This {token.text} closes nothing", token)
                if _BRACKETS[open_[-1].text] != token.text:
                    raise self._expected(f"`{_BRACKETS[open_[-1].text]}`", token)
                open_.pop()
        if open_:
            raise self._error(f"This {open_[-1].text} is never closed", open_[-1])

    def _expected(self, what: str, token: Token | None, *, after: bool = False) -> LanguageError:
        if token is None or after:
            return LanguageError(
                f"Expected {what}, but the statement ends",
                text=self._source,
                position=self._tokens[-1].end,
            )
        return self._error(f"Expected {what}, but found {shown(token)}", token)

    def _error(self, message: str, token: Token) -> LanguageError:
        return LanguageError(message, text=self._source, position=token.start)


def _statement_hints(tokens: list[Token]) -> frozenset[str]:
    """The words of the hints outside all brackets: those in a subquery are not the statement's."""
    found: set[str] = set()
    depth = 0
    for token in tokens:
        if token.kind is Kind.OPERATOR:
            depth += DEPTH.get(token.text, 0)
        elif token.kind is Kind.HINT and depth == 0:
            found.update(word.upper() for word in re.findall(r"\w+", token.text))
    return frozenset(found)


def shown(token: Token) -> str:
    """A token as an error names it; a literal may hold a patient's data, so it is not shown."""
    if token.kind in {Kind.STRING, Kind.NUMBER}:
        return f"a {token.kind.value}"
    return f"`{token.text}`"
