"""The grammar of views: CREATE VIEW, CREATE, REFRESH and DROP MATERIALIZED VIEW."""

from __future__ import annotations

from dicomsql.language.copies import CopyGrammar
from dicomsql.language.cursor import QUERY_HEADS
from dicomsql.language.statements import CreateView, MaterializedView, Name, Statement

_TEMPORARY = ("TEMP", "TEMPORARY")


class ViewGrammar(CopyGrammar):
    """Parses what makes, fills and drops views; every other CREATE and DROP is the engine's."""

    def _create(self) -> Statement:
        self._next()
        replace = self._accept("OR") is not None and self._accept("REPLACE") is not None
        temporary = any(self._accept(word) for word in _TEMPORARY)
        materialized = self._accept("MATERIALIZED") is not None
        if not self._accept("VIEW"):
            if materialized:
                raise self._expected("VIEW", self._peek())
            return self._engine()
        if materialized and temporary:
            raise self._error(
                "A materialized view is a table that is kept; CREATE TEMP TABLE ... AS keeps rows "
                "for this connection alone",
                self._tokens[0],
            )
        if_not_exists = False
        if self._accept("IF"):
            self._expect("NOT")
            self._expect("EXISTS")
            if_not_exists = True
        target = self._name("a name after VIEW")
        columns = self._named_columns()
        self._expect("AS")
        token = self._peek()
        if token is None or not (token.is_word(*QUERY_HEADS) or token.is_operator("(")):
            raise self._expected("a query after AS", token)
        query = self._rest("a query after AS")
        return CreateView(
            *self._base(),
            target=target,
            columns=columns,
            query=query,
            replace=replace,
            temporary=temporary,
            materialized=materialized,
            if_not_exists=if_not_exists,
        )

    def _named_columns(self) -> tuple[Name, ...]:
        """The names in brackets behind a view's own."""
        if not self._accept_operator("("):
            return ()
        names = [self._column_name()]
        while self._accept_operator(","):
            names.append(self._column_name())
        self._expect_operator(")", "`,` or `)` in the list of columns")
        return tuple(names)

    def _column_name(self) -> Name:
        token = self._peek()
        name = self._identifier("a column")
        assert token is not None
        return Name((name,), token.start)

    def _refresh(self) -> Statement:
        self._next()
        self._expect("MATERIALIZED")
        self._expect("VIEW")
        target = self._name("a name after VIEW")
        return MaterializedView(*self._base(), verb="refresh", target=target)

    def _drop(self) -> Statement:
        self._next()
        if not self._accept("MATERIALIZED"):
            return self._engine()
        self._expect("VIEW")
        if_exists = self._accept("IF") is not None
        if if_exists:
            self._expect("EXISTS")
        target = self._name("a name after VIEW")
        return MaterializedView(*self._base(), verb="drop", target=target, if_exists=if_exists)
