"""Which columns of a star in a derived table or a CTE the query around it can see at all.

`SELECT PatientID FROM (SELECT * FROM studies)`, and so a view whose query is a star, has to fetch
no more than what the text around it names. Names are compared as they are written, wherever they
stand: what is kept for a name that means something else costs bytes, never an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.scopes import cte_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from dicomsql.planning.scopes import Scope, Source

__all__ = ["narrow_star", "seen_names", "unseen_items"]

# Parts of a SELECT by which each column of its list matters, named or not.
_OF_ALL_COLUMNS = ("distinct", "group", "pivots")

# How a query shows the rows of another besides naming its columns.
_WHOLE = (exp.Pivot, exp.Summarize, exp.Columns)


def seen_names(scope: Scope, scopes: list[Scope], cut: Set[int]) -> frozenset[str] | None:
    """The lower-case names that what is around a SELECT may have for its columns; None for all.

    Args:
        scopes: those of the whole query.
        cut: ids of items that are left out of the query.
    """
    holder = _holder(scope)
    if holder is None or not _passes(scope, scopes, 0):
        return None
    around = holder.root().walk(prune=lambda node: node is holder or id(node) in cut)
    return frozenset(node.name.lower() for node in around if isinstance(node, exp.Identifier))


def unseen_items(scope: Scope, scopes: list[Scope], cut: Set[int]) -> list[exp.Expr]:
    """The items of a list of columns that nothing around it names; none where all would go.

    Args:
        scopes, cut: as in `seen_names`.
    """
    seen = seen_names(scope, scopes, cut)
    if seen is None:
        return []
    items = scope.node.args.get("expressions") or []
    unseen = [item for item in items if item.alias_or_name.lower() not in seen]
    return unseen if len(unseen) < len(items) else []


def narrow_star(sources: list[Source], seen: frozenset[str]) -> None:
    """Note which columns of a star are needed; of a table of which none is, all are.

    Args:
        sources: those that the star shows.
        seen: what `seen_names` gives.
    """
    for source in sources:
        table = source.table
        if table is None:
            continue
        listed = [n for m in table.methods for n in table.usual(m)]
        usual = list(dict.fromkeys(n for n in listed if n.lower() in seen))
        if not usual:
            source.star = True
        for name in usual:
            source.needed.setdefault(name.lower(), name)


def _holder(scope: Scope) -> exp.Expr | None:
    """The derived table or the CTE that a SELECT is all of."""
    parent = scope.node.parent
    if not isinstance(parent, exp.Subquery | exp.CTE):
        return None
    if isinstance(parent, exp.Subquery) and not isinstance(parent.parent, exp.From | exp.Join):
        return None
    return parent


def _passes(scope: Scope, scopes: list[Scope], depth: int) -> bool:
    """Whether a column that no name asks for can be left out of what a SELECT gives."""
    holder, node = _holder(scope), scope.node
    if holder is None or not isinstance(node, exp.Select) or depth > len(scopes):
        return False
    alias = holder.args.get("alias")
    if (alias is not None and alias.args.get("columns")) or holder.args.get("pivots"):
        return False
    if any(node.args.get(part) for part in _OF_ALL_COLUMNS) or any(True for _ in scope.using()):
        return False
    order = node.args.get("order")
    if order is not None and not all(map(_is_by_name, order.expressions)):
        return False
    with_ = holder.parent
    if isinstance(with_, exp.With) and with_.args.get("recursive"):
        return False
    readers = list(_readers(holder, scopes))
    return bool(readers) and all(_reads_by_name(source, scopes, depth) for source in readers)


def _is_by_name(ordered: exp.Expr) -> bool:
    """Whether an item of ORDER BY is neither a place in the list nor all of it."""
    columns = list(ordered.find_all(exp.Column))
    return bool(columns) and all(c.name.lower() != "all" for c in columns)


def _readers(holder: exp.Expr, scopes: list[Scope]) -> Iterator[Source]:
    """The sources that are a derived table, or that name a CTE."""
    for scope in scopes:
        for source in scope.sources:
            node = source.node
            if node is holder or (
                isinstance(holder, exp.CTE)
                and isinstance(node, exp.Table)
                and len(node.parts) == 1
                and cte_of(node, node.name.lower()) is holder
            ):
                yield source


def _reads_by_name(source: Source, scopes: list[Scope], depth: int) -> bool:
    """Whether a SELECT has of one of its sources only what it, or what is around it, names."""
    scope, node = source.scope, source.node
    if not isinstance(scope.node, exp.Select) or source.reshaped:
        return False
    alias = node.args.get("alias")
    if isinstance(node, exp.Table) and alias is not None and alias.args.get("columns"):
        return False
    joins = [s.join for s in scope.sources if s.join is not None]
    if any(join.method == "NATURAL" for join in joins) or node.find_ancestor(*_WHOLE) is not None:
        return False
    # The name of a table alone is its whole row.
    whole = source.alias.lower()
    if any(c.name.lower() == whole for each in scopes for c in each.columns):
        return False
    if any(isinstance(star, exp.Columns) for star in scope.stars):
        return False
    return not scope.stars or _passes(scope, scopes, depth + 1)
