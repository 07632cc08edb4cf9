"""What the queries around a derived table say of the tables inside of it.

A condition on a column of a derived table, of a view or of a CTE that is read once, holds for the
rows inside as if it stood in the inner WHERE, where the column is shown as it is and nothing in
between needs rows that the condition rejects: no LIMIT, no window, no group over several of its
values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.derived import shown
from dicomsql.planning.scopes import cte_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.planning.names import Names, Owner
    from dicomsql.planning.scopes import Scope, Source

# Parts of a SELECT or a UNION after which rows depend on others that were rejected.
_COUNTS_ROWS = ("limit", "offset", "fetch", "qualify", "sample", "windows", "pivots", "connect")
# Kinds of groups in which a key may be missing.
_SETS = ("grouping_sets", "cube", "rollup", "totals")
# Joins in which a row's partner depends on the other rows.
_BY_PLACE = frozenset({"ASOF", "POSITIONAL"})


def around(source: Source, names: Names) -> Iterator[tuple[exp.Expr, Scope]]:
    """The conditions of the queries around a table's own that may restrict it, with their SELECTs.

    Whether a column in them is one of the table's, `restricted` tells.
    """
    for holder in holders(source, names):
        for condition in holder.scope.conditions(holder):
            yield condition, holder.scope


def holders(source: Source, names: Names) -> Iterator[Source]:
    """The derived tables that a table's rows are read through one by one, the innermost first."""
    scope = source.scope
    while _keeps_rows(scope.node):
        holder = _holder(scope, names)
        if holder is None:
            return
        yield holder
        scope = holder.scope


def restricted(column: exp.Column, scope: Scope, source: Source, names: Names) -> Owner | None:
    """The source that a column shows, with its column, where a condition on it restricts that.

    Args:
        scope: the SELECT that the column stands in: the source's own, or one around it.
    """
    owners = names.owners(column, scope)
    if scope is source.scope:
        return next((o for o in owners if o[0] is source and o[1] is not None), None)
    if not owners or owners[0][1] is not None or owners[0][0].scope is not scope:
        return None
    for expression, part in shown(column, scope, names):
        inner = expression.unnest()
        if not isinstance(inner, exp.Column) or isinstance(inner.this, exp.Star):
            continue
        if not _leads_to(part, source, names) or not _is_of_each(inner, part, names):
            continue
        found = _first(inner, part, source, names)
        if found is not None:
            return found
    return None


def _first(column: exp.Column, part: Scope, source: Source, names: Names) -> Owner | None:
    """As `restricted`, of a column that is shown: it is one table's, unless USING merges it."""
    if part is not source.scope:
        return restricted(column, part, source, names)
    owners = names.owners(column, part)
    seen = owners if part.used_in_using(column.name) else owners[:1]
    return next((o for o in seen if o[0] is source and o[1] is not None), None)


def _leads_to(part: Scope, source: Source, names: Names) -> bool:
    """Whether a SELECT is a table's own, or one that its rows go through one by one."""
    return part is source.scope or any(h.scope is part for h in holders(source, names))


def _holder(scope: Scope, names: Names) -> Source | None:
    """The source whose rows a SELECT gives, by itself or in a UNION; None where there is none."""
    node = scope.node
    while isinstance(node.parent, exp.SetOperation | exp.Subquery | exp.Paren):
        parent = node.parent
        found = next((s for s in _outside(scope) if s.node is parent), None)
        if found is not None:
            return None if found.reshaped else found
        if any(parent.args.get(part) for part in _COUNTS_ROWS):
            return None
        node = parent
    return _reader(node.parent, names) if isinstance(node.parent, exp.CTE) else None


def _outside(scope: Scope) -> list[Source]:
    return scope.parent.sources if scope.parent is not None else []


def _reader(cte: exp.Expr, names: Names) -> Source | None:
    """The one source that reads a CTE; None where there are several, or it reads itself."""
    if cte.parent is None or cte.parent.args.get("recursive"):
        return None
    found = [
        source
        for scope in names.scopes
        for source in scope.sources
        if isinstance(source.node, exp.Table)
        and len(source.node.parts) == 1
        and cte_of(source.node, source.node.name.lower()) is cte
    ]
    read = [t for t in names.text.tree.find_all(exp.Table) if t.name.lower() == cte.alias.lower()]
    if len(found) != 1 or len(read) != 1 or found[0].reshaped:
        return None
    return found[0]


def _keeps_rows(node: exp.Expr) -> bool:
    """Whether the rows of a SELECT do not depend on how many others there are."""
    if not isinstance(node, exp.Select) or any(node.args.get(part) for part in _COUNTS_ROWS):
        return False
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        return False
    if any(item.find(exp.Window) for item in node.expressions):
        return False
    joins = node.args.get("joins") or []
    if any((join.method or "").upper() in _BY_PLACE for join in joins):
        return False
    group = node.args.get("group")
    return group is None or not any(group.args.get(part) for part in _SETS)


def _is_of_each(column: exp.Column, part: Scope, names: Names) -> bool:
    """Whether a column that a SELECT shows is the same in all rows that make one of its rows."""
    group = part.node.args.get("group")
    if group is None:
        return not any(item.find(exp.AggFunc) for item in part.node.expressions)
    if group.args.get("all"):
        return True
    owner = names.owners(column, part)[:1]
    return any(
        isinstance(key, exp.Column)
        and key.name.lower() == column.name.lower()
        and names.owners(key, part)[:1] == owner
        for key in (_key(part.node, key.unnest()) for key in group.expressions)
    )


def _key(select: exp.Expr, key: exp.Expr) -> exp.Expr:
    """What GROUP BY groups by, where it says so by the place of an item."""
    if isinstance(key, exp.Literal) and not key.is_string and str(key.this).isdigit():
        place = int(key.this) - 1
        if 0 <= place < len(select.expressions):
            return select.expressions[place].unalias().unnest()  # type: ignore[no-any-return]
    return key
