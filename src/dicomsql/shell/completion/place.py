"""Where the cursor of a text stands: what may be typed there, and what that depends on.

Pure: it knows the text alone, and that need not be finished. Which names there are, and which
values, is for others (`names`, `columns`, `values`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dicomsql.language.lexer import DUCKDB, Kind, Lexis
from dicomsql.shell.completion.clauses import Clauses, string_at
from dicomsql.shell.completion.model import Place, Want
from dicomsql.shell.completion.nesting import Group, MetaLine, Typed, name_at, spot_of
from dicomsql.shell.completion.scope import Table, is_query
from dicomsql.shell.completion.words import FOLLOWERS, QUERY_WORDS, STATEMENTS

__all__ = ["Place", "Want", "place_of"]

_SHOWN = ("PROVIDERS", "SERVICES IN", "RESOURCES IN", "METHODS IN", "INSERT INTO", "VIEWS",
          "EXTENDED", "TABLES", "AUTH", "VERSION")  # fmt: skip
_SHOWN_DEPTH = {"SERVICES": 1, "RESOURCES": 2, "METHODS": 3}


def place_of(text: str, cursor: int, rules: Lexis = DUCKDB) -> Place | None:
    """What may be typed at a place of a text; None where nothing can be told, as in a comment.

    Args:
        cursor: the number of characters before it.
        rules: the lexical rules of the session's dialect.
    """
    spot = spot_of(text, cursor, rules)
    if spot is None:
        return None
    if isinstance(spot, MetaLine):
        return _meta(spot, cursor)
    return _Reader(spot).place()


def _meta(line: MetaLine, cursor: int) -> Place:
    if line.arguments is None:
        return Place((Want.META,), Typed(line.name, line.start))
    typed = Typed(line.arguments, cursor - len(line.arguments))
    return Place((Want.META_ARGUMENTS,), typed, subject=(line.name,), text=line.arguments)


class _Reader(Clauses):
    """Reads one statement around the cursor."""

    def place(self) -> Place | None:
        """The place of the cursor."""
        chain = self._spot.chain
        level = max((n for n, (group, _) in enumerate(chain) if n and is_query(group)), default=0)
        if level:
            return self._in_query(level)
        if self._at <= self._first and len(chain) == 1:
            return self._words(*self._statement_words())
        reader = _STATEMENTS.get(self._verb, _Reader._plain)
        return reader(self)

    # -- statements ------------------------------------------------------------------------------

    def _statement_words(self) -> tuple[str, ...]:
        if not self._first:
            return STATEMENTS
        asked = tuple(word for word in STATEMENTS if not word.startswith("EXPLAIN"))
        return (*FOLLOWERS["EXPLAIN"], *asked) if self._first == 1 else asked

    def _plain(self) -> Place | None:
        return self._in_query(0)

    def _show(self) -> Place | None:
        before = self._before()
        if before == "INTO":
            return self._tables("insert")
        if before in {"IN", "FROM"}:
            kind = self._root.word(self._at - 2)
            return self._tables("", depth=_SHOWN_DEPTH.get(kind, 3))
        if before in {"SHOW", "EXTENDED"}:
            return self._words(*_SHOWN)
        follow = {"INSERT": ("INTO",), **dict.fromkeys(_SHOWN_DEPTH, ("IN",))}.get(before)
        return self._words(*(follow or ("LIKE", "WHERE")))

    def _describe(self) -> Place | None:
        before = self._before()
        said = [self._root.word(i) for i in range(self._first, self._at)]
        if before in {"DESCRIBE", "DESC", "EXTENDED"} and "METHOD" not in said:
            extended = () if before == "EXTENDED" else ("EXTENDED", "METHOD", "SELECT")
            return replace(self._tables(""), wants=(Want.TABLES, Want.WORDS), words=extended)
        if "METHOD" in said and before in {"METHOD", "EXTENDED"}:
            return self._place(Want.METHODS, Want.WORDS, words=("EXTENDED",))
        if "METHOD" in said:
            return None
        table = self._name_behind(*(("EXTENDED",) if "EXTENDED" in said else (self._verb,)))
        tables = (Table(table),) if table else ()
        return self._place(Want.COLUMNS, Want.WORDS, tables=tables, words=("LIKE",))

    def _use(self) -> Place | None:
        return self._tables("", depth=2) if self._before() == "USE" else None

    def _set(self) -> Place | None:
        root, at = self._root, self._at
        if self._before() in {"SET", "RESET", "SESSION", "GLOBAL", "LOCAL"}:
            return self._place(Want.SETTINGS)
        before = root.operator(at - 1)
        if before == "=" or self._before() == "TO":
            name, _ = name_at(root, at - 2)
            return self._place(Want.SETTING_VALUES, subject=name) if name else None
        return None

    def _exec(self) -> Place | None:
        root, at = self._root, self._at
        name = self._name_behind("EXEC")
        if not name or self._before() == "EXEC":
            return self._place(Want.METHODS)
        given = frozenset(
            t.text.lower()
            for t in root.items
            if not isinstance(t, Group) and t.kind is Kind.VARIABLE
        )
        if root.operator(at - 1) == "=" and root.kind(at - 2) is Kind.VARIABLE:
            variable = root.items[at - 2]
            assert not isinstance(variable, Group)
            if variable.text.lower() in {"@@file", "@@output"}:
                return self._place(Want.FILES)
            subject = (variable.text.lstrip("@"),)
            wants = (Want.VALUES,) if self._spot.typed.quote else (Want.VALUES, Want.FUNCTIONS)
            return self._place(
                *wants, subject=subject, tables=(Table(name[:-1]),), equal=self._equal()
            )
        if self._spot.typed.quote or len(self._spot.chain) > 1:
            return None
        return self._place(
            Want.VARIABLES, Want.WORDS, subject=name, given=given, words=("RETURNING",)
        )

    def _copy(self) -> Place | None:
        root, at = self._root, self._at
        words = [root.word(i) for i in range(at)]
        copies = "in" if "FROM" in words else "out" if "TO" in words else ""
        if len(self._spot.chain) > 1:
            return self._copy_options(copies)
        if self._before() == "COPY":
            tables = self._tables("copy")
            return replace(tables, wants=(Want.TABLES, Want.WORDS), words=("(SELECT",))
        if self._before() in {"FROM", "TO"}:
            queried = ("(SELECT",) if self._before() == "FROM" else ()
            return self._place(Want.FILES, Want.WORDS, words=queried)
        if not copies:
            return self._words("FROM", "TO") if root.group(at - 1) is None else self._words("TO")
        if "RETURNING" in words:
            return self._place(Want.COLUMNS, Want.FUNCTIONS, Want.WORDS, words=("*",))
        return self._words("(", "RETURNING")

    def _copy_options(self, copies: str) -> Place | None:
        group, at = self._spot.chain[-1]
        if not copies:
            # What is in the first brackets is a query that is only begun.
            return self._words(*QUERY_WORDS) if at == 0 else self._in_query(1)
        start = max((i + 1 for i in range(at) if group.operator(i) == ","), default=0)
        name, _ = name_at(group, start)
        tables: tuple[Table, ...] = ()
        if copies == "in" and (target := self._name_behind("COPY")):
            tables = (Table(target),)
        given = {
            group.word(i).lower()
            for i in range(len(group.items))
            if group.word(i) and (i == 0 or group.operator(i - 1) == ",")
        }
        equal = {
            group.word(i).lower(): text
            for i in range(len(group.items))
            if (text := _value_at(group, i + 1 + (group.operator(i + 1) == "=")))
        }
        want = Want.OPTIONS if at == start else Want.OPTION_VALUES
        return self._place(
            want,
            subject=name[:1],
            given=frozenset(given),
            equal=equal,
            copies=copies,
            tables=tables,
        )

    def _drop(self) -> Place | None:
        before = self._before()
        if before in {"VIEW", "TABLE", "EXISTS"}:
            return self._tables("local")
        if before == "DROP":
            return self._words("VIEW", "TABLE", "MATERIALIZED VIEW", "SCHEMA", "MACRO")
        if before in {"MATERIALIZED", "REFRESH"}:
            return self._words("VIEW" if before == "MATERIALIZED" else "MATERIALIZED VIEW")
        return None

    def _create(self) -> Place | None:
        before = self._before()
        words = [self._root.word(i) for i in range(self._first, self._at)]
        if "AS" in words:
            after = words.index("AS") + self._first + 1
            if self._at == after:
                return self._words(*QUERY_WORDS)
            return self._in_query(0, start=after)
        follow = {
            "CREATE": ("VIEW", "TABLE", "OR REPLACE", "TEMP", "MATERIALIZED VIEW", "MACRO"),
            "OR": ("REPLACE",),
            "REPLACE": ("VIEW", "TABLE", "TEMP", "MATERIALIZED VIEW"),
            "TEMP": ("VIEW", "TABLE"),
            "MATERIALIZED": ("VIEW",),
            "VIEW": ("IF NOT EXISTS",),
            "TABLE": ("IF NOT EXISTS",),
        }.get(before)
        return self._words(*follow) if follow else self._words("AS")


def _value_at(group: Group, index: int) -> str:
    """The value of an option, which may be a plain word."""
    return string_at(group, index) or group.word(index)


_STATEMENTS: dict[str, Callable[[_Reader], Place | None]] = {
    "SHOW": _Reader._show,
    "DESCRIBE": _Reader._describe,
    "DESC": _Reader._describe,
    "USE": _Reader._use,
    "SET": _Reader._set,
    "RESET": _Reader._set,
    "EXEC": _Reader._exec,
    "COPY": _Reader._copy,
    "DROP": _Reader._drop,
    "REFRESH": _Reader._drop,
    "CREATE": _Reader._create,
}
