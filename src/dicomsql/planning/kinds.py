"""The types of what is the engine's own in a query: its files' and tables' columns, expressions.

The engine is asked by DESCRIBE, which binds a query and runs nothing. A resource's columns stand in
such a question as NULLs of their types, since their rows are not there yet.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.errors import DatabaseError
from dicomsql.planning.derived import shown
from dicomsql.planning.scopes import cte_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dicomsql.planning.answers import Evaluate
    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.text import QueryText

# What DuckDB calls its numbers.
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BIGNUM|DECIMAL.*|DOUBLE|FLOAT")


def is_number_type(name: str) -> bool:
    """Whether an SQL type of the engine is a number's."""
    return _NUMBER.fullmatch(name) is not None


@dataclass(slots=True)
class Kinds:
    """Finds types; empty text and None stand for what is not known.

    Attributes:
        evaluate: runs a query that gives one value.
    """

    text: QueryText
    names: Names
    evaluate: Evaluate
    _columns: dict[str, dict[str, str] | None] = field(default_factory=dict)
    # The columns whose types are being found.
    _following: set[tuple[int, str, str]] = field(default_factory=set)

    def columns(self, source: Source) -> dict[str, str] | None:
        """The columns of a source that reads no resource: lower-case name -> type."""
        if source.table is not None:
            return None
        asked = self._alone(source.node)
        return self._described(asked) if asked else None

    def is_read_once(self, source: Source) -> bool:
        """Whether a source is a pipe or a device, which a look at its columns would empty."""
        return any(_only_once(name) for name in _names_in(source.node))

    def of(self, node: exp.Expr, scope: Scope) -> str:
        """The type of an expression; of a subquery, that of its first column."""
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            return self._of_column(node, scope)
        if isinstance(node, exp.Subquery | exp.Query):
            return next(iter(self.of_query(node)), "")
        asked = self._asked(node, scope)
        found = self._described(f"SELECT {asked} AS asked") if asked else None
        return found["asked"] if found else ""

    def of_query(self, query: exp.Expr) -> list[str]:
        """The types of a subquery's columns."""
        while isinstance(query, exp.Subquery):
            query = query.this
        alone = self._alone(query)
        if alone:
            found = self._described(alone)
            return list(found.values()) if found else []
        if isinstance(query, exp.SetOperation):
            both = zip(self.of_query(query.this), self.of_query(query.expression), strict=False)
            return [_together(kinds) for kinds in both]
        inner = self._scope(query)
        if inner is None:
            return []
        return [self.of(e.unalias(), inner) for e in query.args.get("expressions") or []]

    # -- columns ---------------------------------------------------------------------------------

    def _of_column(self, column: exp.Column, scope: Scope) -> str:
        owners = self.names.owners(column, scope)
        if owners and owners[0][1] is not None:
            meant = self.names.meaning(column, scope)
            return meant.type if meant is not None else ""
        known = self.columns(owners[0][0]) if owners else None
        if known is not None:
            return known.get(column.name.lower(), "")
        place = (id(scope), column.table.lower(), column.name.lower())
        if place in self._following:
            return ""  # a recursive CTE's own column, or a name that stands in its own expression
        self._following.add(place)
        try:
            parts = shown(column, scope, self.names)
            return _together([self.of(e, at) for e, at in parts if not isinstance(e, exp.Null)])
        finally:
            self._following.discard(place)

    # -- questions -------------------------------------------------------------------------------

    def _asked(self, node: exp.Expr, scope: Scope) -> str:
        """An expression with its columns as NULLs of their types; empty where one has none."""
        scopes = {id(c): s for s in self.names.scopes for c in s.columns}
        copy = node.copy()
        for was, now in zip(list(node.walk()), list(copy.walk()), strict=True):
            if isinstance(was, exp.Table) and self._is_resource(was):
                return ""
            if not isinstance(was, exp.Column):
                continue
            at = scopes.get(id(was), scope)
            owners = self.names.owners(was, at)
            if owners and any(p is node for p in _ancestors(owners[0][0].node)):
                continue  # of a subquery inside, which the engine binds by itself
            kind = self._of_column(was, at)
            if not kind and not owners:
                continue  # a function's variable, or what only the engine knows
            if not kind:
                return ""
            now.replace(exp.cast(exp.Null(), exp.DataType.build(kind, dialect="duckdb")))
        with_ = self._with(node)
        if with_ is None:
            return ""
        asked = copy.sql(dialect="duckdb")
        return f"({with_}SELECT {asked})" if with_ else asked

    def _alone(self, node: exp.Expr) -> str:
        """The query of all that a node gives where the engine has all of it; else empty."""
        if any(self._is_resource(t) for t in node.find_all(exp.Table)):
            return ""
        if any(_only_once(name) for name in _names_in(node)):
            return ""
        with_ = self._with(node)
        if with_ is None:
            return ""
        shown = node.sql(dialect="duckdb")
        return (
            f"{with_}{shown}"
            if isinstance(node, exp.Query) and not isinstance(node, exp.Subquery)
            else f"{with_}SELECT * FROM {shown}"  # noqa: S608
        )

    def _with(self, node: exp.Expr) -> str | None:
        """The WITH clause of what a node names outside of itself; None where it reads resources."""
        found: dict[int, exp.Expr] = {}
        if not self._collect(node, node, found):
            return None
        if len({c.alias.lower() for c in found.values()}) < len(found):
            return None
        if not found:
            return ""
        recursive = any(
            c.parent is not None and c.parent.args.get("recursive") for c in found.values()
        )
        head = "WITH RECURSIVE " if recursive else "WITH "
        return head + ", ".join(c.sql(dialect="duckdb") for c in found.values()) + " "

    def _collect(self, node: exp.Expr, inside: exp.Expr, found: dict[int, exp.Expr]) -> bool:
        """Add the CTEs that a node needs, those that they need first."""
        for table in node.find_all(exp.Table):
            if self._is_resource(table) or any(_only_once(n) for n in _names_in(table)):
                return False
            cte = cte_of(table, table.name.lower()) if len(table.parts) == 1 else None
            if cte is None or id(cte) in found or any(a is inside for a in _ancestors(cte)):
                continue
            if any(a is cte for a in _ancestors(table)):
                continue  # a recursive one names itself
            if not self._collect(cte, cte, found):
                return False
            found[id(cte)] = cte
        return True

    def _is_resource(self, node: exp.Table) -> bool:
        return any(
            s.node is node and s.table is not None for at in self.names.scopes for s in at.sources
        )

    def _scope(self, node: exp.Expr) -> Scope | None:
        return next((s for s in self.names.scopes if s.node is node), None)

    def _described(self, sql: str) -> dict[str, str] | None:
        if sql not in self._columns:
            self._columns[sql] = self._ask(sql)
        return self._columns[sql]

    def _ask(self, sql: str) -> dict[str, str] | None:
        asked = f"SELECT list([column_name, column_type]) FROM (DESCRIBE {sql})"  # noqa: S608
        try:
            found = self.evaluate(asked, self.text.values_in(sql))
        except DatabaseError:
            return None  # the engine says what is wrong, where it runs the statement
        assert isinstance(found, list)
        return {str(name).lower(): str(kind) for name, kind in found}


def _together(kinds: Collection[str]) -> str:
    """The type of what a UNION makes one column of; empty where it is not known."""
    different = set(kinds)
    if len(different) == 1:
        return next(iter(kinds))
    if "" in different:
        return ""
    # Where a text is among them, all of them become text.
    if "VARCHAR" in different:
        return "VARCHAR"
    return next(iter(kinds)) if different and all(map(is_number_type, kinds)) else ""


def _ancestors(node: exp.Expr) -> Iterator[exp.Expr]:
    at: exp.Expr | None = node
    while at is not None:
        yield at
        at = at.parent


def reads_once(node: exp.Expr) -> bool:
    """Whether a part of a query reads a pipe or a device, which a look at it would empty."""
    return any(_only_once(name) for name in _names_in(node))


def _names_in(node: exp.Expr) -> Iterator[str]:
    """What may be names of files."""
    for inner in node.find_all(exp.Literal, exp.Table):
        yield inner.name


def _only_once(name: str) -> bool:
    """Whether a name is a pipe's or a device's: what is read of it to look at it is gone."""
    try:
        mode = Path(name).stat().st_mode if "/" in name else stat.S_IFREG
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
