"""Queries that are nothing but a table's rows: their LIMIT ends the scan, the engine may rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from dicomsql.planning.facts import Equal
    from dicomsql.planning.names import Names
    from dicomsql.planning.read_plan import Scan
    from dicomsql.planning.scopes import Source
    from dicomsql.planning.text import QueryText

# Parts of a SELECT after which the number of its rows is not that of its table's.
_CHANGES_ROWS = (
    *("group", "having", "distinct", "order", "qualify", "windows", "joins", "laterals"),
    *("pivots", "sample"),
)


def is_plain(source: Source, names: Names, used: list[Equal]) -> bool:
    """Whether the query's rows are the table's: nothing to check, nothing that changes them.

    Args:
        used: the facts that the call itself makes true.
    """
    select = names.text.tree
    if not isinstance(select, exp.Select) or source.scope.node is not select:
        return False
    if len(names.scopes) > 1 or source.reshaped:
        return False
    if any(select.args.get(part) for part in _CHANGES_ROWS):
        return False
    plain = exp.Column | exp.Star | exp.Literal | exp.Placeholder
    if not all(isinstance(e.unalias(), plain) for e in select.expressions):
        return False
    consumed = {id(e.condition) for e in used}
    return all(id(c) in consumed for c in source.scope.where())


def shown_columns(text: QueryText, source: Source, scan: Scan) -> tuple[tuple[str, str], ...]:
    """(name in the result, column) of a plain query that shows just columns of its table.

    Nothing where it shows anything else, or where its LIMIT is not the scan's.
    """
    select = text.tree
    limited = select.args.get("limit") is not None or select.args.get("offset") is not None
    if scan.binds or len(source.scope.sources) != 1:
        return ()
    if limited and (scan.limit is None or select.args.get("offset") is not None):
        return ()
    shown = []
    given = {c.name.lower(): c.name for c in scan.columns}
    for expression in select.expressions:
        column = expression.unalias()
        if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star):
            return ()
        name = given.get(column.name.lower())
        if name is None or len(column.parts) > 1:
            return ()
        shown.append((expression.alias if isinstance(expression, exp.Alias) else name, name))
    return tuple(shown)


def row_limit(text: QueryText) -> int | None:
    """Rows of a plain query that are enough; None where it has no LIMIT that is a number."""
    count = limit_of(text)
    offset = text.tree.args.get("offset")
    skipped = _whole(offset.expression, text.values) if offset is not None else 0
    return count + skipped if count is not None and skipped is not None else None


def limit_of(text: QueryText) -> int | None:
    """The number of rows that LIMIT asks for, without those that OFFSET skips."""
    limit = text.tree.args.get("limit")
    if not isinstance(limit, exp.Limit):
        return None
    options = limit.args.get("limit_options")
    if limit.expressions or (options is not None and options.args.get("percent")):
        return None
    return _whole(limit.expression, text.values)


def _whole(node: exp.Expr | None, values: Mapping[str, object]) -> int | None:
    """The value of a row count, where it is a number as it stands or a placeholder's."""
    if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdigit():
        return int(node.this)
    if isinstance(node, exp.Placeholder):
        value = values.get(str(node.this or ""))
        return value if type(value) is int and value >= 0 else None
    return None
