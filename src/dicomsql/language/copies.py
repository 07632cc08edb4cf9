"""The grammar of COPY: instances into a store, and a query's rows or instances out of one."""

from __future__ import annotations

from dicomsql.language.cursor import QUERY_HEADS, Cursor
from dicomsql.language.lexer import DEPTH, Kind, Token
from dicomsql.language.statements import CopyIn, CopyOut, Fragment, Statement


class CopyGrammar(Cursor):
    """Parses COPY."""

    def _copy(self) -> Statement:
        """COPY of instances and of queries; every other form is the engine's."""
        self._next()
        if self._at("("):
            return self._copy_out()
        if self._at_word("FROM") or self._peek() is None:
            return self._engine()
        target = self._name("a resource, or a query in brackets, after COPY")
        if not self._accept("FROM"):
            return self._engine()
        # Of one part or two it may be the engine's own table, in a grammar of the engine's own.
        owned = len(target.parts) < 3
        if self._at_word("STDIN") and owned:
            return self._engine()
        queried = self._at("(") and self._holds_query()
        origin = self._bracketed("a query") if queried else self._place("files after FROM")
        options = self._options()
        if options is None and not owned:
            raise self._expected("options in brackets, or RETURNING", self._peek())
        if options is None:
            return self._engine()
        returning = self._returning()
        return CopyIn(
            *self._base(),
            target=target,
            origin=origin,
            queried=queried,
            options=options,
            returning=returning,
        )

    def _copy_out(self) -> Statement:
        query = self._bracketed("a query")
        if not self._accept("TO") or self._at_word("STDOUT"):
            return self._engine()
        destination = self._place("a folder or a file after TO")
        options = self._options()
        if options is None:
            return self._engine()
        returning = self._returning()
        return CopyOut(
            *self._base(),
            query=query,
            destination=destination,
            options=options,
            returning=returning,
        )

    def _holds_query(self) -> bool:
        """Whether the brackets that open here hold a query, not a value."""
        inner = self._peek(1)
        return inner is not None and (inner.is_word(*QUERY_HEADS) or inner.is_operator("("))

    def _bracketed(self, what: str) -> Fragment:
        """The text inside of the brackets that open here."""
        self._next()
        inside = self._inside(what)
        self._next()
        return inside

    def _inside(self, what: str, *separators: str) -> Fragment:
        """The text up to the bracket that closes those around, or up to a separator."""
        first, depth = self._index, 0
        while (token := self._peek()) is not None:
            if token.kind is Kind.OPERATOR:
                if depth == 0 and (token.text in separators or DEPTH.get(token.text, 0) < 0):
                    break
                depth += DEPTH.get(token.text, 0)
            self._next()
        return self._since(first, what)

    def _place(self, what: str) -> Fragment:
        """An expression for files, which ends where options may begin.

        A bracket behind a name is a call's; behind what is whole it opens the options, and a word
        there belongs to the engine's own grammar.
        """
        first, depth = self._index, 0
        while (token := self._peek()) is not None:
            if depth == 0 and token.is_word("WITH", "RETURNING"):
                break
            follows = depth == 0 and (token.is_operator("(") or token.kind is Kind.WORD)
            if follows and self._index > first and _is_whole(self._tokens[self._index - 1]):
                break
            if token.kind is Kind.OPERATOR:
                depth += DEPTH.get(token.text, 0)
            self._next()
        return self._since(first, what)

    def _since(self, first: int, what: str) -> Fragment:
        """The text from a token up to here."""
        if self._index == first:
            raise self._expected(what, self._peek())
        start = self._tokens[first].start
        return Fragment(self._source[start : self._tokens[self._index - 1].end], start)

    def _options(self) -> tuple[tuple[str, Fragment], ...] | None:
        """`[WITH] (name value, name = value, name)`; None where something else stands here."""
        self._accept("WITH")
        if not self._at("("):
            token = self._peek()
            return () if token is None or token.is_word("RETURNING") else None
        self._next()
        found: list[tuple[str, Fragment]] = []
        while not self._accept_operator(")"):
            name = self._identifier("the name of an option")
            assigned = self._accept_operator("=")
            token = self._peek()
            if token is not None and token.is_operator(",", ")") and not assigned:
                found.append((name, Fragment("", token.start)))
            else:
                found.append((name, self._inside(f"a value for {name}", ",")))
            if not self._at(")"):
                self._expect_operator(",", "`,` or `)` in the list of options")
        return tuple(found)


def _is_whole(token: Token) -> bool:
    """Whether an expression may end with a token, so that a bracket behind it is no call's."""
    return token.kind in {Kind.STRING, Kind.NUMBER, Kind.PARAMETER} or token.is_operator(
        ")", "]", "}"
    )
