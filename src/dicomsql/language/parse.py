"""Parses SQL text into statements: heads by the grammar here, queries left as the user's text.

Only the head of a statement is taken apart (names, columns, assignments, variables); queries,
expressions and conditions stay pieces of the text, which the planning and the engine read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from dicomsql.errors import LanguageError, nearest
from dicomsql.language.cursor import QUERY_HEADS, shown
from dicomsql.language.lexer import (
    DEPTH,
    Kind,
    Token,
    identifier_value,
    lex,
    lexis,
    string_value,
    words,
)
from dicomsql.language.split import split
from dicomsql.language.statements import (
    Assignment,
    Delete,
    Describe,
    Engine,
    Exec,
    Explain,
    Fragment,
    Insert,
    Name,
    Query,
    Set,
    Show,
    Statement,
    Update,
    Use,
)
from dicomsql.language.views import ViewGrammar


def parse(
    text: str, variables: Mapping[str, object] | None = None, *, dialect: str = ""
) -> tuple[Statement, ...]:
    """Give the statements of a text, in order; empty ones and comments are left out.

    Parameters:
        variables: values of the `{{ name }}` placeholders.
        dialect: sqlglot's name of the dialect in which the queries are written; here it decides
            only what a string, an identifier and a comment look like.

    Raises:
        LanguageError: the text is no statement, or a placeholder cannot be filled. Positions are
            those in the filled text, but for errors about placeholders themselves.
    """
    rules = lexis(dialect)
    if "{{" in text:
        # Imported where it is needed: it reads and writes JSON, dates and decimals.
        from dicomsql.language.placeholders import fill

        text, tokens = fill(text, variables or {}, rules)
    else:
        tokens = lex(text, rules)
    return tuple(_Parser(text, part).statement() for part in split(tokens))


def literal(fragment: Fragment) -> str | int | float | bool | None:
    """The value of a fragment that is one literal: a string, number, TRUE, FALSE, NULL or word.

    A bare word counts as its text (`SET on_error = skip`).

    Raises:
        LanguageError: the fragment is anything else.
    """
    tokens = [t for t in lex(fragment.text) if t.kind not in {Kind.COMMENT, Kind.HINT}]
    sign = 1
    if len(tokens) == 2 and tokens[0].is_operator("-", "+") and tokens[1].kind is Kind.NUMBER:
        sign = -1 if tokens[0].text == "-" else 1
        tokens = tokens[1:]
    if len(tokens) == 1:
        token = tokens[0]
        if token.kind is Kind.STRING:
            return string_value(token.text)
        if token.kind is Kind.QUOTED:
            return identifier_value(token.text)
        if token.kind is Kind.NUMBER:
            number = token.text.replace("_", "")
            try:
                return sign * int(number)
            except ValueError:
                return sign * float(number)
        if token.kind is Kind.WORD:
            return _WORD_VALUES.get(token.text.upper(), token.text)
    raise LanguageError(
        "Expected one value here: a string, a number, TRUE, FALSE or a word",
        text=fragment.text,
        position=0,
    )


_WORD_VALUES: dict[str, str | bool | None] = {"TRUE": True, "FALSE": False, "NULL": None}

# What the engine alone runs. Anything else at the head of a statement is a mistake.
_ENGINE_HEADS = words(
    "ALTER ANALYZE ATTACH BEGIN START CALL CHECKPOINT FORCE COMMENT COMMIT ABORT ROLLBACK "
    "DEALLOCATE DETACH EXECUTE EXPORT IMPORT INSTALL LOAD PRAGMA PREPARE "
    "PIVOT_WIDER PIVOT_LONGER SUMMARIZE TRUNCATE VACUUM"
)


# What SHOW can list, with an example of the name after IN.
_SHOWN_IN = {
    "SERVICES": "google",
    "RESOURCES": "google.healthcare",
    "METHODS": "google.healthcare.dicom_stores",
}

# What WITH may stand before besides queries.
_WRITES = ("INSERT", "UPDATE", "REPLACE", "DELETE", "MERGE")

_SET_SCOPES = ("SESSION", "GLOBAL", "LOCAL")
_EXPLAIN_FORMATS = ("text", "json")


class _Parser(ViewGrammar):
    """Parses the tokens of one statement."""

    # The table expressions before a write.
    _with: Fragment | None = None

    def statement(self) -> Statement:
        first = self._tokens[0]
        head = first.text.upper() if first.kind is Kind.WORD else first.text
        parser = _HEADS.get(head)
        if parser is not None:
            self._check_brackets()
            return parser(self)
        if head in QUERY_HEADS or first.is_operator("("):
            self._check_brackets()
            return self._query()
        if head in _ENGINE_HEADS:
            return self._engine()
        meant = nearest(head, sorted(STATEMENT_WORDS)) if first.kind is Kind.WORD else ""
        raise self._error(
            f"Expected a statement such as SELECT, INSERT, EXEC or SHOW, "
            f"but found {shown(first)}.{meant}",
            first,
        )

    # ---- heads --------------------------------------------------------------------------------

    def _query(self) -> Statement:
        if self._tokens[0].is_word("WITH"):
            main = self._main_verb()
            if main is None:
                raise self._expected("SELECT after the WITH clause", self._tokens[-1], after=True)
            if main.is_word(*_WRITES):
                return self._write_after(main)
        return Query(*self._base(), query=self._rest("a query"))

    def _write_after(self, verb: Token) -> Statement:
        """A write behind the table expressions of a WITH."""
        self._index = self._tokens.index(verb)
        first, last = self._tokens[0], self._tokens[self._index - 1]
        self._with = Fragment(self._source[first.start : last.end], first.start)
        return _HEADS[verb.text.upper()](self)

    def _main_verb(self) -> Token | None:
        """The word of a WITH statement that comes after its table expressions."""
        verbs = ("SELECT", "FROM", "VALUES", "TABLE", "PIVOT", "UNPIVOT")
        depth = 0
        for before, token in zip(self._tokens, self._tokens[1:], strict=False):
            if token.kind is Kind.OPERATOR:
                depth += DEPTH.get(token.text, 0)
            if depth == 0 and token.is_word(*verbs):
                return token
            if depth == 0 and before.is_operator(")") and token.is_word(*_WRITES):
                return token
            # A main query in brackets: WITH x AS (...) (SELECT ...)
            if depth == 1 and token.is_operator("(") and before.is_operator(")"):
                return token
        return None

    def _insert(self) -> Statement:
        self._next()
        if self._accept("OR"):
            return self._engine_only("INSERT OR ...", self._target_ahead())
        self._accept("IGNORE")
        self._expect("INTO")
        target = self._name("a resource after INTO")
        columns = self._columns()
        token = self._peek()
        if token is not None and token.is_word("DEFAULT", "BY", "AS"):
            return self._engine_only(f"INSERT ... {token.text.upper()}", target)
        if token is None or not (
            token.is_word("SELECT", "VALUES", "WITH", "FROM", "TABLE", "PIVOT", "UNPIVOT")
            or token.is_operator("(")
        ):
            raise self._expected("SELECT or VALUES", token)
        query = self._until("a query", "RETURNING", "ON CONFLICT")
        if self._accept("ON"):
            return self._engine_only("INSERT ... ON CONFLICT", target)
        returning = self._returning()
        return Insert(
            *self._base(),
            target=target,
            columns=columns,
            query=query,
            returning=returning,
            with_=self._with,
        )

    def _columns(self) -> tuple[Name, ...]:
        """The column list of an INSERT, or nothing where a query in brackets stands."""
        if not self._at("("):
            return ()
        after = self._peek(1)
        if after is not None and (after.is_word(*QUERY_HEADS) or after.is_operator("(")):
            return ()
        self._next()
        columns = [self._name("a column")]
        while self._accept_operator(","):
            columns.append(self._name("a column"))
        self._expect_operator(")", "`,` or `)` in the list of columns")
        return tuple(columns)

    def _update(self) -> Statement:
        verb = self._next().text.lower()
        target = self._name(f"a resource after {verb.upper()}")
        alias = self._alias("SET")
        self._expect("SET")
        assignments = [self._assignment()]
        while self._accept_operator(","):
            assignments.append(self._assignment())
        if self._at_word("FROM"):
            return self._engine_only(f"{verb.upper()} ... FROM", target)
        where = self._where("RETURNING")
        returning = self._returning()
        return Update(
            *self._base(),
            verb=verb,
            target=target,
            alias=alias,
            assignments=tuple(assignments),
            where=where,
            returning=returning,
            with_=self._with,
        )

    def _assignment(self) -> Assignment:
        target = self._name("a column to set")
        self._expect_operator("=", f"`=` after {target}")
        value = self._until(
            f"a value for {target}", "FROM", "WHERE", "RETURNING", separators=(",",)
        )
        return Assignment(target, value)

    def _delete(self) -> Statement:
        self._next()
        self._expect("FROM")
        target = self._name("a resource after FROM")
        alias = self._alias("WHERE", "RETURNING", "USING")
        if self._at_word("USING"):
            return self._engine_only("DELETE ... USING", target)
        where = self._where("RETURNING")
        returning = self._returning()
        return Delete(
            *self._base(),
            target=target,
            alias=alias,
            where=where,
            returning=returning,
            with_=self._with,
        )

    def _merge(self) -> Engine:
        return self._engine_only("MERGE", self._target_ahead())

    def _exec(self) -> Exec:
        self._next()
        target = self._name("a method after EXEC", hyphens="-")
        variables: dict[str, Fragment] = {}
        payloads: dict[str, Fragment] = {}
        while (token := self._peek()) is not None and not token.is_word("RETURNING"):
            if token.is_operator(",") and (variables or payloads):
                self._next()
                continue
            if token.kind is not Kind.VARIABLE:
                raise self._expected("a variable such as @projectsId = '...'", token)
            name = self._variable()
            known = payloads if token.text.startswith("@@") else variables
            if name in known:
                raise self._error(f"The variable {token.text} is given twice", token)
            self._expect_operator("=", f"`=` after {token.text}")
            known[name] = self._until(
                f"a value for {token.text}", "RETURNING", separators=(",", "@")
            )
        returning = self._returning()
        return Exec(
            *self._base(),
            target=target,
            variables=tuple(variables.items()),
            payloads=tuple(payloads.items()),
            returning=returning,
        )

    def _variable(self) -> str:
        """A variable's name, which may have members: `@options.requestedPolicyVersion`."""
        name = self._next().text.lstrip("@")
        while self._accept_operator("."):
            name += "." + self._identifier("a name after `.`")
        return name

    def _show(self) -> Statement:
        self._next()
        extended = self._accept("EXTENDED") is not None
        token = self._next() if self._peek() else None
        kind = token.text.upper() if token is not None and token.kind is Kind.WORD else ""
        target: Name | None = None
        if kind in _SHOWN_IN:
            if not (self._accept("IN") or self._accept("FROM")):
                raise self._expected(
                    f"IN and a name, as in SHOW {kind} IN {_SHOWN_IN[kind]}", self._peek()
                )
            target = self._name(f"a name such as {_SHOWN_IN[kind]}")
        elif kind == "INSERT":
            self._expect("INTO")
            target = self._name("a resource after INTO")
        elif kind == "AUTH":
            target = self._name("a provider") if self._peek() else None
        elif kind not in {"PROVIDERS", "VERSION", "VIEWS"}:
            return self._engine()
        like = self._like()
        where = self._where()
        return Show(
            *self._base(),
            kind=kind.lower(),
            target=target,
            extended=extended,
            like=like,
            where=where,
        )

    def _describe(self) -> Statement:
        self._next()
        extended = self._accept("EXTENDED") is not None
        method = False
        after = self._peek(1)
        if self._at_word("METHOD") and after is not None and not after.is_operator("."):
            self._next()
            method = True
            extended = self._accept("EXTENDED") is not None or extended
        token = self._peek()
        names = token is not None and token.kind in {Kind.WORD, Kind.QUOTED}
        if token is None or not names or (token.is_word(*QUERY_HEADS) and not method):
            if extended or method:
                raise self._expected("the name of a resource or a method", token)
            return self._engine()
        target = self._name("a name", hyphens="-" if method else "")
        columns: list[Fragment] = []
        if not method and self._peek() is not None and not self._at_word("LIKE"):
            columns.append(self._until("a column", "LIKE", separators=(",",)))
            while self._accept_operator(","):
                columns.append(self._until("a column", "LIKE", separators=(",",)))
        like = self._like() if not method and not columns else None
        return Describe(
            *self._base(),
            target=target,
            extended=extended,
            method=method,
            columns=tuple(columns),
            like=like,
        )

    def _like(self) -> str | None:
        """The pattern of LIKE, where that stands here."""
        if not self._accept("LIKE"):
            return None
        pattern = self._next() if self._peek() else None
        if pattern is None or pattern.kind is not Kind.STRING:
            raise self._expected("a pattern in quotes after LIKE", pattern)
        return string_value(pattern.text)

    def _use(self) -> Use:
        self._next()
        target = self._name("a provider, such as google, or google.healthcare")
        return Use(*self._base(), target=target)

    def _set(self) -> Statement:
        verb = self._next().text.upper()
        scope = self._peek()
        after = self._peek(1)
        named = after is not None and not after.is_operator("=", ".") and not after.is_word("TO")
        if scope is not None and named:
            if scope.is_word("VARIABLE", "TIME"):
                return self._engine()
            if scope.is_word(*_SET_SCOPES):
                self._next()
        name = ".".join(self._name("the name of a setting").parts)
        value = None
        if verb == "SET":
            if not self._accept("TO"):
                self._expect_operator("=", f"`=` and a value for {name}")
            value = self._rest(f"a value for {name}")
        return Set(*self._base(), name=name, value=value)

    def _explain(self) -> Explain:
        self._next()
        analyze = self._accept("ANALYZE") is not None
        form = "text"
        after = self._peek(1)
        if self._at("(") and after is not None and after.is_word("FORMAT", "ANALYZE"):
            self._next()
            while not self._accept_operator(")"):
                if self._accept("ANALYZE"):
                    analyze = True
                else:
                    self._expect("FORMAT")
                    token = self._peek()
                    form = self._identifier("text or json").lower()
                    if form not in _EXPLAIN_FORMATS:
                        raise self._expected("text or json", token)
                if not self._at(")"):
                    self._expect_operator(",", "`,` or `)`")
        if self._peek() is None:
            raise self._expected("a statement to explain", None)
        inner = _Parser(self._source, self._tokens[self._index :])
        inner._hints = self._hints
        self._index = len(self._tokens)
        return Explain(*self._base(), analyze=analyze, format=form, statement=inner.statement())

    def _engine_only(self, form: str, target: Name) -> Engine:
        """A form that the engine has for its own tables and resources do not."""
        return replace(self._engine(), form=form, target=target)

    def _target_ahead(self) -> Name:
        """The name after INTO, where a form comes in between."""
        while not self._accept("INTO"):
            if self._peek() is None:
                raise self._expected("INTO", None)
            self._next()
        return self._name("a table after INTO")


_HEADS: dict[str, Callable[[_Parser], Statement]] = {
    "INSERT": _Parser._insert,
    "UPDATE": _Parser._update,
    "REPLACE": _Parser._update,
    "DELETE": _Parser._delete,
    "MERGE": _Parser._merge,
    "EXEC": _Parser._exec,
    "COPY": _Parser._copy,
    "SHOW": _Parser._show,
    "DESCRIBE": _Parser._describe,
    "DESC": _Parser._describe,
    "USE": _Parser._use,
    "SET": _Parser._set,
    "RESET": _Parser._set,
    "EXPLAIN": _Parser._explain,
    "CREATE": _Parser._create,
    "DROP": _Parser._drop,
    "REFRESH": _Parser._refresh,
}

# Every word that a statement can begin with.
STATEMENT_WORDS = frozenset(_HEADS) | QUERY_HEADS | _ENGINE_HEADS
