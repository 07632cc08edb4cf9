"""What a name stands for that a derived table, a CTE or a SELECT list gives: its expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from dicomsql.planning.scopes import cte_of
from dicomsql.planning.stars import is_star, starred

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomsql.planning.names import Names
    from dicomsql.planning.scopes import Scope, Source

# An expression, and the SELECT that its names belong to.
Shown = tuple["exp.Expr", "Scope"]


def shown(column: exp.Column, scope: Scope, names: Names) -> list[Shown]:
    """The expressions whose values a column holds, one step down: one of each part of a UNION.

    There are none for the columns of resources and of what is the engine's, and where a name's
    expression cannot be told.
    """
    owners = names.owners(column, scope)
    if not owners:
        return [] if column.table else _aliased(column.name.lower(), scope)[:1]
    source, found = owners[0]
    if found is not None:
        return []
    query, renamed = _query_of(source)
    if query is None:
        return []
    name = column.name.lower()
    parts = selects(query, names)
    place = _place(name, parts, renamed)
    if any(part.args.get("by_name") for part in query.find_all(exp.SetOperation)):
        place = None
    elif place is None and renamed:
        return []
    items = (_item(name, place, part) for part in parts)
    return [item for item in items if item is not None]


def selects(query: exp.Expr, names: Names) -> list[Scope]:
    """The SELECTs whose rows a query gives, in the order of the text."""
    while isinstance(query, exp.Subquery | exp.Paren):
        query = query.this
    if isinstance(query, exp.SetOperation):
        return selects(query.this, names) + selects(query.expression, names)
    return [scope for scope in names.scopes if scope.node is query]


def items_of(scope: Scope, names: Names) -> list[tuple[str, Shown]] | None:
    """The columns of a SELECT: lower-case name and expression; None where a star hides some."""
    found: list[tuple[str, Shown]] = []
    for item in scope.node.args.get("expressions") or []:
        if not is_star(item):
            found.append((item.alias_or_name.lower(), (item.unalias(), scope)))
            continue
        behind = None if isinstance(item, exp.Columns) else _behind(item, scope, names)
        if behind is None:
            return None
        found += [(column.name.lower(), (column, scope)) for column in behind]
    return found


def _query_of(source: Source) -> tuple[exp.Expr | None, list[str]]:
    """The query of a derived table or CTE, and the names that are given to its columns anew."""
    node = source.node
    cte = cte_of(node, node.name.lower()) if isinstance(node, exp.Table) else None
    holder = cte if isinstance(node, exp.Table) else node
    renamed: list[str] = []
    for around in (cte, node):
        alias = around.args.get("alias") if around is not None else None
        new = (alias.args.get("columns") or []) if alias is not None else []
        renamed[: len(new)] = [n.name.lower() for n in new]
    query = holder.this if holder is not None else None
    return (query, renamed) if isinstance(query, exp.Query) else (None, [])


def _place(name: str, parts: list[Scope], renamed: list[str]) -> int | None:
    """Which of a query's columns is called so; None where a star hides that."""
    items = (parts[0].node.args.get("expressions") or []) if parts else []
    if any(map(is_star, items)):
        return renamed.index(name) if name in renamed and not _has_star(parts) else None
    known = [item.alias_or_name.lower() for item in items]
    known[: len(renamed)] = renamed
    return known.index(name) if name in known else None


def _has_star(parts: list[Scope]) -> bool:
    return any(is_star(item) for part in parts for item in part.node.args["expressions"])


def _aliased(name: str, scope: Scope) -> list[Shown]:
    """What a SELECT list calls so."""
    items = scope.node.args.get("expressions") or []
    return [(e.unalias(), scope) for e in items if e.alias.lower() == name]


def _item(name: str, place: int | None, part: Scope) -> Shown | None:
    """The expression of one SELECT that gives a column, by its place where that is known."""
    items = part.node.args.get("expressions") or []
    if place is not None and not any(map(is_star, items)):
        return (items[place].unalias(), part) if place < len(items) else None
    for item in items:
        if not is_star(item) and item.alias_or_name.lower() == name:
            return item.unalias(), part
    for star in filter(is_star, items):
        if not isinstance(star, exp.Column):
            return exp.column(name), part
        sources = starred(star, part)
        if any(s.has(name) is not False for s in sources):
            return exp.column(name, table=sources[0].alias), part
    return None


def _behind(star: exp.Expr, scope: Scope, names: Names) -> list[exp.Column] | None:
    """The columns that a star shows, in their order; None where they are not known."""
    inner = star.this if isinstance(star, exp.Column) else star
    hidden = {e.name.lower() for e in inner.args.get("except_") or []}
    merged = {name.lower() for _, name in scope.using()} if star is inner else set()
    found: dict[str, exp.Column] = {}
    first: dict[str, Source] = {}
    for source in starred(star, scope):
        listed = names_of(source, names)
        if listed is None:
            return None
        for name in listed:
            key = name.lower()
            if key in hidden or (key in found and key in merged):
                continue
            if star is inner and _is_again(first.setdefault(key, source), source, name, names):
                continue
            # Two columns of one name keep their places.
            found[key if key not in found else f"{source.alias}.{key}"] = exp.column(
                name, table=source.alias
            )
    return list(found.values())


def _is_again(first: Source, source: Source, name: str, names: Names) -> bool:
    """Whether `*` leaves out a column, as a higher level that it is joined with has its value."""
    if first is source or source.level < 0 or first.level == source.level:
        return False
    agreement = names.agreement(source.scope)
    return agreement.is_equated(first, source, name) or agreement.is_identified(first, source, name)


def names_of(source: Source, names: Names) -> list[str] | None:
    """The columns of a source in their order, in any case; None where they are not known."""
    if source.reshaped:
        return None
    if source.table is not None:
        methods = source.table.methods
        return list(source.table.usual(methods[0])) if methods else None
    known = names.kinds.columns(source)
    if known is not None:
        return list(known)
    query, renamed = _query_of(source)
    parts = selects(query, names) if query is not None else []
    around: Iterator[Scope] = _enclosing(scope=source.scope)
    if not parts or any(part is parts[0] for part in around):
        return None  # a recursive one's own rows
    items = items_of(parts[0], names)
    if items is None:
        return None
    listed = [name for name, _ in items]
    listed[: len(renamed)] = renamed
    return listed


def _enclosing(scope: Scope) -> Iterator[Scope]:
    at: Scope | None = scope
    while at is not None:
        yield at
        at = at.parent
