"""The column `preview`: pictures that are fetched for what is shown, once it is known what that is.

A picture costs a call, so none is fetched for a row that a condition, a join or LIMIT leaves out.
Where the query does nothing with the column but show it, the engine runs with a handle in its
place, a struct of the call's parameters, and the pictures are fetched for the rows of the result.
Else they are fetched for the rows of the table that are left once all other conditions on it are
applied, and joined with them; a row without a picture has NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.choice import none_fits
from dicomsql.planning.cost import estimate_scan
from dicomsql.planning.derived import shown
from dicomsql.planning.direct import limit_of, row_limit
from dicomsql.planning.read_plan import (
    Bind,
    ColumnKind,
    Picture,
    RowShape,
    Scan,
    ScanColumn,
    handle_fields,
)
from dicomsql.planning.scopes import cte_of
from dicomsql.planning.stars import is_star, starred
from dicomsql.planning.tables import PREVIEW
from dicomsql.planning.values import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomsql.catalog.model import Method
    from dicomsql.planning.binding import Binder
    from dicomsql.planning.names import Names
    from dicomsql.planning.restrictions import Restriction
    from dicomsql.planning.scopes import Scope, Source
    from dicomsql.planning.tables import Table

__all__ = ["Pictures", "Use", "handle", "joined_pictures", "use_of"]


class Use(Enum):
    """What a query does with a table's pictures."""

    NONE = "none"  # they are no part of its result, and nothing depends on them
    SHOWN = "shown"  # they are shown in its result's rows, and nothing depends on them
    MORE = "more"


# Nested derived tables through which a column is followed.
_DEEPEST = 32


@dataclass(slots=True)
class Pictures:
    """The calls that give the pictures of one table's rows.

    Attributes:
        searched: the search of the rows.
        places: parameters around the UIDs that are each row's own.
    """

    binder: Binder
    source: Source
    table: Table
    searched: Scan
    places: tuple[str, ...]

    def later(self, use: Use) -> Scan:
        """The calls for the rows of the query's result; at most 0 where it shows none."""
        text, scope = self.binder.text, self.source.scope
        bounds = [limit_of(text)]
        if use is Use.NONE:
            bounds.append(0)
        if scope.node is text.tree and len(scope.sources) == 1:
            bounds.append(estimate_scan(self.searched).rows)
        return replace(
            self._scan(),
            limit=_least(bounds),
            reasons=("they are only shown, so they are fetched for the rows of the result",),
        )

    def now(self, left: Restriction, rows: str, *, narrowed: bool) -> Scan:
        """The calls for the rows that are left of the table.

        Args:
            rows: the table or derived table that has them.
            narrowed: less than all that there is is left.
        """
        alias = quoted(self.source.alias)
        listed = ", ".join(f"{alias}.{quoted(c)} AS {quoted(p)}" for p, c in self.columns)
        sql = (
            f"{left.head}SELECT DISTINCT * "  # noqa: S608
            f"FROM (SELECT {listed} FROM {rows} AS {alias}{left.clauses}) AS wanted"
        )
        bind = Bind(
            tuple(p for p, _ in self.columns),
            sql,
            self.binder.text.values_in(sql),
            f"{self.source.alias}.{self.columns[-1][1]} that is left",
        )
        bounds = [estimate_scan(self.searched).rows]
        bounds.append(row_limit(self.binder.text) if left.picked else None)
        extent = "that are left" if narrowed else "of the store: nothing narrows the search"
        return replace(
            self._scan(),
            binds=(bind,),
            limit=_least(bounds),
            reasons=(
                "the query does more with them than show them, so they are fetched for all rows "
                f"{extent}",
            ),
        )

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(parameter of the call, column of the search) of what is each row's own."""
        assert self.table.dicom is not None
        uids = dict(self.table.dicom.identity)
        return tuple(
            (p, uids.get(p, p))
            for p in self._method.path_parameters
            if p in uids or p in self.places
        )

    @property
    def _method(self) -> Method:
        dicom = self.table.dicom
        assert dicom is not None
        assert dicom.preview is not None
        own = self.table.resource
        resource, _, name = dicom.preview.method.partition(".")
        found = self.binder.names.catalog.resource(own.provider, own.service, resource)
        return replace(found.methods[name], accept=dicom.preview.accept)

    def _scan(self) -> Scan:
        """The calls, without what tells for which rows they are made.

        Raises:
            PlanningError: nothing gives a value for one of the call's parameters.
        """
        dicom, method = self.table.dicom, self._method
        assert dicom is not None
        assert dicom.preview is not None
        given = [p for p, _ in self.columns]
        constants = tuple(
            c
            for c in self.searched.constants
            if c.parameter in method.path_parameters and c.parameter not in given
        )
        named = {*given, *(c.parameter for c in constants)}
        if not named.issuperset(method.required):
            own = self.table.resource
            resource = self.binder.names.catalog.resource(
                own.provider, own.service, method.resource
            )
            raise none_fits(resource, (method,), "select", list(named), ())
        return Scan(
            name=self.binder.names.own("picture", self.searched.name.split("_")[1]),
            alias=self.source.alias,
            resource=f"{method.provider}.{method.service}.{method.resource}",
            method=method,
            base_url=self.binder.names.context.base_url(method),
            constants=constants,
            columns=(
                *(ScanColumn(p, ColumnKind.PARAMETER, p, "VARCHAR") for p in given),
                ScanColumn(PREVIEW, ColumnKind.PICTURE, PREVIEW, "BLOB"),
            ),
            shape=RowShape.BODY,
            picture=Picture(
                dicom.preview.query,
                dicom.preview.none,
                self.table.resource.full_name,
                dicom.level,
            ),
        )


def handle(scan: Scan, columns: Mapping[str, str]) -> str:
    """The expression that stands for a picture until the rows of the result are known.

    Args:
        columns: parameter -> column of the search.
    """
    fields = handle_fields(scan).items()
    listed = ", ".join(f"{quoted(f)} := searched.{quoted(columns[p])}" for p, f in fields)
    return f"struct_pack({listed})"


def joined_pictures(
    scan: Scan,
    rows: str,
    columns: tuple[ScanColumn, ...],
    own: Mapping[str, str],
    *,
    picked: bool,
) -> str:
    """The derived table of rows with their pictures.

    Args:
        rows: the table or derived table of the rows.
        columns: what the query finds in it.
        own: parameter -> column of `rows`.
        picked: only rows for which a picture was asked for may be found.
    """
    listed = ", ".join(
        f"{'pictures' if c.kind is ColumnKind.PICTURE else 'searched'}.{quoted(c.name)}"
        for c in columns
    )
    same = " AND ".join(f"searched.{quoted(c)} = pictures.{quoted(p)}" for p, c in own.items())
    how = "JOIN" if picked else "LEFT JOIN"
    return f"(SELECT {listed} FROM {rows} AS searched {how} {scan.name} AS pictures ON {same})"  # noqa: S608


def use_of(source: Source, names: Names) -> Use:
    """What a query does with a table's pictures.

    They may pass through derived tables and CTEs, as long as each only gives them on. When in
    doubt it does more with them: it costs calls, never an answer.
    """
    return _Followed(source, names).use()


@dataclass(slots=True)
class _Followed:
    """The pictures of one table on their way through the query."""

    source: Source
    names: Names

    def use(self) -> Use:
        if self.source.reshaped or not isinstance(self.names.text.tree, exp.Select):
            return Use.MORE
        giving: dict[int, Scope] = {}
        for scope in self.names.scopes:
            for column in scope.columns:
                if _is_left_out(column) or not self._leads(column, scope):
                    continue
                if not _is_item(column, scope):
                    return Use.MORE
                giving[id(scope)] = scope
        todo = list(giving.values())
        seeing = [self.source]
        while todo:
            scope = todo.pop()
            if scope.node is self.names.text.tree:
                continue
            readers = self._readers(scope)
            if readers is None:
                return Use.MORE
            for reader in readers:
                seeing.append(reader)
                shows = any(reader in starred(s, reader.scope) for s in reader.scope.stars)
                if shows and id(reader.scope) not in giving:
                    giving[id(reader.scope)] = reader.scope
                    todo.append(reader.scope)
        apart = all(self._takes_rows_apart(reader) for reader in seeing)
        if not apart or not all(self._only_gives(s) for s in giving.values()):
            return Use.MORE
        shown = any(scope.node is self.names.text.tree for scope in giving.values())
        return Use.SHOWN if shown else Use.NONE

    def _leads(self, column: exp.Column, scope: Scope, depth: int = 0) -> bool:
        """Whether a column holds the pictures."""
        owners = self.names.owners(column, scope)
        found = owners[0][1] if owners else None
        if found is not None:
            return owners[0][0] is self.source and found.kind is ColumnKind.PICTURE
        if depth > _DEEPEST:
            return True
        return any(
            isinstance(e, exp.Column)
            and not isinstance(e.this, exp.Star)
            and self._leads(e, at, depth + 1)
            for e, at in ((e.unnest(), at) for e, at in shown(column, scope, self.names))
        )

    def _readers(self, scope: Scope) -> list[Source] | None:
        """The sources whose rows a SELECT's are; None where they are used in another way."""
        around = scope.node.parent
        sources = [s for at in self.names.scopes for s in at.sources]
        if isinstance(around, exp.CTE):
            return [
                s
                for s in sources
                if isinstance(s.node, exp.Table)
                and cte_of(s.node, s.node.name.lower()) is around
                and len(s.node.parts) == 1
            ]
        found = [s for s in sources if s.node is around]
        return found if isinstance(around, exp.Subquery) and found else None

    def _only_gives(self, scope: Scope) -> bool:
        """Whether a SELECT gives its rows' pictures on, and makes nothing depend on them."""
        node = scope.node
        if not isinstance(node, exp.Select) or node.args.get("group"):
            return False
        distinct = node.args.get("distinct")
        if distinct is not None:
            on = distinct.args.get("on")
            if on is None or on.find(exp.Literal) is not None:
                return False
        items = node.expressions
        given = [e for e in items if self._is_given(e, scope)]
        named = {e.alias_or_name.lower() for e in given}
        ids = {id(e.unalias()) for e in given}
        if any(c.name.lower() in named and not c.table and id(c) not in ids for c in scope.columns):
            return False  # the engine may take the SELECT list's column for it
        order = node.args.get("order")
        for key in order.expressions if order is not None else ():
            by = key.this if isinstance(key, exp.Ordered) else key
            if isinstance(by, exp.Var):
                return False
            if isinstance(by, exp.Literal) and not by.is_string:
                at = int(by.name) - 1 if by.name.isdigit() else -1
                if any(map(is_star, items)) or not 0 <= at < len(items) or items[at] in given:
                    return False
        return True

    def _takes_rows_apart(self, source: Source) -> bool:
        """Whether a SELECT uses a source's columns by their names alone, and as they are."""
        scope = source.scope
        if source.reshaped or not isinstance(scope.node, exp.Select):
            return False
        if any(isinstance(star, exp.Columns) for star in scope.stars):
            return False
        if any(s.join is not None and s.join.method == "NATURAL" for s in scope.sources):
            return False
        merged = (exp.column(name, table=source.alias) for _, name in scope.using())
        if any(source.has(c.name) is not False and self._leads(c, scope) for c in merged):
            return False
        # A table's own name is a row of it, as a struct.
        alias = source.alias.lower()
        return not any(c.name.lower() == alias and not c.table for c in scope.columns)

    def _is_given(self, item: exp.Expr, scope: Scope) -> bool:
        column = item.unalias()
        return (
            isinstance(column, exp.Column)
            and not isinstance(column.this, exp.Star)
            and self._leads(column, scope)
        )


def _is_left_out(column: exp.Column) -> bool:
    """Whether a column is named by `* EXCLUDE (...)`."""
    return isinstance(column.parent, exp.Star) and column.arg_key == "except_"


def _is_item(column: exp.Column, scope: Scope) -> bool:
    """Whether a column is an item of the SELECT list as it stands, with or without an alias."""
    item: exp.Expr = column.parent if isinstance(column.parent, exp.Alias) else column
    return item.parent is scope.node and item.arg_key == "expressions"


def _least(bounds: list[int | None]) -> int | None:
    return min((b for b in bounds if b is not None), default=None)
